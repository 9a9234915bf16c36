"""Lines of JSON to Arrow columns: as fast as pyarrow.json, and strict.

The verdict on a line depends on that line alone, and a good line's values are those that pyarrow.json reads from it.
pyarrow.json itself fails a whole block for one bad line, and lets things pass that are no JSON. So a block is read in
pieces; a piece that does not read, or reads in a way that is not certain, is sifted line by line.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from schemas.fields import NUMBER, STRING, STRINGS, Field
from schemas.shape import arrow_schema, field_names, field_tree, leaf_columns, line_type, unknown_path
from transforms.block import SPACE, Layout, layout_of
from transforms.verdict import CODE, MAX_DEPTH, REASONS, Judge, Reason, rewriting, rewritten

# A piece that fails costs its own reading once more. Smaller ones are lost on pyarrow's fixed cost a call.
_PIECE_LINES, _PIECE_BYTES = 1_600, 1 << 20
# To count unknown fields they are read too, and each new name makes a column as long as the piece: so names times
# lines is bounded, and in a block that brings a flood of names every line from there on is judged by itself.
_SIFTED_LINES, _SIFTED_BYTES, _UNKNOWN_NAMES = 400, 1 << 18, 256
_REPEATED_KEYS = 4  # that a piece is read again for, each found in all lines at once

_BOM = b"\xef\xbb\xbf"
_NUL = re.compile(rb"\\u0000")
_GOOD = -1

_UNKNOWN_FIELD = "unexpected field"  # in the words of pyarrow.json, as all obstacles
_TWICE = re.compile(r"Column\(/(?:.*/)?(.*)\) was specified twice in row (\d+)$", re.DOTALL)

Columns = dict[str, pa.Array]


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

    `line` (int64) holds the number of each row's line, from 0. Always lines == blank + faults + rows. `unknown` counts
    the fields, null ones aside, that the table does not know, by `unknown_path`.
    """

    columns: Columns
    line: np.ndarray
    faults: Faults
    blank: int
    lines: int
    unknown: dict[str, int]


@dataclass(repr=False)
class Habits:
    """What reading earlier blocks has taught: which unknown fields to expect, and whether blocks tend to read as a
    whole. It changes how fast the next block is read, never what comes of it."""

    expected: pa.Schema | None = None
    whole: bool = False


def parse(block: bytes, fields: tuple[Field, ...], habits: Habits | None = None) -> Parsed:
    """Reads a block of lines strictly. It raises for no input, and no value of a line is in what it says of faults."""
    layout = layout_of(block)
    reader = _Reader(block, layout, fields, habits or Habits())
    parts = list(reader.parts()) or [leaf_columns(pa.RecordBatch.from_pylist([], reader.schema), fields)]
    rejected = np.flatnonzero(reader.verdict >= 0)
    return Parsed(
        columns=_concatenated(parts),
        line=layout.number[reader.verdict < 0],
        faults=Faults(layout.number[rejected], reader.verdict[rejected]),
        blank=layout.lines - len(layout.number),
        lines=layout.lines,
        unknown={path: count for path, count in sorted(reader.unknown.items()) if count},
    )


class _Obstacle(NamedTuple):
    """What keeps pyarrow.json from reading a piece, as far as it is known."""

    what: str = ""  # an unknown field, or a field that senders quote or not: a key of `rewriting`
    row: int = -1  # of a line that names a key twice
    key: bytes = b""  # the last name in that key's path


