"""The manifest of a region: which files count, and the wrapped keys that open them.

One small entry a logical file, put in place whole. Readers trust the entries and nothing else, so whichever attempt to
write a file wins is whole, and what other attempts left is an orphan. An erased entry is a tombstone that no writer
may replace: with it the only copy of the file's wrapped key is gone, and so is every copy of the file, backups too.

    <manifest>/<dataset>/<received_date>/<logical name>.json, or .erased for a tombstone

A bounded run puts its entries apart first, and shows all of them at one moment (`Manifest.publish`): readers see the
whole run or nothing of it. Several logical files may lie in one physical file (ADR 20); each has its entry,
and the key is gone with the last of them.
"""

import fnmatch
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from pipelines.errors import InputError
from pipelines.whole_files import ATTEMPT, alone, put_apart, put_if, put_whole, writing
from transforms.keyring import make_durable, make_folder, side_by_side

FORMAT = 1
PENDING, PUBLISHED = ".pending", ".published"
_LIVE, _ERASED = ".json", ".erased"
_TAKEN = "."  # before the name of an attempt that is being taken back


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
    bytes: int = 0  # of the physical file
    erased: bool = False
    part: int | None = None  # the number that its rows have in a file that others share, and None in one of its own
    among: int = 0  # all rows of a shared file, whether an entry names them or not


