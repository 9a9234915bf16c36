"""The manifest of a region: which files count, and the wrapped keys that open them.

One small entry a logical file, put in place whole. Readers trust the entries and nothing else, so whichever attempt to
write a file wins is whole, and what other attempts left is an orphan. An erased entry is a tombstone that no writer
may replace: with it the only copy of the file's wrapped key is gone, and so is every copy of the file, backups too.

    <manifest>/<dataset>/<received_date>/<logical name>.json, or .erased for a tombstone
"""

import json
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipelines.errors import InputError, StoreError
from transforms.keyring import make_durable

FORMAT = 1
_LIVE, _ERASED = ".json", ".erased"


@dataclass(frozen=True)
class Entry:
    """One logical file. `file` is its physical name, None where the logical file is empty."""

    dataset: str
    received_date: str
    logical: str
    rows: int
    run: str = ""  # which run put it here: what an earlier run over the same input left is told by it
    file: str | None = None
    wrapped_key: str | None = None
    digest: str | None = None  # of the rows, so that attempts can be compared
    bytes: int = 0
    erased: bool = False


class Manifest:
    """The entries below one folder. A tombstone is a file of its own, so no writer of entries can replace it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def datasets(self) -> list[str]:
        """Datasets that have entries."""
        return sorted(path.name for path in self._folder.glob("*") if path.is_dir())

    def entries(self, dataset: str) -> Iterator[Entry]:
        """Every entry of a dataset, tombstones too, in the order of their names. A damaged one raises `InputError`."""
        return self._matching(dataset, "*")

    def of(self, dataset: str, logical: str) -> Iterator[Entry]:
        """The entries of a logical name, one a date of receipt. `*` in the name stands for anything."""
        return self._matching(dataset, logical)

    def _matching(self, dataset: str, logical: str) -> Iterator[Entry]:
        live = {path.with_suffix(""): path for path in (self._folder / dataset).glob(f"*/{logical}{_LIVE}")}
        erased = {path.with_suffix(""): path for path in (self._folder / dataset).glob(f"*/{logical}{_ERASED}")}
        for _, path in sorted((live | erased).items()):
            yield _read(path)

    def erased(self, dataset: str, received_date: str, logical: str) -> bool:
        """Whether a tombstone stands at that name."""
        return self._path(dataset, received_date, logical, _ERASED).exists()

    def put(self, entry: Entry) -> bool:
        """Puts an entry in place of an older one of its name. False, and nothing stays, where a tombstone stands."""
        name = entry.dataset, entry.received_date, entry.logical
        live = self._path(*name, _LIVE)
        put_whole(
            self._path(*name, _ERASED) if entry.erased else live,
            json.dumps({"format": FORMAT, **asdict(entry)}).encode(),
        )
        if self.erased(*name):  # looked at after the writing: whichever came first, the entry's key does not stay
            live.unlink(missing_ok=True)
            return entry.erased
        return True

    def _path(self, dataset: str, received_date: str, logical: str, suffix: str) -> Path:
        return self._folder / dataset / received_date / f"{logical}{suffix}"


def _read(path: Path) -> Entry:
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") == FORMAT:
            return Entry(**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"manifest entry {path} is damaged, or written by another version of douane")


def put_whole(path: Path, content: bytes | memoryview) -> None:
    """Puts a file in place at once and for good: a reader sees the old one or the new one, never a part."""
    with writing(path):
        _put_whole(path, content)


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
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong while a file is written into one message that names the file."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path.parent} cannot be written ({error.strerror or error})") from None


def _put_whole(path: Path, content: bytes | memoryview) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    attempt = _attempt_at(path)
    try:
        with open(attempt, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(attempt, path)
        make_durable(path.parent)
    finally:
        attempt.unlink(missing_ok=True)
