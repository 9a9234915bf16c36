"""What pyarrow.json reads, made strict: by itself it lets things pass that are no JSON."""

import re
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json

from schemas.fields import NUMBER, PAYLOADS, Field
from schemas.shape import arrow_schema, field_names, field_tree, leaf_columns, unknown_path
from transforms.by_type import member
from transforms.verdict import MAX_DEPTH, rewriting

UNKNOWN_FIELD = "unexpected field"  # in the words of pyarrow.json, as all obstacles

# To count unknown fields they are read too, and each new name makes a column as long as what is read at once: so names
# times lines is bounded, and in a block that brings a flood of names every line from there on is judged by itself.
_UNKNOWN_NAMES = 256

_STARTS = {"string": b'"', "number": b"[-0-9]", "boolean": b"[tf]", "object": rb"\{", "array": rb"\["}
_ROW = re.compile(r" in row (\d+)$")
_LONGEST_NAME = 64  # of a key that is searched for

Columns = dict[str, pa.Array]


class Obstacle(NamedTuple):
    """What keeps pyarrow.json from reading lines, as far as it is known."""

    what: str = ""  # UNKNOWN_FIELD, or a field that senders quote or not: a key of `rewriting`
    rows: tuple[int, ...] = ()  # lines that are likely to be at fault
    twice: str = ""  # the last name in the path of a key that such a line names twice
    signs: tuple[bytes, ...] = ()  # patterns: of lines like those; or, if they are the most, of those they differ from


class ArrowJson:
    """Reads lines of one block, and counts their unknown fields by `unknown_path`.

    Where one device has a field that we do not know, more will: `expected` is the schema with those that were met.
    Where the event type of all lines is known, and whatever is not expected is an obstacle, the objects of other types
    are not expected.
    """

    def __init__(self, fields: tuple[Field, ...], expected: pa.Schema | None) -> None:
        self.expected, self.unknown = expected, Counter[str]()
        self._fields, self._schema = fields, arrow_schema(fields)
        self._tree, self._names, self._complaints = field_tree(fields), field_names(fields), rewriting(fields)
        self._few_names = True

    def read(self, data: bytes, rows: int, unexpected: str, kind: str = "") -> tuple[Columns | None, Obstacle]:
        """The columns of so many lines, each an object in UTF-8 without U+0000, or None and the obstacle. What pyarrow
        says of a failure may hold values: it goes no further than this class."""
        if not rows or (unexpected == "infer" and not self._few_names):
            return None, Obstacle()
        if unexpected == "infer" and (deep := _deep(data)):
            return None, Obstacle(rows=deep)
        counting = unexpected != "ignore"
        expected = (counting and self.expected) or self._schema
        if unexpected == "error" and kind:
            expected = pa.schema([field for field in expected if field.name == kind or field.name not in PAYLOADS])
        options = pa.json.ParseOptions(explicit_schema=expected, unexpected_field_behavior=unexpected)
        whole = pa.json.ReadOptions(use_threads=False, block_size=len(data) + 1)
        try:
            table = pa.json.read_json(pa.BufferReader(data), whole, options)
        except pa.ArrowException as error:
            return None, self._obstacle(str(error))
        if table.num_rows != rows:
            return None, Obstacle()
        (batch,) = table.combine_chunks().to_batches()
        columns = leaf_columns(batch, self._fields)
        unknown = self._unknown_columns(batch) if counting else []
        numbers = [columns[field.path] for field in self._fields if field.type == NUMBER]
        if odd := {row for column in chain(numbers, (column for _, column in unknown)) for row in _not_finite(column)}:
            return None, Obstacle(rows=tuple(sorted(odd)))
        if unknown:
            self._learn(batch.schema, expected, unknown)
        return columns, Obstacle()

    def _obstacle(self, said: str) -> Obstacle:
        what = next((what for what in (UNKNOWN_FIELD, *self._complaints) if what in said), "")
        rows = tuple(map(int, _ROW.findall(said)))
        path, twice, _ = said.rpartition(") was specified twice in row ")
        if not twice:
            path, _, types = said.rpartition(") changed from ")
        name = path.rpartition("/")[2]
        if not name or len(name) > _LONGEST_NAME:
            return Obstacle(what, rows)
        if twice:
            return Obstacle(what, rows, name, (member([name]) + b".*" + member([name]),))
        before, _, now = types.partition(" in row ")[0].partition(" to ")
        return Obstacle(what, rows, signs=tuple(member([name]) + _STARTS.get(each, b"") for each in (now, before)))

    def forget(self) -> None:
        """What was learnt of unknown fields, since most lines have it otherwise."""
        self.expected = None

    def no_columns(self) -> Columns:
        """What is read of no line."""
        return leaf_columns(pa.RecordBatch.from_pylist([], self._schema), self._fields)

    def _unknown_columns(self, batch: pa.RecordBatch) -> list[tuple[str, pa.Array]]:
        """The columns of fields that no table knows, each with its `unknown_path`."""
        if batch.schema.equals(self._schema):
            return []
        members = [("", self._tree, zip(batch.schema, batch.columns, strict=True))]
        for name, known in self._tree.items():
            if name not in batch.schema.names:
                continue
            if isinstance(known, dict) and batch.schema.field(name).type.num_fields > len(known):
                column = batch.column(name)
                members.append((name, known, zip(column.type, column.flatten(), strict=True)))
        return [
            (unknown_path(parent, field.name, self._names), column)
            for parent, known, found in members
            for field, column in found
            if field.name not in known
        ]

    def _learn(self, schema: pa.Schema, expected: pa.Schema, unknown: list[tuple[str, pa.Array]]) -> None:
        if not schema.equals(expected):
            self._few_names = len(unknown) <= _UNKNOWN_NAMES
            self.expected = _settled(schema, self._tree) if self._few_names else None
        for path, column in unknown:
            self.unknown[path] += len(column) - column.null_count