class Manifest:
    """The entries below one folder. A tombstone is a file of its own, so no writer of entries can replace it.

    With an `attempt`, the name of a run that is to be seen whole or not at all, entries are put apart: nobody sees them
    but who names the same attempt, until `publish` shows all of them at once.

        <manifest>/.pending/<attempt>/    entries that wait; of an attempt that died nothing is ever seen
        <manifest>/.published/<attempt>/  entries that count, before the ones in place; `settle` puts them in place
    """

    def __init__(self, folder: Path, attempt: str = "") -> None:
        self._folder, self._attempt = folder, attempt

    def datasets(self) -> list[str]:
        """Datasets that have entries. Raises `InputError` where the manifest is there and cannot be listed."""
        found = {name for name in _names(self._folder) if not name.startswith(".") and (self._folder / name).is_dir()}
        return sorted(found | {path.name.partition(".")[0] for folder in self._apart() for path in _put_in(folder)})

    def entries(self, dataset: str) -> Iterator[Entry]:
        """Every entry of a dataset, tombstones too, in the order of their names. Raises `InputError` for a damaged one,
        and where the manifest is there and cannot be listed: what names stopped rows must not be passed over."""
        return self._matching(dataset, "*")

    def of(self, dataset: str, logical: str) -> Iterator[Entry]:
        """The entries of a logical name, one a date of receipt. `*` in the name stands for anything."""
        return self._matching(dataset, logical)

    def _matching(self, dataset: str, logical: str) -> Iterator[Entry]:
        """As one moment had them: where a run is published or settled meanwhile it is looked again."""
        published = self._folder / PUBLISHED
        while True:
            try:
                since = _changed(published)
                found = self._found(dataset, logical)
                if _changed(published) == since:
                    break
            except FileNotFoundError:  # settled, or erased, after it was listed
                continue
        yield from (found[name] for name in sorted(found))

    def _found(self, dataset: str, logical: str) -> dict[Path, Entry]:
        """By the path of its name."""
        apart: dict[Path, Entry] = {}
        for folder in self._apart():
            for entry in map(_read, _put_in(folder, f"{dataset}.")):
                if fnmatchcase(entry.logical, logical):
                    apart[self._path(dataset, entry.received_date, entry.logical, "")] = entry
        live, erased = {}, {}
        for date in _names(self._folder / dataset):
            folder = self._folder / dataset / date
            for name in fnmatch.filter(_names(folder), f"{logical}.*"):
                stem, suffix = os.path.splitext(name)
                if suffix in (_LIVE, _ERASED) and fnmatchcase(stem, logical):
                    (live if suffix == _LIVE else erased)[folder / stem] = folder / name
        placed = {name: path for name, path in (live | erased).items() if name not in apart or name in erased}
        return apart | {name: _read(path) for name, path in placed.items()}

    def _apart(self) -> list[Path]:
        published = [self._folder / PUBLISHED / name for name in self.published()]
        return [*published, self._folder / PENDING / self._attempt] if self._attempt else published

    def published(self) -> list[str]:
        """The attempts that count and are not settled: as a rule none."""
        return sorted(_names(self._folder / PUBLISHED))

    def erased(self, dataset: str, received_date: str, logical: str) -> bool:
        """Whether a tombstone stands at that name."""
        return self._path(dataset, received_date, logical, _ERASED).exists()

    def put(self, entry: Entry) -> bool:
        """Puts an entry in place of an older one of its name; with an attempt, apart. False, and nothing stays, where a
        tombstone stands."""
        name = entry.dataset, entry.received_date, entry.logical
        if self._attempt:
            if not (stands := self.erased(*name)):
                put_apart(self._folder / PENDING / self._attempt / f"{'.'.join(name)}{_LIVE}", _content(entry))
            return not stands
        put_whole(self._path(*name, _ERASED if entry.erased else _LIVE), _content(entry))
        return self._kept(entry)

    def _kept(self, entry: Entry) -> bool:
        """Looked at after the writing: whichever came first, the key of an entry that is erased does not stay."""
        name = entry.dataset, entry.received_date, entry.logical
        if self.erased(*name):
            self._path(*name, _LIVE).unlink(missing_ok=True)
            return entry.erased
        return True

    def exchange(self, old: Entry, new: Entry) -> bool:
        """Puts an entry in place of one of the same name, unless that is no longer what stands there: then False, and
        what came meanwhile stays, a tombstone or the entry of another attempt."""
        path = self._path(old.dataset, old.received_date, old.logical, _LIVE)
        name = old.dataset, old.received_date, old.logical

        def stands() -> bool:
            try:
                return _read(path) == old and not self.erased(*name)
            except FileNotFoundError:
                return False

        with writing(path):
            return put_if(path, _content(new), stands) and self._kept(new)

    def publish(self) -> None:
        """Shows all that the attempt has put, at one moment. Raises `StoreError`: then nothing of it is shown, or all
        where the disk does not answer for what it has shown."""
        pending, published = (self._folder / state / self._attempt for state in (PENDING, PUBLISHED))
        with writing(published):
            if pending.exists():
                make_durable(pending)
                make_folder(published.parent)
                os.rename(pending, published)
                make_durable(published.parent)

    def settle(self, first: Callable[[str], object]) -> None:
        """Puts the entries of published attempts in place, after `first` was told of each. One run at a time does so;
        whenever it is interrupted readers see the same. Raises `StoreError`."""
        published = self._folder / PUBLISHED
        if not self.published():
            return
        with writing(published / "*"), alone(published):
            for attempt in self.published():
                first(attempt)
                self._settle(published / attempt)

    def _settle(self, folder: Path) -> None:
        entries = {path: _read(path) for path in _put_in(folder)}
        for path, entry in entries.items():
            place = self._path(entry.dataset, entry.received_date, entry.logical, _LIVE)
            place.parent.mkdir(parents=True, exist_ok=True)
            with alone(place.parent):
                os.replace(path, place)
            self._kept(entry)
        dates = {self._folder / entry.dataset / entry.received_date for entry in entries.values()}
        side_by_side(make_durable, dates | {date.parent for date in dates} | {self._folder})
        shutil.rmtree(folder)

    def withdraw(self, prefix: str, before: float) -> set[str]:
        """Takes back attempts of a name that begins so and that put nothing since `before`, in seconds since the epoch:
        nobody has seen them. Returns those that stay, or are published and not settled."""
        for name in sorted(_names(self._folder / PENDING)):
            folder = self._folder / PENDING / name
            if name.removeprefix(_TAKEN).startswith(prefix) and folder.stat().st_mtime < before:
                # At one moment, so that whoever goes on and publishes it has all of it or nothing.
                taken = folder.with_name(_TAKEN + name.removeprefix(_TAKEN))
                os.replace(folder, taken)
                shutil.rmtree(taken)
        return {*_names(self._folder / PENDING), *self.published()}

    def waiting(self) -> Iterator[Entry]:
        """The entries of all attempts that are not published."""
        for name in _names(self._folder / PENDING):
            yield from map(_read, _put_in(self._folder / PENDING / name))

    def unfinished(self, before: float) -> Iterator[Path]:
        """What writers that were killed left half done before a time, in seconds since the epoch. Nobody reads it, but
        it holds a wrapped key, which must not outlive an entry that is erased."""
        for path in self._folder.glob("*/*/.*" + ATTEMPT):
            with suppress(FileNotFoundError):  # done with, meanwhile
                if path.stat().st_mtime < before:
                    yield path

    def _path(self, dataset: str, received_date: str, logical: str, suffix: str) -> Path:
        return self._folder / dataset / received_date / f"{logical}{suffix}"


def _names(folder: Path) -> list[str]:
    """What is in a folder; nothing where there is none."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InputError(f"manifest {folder} cannot be listed ({error.strerror}): check its permissions") from None


def _put_in(folder: Path, prefix: str = "") -> list[Path]:
    """The entries of an attempt, of a name that begins so."""
    return [folder / name for name in _names(folder) if name.startswith(prefix) and name.endswith(_LIVE)]


def _changed(folder: Path) -> int | None:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _content(entry: Entry) -> bytes:
    return json.dumps({"format": FORMAT, **asdict(entry)}).encode()


def _read(path: Path) -> Entry:
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") == FORMAT:
            return Entry(**content)
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"manifest entry {path} cannot be read ({error.strerror}): check its permissions") from None
    raise InputError(f"manifest entry {path} is damaged, or written by another version of douane")
