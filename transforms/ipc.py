"""Batches as bytes: the Arrow IPC stream format. No Beam here: who reads a store needs none."""

import pyarrow as pa


def to_ipc(batch: pa.RecordBatch) -> bytes:
    """One batch as an Arrow IPC stream. Of a slice only the slice is written."""
    return to_buffer(batch).to_pybytes()


def to_buffer(batch: pa.RecordBatch, compression: str | None = None) -> pa.Buffer:
    """As `to_ipc`, without the last copy. Columns may be compressed, which whoever reads them need not be told."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def from_ipc(payload: bytes | pa.Buffer) -> pa.RecordBatch:
    """The batch that `to_ipc` wrote, without a copy."""
    with pa.ipc.open_stream(payload) as reader:
        return reader.read_next_batch()