def is_utf8(data: bytes) -> bool:
    """Whether all of it is UTF-8."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int32))
    try:
        pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(data)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def concatenated(parts: list[Columns]) -> Columns:
    """Columns of one block, part after part."""
    if len(parts) == 1:
        return parts[0]
    return {path: pa.concat_arrays([part[path] for part in parts]) for path in parts[0]}


def _settled(schema: pa.Schema, tree: dict[str, Any]) -> pa.Schema:
    """What was inferred, to be expected from here on, in fields of ours as it is. Of what was only null, or only empty
    lists, no type is known; a number that is whole in one line need not be in the next, nor need text look like a time
    again."""
    return pa.schema(_settled_fields(schema, tree))


def _settled_fields(fields: Iterable[pa.Field], tree: dict[str, Any]) -> list[pa.Field]:
    return [
        field if isinstance(known, Field) else pa.field(field.name, _settled_type(field.type, known or {}))
        for field, known in ((field, tree.get(field.name)) for field in fields)
        if isinstance(known, Field) or _is_told(field.type)
    ]


def _is_told(type_: pa.DataType) -> bool:
    while pa.types.is_list(type_):
        type_ = type_.value_type
    return not pa.types.is_null(type_)


def _settled_type(type_: pa.DataType, tree: dict[str, Any]) -> pa.DataType:
    if pa.types.is_struct(type_):
        return pa.struct(_settled_fields(type_, tree))
    if pa.types.is_list(type_):
        return pa.list_(_settled_type(type_.value_type, {}))
    if pa.types.is_integer(type_):
        return pa.float64()
    return pa.string() if pa.types.is_temporal(type_) else type_


def _not_finite(column: pa.Array) -> list[int]:
    """The rows in which a number, however deep, is NaN or an infinity."""
    if pa.types.is_struct(column.type):
        return [row for part in column.flatten() for row in _not_finite(part)]
    if pa.types.is_list(column.type):
        odd = _not_finite(column.flatten())
        return pc.list_parent_indices(column).to_numpy()[odd].tolist() if odd else []
    if not pa.types.is_floating(column.type) or pc.all(pc.is_finite(column), min_count=0).as_py():
        return []
    return np.flatnonzero(pc.is_finite(column).fill_null(True).to_numpy(zero_copy_only=False) == 0).tolist()


def _deep(data: bytes) -> tuple[int, ...]:
    """The lines that have so many brackets that an unknown field in one might nest tens of thousands deep, on which
    pyarrow.json overflows the stack where it infers types."""
    content = np.frombuffer(data, np.uint8)
    starts = np.append(0, np.flatnonzero(content == ord("\n"))[:-1])
    opened = np.add.reduceat((content == ord("{")) | (content == ord("[")), starts, dtype=np.int32)
    return tuple(np.flatnonzero(opened[opened > 0] > MAX_DEPTH).tolist())  # a blank line opens nothing, and is no row
