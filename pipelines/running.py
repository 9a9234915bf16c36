"""One bounded run over an input at a time, in each region (ADR 18).

    <manifest>/.running/<input id>

Such a file is locked by the run that made it. The lock is the system's and not the file's: a process that ends, however
it ends, lets go of it, so that what a killed run leaves here stops nobody.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from pipelines.deployment import RegionalPlace
from pipelines.errors import StoreError
from pipelines.whole_files import writing

RUNNING = ".running"


@contextmanager
def alone(places: Iterable[RegionalPlace], input_id: str) -> Iterator[None]:
    """While its block runs no other run over this input stores anything in these regions. Raises `StoreError` where
    another is at work already, and where a manifest cannot be written: nothing of the other is touched then."""
    with ExitStack() as held:
        for place in places:
            path = place.manifest_folder / RUNNING / input_id
            with writing(path):
                lock = _locked(path)
            if lock is None:
                raise StoreError(
                    f"another run over the same input is at work in region {place.region}: nothing is stored; "
                    "let it end, and run again if it fails"
                )
            held.callback(_let_go, path, lock)
        yield


def _locked(path: Path) -> int | None:
    """The file, open and locked; None if another holds it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                return file
        except BlockingIOError:
            os.close(file)
            return None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(file)
            raise
        os.close(file)  # who held it has removed it meanwhile: a lock on it would keep nobody out


def _let_go(path: Path, lock: int) -> None:
    with suppress(OSError):  # a file that stays stops nobody
        path.unlink()
    os.close(lock)
