"""A watched directory as an endless source: files appear in it, and a marker says what is there already.

The contract, for who puts the files there:

- A file is put in place whole, by a rename, and never changes after. Its name is 13 digits, a time in milliseconds
  since the epoch, then anything, then one of `SUFFIXES`: `1763877204000-edge7.ndjson.zst`. No line in it was received
  before that time. Names that begin with `.` or `_`, and other endings, are not looked at.
- The marker `_watermark`, put in place by a rename too, is `{"low_watermark_ms": T, "files": N}`: every line received
  before T is there, no file named with a time before T will come any more, and N such files have been put there since
  the beginning. T and N never go back.
- A file may be removed once no checkpoint or savepoint that the job may go back to is older than the reading of it.

Only files named with a time before T are read, in the order of their names. So the same folder gives the same elements
in the same order however often reading starts again; the position is one name and a number of lines; and the number of
files read up to it, held against N, tells of a file that was removed too early or came too late. Then nothing is read
on and nothing opens, and the log says so.
"""

import json
import logging
import os
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.coders import BytesCoder, Coder, TupleCoder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp

from pipelines.arrivals import ARRIVED_BYTES, Arrived
from pipelines.blocks import SUFFIXES, Span, read_blocks
from pipelines.errors import InputError
from transforms.block import line_count

MARKER = "_watermark"
_NAME = re.compile(r"[0-9]{13}.*", re.DOTALL)
_LF = ord("\n")
_WERE_THERE = (
    "were there: one was removed before it was read, or came after its time; nothing is read on until they agree"
)


@dataclass(frozen=True)
class Marker:
    """Every line received before `low_watermark_ms` is in one of the `files` that are named with a time before it."""

    low_watermark_ms: int
    files: int


@dataclass(frozen=True)
class Position(CheckpointMark):
    """Where reading stopped: after so many lines of the file `name`, or after all of it (`lines` None). It is the
    `number`th file of the folder, and had this size and time of change. `marker` is the last one that counted."""

    name: str = ""
    number: int = 0
    lines: int | None = None
    size: int = 0
    changed_ns: int = 0
    marker: Marker | None = None


class PositionCoder(Coder):
    """The same bytes for the same position: Beam finds a reader that waits by them."""

    def encode(self, value: Position) -> bytes:
        return json.dumps(asdict(value), sort_keys=True).encode()

    def decode(self, encoded: bytes) -> Position:
        fields = json.loads(encoded)
        marker = fields.pop("marker")
        return Position(**fields, marker=marker and Marker(**marker))

    def is_deterministic(self) -> bool:
        return True


@dataclass
class ReadWatched(beam.PTransform):
    """The lines of a folder's files, for ever: elements of whole lines and no receipts, since the lines bring their own
    (`received_time`). The watermark follows names and marker alone, never the clock of this machine.

    `splits` readers share the files; a runner that takes the watermark of one of them for that of all (Prism) needs
    one. With `stop_at_end` the source ends where the marker does, instead of waiting for the next.
    """

    folder: str
    splits: int = 1
    stop_at_end: bool = False

    def expand(self, pbegin):
        source = Watched(os.path.abspath(self.folder), self.splits, stop_at_end=self.stop_at_end)
        read = ReadFromUnboundedSource(
            source, poll_interval=0.2, max_records_per_bundle=16, max_read_time_seconds=1
        ).with_output_types(Arrived)
        return pbegin | "Watched" >> read


@dataclass(frozen=True)
class Watched(UnboundedSource):
    """The share of one of `splits` readers: of the files of a folder every `splits`th."""

    folder: str
    splits: int = 1
    share: int = 0
    stop_at_end: bool = False

    def split(self, desired_num_splits: int, options: Any = None) -> list["Watched"]:
        return [replace(self, share=share) for share in range(self.splits)]

    def create_reader(self, options: Any, checkpoint_mark: Position | None) -> "Reader":
        return Reader(self, checkpoint_mark or Position())

    def get_checkpoint_mark_coder(self) -> Coder:
        return PositionCoder()

    def default_output_coder(self) -> Coder:
        return TupleCoder((BytesCoder(), BytesCoder()))


