"""Judged records of the exchange made at random, every slot filled whether it may be or not."""

import numpy as np
import pyarrow as pa

from schemas.fields import EVENT_TYPES, SOURCES
from schemas.layout import SERVICE, layout
from schemas.policy import Pack

NOW = 1_767_225_600_000


def judged_batch(pack: Pack, rows: int, seed: int, nulls: float = 0.3, opened: int | None = None) -> pa.RecordBatch:
    """`rows` records of one region, received over four days around a New Year. `opened` is the mask of all of them;
    without it each has its own. All that is open stands. Where the pack tells services apart, each is of one without
    an overlay."""
    draw = np.random.default_rng(seed)
    plan = layout(pack)
    received = NOW + draw.integers(-2 * 86_400_000, 2 * 86_400_000, rows)
    masks = draw.integers(0, 1 << len(pack.purposes), rows) if opened is None else np.full(rows, opened)
    head = {
        "region": np.full(rows, 3),
        "event_type": draw.integers(0, len(EVENT_TYPES), rows),
        "source": draw.integers(0, len(SOURCES), rows),
        "subject_fault": draw.random(rows) < nulls,
        "zeroed": draw.random(rows) < nulls,
        "event_time": received - draw.integers(0, 86_400_000, rows),
        "received_time": received,
    }
    columns = []
    for field in plan.schema:
        if field.name in head:
            columns.append(pa.array(head[field.name]).cast(field.type))
        else:
            absent = draw.random(rows) < (0 if field.name in ("event_id", plan.places.get(SERVICE)) else nulls)
            columns.append(_values(field, rows, draw, absent))
    opened = pa.array(masks.astype(np.uint64))
    names = [*plan.schema.names, "open", "stands"]
    return pa.RecordBatch.from_arrays([*columns, opened, opened], names=names)


def _values(field: pa.Field, rows: int, draw: np.random.Generator, absent: np.ndarray) -> pa.Array:
    numbers = draw.integers(0, 1_000_000, rows)
    if pa.types.is_integer(field.type) or pa.types.is_floating(field.type):
        return pa.array(numbers, mask=absent).cast(field.type)
    if pa.types.is_binary(field.type) or pa.types.is_fixed_size_binary(field.type):
        return pa.array([None if a else draw.bytes(16) for a in absent], field.type)
    words = [None if a else f"{number % 40}.{field.name}" for a, number in zip(absent, numbers.tolist(), strict=True)]
    column = pa.array(words, pa.string())
    return column.dictionary_encode() if pa.types.is_dictionary(field.type) else column
