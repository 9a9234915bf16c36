"""What follows from a table of fields: the Arrow schema of a line, and the strict type of a line read alone."""

from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any

import msgspec
import pyarrow as pa

from schemas.fields import INTEGER, NUMBER, STRING, STRINGS, Field

MAX_LINE_BYTES = 64 * 1024

_ARROW = {STRING: pa.string(), INTEGER: pa.int64(), NUMBER: pa.float64(), STRINGS: pa.list_(pa.string())}
_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_PYTHON: dict[str, Any] = {STRING: str, INTEGER: _INT64, NUMBER: float, STRINGS: list[str | None]}
_LENIENT: dict[str, Any] = {STRING: str | int | bool, INTEGER: _INT64 | str}


@cache
def field_tree(fields: tuple[Field, ...]) -> dict[str, Any]:
    """Fields by name, those of an object in a dict of their own."""
    tree: dict[str, Any] = {}
    for field in fields:
        *parents, leaf = field.path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = field
    return tree


@cache
def field_names(fields: tuple[Field, ...]) -> frozenset[str]:
    """All words that a table uses in its paths: the names of fields and of objects."""
    return frozenset(name for field in fields for name in field.path.split("."))


def unknown_path(parent: str, name: str, names: frozenset[str]) -> str:
    """Where an unknown field stood, as it may be told: in the known object `parent` ("" is the line itself), with its
    name if that is a word of our own, else `*`. A sender may have put anything into a name, and may make up any number
    of them; there are no more paths than known objects times known words."""
    told = name if name in names else "*"
    return f"{parent}.{told}" if parent else told


def _arrow_type(node: Field | dict[str, Any]) -> pa.DataType:
    if isinstance(node, Field):
        return _ARROW[node.type]
    return pa.struct([pa.field(name, _arrow_type(child)) for name, child in node.items()])


@cache
def arrow_schema(fields: tuple[Field, ...]) -> pa.Schema:
    """The nested schema that lines are parsed with. All columns are nullable: what is required is checked after."""
    return pa.schema([pa.field(name, _arrow_type(node)) for name, node in field_tree(fields).items()])


def _python_type(field: Field) -> Any:
    return _LENIENT[field.type] if field.lenient else _PYTHON[field.type]


def _line_type(name: str, node: dict[str, Any]) -> type[msgspec.Struct]:
    members = [
        (key, (_python_type(child) if isinstance(child, Field) else _line_type(key, child)) | None, None)
        for key, child in node.items()
    ]
    return msgspec.defstruct(name, members, gc=False)


@cache
def line_type(fields: tuple[Field, ...]) -> type[msgspec.Struct]:
    """The type that one line is decoded into when its neighbours must not suffer for it: same types, but that fields
    which senders quote as they please may hold either."""
    return _line_type("Line", field_tree(fields))


def leaf_columns(batch: pa.RecordBatch, fields: Iterable[Field]) -> dict[str, pa.Array]:
    """Each field's column by its dotted path; an object that is null, or not there, makes its fields null."""
    leaves = dict(zip(batch.schema.names, batch.columns, strict=True))
    for parent in batch.schema:
        if pa.types.is_struct(parent.type):
            children = batch.column(parent.name).flatten()
            leaves |= {f"{parent.name}.{of.name}": child for of, child in zip(parent.type, children, strict=True)}
    leaves |= {of.path: pa.nulls(batch.num_rows, _ARROW[of.type]) for of in fields if of.path not in leaves}
    return {of.path: leaves[of.path] for of in fields}
