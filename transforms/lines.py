"""Lines of JSON to Arrow columns: as fast as pyarrow.json, and strict.

The verdict on a line depends on that line alone, and a good line's values are those that pyarrow.json reads from it.
pyarrow.json itself fails a whole block for one bad line, and lets things pass that are no JSON. So a block is read in
pieces; a piece that does not read, or reads in a way that is not certain, is sifted line by line.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from schemas.fields import NUMBER, STRING, STRINGS, Field
from schemas.shape import arrow_schema, field_tree, leaf_columns, line_type
from transforms.block import SPACE, Layout, layout_of
from transforms.verdict import CODE, MAX_DEPTH, REASONS, Reason, judge, rewriting, rewritten

# A piece that fails costs its own reading once more. Smaller ones are lost on pyarrow's fixed cost a call.
_PIECE_LINES, _PIECE_BYTES = 1_600, 1 << 20
# To count unknown fields they are read too, and each new name makes a column as long as the piece: so names times
# lines is bounded, and in a block that brings a flood of names every line from there on is judged by itself.
_SIFTED_LINES, _SIFTED_BYTES, _UNKNOWN_NAMES = 400, 1 << 18, 256

_BOM = b"\xef\xbb\xbf"
_NUL = re.compile(rb"\\u0000")
_GOOD = -1
_UNKNOWN_FIELD, _OTHER = "unexpected field", "other"  # what keeps pyarrow.json from reading: as it says, and the rest

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
    the fields, null ones aside, that no table knows, by the path of the known object they stand in ("" is the line).
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


class _Reader:
    """Reads the pieces of one block, and keeps the account of what it finds."""

    def __init__(self, block: bytes, layout: Layout, fields: tuple[Field, ...], habits: Habits) -> None:
        self.block, self.layout, self.fields, self.habits = block, layout, fields, habits
        self.schema, self.tree, self.rewriting = arrow_schema(fields), field_tree(fields), rewriting(fields)
        self.decoder = msgspec.json.Decoder(line_type(fields))
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
        if columns is not None:
            yield columns
            return
        self.habits.whole &= obstacle == _UNKNOWN_FIELD  # which will be known from now on
        for first, last in self.layout.pieces(begin, end, _SIFTED_LINES, _SIFTED_BYTES):
            columns = self._whole(first, last, "infer")[0] if obstacle == _UNKNOWN_FIELD else None
            if columns is None:
                columns = self._sift(first, last)
            if columns is not None:
                yield columns

    def _whole(self, begin: int, end: int, unexpected: str) -> tuple[Columns | None, str]:
        """All of [begin, end) as it stands, or None and the obstacle."""
        data = self.block[self.layout.start[begin] : self.layout.end[end - 1]] + b"\n"
        if not (self.layout.plain[begin:end].all() and _is_utf8(data)):
            return None, _OTHER
        columns, obstacle = self._read(data, end - begin, unexpected)
        untried = dict(self.rewriting)
        while obstacle in untried:
            data = rewritten(data, untried.pop(obstacle))
            columns, obstacle = self._read(data, end - begin, unexpected)
        return columns, obstacle

    def _sift(self, begin: int, end: int) -> Columns | None:
        """The good lines of [begin, end), each judged alone; the verdict on the others is noted."""
        lines = {i: line for i in range(begin, end) if (line := self._suspect(i)) is not None}
        data = _joined(lines)
        columns, obstacle = self._read(data, len(lines), "error")
        if obstacle == _UNKNOWN_FIELD:
            columns, _ = self._read(data, len(lines), "infer")
        return columns if columns is not None or not lines else self._judge_all(lines)

    def _suspect(self, i: int) -> bytes | None:
        """The line as it is to be read, or None if it is certainly bad."""
        if self.layout.too_long[i]:
            self.verdict[i] = CODE[Reason.TOO_LONG]
            return None
        line = self.block[self.layout.start[i] : self.layout.end[i]].removeprefix(_BOM).strip(SPACE)
        try:
            line.decode()  # msgspec does not look at the text that it skips
            self.decoder.decode(line)
            return line
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            line = rewritten(line, [rule for rules in self.rewriting.values() for rule in rules])
        reason, _ = judge(line, self.fields)
        if reason:
            self.verdict[i] = CODE[reason]
        return None if reason else line

    def _judge_all(self, lines: dict[int, bytes]) -> Columns | None:
        """As `_sift`, where msgspec says too little: it takes the last of two equal keys, for one."""
        judged = {i: judge(line, self.fields) for i, line in lines.items()}
        self.verdict[list(judged)] = [CODE[reason] if reason else _GOOD for reason, _ in judged.values()]
        good = {i: line for i, line in lines.items() if not judged[i][0]}
        columns, _ = self._read(_joined(good), len(good), "ignore")
        if columns is None:
            # JSON that is still not read holds a number so large that pyarrow refuses it in unknown fields too.
            alone = {i: self._read(line + b"\n", 1, "ignore")[0] for i, line in good.items()}
            self.verdict[[i for i, part in alone.items() if part is None]] = CODE[Reason.BAD_NUMBER]
            good = {i: part for i, part in alone.items() if part is not None}
            columns = _concatenated(list(good.values())) if good else None
        for i in good:
            self.unknown.update(judged[i][1])
        return columns

    def _read(self, data: bytes, rows: int, unexpected: str) -> tuple[Columns | None, str]:
        """The columns of so many lines, each an object, or None and the obstacle. What pyarrow says of a failure may
        hold values: it goes no further than this function."""
        nul = self.nul and _NUL.search(data) is not None
        if not rows or (unexpected == "infer" and (not self.few_names or nul or _nests_deep(data))):
            return None, _OTHER
        counting = unexpected != "ignore" and not nul  # in an unknown field U+0000 would pass unseen
        # Where one device has a field that we do not know, more will: those that were met are expected.
        expected = (counting and self.habits.expected) or self.schema
        options = pa.json.ParseOptions(explicit_schema=expected, unexpected_field_behavior=unexpected)
        whole = pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        try:
            table = pa.json.read_json(pa.BufferReader(data), whole, options)
        except pa.ArrowException as error:
            said = str(error)
            return None, next((obstacle for obstacle in (_UNKNOWN_FIELD, *self.rewriting) if obstacle in said), _OTHER)
        if table.num_rows != rows:
            return None, _OTHER
        (batch,) = table.combine_chunks().to_batches()
        columns = leaf_columns(batch, self.fields)
        checked = self.fields if nul else [field for field in self.fields if field.type == NUMBER]
        if not all(_is_sound(columns[field.path], field) for field in checked):
            return None, _OTHER
        unknown = self._unknown(batch) if counting else {}
        if not all(_is_finite(column) for found in unknown.values() for column in found):
            return None, _OTHER
        if unknown:
            self._learn(batch.schema, unknown)
        return columns, ""

    def _unknown(self, batch: pa.RecordBatch) -> dict[str, list[pa.Array]]:
        """The columns of fields that no table knows, by the path of the known object that they stand in."""
        if batch.schema.equals(self.schema):
            return {}
        columns = zip(batch.schema, batch.columns, strict=True)
        unknown = {"": [column for field, column in columns if field.name not in self.tree]}
        for name, known in self.tree.items():
            if isinstance(known, dict) and batch.schema.field(name).type.num_fields > len(known):
                found = zip(batch.schema.field(name).type, batch.column(name).flatten(), strict=True)
                unknown[name] = [column for child, column in found if child.name not in known]
        return unknown

    def _learn(self, schema: pa.Schema, unknown: dict[str, list[pa.Array]]) -> None:
        self.few_names = sum(map(len, unknown.values())) <= _UNKNOWN_NAMES
        self.habits.expected = _settled(schema) if self.few_names else None
        self.unknown.update({parent: sum(len(c) - c.null_count for c in found) for parent, found in unknown.items()})


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
