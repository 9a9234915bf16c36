"""What crosses the exchange, and the coder that everything columnar travels by.

A piece is `(key, (kind, window, IPC bytes))`: the rows of one (region, shard, window), sealed, as one Arrow IPC stream.
It is opened once, where the records are judged; the bag of state in between holds the bytes as they came.

The coder for `pa.RecordBatch` is registered on import. Beam uses it only where a type hint says RecordBatch; without
one it pickles, and a pickled slice carries its whole parent. So every collection of ours has its hint.
"""

import typing
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from transforms.generalise import compact
from transforms.seal import runs

TELEMETRY, LEDGER = 0, 1
_NARROW, _NARROWEST = pa.dictionary(pa.int16(), pa.string()), 1 << 15
TALLIES = "tallies"  # the tag of a step's second output

Piece = tuple[int, tuple[int, int, bytes]]
Lot = tuple[int, int, int]  # region code, shard, index of the window
Judged = tuple[Lot, pa.RecordBatch]
# What a step has to say for the audit: (region, step, event type, purpose, reason) and how many. A region or a word
# that does not apply is the empty string.
Tally = tuple[tuple[str, str, str, str, str], int]

# The same, as type hints: Beam reads them to find the coder.
PIECE = typing.Tuple[int, typing.Tuple[int, int, bytes]]  # noqa: UP006
JUDGED = typing.Tuple[typing.Tuple[int, int, int], pa.RecordBatch]  # noqa: UP006
TALLY = typing.Tuple[typing.Tuple[str, str, str, str, str], int]  # noqa: UP006


def to_ipc(batch: pa.RecordBatch) -> bytes:
    """One batch as an Arrow IPC stream. Of a slice only the slice is written."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def from_ipc(payload: bytes) -> pa.RecordBatch:
    """The batch that `to_ipc` wrote, without a copy."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_next_batch()


class RecordBatchCoder(beam.coders.Coder):
    """Arrow IPC. Deterministic: equal batches with equal dictionaries give equal bytes."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        return to_ipc(value)

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return from_ipc(encoded)

    def is_deterministic(self) -> bool:
        return True


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


def pieces(batch: pa.RecordBatch, key: np.ndarray, window: np.ndarray) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """(key, window, rows) of each run of equal key and window. A row takes nothing of its neighbours along: the label
    dictionaries hold the words of these rows only, or words of one region would travel to another (clause 6)."""
    same = np.cumsum(np.append(False, (np.diff(key) != 0) | (np.diff(window) != 0))) if len(key) else key
    for _, start, stop in runs(same):
        part = batch.slice(start, stop - start)
        own = pa.RecordBatch.from_arrays([_own(column) for column in part.columns], names=part.schema.names)
        yield int(key[start]), int(window[start]), own


def _own(column: pa.Array) -> pa.Array:
    if not pa.types.is_dictionary(column.type):
        return column
    own = compact(column)
    return own.cast(_NARROW) if len(own.dictionary) <= _NARROWEST else own


def coalesce(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch out of pieces of the same layout, with one dictionary a label and room in it for all their words."""
    columns = [_joined([part.column(index) for part in parts]) for index in range(parts[0].num_columns)]
    return pa.RecordBatch.from_arrays(columns, names=parts[0].schema.names)


def _joined(arrays: list[pa.Array]) -> pa.Array:
    if not pa.types.is_dictionary(arrays[0].type):
        return pa.concat_arrays(arrays)
    wide = [pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), array.dictionary) for array in arrays]
    return pa.chunked_array(wide).unify_dictionaries().combine_chunks()
