import random

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import label_columns, seeds, unhurried
from transforms.exchange import RecordBatchCoder, coalesce, locked_telemetry, pieces, telemetry_rows
from transforms.ipc import from_ipc, to_ipc

LABELS = pa.dictionary(pa.int32(), pa.string())


def batch_of(labels, numbers=None):
    numbers = list(range(len(labels))) if numbers is None else numbers
    names = pa.array(labels, pa.string()).dictionary_encode()
    return pa.record_batch([pa.array(numbers, pa.int64()), names], names=["number", "label"])


@unhurried
@given(label_columns, st.data())
def test_a_batch_crosses_whole_and_a_slice_alone(column, data):
    batch = batch_of(column)
    start = data.draw(st.integers(0, batch.num_rows))
    part = batch.slice(start, data.draw(st.integers(0, batch.num_rows - start)))
    assert from_ipc(to_ipc(part)).to_pydict() == part.to_pydict()


def test_of_a_slice_only_the_slice_is_written():
    batch = pa.record_batch([pa.array(np.arange(100_000))], names=["number"])
    assert len(to_ipc(batch.slice(5_000, 10))) < 1_000


class Open:
    """Locks that leave everything as it is."""

    def lock(self, key, kind, content):
        return bytes(content)


@pytest.mark.parametrize("rows, bytes_a_row", [(10_000, (0, 12)), (100, (20, 60))])
def test_a_large_piece_is_compressed_and_reads_as_it_was(rows, bytes_a_row):
    """A runner copies what crosses the exchange many times, and most of a row is nulls."""
    slots = {f"slot{i}": pa.array([i if row % 10 == i else None for row in range(rows)], pa.int64()) for i in range(3)}
    batch = pa.record_batch(slots)
    payload = locked_telemetry(Open(), 0, batch, b"digest")
    assert bytes_a_row[0] < len(payload) / rows < bytes_a_row[1]
    assert telemetry_rows(payload, b"digest").to_pydict() == batch.to_pydict()


def test_beam_uses_this_coder_where_a_hint_says_record_batch():
    coder = beam.coders.registry.get_coder(pa.RecordBatch)
    assert isinstance(coder, RecordBatchCoder) and coder.is_deterministic()
    batch = batch_of(["one", None, "two"])
    assert coder.encode(batch) == coder.encode(batch_of(["one", None, "two"]))
    assert coder.decode(coder.encode(batch)).equals(batch)


@unhurried
@given(seeds, st.integers(0, 30))
def test_every_run_of_equal_key_and_window_is_a_piece(seed, rows):
    draw = random.Random(seed)
    places = sorted((draw.randrange(3), draw.randrange(3)) for _ in range(rows))
    key, window = (np.array([place[axis] for place in places], np.int64) for axis in (0, 1))
    labels = [draw.choice([None, "a", "b", "c", "d"]) for _ in range(rows)]
    found = [(k, w, part.to_pylist()) for k, w, part in pieces(batch_of(labels), key, window)]
    rows_of = {}
    for number, (place, label) in enumerate(zip(places, labels, strict=True)):
        rows_of.setdefault(place, []).append({"number": number, "label": label})
    assert found == [(*place, part) for place, part in rows_of.items()]


@pytest.mark.clause("6-cn")
def test_a_piece_takes_no_word_of_its_neighbours_along():
    batch = batch_of(["beijing", None, "berlin", "berne", "beijing"])
    found = list(pieces(batch, np.array([0, 0, 7, 7, 7]), np.array([0, 0, 0, 0, 1])))
    assert [part["label"].dictionary.to_pylist() for *_, part in found] == [
        ["beijing"],
        ["berlin", "berne"],
        ["beijing"],
    ]
    for *_, part in found:
        payload = to_ipc(part)
        assert [word for word in ("beijing", "berlin", "berne") if word.encode() in payload] == part[
            "label"
        ].dictionary.to_pylist()


def test_few_words_have_narrow_numbers_and_many_have_wide_ones():
    few, many = (batch_of([f"word-{number}" for number in range(rows)]) for rows in (1 << 15, (1 << 15) + 1))
    for batch, width in ((few, pa.int16()), (many, pa.int32())):
        ((_, _, part),) = pieces(batch, np.zeros(batch.num_rows, np.int64), np.zeros(batch.num_rows, np.int64))
        assert part["label"].type.index_type == width
        assert part["label"].to_pylist() == batch["label"].to_pylist()


@unhurried
@given(st.lists(label_columns, min_size=1, max_size=5))
def test_pieces_become_one_batch_with_one_dictionary(columns):
    """Each piece brings its own numbers for its own words, narrow as they travel."""
    parts = []
    for column in columns:
        key = np.zeros(len(column), np.int64)
        parts += [from_ipc(to_ipc(part)) for *_, part in pieces(batch_of(column), key, key)]
    if not parts:
        return
    found = coalesce(parts)
    assert found.to_pylist() == [row for part in parts for row in part.to_pylist()]
    assert found["label"].type == LABELS
    assert len(set(found["label"].dictionary.to_pylist())) == len(found["label"].dictionary)


def test_there_is_room_for_more_words_than_a_piece_may_have():
    parts = []
    for start in (0, 30_000):
        batch = batch_of([f"word-{number}" for number in range(start, start + 30_000)])
        nothing = np.zeros(batch.num_rows, np.int64)
        parts += [part for *_, part in pieces(batch, nothing, nothing)]
    assert {part["label"].type.index_type for part in parts} == {pa.int16()}
    assert coalesce(parts)["label"].to_pylist() == [f"word-{number}" for number in range(60_000)]


def test_no_rows_are_no_pieces():
    nothing = np.empty(0, np.int64)
    assert list(pieces(batch_of([]), nothing, nothing)) == []


def test_how_large_a_batch_is_is_told_without_encoding_it(monkeypatch):
    coder = beam.coders.registry.get_coder(beam.typehints.Tuple[int, pa.RecordBatch]).get_impl()
    batch = pa.record_batch([pa.array(np.arange(100_000))], names=["number"])
    encoded = len(to_ipc(batch))
    monkeypatch.setattr(RecordBatchCoder, "encode", lambda *_: pytest.fail("it was encoded"))
    assert coder.estimate_size((1, batch)) == pytest.approx(encoded, rel=0.01)
    assert coder.estimate_size((1, batch.slice(5_000, 10))) < 1_000
