"""The manifest of a region: which files count, and the wrapped keys that open them.

One small entry a logical file, put in place whole. Readers trust the entries and nothing else, so whichever attempt to
write a file wins is whole, and what other attempts left is an orphan. An erased entry is a tombstone that no writer
may replace: with it the only copy of the file's wrapped key is gone, and so is every copy of the file, backups too.

    <manifest>/<dataset>/<received_date>/<logical name>.json
"""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """One logical file. `file` is its physical name, None where the logical file is empty."""

    dataset: str
    received_date: str
    logical: str
    rows: int
    file: str | None = None
    wrapped_key: str | None = None
    digest: str | None = None  # of the rows, so that attempts can be compared
    bytes: int = 0
    erased: bool = False


class Manifest:
    """The entries below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def datasets(self) -> list[str]:
        """Datasets that have entries."""
        return sorted(path.name for path in self._folder.glob("*") if path.is_dir())

    def entries(self, dataset: str) -> Iterator[Entry]:
        """Every entry of a dataset, tombstones too, in the order of their names."""
        for path in sorted((self._folder / dataset).glob("*/*.json")):
            yield _read(path)

    def of(self, dataset: str, logical: str) -> Iterator[Entry]:
        """The entries of one logical name, one a date of receipt."""
        for path in sorted((self._folder / dataset).glob(f"*/{logical}.json")):
            yield _read(path)

    def erased(self, dataset: str, received_date: str, logical: str) -> bool:
        """Whether a tombstone stands at that name."""
        path = self._folder / dataset / received_date / f"{logical}.json"
        return path.exists() and _read(path).erased

    def put(self, entry: Entry) -> bool:
        """Puts an entry in place of an older one of its name. False, and nothing done, where a tombstone stands."""
        if self.erased(entry.dataset, entry.received_date, entry.logical):
            return False
        path = self._folder / entry.dataset / entry.received_date / f"{entry.logical}.json"
        put_whole(path, json.dumps({"format": FORMAT, **asdict(entry)}).encode())
        return True


def _read(path: Path) -> Entry:
    content = json.loads(path.read_bytes())
    if content.pop("format") != FORMAT:
        raise ValueError(f"{path}: written by another version of douane")
    return Entry(**content)


def put_whole(path: Path, content: bytes | memoryview) -> None:
    """Puts a file in place at once and for good: a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    attempt = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(attempt, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(attempt, path)
    finally:
        attempt.unlink(missing_ok=True)
