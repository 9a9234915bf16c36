"""Searching bytes for many values at once, in every spelling in which a value could have been written down."""

import base64
import re
from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

_WINDOW = 6  # bytes by which a spelling is first looked for; no spelling is shorter
_MASK = np.uint64((1 << 8 * _WINDOW) - 1)


def spellings(value: bytes) -> set[bytes]:
    """The value raw, in hex of both cases, in base64 at all three alignments, and text in UTF-16 of both orders."""
    found = {value, value.hex().encode(), value.hex().upper().encode()}
    for shift in range(3):
        # Only the characters that depend on the value alone: its neighbours share the first and the last.
        encoded = base64.b64encode(bytes(shift) + value)
        found.add(encoded[-(-8 * shift // 6) : 8 * (shift + len(value)) // 6])
    if value.isascii():
        text = value.decode()
        found |= {text.encode("utf-16-le"), text.encode("utf-16-be")}
    return found


class Needles:
    """Values of six bytes or more that must not be found, in all their spellings."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values: dict[int, list[tuple[bytes, bytes]]] = {}  # by the first bytes of a spelling
        for value in set(values):
            for spelling in spellings(value):
                head = int.from_bytes(spelling[:_WINDOW], "little")
                self._values.setdefault(head, []).append((spelling, value))
        self._heads = np.sort(np.fromiter(self._values, np.uint64, len(self._values)))

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))

    def found(self, haystack: bytes) -> set[bytes]:
        """The values that occur in the bytes."""
        if len(haystack) < _WINDOW:
            return set()
        padded = np.frombuffer(haystack + bytes(8), np.uint8)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 8)[: len(haystack) - _WINDOW + 1]
        heads = np.ascontiguousarray(windows).view(np.uint64)[:, 0] & _MASK
        at = np.searchsorted(self._heads, heads)
        places = np.flatnonzero(self._heads[np.minimum(at, len(self._heads) - 1)] == heads)
        return {
            value
            for place in places.tolist()
            for spelling, value in self._values[int(heads[place])]
            if haystack.startswith(spelling, place)
        }


def as_bytes(texts: set[str]) -> Iterator[bytes]:
    """What the values are once their notation is off: 16 bytes of a UUID, 8 of an Android ID, 6 of a MAC."""
    for text in texts:
        digits = text.replace("-", "").replace(":", "")
        if len(digits) in (12, 16, 32) and re.fullmatch("[0-9a-fA-F]+", digits):
            yield bytes.fromhex(digits)


def content(table: pa.Table) -> bytes:
    """Every buffer of a table."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
