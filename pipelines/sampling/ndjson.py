"""Columns to JSON lines, columnar: no value is touched by Python."""

import json
from collections.abc import Mapping
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def escape(text: str) -> str:
    """A text as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def encode(columns: Mapping[str, pa.Array]) -> pa.BinaryArray:
    """One line for each row, its newline included. `columns` are by dotted path, at most two levels deep.

    A null is left out, and so is an object of which all is null; the first column has none. Columns are numbers, lists
    of strings, strings or dictionaries of strings; strings must be escaped already (`escape`): most need none of it.
    """
    members: dict[str, list[pa.Array]] = {}
    for path, column in columns.items():
        parent, _, leaf = path.rpartition(".")
        members.setdefault(parent or leaf, []).append(_member(leaf, column))
    parts = [found[0] if name in columns else _object(name, found) for name, found in members.items()]
    lines = pc.binary_join_element_wise("{", _listed(parts), "}\n", "")
    return lines.cast(pa.binary())


def _member(name: str, column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        return _member(name, column.dictionary).take(column.indices)
    if pa.types.is_list(column.type):
        return _between(f'"{name}":["', pc.binary_join(column, '","'), '"]')
    if pa.types.is_string(column.type):
        return _between(f'"{name}":"', column, '"')
    return _between(f'"{name}":', column.cast(pa.string()), "")


def _object(name: str, members: list[pa.Array]) -> pa.Array:
    empty = reduce(pc.and_, [member.is_null() for member in members])
    first = pc.if_else(empty, "", members[0])  # skipping nulls, Arrow loses a row that has nothing else
    listed = _listed([first, *members[1:]])
    return pc.if_else(empty, pa.scalar(None, pa.string()), _between(f'"{name}":{{', listed, "}"))


def _listed(members: list[pa.Array]) -> pa.Array:
    return pc.binary_join_element_wise(*members, ",", null_handling="skip")


def _between(before: str, column: pa.Array, after: str) -> pa.Array:
    return pc.binary_join_element_wise(before, column, after, "")


def content(lines: pa.BinaryArray) -> pa.Buffer:
    """The bytes of all lines, one behind the other."""
    first, last = (np.frombuffer(lines.buffers()[1], np.int32)[lines.offset + at] for at in (0, len(lines)))
    return lines.buffers()[2].slice(first, last - first)
