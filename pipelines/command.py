"""What every command does alike: strict flags, and errors that become one line and an exit status."""

import argparse
import logging
import os
import sys
from collections.abc import Callable

from pipelines.errors import ConfigurationError, InputError, StoreError

OK, FAILED, CONFIGURATION, UNRECONCILED, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that takes no abbreviated flag: what is misspelt is an error, never a guess."""
    return argparse.ArgumentParser(prog=f"douane {command}", description=description, allow_abbrev=False)


def say(message: str) -> None:
    """Tells who runs the command, where standard output is for what it gives."""
    print(f"douane: {message}", file=sys.stderr, flush=True)


def guarded(command: str, work: Callable[[], int]) -> int:
    """Runs the work; a known failure becomes one line on stderr and its exit status."""
    # Here and not above: what a command raises for keys lives with the keys, and `--help` needs neither.
    from schemas.findings import PackError
    from transforms.discreet import StepFailed
    from transforms.keyring import KeyUnavailable

    logging.basicConfig(level=logging.ERROR, format="douane: %(message)s")  # Beam warns of extras that nobody needs
    try:
        return work()
    except (ConfigurationError, PackError, KeyUnavailable) as error:
        print(f"douane {command}: {_plain(error)}", file=sys.stderr)
        return CONFIGURATION
    except StepFailed as error:
        print(f"douane {command}: a step failed: {_plain(error)}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:  # who reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (InputError, StoreError) as error:
        print(f"douane {command}: {_plain(error)}", file=sys.stderr)
        return UNREADABLE if isinstance(error, InputError) else CONFIGURATION


def _plain(error: Exception) -> str:
    """The message without the name of the step, which Beam adds where it fails on a worker."""
    return str(error).partition(" [while running")[0]
