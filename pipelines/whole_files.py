"""Files that are put in place whole and for good: who reads sees the old one or the new one, never a part."""

import fcntl
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.errors import InputError, StoreError
from transforms.keyring import make_durable, make_folder

ATTEMPT = ".part"  # how the names of files end that are not in place


def put_whole(path: Path, content: bytes | memoryview) -> None:
    """Puts a file in place at once and for good: a reader sees the old one or the new one, never a part."""
    with writing(path):
        put_if(path, content, lambda: True)


def put_new(path: Path, write: Callable[[Path], object]) -> bool:
    """Puts a file in place whole and for good, unless there is one: then False, and nothing stays of this. `write`
    writes the content where it is told to."""
    attempt = _attempt_at(path)
    try:
        write(attempt)
        make_durable(attempt)
        os.link(attempt, path)
    except FileExistsError:
        return False
    finally:
        attempt.unlink(missing_ok=True)
    make_durable(path.parent)
    return True


def _attempt_at(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}{ATTEMPT}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is written into one message that names the file."""
    try:
        yield
    except InputError:  # what was read meanwhile has its own message
        raise
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StoreError(
            f"{path.parent} cannot be written ({why}): make room there, or mend it, and run again"
        ) from None


def put_if(path: Path, content: bytes | memoryview, still: Callable[[], bool]) -> bool:
    """As `put_whole`, unless it is not `still` wanted, looked at when nobody else puts anything into that folder: then
    False."""
    make_folder(path.parent)
    with _attempt(path, content) as attempt:
        with alone(path.parent):
            if not still():
                return False
            os.replace(attempt, path)
        make_durable(path.parent)
        return True


def put_apart(path: Path, content: bytes) -> None:
    """As `put_whole`, into a folder of one writer's own where nobody looks yet: its names are not durable before it is
    made so itself."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _attempt(path, content) as attempt:
            os.replace(attempt, path)


@contextmanager
def _attempt(path: Path, content: bytes | memoryview) -> Iterator[Path]:
    """The content on the disk, beside its place, as long as its block does not put it there."""
    attempt = _attempt_at(path)
    try:
        with open(attempt, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield attempt
    finally:
        attempt.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Only one at a time puts a file into a folder, so that who replaces what it has looked at replaces just that. A
    process that is killed lets go of it, too."""
    held = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