class Reader(UnboundedReader):
    """Reads a folder on from a position. Raises InputError, which fails the bundle, for a folder or a file that is gone
    or cannot be read, a file that changes while it is read, and a name that says no time."""

    def __init__(self, source: Watched, position: Position) -> None:
        self._source, self._at = source, position
        self._waiting: deque[str] = deque()  # files that are to be read, in order
        self._listed: Marker | None = None  # the marker that they were listed under
        self._said: object = None  # what the log was told last
        self._blocks: Iterator[bytes] | None = None
        self._current: tuple[bytes, int] | None = None
        if position.lines is not None:
            self._blocks = self._reading(position.lines)

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        while self._blocks or self._next_file():
            block = next(self._blocks, None)
            if block is not None:
                self._at = replace(self._at, lines=self._at.lines + line_count(block))
                self._current = block, _time_of(self._at.name)
                return True
            self._unchanged()
            self._at = replace(self._at, lines=None, size=0, changed_ns=0)
            self._blocks = None
        return False

    def get_current(self) -> Arrived:
        return self._current[0], b""

    def get_current_timestamp(self) -> Timestamp:
        """The time that the file is named with: even lines that do not read have it, and at every reading the same."""
        return Timestamp(micros=self._current[1] * 1000)

    def get_watermark(self) -> Timestamp:
        """The time that the file in hand, or the next, is named with; behind the last one, that of the marker."""
        if self._blocks or self._waiting:
            return Timestamp(micros=_time_of(self._at.name if self._blocks else self._waiting[0]) * 1000)
        if self._listed is None:
            return MIN_TIMESTAMP
        return MAX_TIMESTAMP if self._source.stop_at_end else Timestamp(micros=self._listed.low_watermark_ms * 1000)

    def get_checkpoint_mark(self) -> Position:
        return self._at

    def close(self) -> None:
        self._blocks = None

    def _next_file(self) -> bool:
        """Goes to the next file of this reader's share. False if there is none yet."""
        if not self._waiting:
            self._look()
        while self._waiting:
            name, number = self._waiting.popleft(), self._at.number + 1
            self._at = replace(self._at, name=name, number=number)
            if number % self._source.splits == self._source.share:
                size, changed_ns = self._stat()
                self._at = replace(self._at, lines=0, size=size, changed_ns=changed_ns)
                self._blocks = self._reading(0)
                return True
        return False

    def _look(self) -> None:
        """Reads the marker, and then, so that its promise covers what is found, the names of the files."""
        marker = self._newest(self._marker())
        if marker is None or marker == self._listed:
            return
        names = [name for name in self._names() if name > self._at.name and _time_of(name) < marker.low_watermark_ms]
        found = self._at.number + len(names)
        if found != marker.files:
            self._say((marker, found), f"the marker counts {marker.files:,} files, and {found:,} {_WERE_THERE}")
            return
        self._waiting, self._listed = deque(sorted(names)), marker
        self._at = replace(self._at, marker=marker)

    def _newest(self, read: Marker | None) -> Marker | None:
        """The marker that counts: one that goes back moves nothing."""
        last = self._at.marker
        if read is None or last is None:
            return read or last
        if read.low_watermark_ms < last.low_watermark_ms or read.files < last.files:
            self._say((read, last), f"the marker went back to {read}; it stays at {last}")
            return last
        return read

    def _marker(self) -> Marker | None:
        """The marker as it stands; None if there is none, or none that reads."""
        try:
            with open(os.path.join(self._source.folder, MARKER), "rb") as file:
                content = file.read(1 << 10)
        except FileNotFoundError:
            if os.path.isdir(self._source.folder):
                return None
            raise InputError(f"{self._source.folder} is no folder here: it must be there for every worker") from None
        except OSError as error:
            raise self._unreadable(MARKER, error) from None
        try:
            marker = Marker(**json.loads(content))
        except (ValueError, TypeError):
            marker = None
        if marker is None or not all(type(each) is int and 0 <= each < 10**13 for each in asdict(marker).values()):
            self._say(content, 'the marker does not read and moves nothing: write {"low_watermark_ms": T, "files": N}')
            return None
        return marker

    def _names(self) -> Iterator[str]:
        try:
            with os.scandir(self._source.folder) as entries:
                for entry in entries:
                    if entry.name.endswith(SUFFIXES) and not entry.name.startswith((".", "_")):
                        if not _NAME.fullmatch(entry.name):
                            raise InputError(f"{entry.path} is not named with a time: begin it with 13 digits, in ms")
                        yield entry.name
        except OSError as error:
            raise error if isinstance(error, InputError) else self._unreadable("", error) from None

    def _reading(self, lines: int) -> Iterator[bytes]:
        """The file in hand from behind so many lines on. Raises InputError if it is another than it was."""
        self._unchanged()
        path = self._path()
        whole = Span(path, 0, None if path.endswith((".gz", ".zst")) else self._at.size)
        return _behind(lines, chain.from_iterable(map(_parts, read_blocks(whole))))

    def _unchanged(self) -> None:
        if self._stat() != (self._at.size, self._at.changed_ns):
            raise InputError(
                f"{self._path()} changed while it was read: files are put in place whole and left as they are"
            )

    def _stat(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path())
        except OSError as error:
            raise self._unreadable(self._at.name, error) from None
        return found.st_size, found.st_mtime_ns

    def _path(self) -> str:
        return os.path.join(self._source.folder, self._at.name)

    def _unreadable(self, name: str, error: OSError) -> InputError:
        path = os.path.join(self._source.folder, name)
        return InputError(f"{path} cannot be read ({type(error).__name__}): bring it back, or mend its permissions")

    def _say(self, what: object, message: str) -> None:
        """Once for as long as it stays so: the folder is looked at several times a second."""
        if what != self._said:
            logging.error("%s: %s", self._source.folder, message)
        self._said = what


def _time_of(name: str) -> int:
    return int(name[:13])


def _parts(block: bytes) -> Iterator[bytes]:
    """The same lines in parts of ARRIVED_BYTES at most, or of one line that is longer."""
    start = 0
    while len(block) - start > ARRIVED_BYTES:
        stop = block.rfind(b"\n", start, start + ARRIVED_BYTES) + 1 or block.find(b"\n", start) + 1
        if not stop:
            break
        yield block[start:stop]
        start = stop
    yield block[start:]


def _behind(lines: int, blocks: Iterable[bytes]) -> Iterator[bytes]:
    """What follows the first so many lines."""
    for block in blocks:
        if not lines:
            yield block
            continue
        held = line_count(block)
        if held > lines:
            yield block[int(np.flatnonzero(np.frombuffer(block, np.uint8) == _LF)[lines - 1]) + 1 :]
        lines -= min(lines, held)
