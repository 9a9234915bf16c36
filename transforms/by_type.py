"""Lines of one event type brought together: a column that most lines lack costs time in each of them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import PAYLOADS
from transforms.block import Layout

_KEYS = (b'"event_type":"', b'"event_type": "')  # as encoders write it
_WORD = 8  # bytes of a name that are looked at
_FEWEST = 100  # lines that are worth a call of their own, and 16 times as many a block


class Group(NamedTuple):
    """Lines of a block: their bytes, one after the other, and where they stand in these, under the numbers that they
    have in the block; of lines that are too long no bytes. `kind` is "" where it is not known."""

    kind: str
    block: bytes
    layout: Layout


def by_type(block: bytes, layout: Layout, kinds: tuple[str, ...], odd: bytes = b"") -> Iterator[Group]:
    """The lines of a block in groups, each in the order of the block.

    The kind is a guess from the first bytes that look like it, and for speed alone: whatever a line is, its group may
    hold it. Lines that match `odd`, if it is given, are of no kind. A block of few lines is one group.
    """
    if not kinds or len(layout.start) < _FEWEST * 16:
        yield Group("", block, layout)
        return
    block = block if block.endswith(b"\n") else block + b"\n"
    lines = _lines(block, layout)
    kind = _kinds(block, layout, lines, kinds)
    if odd:
        kind[_found(lines, odd)] = -1
    kind[np.isin(kind, np.flatnonzero(np.bincount(kind + 1) < _FEWEST) - 1)] = -1
    if layout.too_long.any():
        yield Group("", b"", layout.of(layout.too_long))
    for code in np.unique(kind[~layout.too_long]).tolist():
        at = np.flatnonzero((kind == code) & ~layout.too_long)
        yield Group(kinds[code] if code >= 0 else "", *_taken(lines, layout, at))


def of_other_types(group: Group) -> np.ndarray:
    """The places of the lines that may hold an object of another event type than their group's."""
    return matching(group, member(name for name in PAYLOADS if name != group.kind), 0, len(group.layout.start))


def matching(group: Group, pattern: bytes, begin: int, end: int) -> np.ndarray:
    """The places of the lines of [begin, end) in which a pattern is found."""
    return begin + np.flatnonzero(_found(_lines(group.block, group.layout)[begin:end], pattern))


def oddities(repeated: Iterable[str]) -> bytes:
    """A pattern of lines that may hold objects of two event types, or name one of these keys twice."""
    payload, keys = member(PAYLOADS), map(member, ([name] for name in repeated))
    return b"|".join([payload + b".*" + payload, *(key + b".*" + key for key in keys)])


def member(names: Iterable[str]) -> bytes:
    """A pattern of a key, one of these, up to where its value starts."""
    # Byte by byte: a name may be a sender's, and hold anything.
    spelt = (b"".join(rb"\x%02x" % byte for byte in name.encode()) for name in names)
    return rb'"(?:%s)"[ \t\r]*:[ \t\r]*' % b"|".join(spelt)


def _found(lines: pa.BinaryArray, pattern: bytes) -> np.ndarray:
    return pc.match_substring_regex(lines, pattern).fill_null(False).to_numpy(zero_copy_only=False)


def _lines(block: bytes, layout: Layout) -> pa.BinaryArray:
    """Each line with whatever stands between it and the next, without a copy; null where it is too long to be looked
    at."""
    offsets = np.append(layout.start, len(block)).astype(np.int32)
    valid = np.packbits(~layout.too_long, bitorder="little")
    return pa.Array.from_buffers(pa.binary(), len(layout.start), list(map(pa.py_buffer, (valid, offsets, block))))


def _kinds(block: bytes, layout: Layout, lines: pa.BinaryArray, kinds: tuple[str, ...]) -> np.ndarray:
    """The place of each line's kind in `kinds`, or -1."""
    kind = np.full(len(lines), -1, np.int8)
    words = np.lib.stride_tricks.sliding_window_view(np.frombuffer(block, np.uint8), _WORD)
    for key in _KEYS:
        unknown = np.flatnonzero(kind < 0)
        if not len(unknown):
            break
        looked_at = lines if len(unknown) == len(lines) else lines.take(pa.array(unknown))
        found = pc.find_substring(looked_at, key).fill_null(-1).to_numpy()
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
    own = layout.of(at)
    return content.to_pybytes(), replace(own, start=start, end=start + own.end - own.start)
