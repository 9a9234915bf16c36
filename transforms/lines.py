"""Lines of JSON to Arrow columns: as fast as pyarrow.json, and strict.

The verdict on a line depends on that line alone, and a good line's values are those that pyarrow.json reads from it.
pyarrow.json itself fails a whole block for one bad line (transforms/arrow_json.py). So a block is read in pieces; where
one does not read, or reads in a way that is not certain, lines are looked at one by one, and those that are certainly
bad are left out. That goes on while it finds some; then all that stayed is read at once.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from operator import length_hint

import msgspec
import numpy as np
import pyarrow as pa

from schemas.fields import EVENT_TYPES, Field
from schemas.shape import field_tree, line_type
from transforms.arrow_json import UNKNOWN_FIELD, ArrowJson, Columns, Obstacle, concatenated, is_utf8
from transforms.block import SPACE, Layout, Lines, layout_of
from transforms.by_type import Group, by_type
from transforms.verdict import CODE, REASONS, Judge, Reason, rewriting, rewritten

# A piece that fails costs its own reading once more. Smaller ones are lost on pyarrow's fixed cost a call.
_PIECE_LINES, _PIECE_BYTES = 1_600, 1 << 20
_SIFTED_LINES, _SIFTED_BYTES = 400, 1 << 18  # where new names of fields make columns as long as what is read at once
_ODD_LINES = 100  # where a line has another type in an unknown field: to judge its neighbours takes long
_WARY = 3
_SELDOM = 400  # lines for each bad one, or more: then it is worth while to try
_REPEATED_KEYS = 4  # that lines are read again for, each found in all of them at once

_BOM = b"\xef\xbb\xbf"
_GOOD = -1


@dataclass(frozen=True, repr=False)
class Faults:
    """Rejected lines: their numbers within the block (int64, ascending) and codes into REASONS (int8)."""

    line: np.ndarray
    reason: np.ndarray

    def counts(self) -> dict[str, int]:
        """How many lines were rejected for each reason."""
        codes, counts = np.unique(self.reason, return_counts=True)
        return {REASONS[code].value: int(count) for code, count in zip(codes, counts, strict=True)}


def faults_of(line: np.ndarray, reason: Reason) -> Faults:
    """Lines that were rejected for one reason."""
    return Faults(line, np.full(len(line), CODE[reason], np.int8))


def merged(*parts: Faults) -> Faults:
    """All faults, in the order of their lines."""
    line = np.concatenate([part.line for part in parts])
    order = np.argsort(line, kind="stable")
    return Faults(line[order], np.concatenate([part.reason for part in parts])[order])


@dataclass(frozen=True, repr=False)
class Parsed:
    """A block's good lines as columns by dotted path, and an account of all others.

    `line` (int64) holds the number of each row's line, from 0; rows of one event type may stand together. Always
    lines == blank + faults + rows. `unknown` counts the fields, null ones aside, that the table does not know, by
    `unknown_path`. `ends` are the `line_ends` of the block, for who wants its rejected lines.
    """

    columns: Columns
    line: np.ndarray
    faults: Faults
    blank: int
    lines: int
    unknown: dict[str, int]
    ends: np.ndarray


@dataclass(repr=False)
class Habits:
    """What reading earlier blocks has taught: which unknown fields to expect, and whether blocks tend to read as a
    whole, or to have bad lines all over. It changes how fast the next block is read, never what comes of it."""

    expected: pa.Schema | None = None
    whole: bool = False
    spoilt: bool = False
    of_kind: dict[str, "Habits"] = field(default_factory=dict)

    def of(self, kind: str) -> "Habits":
        """Those of lines of one kind."""
        return self.of_kind.setdefault(kind, Habits()) if kind else self


def parse(block: bytes, fields: tuple[Field, ...], habits: Habits | None = None) -> Parsed:
    """Reads a block of lines strictly. It raises for no input, and no value of a line is in what it says of faults."""
    layout, habits = layout_of(block), habits or Habits()
    kinds = tuple(name for name in field_tree(fields) if name in EVENT_TYPES)
    sifters = [_Reader(Group("", block, layout), fields, habits)] if habits.spoilt else []
    left = sifters[0].sifted() if sifters else (block, layout)
    readers = [_Reader(group, fields, habits.of(group.kind)) for group in by_type(*left, kinds)]
    parts = [columns for reader in readers for columns in reader.parts(sifted=habits.spoilt)]
    unknown = sum((reader.json.unknown for reader in readers), Counter())
    faults = merged(*(reader.faults for reader in (*sifters, *readers)))
    habits.spoilt = len(faults.line) * _SELDOM > len(layout.start)
    return Parsed(
        columns=concatenated(parts or [readers[0].json.no_columns()]),
        line=np.concatenate([reader.good for reader in readers]),
        faults=faults,
        blank=len(layout.ends) - len(layout.number),
        lines=len(layout.ends),
        unknown=dict(sorted(unknown.items())),
        ends=layout.ends,
    )


class _Reader:
    """Reads the lines of one group, and notes the verdict on each that is rejected."""

    def __init__(self, group: Group, fields: tuple[Field, ...], habits: Habits) -> None:
        self.block, self.layout, self.habits = group.block, group.layout, habits
        self.kind = group.kind
        self.json = ArrowJson(self.block, fields, habits.expected)
        self.decode, self.judge = msgspec.json.Decoder(line_type(fields)).decode, Judge(fields)
        self.rewriting = rewriting(fields)
        self.rules = [rule for rules in self.rewriting.values() for rule in rules]
        self.verdict = np.full(len(self.layout.start), _GOOD, np.int8)
        self.lines = Lines(self.block, self.layout)

    @property
    def good(self) -> np.ndarray:
        """The numbers of the good lines, once all parts were read."""
        return self.layout.number[self.verdict == _GOOD]

    @property
    def faults(self) -> Faults:
        """The others, once all parts were read."""
        rejected = np.flatnonzero(self.verdict != _GOOD)
        return Faults(self.layout.number[rejected], self.verdict[rejected])

    def sifted(self) -> tuple[bytes, Layout]:
        """The lines that are not certainly bad, as they are to be read, and their layout, under their own numbers."""
        everything = len(self.layout.start)
        self._sift(0, everything)
        at = self._good(0, everything)
        text = self.lines.text(at)
        return text, replace(layout_of(text), number=self.layout.number[at], ends=self.layout.ends)

    def parts(self, sifted: bool) -> Iterator[Columns]:
        """The columns of the good lines, in order, in as few parts as it takes."""
        yield from self._sifted(0, len(self.layout.start)) if sifted else self._tried()
        self.habits.expected = self.json.expected

    def _tried(self) -> Iterator[Columns]:
        """As `parts`, where most pieces should read as they stand."""
        everything = len(self.layout.start)
        if self.habits.whole and everything:
            columns, _ = self._whole(0, everything, "error")
            if columns is not None:
                yield columns
                return
        self.habits.whole = True  # unless a piece says otherwise
        # One bad line tells little of where the next is, several tell that it is near: then to read before one sifts is
        # more often in vain. So for a bad piece more, as many good ones more are sifted, up to a few.
        unread, wary = None, 0  # where lines begin that are sifted and not read yet
        for begin, end in self.layout.pieces(0, everything, _PIECE_LINES, _PIECE_BYTES):
            if unread is None:
                columns, obstacle = self._whole(begin, end, "error")
                if columns is not None:
                    yield columns
                    continue
                if obstacle.what == UNKNOWN_FIELD:  # which will be known from now on
                    yield from self._with_new_names(begin, end)
                    continue
                unread = begin
            wary = min(wary + 1, _WARY) if self._sift(begin, end) else wary - 1
            if wary <= 0:
                yield from self._sifted(unread, end)
                unread, wary = None, 0
        if unread is not None:
            yield from self._sifted(unread, everything)

    def _whole(self, begin: int, end: int, unexpected: str) -> tuple[Columns | None, Obstacle]:
        """All of [begin, end) as it stands, or None and the obstacle."""
        start, stop = self.layout.start[begin], self.layout.end[end - 1]
        data = self.block[start : stop + 1]  # one copy, or none if it is the whole block
        if not data.endswith(b"\n"):
            data = data[: stop - start] + b"\n"
        if not (self.layout.plain[begin:end].all() and is_utf8(data)):
            return None, Obstacle()
        columns, obstacle = self.json.read(data, end - begin, unexpected, self.kind)
        untried = dict(self.rewriting)
        while obstacle.what in untried:
            data = rewritten(data, untried.pop(obstacle.what))
            columns, obstacle = self.json.read(data, end - begin, unexpected, self.kind)
        return columns, obstacle

    def _with_new_names(self, begin: int, end: int) -> Iterator[Columns]:
        """The columns of the good lines of [begin, end), which brings fields that are not expected."""
        for first, last in self.layout.pieces(begin, end, _SIFTED_LINES, _SIFTED_BYTES):
            columns, _ = self._whole(first, last, "infer")
            if columns is not None:
                yield columns
            else:
                self._sift(first, last)
                yield from self._inferred(first, last)

    def _sifted(self, begin: int, end: int) -> Iterator[Columns]:
        """The columns of the good lines of [begin, end), all of which were sifted."""
        columns, obstacle = self._weeded(begin, end, "error")
        pieces = list(self.layout.pieces(begin, end, _PIECE_LINES, _PIECE_BYTES))
        if columns is not None:
            yield columns
        elif len(pieces) > 1:
            for piece in pieces:
                yield from self._sifted(*piece)
        else:
            lines = _SIFTED_LINES if obstacle.what == UNKNOWN_FIELD else _ODD_LINES
            for first, last in self.layout.pieces(begin, end, lines, _SIFTED_BYTES):
                yield from self._inferred(first, last)

    def _inferred(self, begin: int, end: int) -> Iterator[Columns]:
        """As `_sifted`, of few lines with fields that are not expected."""
        columns, _ = self._weeded(begin, end, "infer")
        if columns is not None:
            yield columns
        else:
            yield from self._judged(begin, end)

    def _sift(self, begin: int, end: int) -> bool:
        """Rejects the lines of [begin, end) that are certainly bad, each judged alone. Whether there are any."""
        self.habits.whole = False
        plain, too_long = self.layout.plain[begin:end], self.layout.too_long[begin:end]
        self.verdict[begin:end][too_long] = CODE[Reason.TOO_LONG]
        for i in (begin + np.flatnonzero(~(plain | too_long))).tolist():
            self.lines.mend(i, self.lines.line(i).removeprefix(_BOM).strip(SPACE))
        at = self._good(begin, end)
        lines = self.lines.of(at)
        for place, of_type in chain(_undecodable(lines), _refused(lines, self.decode)):
            self._suspect(int(at[place]), of_type)
        return len(self._good(begin, end)) < end - begin

    def _suspect(self, i: int, of_type: bool) -> None:
        """Judges a line that msgspec refuses, unless it is only that its sender quotes fields as he pleases."""
        if of_type:
            line = self.lines.line(i)
            mended = rewritten(line, self.rules)
            if mended != line:
                self.lines.mend(i, mended)
                if not any(_refused([mended], self.decode)):
                    return
        self._judge(i)

    def _weeded(self, begin: int, end: int, unexpected: str) -> tuple[Columns | None, Obstacle]:
        """The good lines of [begin, end), all of which were sifted, or None and the obstacle."""
        at = self._good(begin, end)
        columns, obstacle = self.json.read(self.lines.text(at), len(at), unexpected, self.kind)
        # msgspec takes the last of two equal keys; pyarrow.json tells the first line in which it finds a key twice.
        for _ in range(_REPEATED_KEYS):
            if obstacle.row < 0:
                break
            for i in self._repeating(at, obstacle).tolist():
                self._judge(i)
            at = self._good(begin, end)
            columns, obstacle = self.json.read(self.lines.text(at), len(at), unexpected, self.kind)
        return columns, obstacle

    def _repeating(self, at: np.ndarray, obstacle: Obstacle) -> np.ndarray:
        """Of these lines the one that names a key twice, and those that might."""
        named = repeat(b'"%s"' % obstacle.key)
        places = self.layout.start[at].tolist(), self.layout.end[at].tolist()
        several = np.fromiter(map(self.block.count, named, *places), np.int64, len(at)) > 1
        several[obstacle.row] = True
        return at[several]

    def _judged(self, begin: int, end: int) -> Iterator[Columns]:
        """As `_sifted`, where msgspec says too little: it takes the last of two equal keys, for one."""
        unknown = {i: self._judge(i) for i in self._good(begin, end).tolist()}
        at = self._good(begin, end)
        columns, _ = self.json.read(self.lines.text(at), len(at), "ignore")
        if columns is None:
            # The judge knows no reason, and still pyarrow.json refuses: whatever that is, it is one line's own fault.
            alone = {i: self.json.read(self.lines.line(i) + b"\n", 1, "ignore")[0] for i in at.tolist()}
            self.verdict[[i for i, part in alone.items() if part is None]] = CODE[Reason.BAD_NUMBER]
            good = [part for part in alone.values() if part is not None]
            columns = concatenated(good) if good else None
        for i in self._good(begin, end).tolist():
            self.json.unknown.update(unknown[i])
        if columns is not None:
            yield columns

    def _judge(self, i: int) -> Counter[str]:
        """Rejects a line if it is bad; what it holds of unknown fields."""
        reason, unknown = self.judge.verdict(self.lines.line(i))
        if reason:
            self.verdict[i] = CODE[reason]
        return unknown

    def _good(self, begin: int, end: int) -> np.ndarray:
        """The lines of [begin, end) that are not rejected so far."""
        return begin + np.flatnonzero(self.verdict[begin:end] == _GOOD)


def _undecodable(lines: list[bytes]) -> Iterator[tuple[int, bool]]:
    """As `_refused`, lines that are no UTF-8: msgspec does not look at the text that it skips."""
    for place in np.flatnonzero(~np.fromiter(map(bytes.isascii, lines), bool, len(lines))).tolist():
        try:
            lines[place].decode()
        except UnicodeDecodeError:
            yield place, False


def _refused(lines: list[bytes], decode: Callable[[bytes], object]) -> Iterator[tuple[int, bool]]:
    """The places of lines that msgspec does not take for what they should be, and whether it is for a type."""
    rest = iter(lines)
    while True:
        try:
            deque(map(decode, rest), maxlen=0)
            return
        except msgspec.ValidationError:
            of_type = True
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            of_type = False
        yield len(lines) - length_hint(rest) - 1, of_type
