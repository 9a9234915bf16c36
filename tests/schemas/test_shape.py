import json

import msgspec
import pyarrow as pa
import pyarrow.json
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fields import EVENT_FIELDS, INTEGER, LEDGER_FIELDS, NUMBER, STRING, STRINGS
from schemas.shape import arrow_schema, leaf_columns, line_type
from tests.strategies import unhurried

TABLES = pytest.mark.parametrize("fields", [EVENT_FIELDS, LEDGER_FIELDS], ids=["event", "ledger"])
ARROW = {STRING: pa.string(), INTEGER: pa.int64(), NUMBER: pa.float64(), STRINGS: pa.list_(pa.string())}
VALUES = {STRING: "x", INTEGER: 7, NUMBER: 7.5, STRINGS: ["x", None]}


def line(fields, paths):
    made = {}
    for field in fields:
        if field.path in paths:
            parent, _, leaf = field.path.rpartition(".")
            (made.setdefault(parent, {}) if parent else made)[leaf] = VALUES[field.type]
    return made


@TABLES
def test_every_field_stands_in_the_schema_at_its_path(fields):
    schema = arrow_schema(fields)
    for field in fields:
        parent, _, leaf = field.path.rpartition(".")
        found = schema.field(parent).type.field(leaf) if parent else schema.field(leaf)
        assert found.type == ARROW[field.type] and found.nullable
    leaves = sum(each.type.num_fields if pa.types.is_struct(each.type) else 1 for each in schema)
    assert leaves == len(fields)


@TABLES
def test_a_full_line_reads_the_same_alone_and_in_a_block(fields):
    paths = {field.path for field in fields}
    text = json.dumps(line(fields, paths)).encode()
    alone = msgspec.to_builtins(msgspec.json.decode(text, type=line_type(fields)))
    options = pyarrow.json.ParseOptions(explicit_schema=arrow_schema(fields), unexpected_field_behavior="error")
    (row,) = pyarrow.json.read_json(pa.BufferReader(text), parse_options=options).to_pylist()
    assert alone == row == line(fields, paths)


@TABLES
def test_a_wrong_type_is_refused_whatever_the_field(fields):
    wrong = {STRING: 7, INTEGER: "7", NUMBER: "7", STRINGS: "x"}
    decoder = msgspec.json.Decoder(line_type(fields))
    for field in fields:
        parent, _, leaf = field.path.rpartition(".")
        value = 7.5 if field.lenient else wrong[field.type]
        bad = {parent: {leaf: value}} if parent else {leaf: value}
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(json.dumps(bad).encode())


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_beyond_64_bits_is_refused(number):
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(json.dumps({"schema_version": number}).encode(), type=line_type(EVENT_FIELDS))


@unhurried
@given(st.lists(st.sets(st.sampled_from([field.path for field in EVENT_FIELDS])), max_size=6), st.integers(0, 3))
def test_leaves_are_the_values_at_their_paths_and_null_objects_make_them_null(drawn, start):
    lines = [line(EVENT_FIELDS, paths) for paths in drawn]
    batch = pa.RecordBatch.from_pylist(lines, arrow_schema(EVENT_FIELDS)).slice(start)
    leaves = leaf_columns(batch, EVENT_FIELDS)
    assert list(leaves) == [field.path for field in EVENT_FIELDS]
    for field in EVENT_FIELDS:
        expected = [VALUES[field.type] if field.path in paths else None for paths in drawn[start:]]
        assert leaves[field.path].to_pylist() == expected
        assert leaves[field.path].type == ARROW[field.type]


def test_what_is_under_a_null_object_does_not_show():
    inner = pa.StructArray.from_arrays(
        [pa.array(["hidden"])], fields=list(arrow_schema(EVENT_FIELDS).field("crash").type)[:1]
    )
    hidden = pa.StructArray.from_arrays(inner.flatten(), fields=list(inner.type), mask=pa.array([True]))
    batch = pa.record_batch([hidden], names=["crash"])
    fields = [field for field in EVENT_FIELDS if field.path == f"crash.{inner.type[0].name}"]
    (leaf,) = leaf_columns(batch, fields).values()
    assert leaf.to_pylist() == [None]
