"""What every command does alike: strict flags, and errors that become one line and an exit status."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import ConfigurationError, InputError, StoreError

_OURS = str(Path(__file__).parents[1]) + os.sep
OK, FAILED, CONFIGURATION, UNRECONCILED, UNREADABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130


def parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that takes no abbreviated flag: what is misspelt is an error, never a guess."""
    return argparse.ArgumentParser(prog=f"douane {command}", description=description, allow_abbrev=False)


def say(message: str) -> None:
    """Tells who runs the command, where standard output is for what it gives."""
    print(f"douane: {message}", file=sys.stderr, flush=True)


def guarded(command: str, work: Callable[[], int]) -> int:
    """Runs the work; whatever fails becomes one line on stderr and an exit status. The line holds messages of ours, or
    names of types, files and functions: what a library says may quote a record, and is shown nowhere."""
    logging.basicConfig(level=logging.ERROR, format="douane: %(message)s")  # Beam warns of extras that nobody needs
    try:
        return work()
    except BrokenPipeError:  # who reads our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (InputError, StoreError) as error:
        print(f"douane {command}: {_plain(error)}", file=sys.stderr)
        return UNREADABLE if isinstance(error, InputError) else CONFIGURATION
    except KeyboardInterrupt:
        print(f"douane {command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        status, told = _told(error)
        print(f"douane {command}: {told}", file=sys.stderr)
        return status


def _told(error: Exception) -> tuple[int, str]:
    # Here and not above: these live with keys and packs, and a command that fails at neither need not wait for them.
    from schemas.findings import PackError
    from transforms.discreet import StepFailed
    from transforms.keyring import KeyUnavailable

    if isinstance(error, ConfigurationError | PackError | KeyUnavailable):
        return CONFIGURATION, _plain(error)
    if isinstance(error, StepFailed):
        return FAILED, f"a step failed: {_plain(error)}"
    return FAILED, _unforeseen(error)


def _unforeseen(error: Exception) -> str:
    """What went wrong and where, without the message of who raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    at = next((frame for frame in reversed(frames) if frame.filename.startswith(_OURS)), frames[-1])
    why = f", {os.strerror(error.errno)}," if isinstance(error, OSError) and error.errno else ""
    where = f"{at.filename.removeprefix(_OURS)}:{at.lineno} in {at.name}"
    return f"failed: {type(error).__name__}{why} at {where}; its message is not shown, since it may quote a record"


def _plain(error: Exception) -> str:
    """The message without the name of the step, which Beam adds where it fails on a worker."""
    return str(error).partition(" [while running")[0]
