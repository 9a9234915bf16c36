"""Lines of JSON to Arrow columns: as fast as pyarrow.json, and strict.

The verdict on a line depends on that line alone, and a good line's values are those that pyarrow.json reads from it.
pyarrow.json itself fails a whole block for one bad line (transforms/arrow_json.py). So lines that are certainly bad are
left out, each judged alone: at once where cheap signs tell them, then those that pyarrow.json fails in, and if that
does not help all that msgspec refuses. A good line that keeps others from being read is read apart.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

import msgspec
import numpy as np
import pyarrow as pa

from schemas.fields import EVENT_TYPES, Field
from schemas.shape import field_names, field_tree, line_type
from transforms.arrow_json import UNKNOWN_FIELD, ArrowJson, Columns, Obstacle, concatenated, is_utf8
from transforms.block import SPACE, Lines, layout_of
from transforms.by_type import Group, by_type, matching, oddities, of_other_types
from transforms.refused import refused
from transforms.verdict import CODE, REASONS, Judge, Reason, rewriting, rewritten

# A piece that fails costs its own reading once more. Smaller ones are lost on pyarrow's fixed cost a call.
_PIECE_LINES, _PIECE_BYTES = 1_600, 1 << 20
_NAMED_LINES, _NAMED_BYTES = 400, 1 << 18  # where new names of fields make columns as long as what is read at once
_SELDOM = 400  # lines for each bad one, or more: then it is worth while to try
_REPEATED_KEYS = 4  # that are searched for before lines are read
_TRIES = 3  # to read lines without those that pyarrow.json fails in: before all are looked at, and after

_BOM = b"\xef\xbb\xbf"
_NUL = rb"\u0000"
_GOOD, _APART = -1, -2  # apart: good, and not to be read with the others


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
    """What reading earlier blocks has taught: which unknown fields to expect, and whether blocks tend to have bad lines
    all over. It changes how fast the next block is read, never what comes of it."""

    expected: pa.Schema | None = None
    spoilt: bool = False
    repeated: tuple[str, ...] = ()  # keys, known ones only, that lines of the last block named twice
    of_kind: dict[str, "Habits"] = field(default_factory=dict)

    def of(self, kind: str) -> "Habits":
        """Those of lines of one kind."""
        return self.of_kind.setdefault(kind, Habits()) if kind else self


def parse(block: bytes, fields: tuple[Field, ...], habits: Habits | None = None) -> Parsed:
    """Reads a block of lines strictly. It raises for no input, and no value of a line is in what it says of faults."""
    layout, habits = layout_of(block), habits or Habits()
    kinds = tuple(name for name in field_tree(fields) if name in EVENT_TYPES)
    odd = oddities(habits.repeated) if habits.spoilt else b""
    readers = [_Reader(group, fields, habits.of(group.kind)) for group in by_type(block, layout, kinds, odd)]
    numbers, columns = zip(*(reader.read(habits.spoilt) for reader in readers), strict=True)
    unknown = sum((reader.json.unknown for reader in readers), Counter())
    faults = merged(*(reader.faults for reader in readers))
    habits.repeated = tuple(sorted(set().union(*(reader.repeated for reader in readers))))[:_REPEATED_KEYS]
    habits.spoilt = len(faults.line) * _SELDOM > len(layout.start)
    return Parsed(
        columns=concatenated(columns),
        line=np.concatenate(numbers),
        faults=faults,
        blank=len(layout.ends) - len(layout.number),
        lines=len(layout.ends),
        unknown=dict(sorted(unknown.items())),
        ends=layout.ends,
    )


class _Reader:
    """Reads the lines of one group, and notes the verdict on each that is rejected."""

    def __init__(self, group: Group, fields: tuple[Field, ...], habits: Habits) -> None:
        self.group, self.block, self.layout, self.habits = group, group.block, group.layout, habits
        self.json = ArrowJson(fields, habits.expected)
        self.decode, self.judge = msgspec.json.Decoder(line_type(fields)).decode, Judge(fields)
        self.rewriting, self.names = rewriting(fields), field_names(fields)
        self.lines = Lines(self.block, self.layout)
        self.verdict = np.where(self.layout.too_long, CODE[Reason.TOO_LONG], _GOOD).astype(np.int8)
        self.sifted = np.zeros(len(self.layout.start), bool)
        self.strangers_sought, self.repeated = not group.kind, set[str]()

    @property
    def faults(self) -> Faults:
        """The lines that were rejected, once all parts were read."""
        rejected = np.flatnonzero(self.verdict >= 0)
        return Faults(self.layout.number[rejected], self.verdict[rejected])

    def read(self, spoilt: bool) -> tuple[np.ndarray, Columns]:
        """The numbers of the good lines, in order, and their columns."""
        everything = self._left(0, len(self.verdict))
        self._sift(everything if spoilt else everything[self._doubtful(everything)])
        self._judge_nul()
        parts = [*self._together(0, len(self.verdict)), *self._apart()]
        self.habits.expected = self.json.expected
        if not parts:
            return everything[:0], self.json.no_columns()
        at, columns = np.concatenate([at for at, _ in parts]), concatenated([columns for _, columns in parts])
        if (np.diff(at) < 0).any():
            order = np.argsort(at)
            at, columns = at[order], {path: column.take(pa.array(order)) for path, column in columns.items()}
        return self.layout.number[at], columns

    def _doubtful(self, at: np.ndarray) -> np.ndarray:
        """Which of these lines are not plain, or may be no UTF-8."""
        doubtful = ~self.layout.plain[at]
        if len(at) and not is_utf8(self.block):
            content = np.frombuffer(self.block, np.uint8)
            doubtful |= np.maximum.reduceat(content, self.layout.start)[at] >= 0x80
        return doubtful

    def _judge_nul(self) -> None:
        """Judges the lines that may hold U+0000, which pyarrow.json lets pass."""
        if b"\\" in self.block and _NUL in self.block:  # to look for a single byte first takes a fiftieth of the time
            for i in self._left(0, len(self.verdict)).tolist():
                if _NUL in self.lines.line(i):
                    self._judge(i)

    def _together(self, begin: int, end: int) -> Iterator[tuple[np.ndarray, Columns]]:
        """The places of the good lines of [begin, end) that can be read together, and their columns."""
        at, columns = self._weeded(begin, end, "error")
        pieces = list(self.layout.pieces(begin, end, _PIECE_LINES, _PIECE_BYTES))
        if columns is not None:
            yield at, columns
        elif len(pieces) > 1:
            for piece in pieces:
                yield from self._together(*piece)
        elif len(at):
            for first, last in self.layout.pieces(begin, end, _NAMED_LINES, _NAMED_BYTES):
                at, columns = self._weeded(first, last, "infer")
                if columns is not None:
                    yield at, columns
                else:
                    self._set_apart(at)

    def _weeded(self, begin: int, end: int, unexpected: str) -> tuple[np.ndarray, Columns | None]:
        """The lines of [begin, end) but for those that were found to be in the way, and their columns, or None if
        something is in the way still."""
        at = self._left(begin, end)
        columns, obstacle = self._columns(at, unexpected)
        remedies = iter([*[self._weed] * _TRIES, self._sift_for, *[self._weed] * _TRIES])
        while columns is None and any(remedy(at, obstacle) for remedy in remedies):
            at = self._left(begin, end)
            columns, obstacle = self._columns(at, unexpected)
        return at, columns

    def _columns(self, at: np.ndarray, unexpected: str) -> tuple[Columns | None, Obstacle]:
        """The columns of these lines, or None and the obstacle."""
        data, untried = self.lines.text(at), dict(self.rewriting)
        columns, obstacle = self.json.read(data, len(at), unexpected, self.group.kind)
        while obstacle.what in untried:
            data = rewritten(data, untried.pop(obstacle.what))
            columns, obstacle = self.json.read(data, len(at), unexpected, self.group.kind)
        return columns, obstacle

    def _weed(self, at: np.ndarray, obstacle: Obstacle) -> bool:
        """Sets the lines that pyarrow.json told of apart, and those like them. Whether there are any."""
        if obstacle.what == UNKNOWN_FIELD:
            told = self._strangers()
        else:
            told = at[np.array([row for row in obstacle.rows if row < len(at)], int)]
        self.repeated |= {obstacle.twice} & self.names
        self._set_apart(told)
        self._set_apart(self._alike(at, obstacle.signs))
        return len(told) > 0

    def _alike(self, at: np.ndarray, signs: tuple[bytes, ...]) -> np.ndarray:
        """The lines of a sign that no more than half of all have. Where it is not the first, what was expected came
        from few lines."""
        for number, sign in enumerate(signs):
            alike = matching(self.group, sign, int(at[0]), int(at[-1]) + 1)
            alike = alike[self.verdict[alike] == _GOOD]
            if 2 * len(alike) <= len(at):
                if number:
                    self.json.forget()
                return alike
        return at[:0]

    def _strangers(self) -> np.ndarray:
        """The lines that hold what belongs to another event type: for the first who asks."""
        if self.strangers_sought:
            return np.array([], np.int64)
        self.strangers_sought = True
        strange = of_other_types(self.group)
        return strange[self.verdict[strange] == _GOOD]

    def _sift_for(self, at: np.ndarray, obstacle: Obstacle) -> bool:
        """Sifts what was not sifted yet, unless that is no remedy. Whether any was bad."""
        if obstacle.what == UNKNOWN_FIELD:
            return False
        self._sift(at[~self.sifted[at]])
        return bool((self.verdict[at] != _GOOD).any())

    def _sift(self, at: np.ndarray) -> None:
        """Rejects those of these lines that are certainly bad, each judged alone."""
        self.sifted[at] = True
        for i in at[~self.layout.plain[at]].tolist():
            self.lines.mend(i, self.lines.line(i).removeprefix(_BOM).strip(SPACE))
        lines = self.lines.of(at)
        for place in refused(lines, self.decode):
            self._judge(int(at[place]))

    def _judge(self, i: int) -> Counter[str]:
        """Rejects a line if it is bad; what it holds of unknown fields."""
        line = self.lines.line(i)
        reason, unknown = self.judge.verdict(line)
        if reason is Reason.WRONG_TYPE:
            rules = chain.from_iterable(self.rewriting.values())
            reason, unknown = self.judge.verdict(rewritten(line, rules))
        if reason:
            self.verdict[i] = CODE[reason]
        return unknown

    def _set_apart(self, at: np.ndarray) -> None:
        """Judges these lines; good ones are not read with the others, and their unknown fields are counted now."""
        for i in at.tolist():
            unknown = self._judge(i)
            if self.verdict[i] == _GOOD:
                self.verdict[i] = _APART
                self.json.unknown.update(unknown)

    def _apart(self) -> Iterator[tuple[np.ndarray, Columns]]:
        """As `_together`, the good lines that were set apart."""
        at = np.flatnonzero(self.verdict == _APART)
        columns, _ = self._columns(at, "ignore")
        if columns is not None:
            yield at, columns
            return
        # The judge knows no reason, and still pyarrow.json refuses: whatever that is, it is one line's own fault.
        for i in at.tolist():
            columns, _ = self._columns(np.array([i]), "ignore")
            if columns is None:
                self._refuse(i)
            else:
                yield np.array([i]), columns

    def _refuse(self, i: int) -> None:
        self.json.unknown.subtract(self._judge(i))
        self.verdict[i] = CODE[Reason.BAD_NUMBER]

    def _left(self, begin: int, end: int) -> np.ndarray:
        """The lines of [begin, end) that are not rejected so far, nor set apart."""
        return begin + np.flatnonzero(self.verdict[begin:end] == _GOOD)
