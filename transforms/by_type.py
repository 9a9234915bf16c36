"""Lines of one event type brought together: a column that most lines lack costs time in each of them."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.block import Layout

_KEYS = (b'"event_type":"', b'"event_type": "')  # as encoders write it
_WORD = 8  # bytes of a name that are looked at
_FEWEST = 100  # lines that are worth a call of their own, and 16 times as many a block


class Group(NamedTuple):
    """Lines of a block: their bytes, one after the other, and where they stand in these, under the numbers that they
    have in the block. `kind` is "" where it is not known."""

    kind: str
    block: bytes
    layout: Layout


def by_type(block: bytes, layout: Layout, kinds: tuple[str, ...]) -> Iterator[Group]:
    """The lines of a block in groups, each in the order of the block.

    The kind is a guess from the first bytes that look like it, and for speed alone: whatever a line is, its group may
    hold it. A block of few lines is one group.
    """
    if not kinds or len(layout.start) < _FEWEST * 16:
        yield Group("", block, layout)
        return
    block = block if block.endswith(b"\n") else block + b"\n"
    lines = _lines(block, layout)
    kind = _kinds(block, layout, lines, kinds)
    kind[np.isin(kind, np.flatnonzero(np.bincount(kind + 1) < _FEWEST) - 1)] = -1
    for code in np.unique(kind).tolist():
        at = np.flatnonzero(kind == code)
        yield Group(kinds[code] if code >= 0 else "", *_taken(lines, layout, at))


def _lines(block: bytes, layout: Layout) -> pa.BinaryArray:
    """Each line with whatever stands between it and the next, without a copy."""
    offsets = np.append(layout.start, len(block)).astype(np.int32)
    return pa.Array.from_buffers(pa.binary(), len(layout.start), [None, pa.py_buffer(offsets), pa.py_buffer(block)])


def _kinds(block: bytes, layout: Layout, lines: pa.BinaryArray, kinds: tuple[str, ...]) -> np.ndarray:
    """The place of each line's kind in `kinds`, or -1."""
    kind = np.full(len(lines), -1, np.int8)
    words = np.lib.stride_tricks.sliding_window_view(np.frombuffer(block, np.uint8), _WORD)
    for key in _KEYS:
        unknown = np.flatnonzero(kind < 0)
        if not len(unknown):
            break
        looked_at = lines if len(unknown) == len(lines) else lines.take(pa.array(unknown))
        found = pc.find_substring(looked_at, key).to_numpy()
        at, unknown = layout.start[unknown] + found + len(key), unknown[found >= 0]
        at = np.minimum(at[found >= 0], len(words) - 1)
        word = np.ascontiguousarray(words[at]).view("<u8")[:, 0]
        for code, name in enumerate(kinds):
            start = (name + '"').encode()[:_WORD]
            mask = np.uint64((1 << 8 * len(start)) - 1)
            kind[unknown[word & mask == int.from_bytes(start, "little")]] = code
    return kind


def _taken(lines: pa.BinaryArray, layout: Layout, at: np.ndarray) -> tuple[bytes, Layout]:
    taken = lines.take(pa.array(at))
    _, offsets, content = taken.buffers()
    start = np.frombuffer(offsets, np.int32, len(at)).astype(np.int64)
    end = start + layout.end[at] - layout.start[at]
    own = Layout(start, end, layout.number[at], layout.plain[at], layout.too_long[at], layout.ends)
    return content.to_pybytes(), own
