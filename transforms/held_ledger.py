"""A stand-in for the ledger that a stream keeps of one key: nothing is sorted or left out yet."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import SEALED_LEDGER
from transforms.exchange import coalesce


@dataclass(frozen=True, repr=False)
class HeldLedger:
    rows: pa.RecordBatch
    spent: np.ndarray

    @classmethod
    def empty(cls) -> Self:
        return cls(pa.RecordBatch.from_pylist([], schema=SEALED_LEDGER), np.empty(0, np.uint64))

    @classmethod
    def of(cls, rows: pa.RecordBatch, spent: np.ndarray) -> Self:
        return cls(rows, spent)

    def merged(self, new: list[pa.RecordBatch]) -> Self:
        joined = coalesce([self.rows, *new])
        return type(self)(pa.RecordBatch.from_arrays(joined.columns, schema=SEALED_LEDGER), self.spent)

    def about(self, device: pa.Array, account: pa.Array, before: int) -> pa.Table:
        return pa.Table.from_batches([self.rows]).filter(pc.less(self.rows["received_time"], before))

    def compacted(self, horizon: int, oldest_ms: int) -> Self:
        return self