class _Reader:
    """Reads the pieces of one block, and keeps the account of what it finds."""

    def __init__(self, block: bytes, layout: Layout, fields: tuple[Field, ...], habits: Habits) -> None:
        self.block, self.layout, self.fields, self.habits = block, layout, fields, habits
        self.schema, self.tree, self.rewriting = arrow_schema(fields), field_tree(fields), rewriting(fields)
        self.names, self.rules = field_names(fields), [rule for rules in self.rewriting.values() for rule in rules]
        self.decoder, self.judge = msgspec.json.Decoder(line_type(fields)), Judge(fields)
        self.verdict = np.full(len(layout.start), _GOOD, np.int8)
        self.unknown: Counter[str] = Counter()
        self.few_names = True
        self.nul = _NUL.search(block) is not None

    def parts(self) -> Iterator[Columns]:
        """The columns of the good lines, in order, in as few parts as it takes."""
        everything = len(self.layout.start)
        if self.habits.whole and everything:
            columns, _ = self._whole(0, everything, "error")
            if columns is not None:
                yield columns
                return
        self.habits.whole = True  # unless a piece says otherwise
        for begin, end in self.layout.pieces(0, everything, _PIECE_LINES, _PIECE_BYTES):
            yield from self.piece(begin, end)

    def piece(self, begin: int, end: int) -> Iterator[Columns]:
        """The columns of the good lines of [begin, end), in order."""
        columns, obstacle = self._whole(begin, end, "error")
        new_name = obstacle.what == _UNKNOWN_FIELD
        self.habits.whole &= columns is not None or new_name  # which will be known from now on
        if columns is None and not new_name:
            columns, obstacle = self._sift(begin, end, "error")
        if columns is not None:
            yield columns
        elif obstacle.what == _UNKNOWN_FIELD:
            for first, last in self.layout.pieces(begin, end, _SIFTED_LINES, _SIFTED_BYTES):
                columns = self._whole(first, last, "infer")[0] if new_name else None
                columns = columns if columns is not None else self._sift(first, last, "infer")[0]
                if columns is not None:
                    yield columns

    def _whole(self, begin: int, end: int, unexpected: str) -> tuple[Columns | None, _Obstacle]:
        """All of [begin, end) as it stands, or None and the obstacle."""
        data = self.block[self.layout.start[begin] : self.layout.end[end - 1]] + b"\n"
        if not (self.layout.plain[begin:end].all() and _is_utf8(data)):
            return None, _Obstacle()
        columns, obstacle = self._read(data, end - begin, unexpected)
        untried = dict(self.rewriting)
        while obstacle.what in untried:
            data = rewritten(data, untried.pop(obstacle.what))
            columns, obstacle = self._read(data, end - begin, unexpected)
        return columns, obstacle

    def _sift(self, begin: int, end: int, unexpected: str) -> tuple[Columns | None, _Obstacle]:
        """The good lines of [begin, end), each judged alone; the verdict on the others is noted. None if there are
        none, or if a new name stands in the way."""
        lines = self._readable(begin, end)
        columns, obstacle = self._read(_joined(lines), len(lines), unexpected)
        # msgspec takes the last of two equal keys; pyarrow.json tells the first line in which it finds a key twice.
        for _ in range(_REPEATED_KEYS):
            if obstacle.row < 0:
                break
            named = b'"%s"' % obstacle.key
            several = {i for row, (i, line) in enumerate(lines.items()) if row == obstacle.row or line.count(named) > 1}
            lines = {i: line for i, line in lines.items() if i not in several or not self._is_bad(i, line)}
            columns, obstacle = self._read(_joined(lines), len(lines), unexpected)
        if columns is None and lines and not (unexpected == "error" and obstacle.what == _UNKNOWN_FIELD):
            columns = self._judge_all(lines)
        return columns, obstacle

    def _readable(self, begin: int, end: int) -> dict[int, bytes]:
        """The lines of [begin, end) as they are to be read, without those that are certainly bad."""
        layout, lines, decode = self.layout, {}, self.decoder.decode
        self.verdict[begin:end][layout.too_long[begin:end]] = CODE[Reason.TOO_LONG]
        at = begin + np.flatnonzero(~layout.too_long[begin:end])
        places = (array[at].tolist() for array in (layout.start, layout.end, layout.plain))
        for i, start, stop, plain in zip(at.tolist(), *places, strict=True):
            line = self.block[start:stop]
            if not plain:
                line = line.removeprefix(_BOM).strip(SPACE)
            try:
                if not line.isascii():
                    line.decode()  # msgspec does not look at the text that it skips
                decode(line)
            except msgspec.ValidationError:
                line = rewritten(line, self.rules)
                if self._is_bad(i, line):
                    continue
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                if self._is_bad(i, line):
                    continue
            lines[i] = line
        return lines

    def _is_bad(self, i: int, line: bytes) -> bool:
        reason, _ = self.judge.verdict(line)
        if reason:
            self.verdict[i] = CODE[reason]
        return reason is not None

    def _judge_all(self, lines: dict[int, bytes]) -> Columns | None:
        """As `_sift`, where msgspec says too little: it takes the last of two equal keys, for one."""
        judged = {i: self.judge.verdict(line) for i, line in lines.items()}
        self.verdict[list(judged)] = [CODE[reason] if reason else _GOOD for reason, _ in judged.values()]
        good = {i: line for i, line in lines.items() if not judged[i][0]}
        columns, _ = self._read(_joined(good), len(good), "ignore")
        if columns is None:
            # The judge knows no reason, and still pyarrow.json refuses: whatever that is, it is one line's own fault.
            alone = {i: self._read(line + b"\n", 1, "ignore")[0] for i, line in good.items()}
            self.verdict[[i for i, part in alone.items() if part is None]] = CODE[Reason.BAD_NUMBER]
            good = {i: part for i, part in alone.items() if part is not None}
            columns = _concatenated(list(good.values())) if good else None
        for i in good:
            self.unknown.update(judged[i][1])
        return columns

    def _read(self, data: bytes, rows: int, unexpected: str) -> tuple[Columns | None, _Obstacle]:
        """The columns of so many lines, each an object, or None and the obstacle. What pyarrow says of a failure may
        hold values: it goes no further than this function."""
        nul = self.nul and _NUL.search(data) is not None
        if not rows or (unexpected == "infer" and (not self.few_names or nul or _nests_deep(data))):
            return None, _Obstacle()
        counting = unexpected != "ignore" and not nul  # in an unknown field U+0000 would pass unseen
        # Where one device has a field that we do not know, more will: those that were met are expected.
        expected = (counting and self.habits.expected) or self.schema
        options = pa.json.ParseOptions(explicit_schema=expected, unexpected_field_behavior=unexpected)
        whole = pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        try:
            table = pa.json.read_json(pa.BufferReader(data), whole, options)
        except pa.ArrowException as error:
            said = str(error)
            if twice := _TWICE.search(said):
                return None, _Obstacle(row=int(twice[2]), key=twice[1].encode())
            return None, _Obstacle(next((what for what in (_UNKNOWN_FIELD, *self.rewriting) if what in said), ""))
        if table.num_rows != rows:
            return None, _Obstacle()
        (batch,) = table.combine_chunks().to_batches()
        columns = leaf_columns(batch, self.fields)
        checked = self.fields if nul else [field for field in self.fields if field.type == NUMBER]
        if not all(_is_sound(columns[field.path], field) for field in checked):
            return None, _Obstacle()
        unknown = self._unknown(batch) if counting else []
        if not all(_is_finite(column) for _, column in unknown):
            return None, _Obstacle()
        if unknown:
            self._learn(batch.schema, expected, unknown)
        return columns, _Obstacle()

    def _unknown(self, batch: pa.RecordBatch) -> list[tuple[str, pa.Array]]:
        """The columns of fields that no table knows, each with its `unknown_path`."""
        if batch.schema.equals(self.schema):
            return []
        members = [("", self.tree, zip(batch.schema, batch.columns, strict=True))]
        for name, known in self.tree.items():
            if isinstance(known, dict) and batch.schema.field(name).type.num_fields > len(known):
                column = batch.column(name)
                members.append((name, known, zip(column.type, column.flatten(), strict=True)))
        return [
            (unknown_path(parent, field.name, self.names), column)
            for parent, known, found in members
            for field, column in found
            if field.name not in known
        ]

    def _learn(self, schema: pa.Schema, expected: pa.Schema, unknown: list[tuple[str, pa.Array]]) -> None:
        if not schema.equals(expected):
            self.few_names = len(unknown) <= _UNKNOWN_NAMES
            self.habits.expected = _settled(schema) if self.few_names else None
        for path, column in unknown:
            self.unknown[path] += len(column) - column.null_count


