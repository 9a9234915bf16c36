import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import seeds, unhurried
from transforms.deduplicate import deduplicate, fingerprints

SCHEMA = pa.schema(
    [
        ("event_time", pa.int64()),
        ("received_time", pa.int64()),
        ("event_id", pa.binary(16)),
        ("device", pa.binary(16)),
        ("account", pa.binary(16)),
        ("label0", pa.dictionary(pa.int32(), pa.string())),
        ("float0", pa.float64()),
    ]
)


def tag(number):
    return None if number is None else random.Random(number).randbytes(16)


def batch_of(rows):
    columns = zip(*rows, strict=True) if rows else [[] for _ in SCHEMA]
    return pa.record_batch([pa.array(list(c), f.type) for c, f in zip(columns, SCHEMA, strict=True)], schema=SCHEMA)


def row(event_id, received, device=None, account=None, label=None, number=None, event_time=0):
    return event_time, received, tag(event_id), tag(device), tag(account), label, number


def history(seed, size=40):
    draw = random.Random(seed)
    pick = draw.choice
    return [
        row(
            draw.randrange(6),
            draw.randrange(4),
            device=pick([None, 100, 101]),
            account=pick([None, 100, 200]),
            label=pick([None, "a", "b"]),
            number=pick([None, 1.5, 2.5]),
        )
        for _ in range(draw.randrange(size))
    ]


def identity(record):
    """What makes two records one: the id, and the device, else the account."""
    _, _, event_id, device, account, *_ = record
    return event_id, device or account


@unhurried
@given(seeds)
def test_the_earliest_received_of_each_record_is_kept(seed):
    records = history(seed)
    kept, marks, repeated = deduplicate(batch_of(records), np.empty(0, np.uint64))
    assert repeated == len(records) - len(kept)
    chosen = [records[place] for place in kept.tolist()]
    assert sorted(map(identity, chosen), key=str) == sorted(set(map(identity, records)), key=str)
    for record in chosen:
        assert record[1] == min(other[1] for other in records if identity(other) == identity(record))
    assert marks.tolist() == sorted(fingerprints(batch_of(chosen)).tolist())


@unhurried
@given(seeds)
def test_the_order_of_arrival_changes_nothing(seed):
    records = history(seed)
    shuffled = random.Random(seed + 1).sample(records, len(records))
    kept, again = (
        [rows[place] for place in deduplicate(batch_of(rows), np.empty(0, np.uint64))[0].tolist()]
        for rows in (records, shuffled)
    )
    assert kept == again


@unhurried
@given(seeds, st.integers(0, 40))
def test_what_was_seen_before_does_not_come_again(seed, cut):
    records = history(seed)
    nothing = np.empty(0, np.uint64)
    _, seen, _ = deduplicate(batch_of(records[:cut]), nothing)
    kept, marks, repeated = deduplicate(batch_of(records[cut:]), seen)
    assert repeated == len(records[cut:]) - len(kept)
    before = set(map(identity, records[:cut]))
    fresh = {identity(record) for record in records[cut:]} - before
    assert {identity(records[cut:][place]) for place in kept.tolist()} == fresh
    assert len(kept) == len(marks) == len(fresh)


@pytest.mark.parametrize(
    "one, other, same",
    [
        (row(1, 5, device=7), row(1, 6, device=7, account=8), True),
        (row(1, 5, device=7, account=8), row(1, 6, device=7, account=9), True),
        (row(1, 5, account=8), row(1, 6, account=8), True),
        (row(1, 5), row(1, 6), True),
        (row(1, 5, device=7), row(2, 5, device=7), False),
        (row(1, 5, device=7), row(1, 5, device=8), False),
        (row(1, 5, device=7), row(1, 5, account=8), False),
        (row(1, 5, device=7), row(1, 5), False),
        (row(7, 5, device=1), row(1, 5, device=7), False),
    ],
)
def test_a_record_is_its_subject_and_its_event_id(one, other, same):
    marks = fingerprints(batch_of([one, other]))
    assert (marks[0] == marks[1]) == same


def test_what_stands_under_a_null_says_nothing():
    """A null's bytes are arbitrary: the fingerprint may not depend on them."""
    batch = batch_of([row(1, 5), row(1, 5)])
    bytes_under_null = pa.Array.from_buffers(pa.binary(16), 2, [pa.py_buffer(b"\0"), pa.py_buffer(bytes(range(32)))])
    marks = fingerprints(batch.set_column(3, "device", bytes_under_null))
    assert marks[0] == marks[1]


@unhurried
@given(seeds, st.integers(0, 5))
def test_a_slice_is_read_as_itself(seed, start):
    records = history(seed)
    whole, part = fingerprints(batch_of(records)), fingerprints(batch_of(records).slice(start))
    assert whole[start:].tolist() == part.tolist()
