"""Judged records of few devices, as statistics see them: many a device, and in few groups."""

import numpy as np
import pyarrow as pa

from schemas.policy import Pack
from tests.judged import judged_batch

DAY_MS = 86_400_000


def crowd(pack: Pack, rows: int, seed: int, devices: int = 5, **columns) -> pa.RecordBatch:
    """`rows` records, open for every purpose, of `devices` devices or of none. `columns` replace head columns."""
    draw = np.random.default_rng(seed)
    batch = judged_batch(pack, rows, seed, opened=(1 << len(pack.purposes)) - 1)
    ids = [None, *(bytes([number]) * 16 for number in range(1, devices + 1))]
    columns = {"device": [ids[number] for number in draw.integers(0, devices + 1, rows)], **columns}
    for name, values in columns.items():
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, name, pa.array(values, batch.schema.field(at).type))
    return batch


def with_tables(pack: Pack, **limits) -> Pack:
    """The pack with other bounds in each table that is by anything."""
    tables = {}
    for name, table in pack.statistics.tables.items():
        changes = {key: value for key, value in limits.items() if table.by and getattr(table, key) is not None}
        tables[name] = table.model_copy(update=changes)
    return pack.model_copy(update={"statistics": pack.statistics.model_copy(update={"tables": tables})})