def _settled(schema: pa.Schema) -> pa.Schema:
    """What was inferred, to be expected from here on. Of what was only null no type is known, and text that looks like
    a time in one line need not in the next."""
    return pa.schema(
        [pa.field(each.name, _settled_type(each.type)) for each in schema if not pa.types.is_null(each.type)]
    )


def _settled_type(type_: pa.DataType) -> pa.DataType:
    if pa.types.is_struct(type_):
        return pa.struct([pa.field(c.name, _settled_type(c.type)) for c in type_ if not pa.types.is_null(c.type)])
    return pa.string() if pa.types.is_temporal(type_) else type_


def _is_sound(column: pa.Array, field: Field) -> bool:
    """Whether a column is free of what pyarrow.json lets pass: infinities, NaN, U+0000 (of which the escape is the only
    way into a string)."""
    if field.type == NUMBER:
        return _is_finite(column)
    if field.type in (STRING, STRINGS):
        text = (column.values if field.type == STRINGS else column).buffers()[2]
        return text is None or bool(np.frombuffer(text, np.uint8).min(initial=1))
    return True


def _is_utf8(data: bytes) -> bool:
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _is_finite(column: pa.Array) -> bool:
    """Whether no number in it, however deep, is NaN or an infinity."""
    if pa.types.is_struct(column.type):
        return all(map(_is_finite, column.flatten()))
    if pa.types.is_list(column.type):
        return _is_finite(column.flatten())
    return not pa.types.is_floating(column.type) or pc.all(pc.is_finite(column), min_count=0).as_py()


def _nests_deep(data: bytes) -> bool:
    """Whether a line has so many brackets that an unknown field in it might nest tens of thousands deep, on which
    pyarrow.json overflows the stack where it infers types."""
    content = np.frombuffer(data, np.uint8)
    starts = np.append(0, np.flatnonzero(content == ord("\n"))[:-1])
    opened = np.add.reduceat((content == ord("{")) | (content == ord("[")), starts, dtype=np.int32)
    return bool(opened.max() > MAX_DEPTH)


def _concatenated(parts: list[Columns]) -> Columns:
    return {path: pa.concat_arrays([part[path] for part in parts]) for path in parts[0]}


def _joined(lines: dict[int, bytes]) -> bytes:
    return b"\n".join(lines.values()) + b"\n"
