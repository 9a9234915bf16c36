"""What crosses the exchange, and the coder that everything columnar travels by.

A piece is `(key, (kind, window, payload))`: the rows of one (region, shard, window), sealed, as one Arrow IPC stream
that is locked (`transforms.locks`). It is opened where the records are judged; the bag of state in between holds the
bytes as they came.

Telemetry names the layout that it is in. A slot holds one field under one policy and another under the next: rows that
outlived their policy in state would be misread, and are refused.

The coder for `pa.RecordBatch` is registered on import. Beam uses it only where a type hint says RecordBatch; without
one it pickles, and a pickled slice carries its whole parent. So every collection of ours has its hint.
"""

import hashlib
import json
from collections.abc import Iterator

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.consent import SEALED_LEDGER
from schemas.fields import EVENT_TYPES, SOURCES
from schemas.layout import Layout
from transforms.columns import runs
from transforms.ipc import from_ipc, to_buffer, to_ipc
from transforms.locks import Locks, StateMismatch

# What a payload is. The codes are authenticated with it, on the exchange and in savepoints: never renumber them.
TELEMETRY, LEDGER, IDS = 0, 1, 2  # on the exchange
HELD, SEEN, PAIRS, GROUPS = 3, 4, 5, 6  # in state alone
ORDERED = 7  # between Orders and their store
WAITING = 8  # stops on their way to Orders, in state
_LAYOUT = b"layout"
_NARROWEST = 1 << 15  # words that 16 bits can number
# Two thirds of a row are nulls: a runner copies a piece four times or more, and keeps it in state. What compression
# costs a piece, whatever it holds, is lost on a small one.
_LARGE = 2_000

Piece = tuple[int, tuple[int, int, bytes]]
Lot = tuple[int, int, int]  # region code, shard, index of the window
Judged = tuple[Lot, pa.RecordBatch]


class RecordBatchCoder(beam.coders.Coder):
    """Arrow IPC. Deterministic: equal batches with equal dictionaries give equal bytes."""

    def encode(self, value: pa.RecordBatch) -> bytes:
        return to_ipc(value)

    def decode(self, encoded: bytes) -> pa.RecordBatch:
        return from_ipc(encoded)

    def estimate_size(self, value: pa.RecordBatch) -> int:
        """What its values take: Beam counts the bytes of what it passes on, and would encode all of it for that."""
        return value.nbytes

    def is_deterministic(self) -> bool:
        return True


beam.coders.registry.register_coder(pa.RecordBatch, RecordBatchCoder)


def layout_digest(plan: Layout, window_ms: int | None) -> bytes:
    """Stands for all that the meaning of a row of telemetry follows from, beside its own columns."""
    slots = [
        [name, [[source.path, source.form, source.purpose, sorted(events)] for source, events in held]]
        for name, held in plan.slots.items()
    ]
    meaning = [[[field.name, str(field.type)] for field in plan.schema], slots, EVENT_TYPES, SOURCES, window_ms]
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16].encode()


def locked_telemetry(locks: Locks, key: int, rows: pa.RecordBatch, digest: bytes) -> bytes:
    """The payload of a piece of telemetry in the layout of that digest."""
    content = to_buffer(rows.replace_schema_metadata({_LAYOUT: digest}), "lz4" if rows.num_rows >= _LARGE else None)
    return locks.lock(key, TELEMETRY, content)


def telemetry_rows(content: bytes, digest: bytes) -> pa.RecordBatch:
    """The rows of an opened piece of telemetry. Raises `StateMismatch` if it is in another layout."""
    rows = from_ipc(content)
    if (rows.schema.metadata or {}).get(_LAYOUT) != digest:
        raise StateMismatch(
            "telemetry that waits in state is laid out for another policy, or another length of windows: "
            "let it be judged under the one that it came by before the job goes on under this one"
        )
    return rows


def ledger_rows(content: bytes | pa.Buffer) -> pa.RecordBatch:
    """The rows of an opened piece of the ledger, in the schema `SEALED_LEDGER`. A column that may be null and was not
    there yet when they were written is null. Raises `StateMismatch` if they have a column that is not known here."""
    rows = from_ipc(content)
    missing = [field for field in SEALED_LEDGER if field.name not in rows.schema.names]
    unknown = set(rows.schema.names) - set(SEALED_LEDGER.names)
    if unknown or any(not field.nullable for field in missing):
        raise StateMismatch(
            "the ledger that is held in state has other columns than this version knows: "
            "go on with the version that wrote it"
        )
    for field in missing:
        rows = rows.append_column(field, pa.nulls(rows.num_rows, field.type))
    columns = [rows.column(field.name).cast(field.type) for field in SEALED_LEDGER]
    return pa.RecordBatch.from_arrays(columns, schema=SEALED_LEDGER)


def pieces(batch: pa.RecordBatch, key: np.ndarray, window: np.ndarray) -> Iterator[tuple[int, int, pa.RecordBatch]]:
    """(key, window, rows) of each run of equal key and window. A row takes nothing of its neighbours along: the label
    dictionaries hold the words of these rows only, or words of one region would travel to another (clause 6)."""
    same = np.cumsum(np.append(False, (np.diff(key) != 0) | (np.diff(window) != 0))) if len(key) else key
    for _, start, stop in runs(same):
        part = batch.slice(start, stop - start)
        own = pa.RecordBatch.from_arrays([_own(column) for column in part.columns], names=part.schema.names)
        yield int(key[start]), int(window[start]), own


def _own(column: pa.Array) -> pa.Array:
    """A column of its own. Of a dictionary the words that are used, numbered as narrowly as they allow."""
    if not pa.types.is_dictionary(column.type):
        return column
    codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    used = np.zeros(len(column.dictionary) + 1, bool)
    used[codes] = True
    used[-1] = False  # where the nulls went
    kept = np.flatnonzero(used)
    dense = np.full(len(used), -1, np.int16 if len(kept) <= _NARROWEST else np.int32)
    dense[kept] = np.arange(len(kept))
    words = column.dictionary.take(pa.array(kept))
    return pa.DictionaryArray.from_arrays(pa.array(dense[codes], mask=codes < 0), words)


def coalesce(parts: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch out of pieces of the same layout, with one dictionary a label and room in it for all their words."""
    columns = [_joined([part.column(index) for part in parts]) for index in range(parts[0].num_columns)]
    return pa.RecordBatch.from_arrays(columns, names=parts[0].schema.names)


def _joined(arrays: list[pa.Array]) -> pa.Array:
    if not pa.types.is_dictionary(arrays[0].type):
        return pa.concat_arrays(arrays)
    wide = [pa.DictionaryArray.from_arrays(array.indices.cast(pa.int32()), array.dictionary) for array in arrays]
    return pa.chunked_array(wide).unify_dictionaries().combine_chunks()
