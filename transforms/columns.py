"""Small operations on columns that several steps need."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa


def runs(codes: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(code, start, stop) of each run of equal values."""
    if not len(codes):
        return
    edges = np.flatnonzero(np.diff(codes)) + 1
    starts, stops = np.append(0, edges), np.append(edges, len(codes))
    yield from zip(codes[starts].tolist(), starts.tolist(), stops.tolist(), strict=True)


def tag_blocks(tags: pa.FixedSizeBinaryArray) -> np.ndarray:
    """The tags, without a copy, as (rows, 2) numbers; what stands under a null is meaningless."""
    raw = np.frombuffer(tags.buffers()[1], np.uint64) if len(tags) else np.empty(0, np.uint64)
    return raw[2 * tags.offset : 2 * (tags.offset + len(tags))].reshape(-1, 2)


def tag_words(tags: pa.FixedSizeBinaryArray) -> np.ndarray:
    """The first eight bytes of each tag as a number; what stands under a null is meaningless."""
    return tag_blocks(tags)[:, 0]


def among(values: np.ndarray, ascending: np.ndarray) -> np.ndarray:
    """True on the values that are in a sorted array."""
    if not len(ascending):
        return np.zeros(len(values), bool)
    return ascending.take(np.searchsorted(ascending, values), mode="clip") == values


def scattered(parts: list[tuple[np.ndarray, pa.Array]], rows: int) -> pa.Array:
    """One column out of parts that stand at disjoint positions; null where no part stands."""
    index = np.full(rows, -1, np.int64)
    offset = 0
    for places, _ in parts:
        index[places] = np.arange(offset, offset + len(places))
        offset += len(places)
    return pa.concat_arrays([values for _, values in parts]).take(pa.array(index, mask=index < 0))
