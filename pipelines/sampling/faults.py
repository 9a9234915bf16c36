"""Lines spoilt in the ways that lines arrive spoilt. None of them is valid telemetry any more."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

Spoil = Callable[[pa.Array], pa.Array]


def _cut(at: int) -> Spoil:
    return lambda lines: pc.binary_join_element_wise(pc.binary_slice(lines, 0, at), b"\n", b"")


def _replaced(pattern: str, replacement: str) -> Spoil:
    return lambda lines: pc.replace_substring_regex(lines, pattern, replacement, max_replacements=1)


def _behind(marker: bytes, junk: bytes) -> Spoil:
    """Junk put right behind the marker; bytes, since it need not be UTF-8."""
    return lambda lines: pc.replace_substring(lines, marker, marker + junk, max_replacements=1)


def _twice(lines: pa.Array) -> pa.Array:
    return pc.binary_join_element_wise(pc.replace_substring(lines, b"\n", b""), lines, b"")


def _not_json(lines: pa.Array) -> pa.Array:
    return pa.repeat(pa.scalar(b"upstream timed out while reading response header\n"), len(lines))


FAULTS: dict[str, Spoil] = {
    "cut early": _cut(47),
    "cut late": _cut(290),
    "not JSON": _not_json,
    "two objects": _twice,
    "not UTF-8": _behind(b'"service":"', b"\xff\xfe"),
    "number for a word": _replaced('"source":"[a-z]+"', '"source":17'),
    "word for a number": _replaced('"schema_version":1', '"schema_version":"one"'),
    "not a number": _replaced('"schema_version":1', '"schema_version":NaN'),
    "array for an object": _replaced('"residency":[{][^}]*[}]', '"residency":[]'),
    "no event id": _replaced('"event_id":"[^"]*",', ""),
    "no receipt": _replaced('"received_time":"[^"]*",', ""),
    "unknown type": _replaced('"event_type":"[a-z_]+"', '"event_type":"teleport"'),
    "unknown version": _replaced('"schema_version":1', '"schema_version":77'),
    "unknown source": _replaced('"source":"[a-z]+"', '"source":"rumour"'),
    "no such day": _replaced(r'"event_time":"(\d{4})-\d\d-\d\d', r'"event_time":"\1-02-30'),
    "from the future": _replaced(r'"event_time":"\d{4}', '"event_time":"2199'),
    "from long ago": _replaced(r'"event_time":"\d{4}', '"event_time":"1999'),
    "negative duration": _replaced(r'_ms":\d+', '_ms":-5'),
    "percent above 100": _replaced(r'_percent":[0-9.]+', '_percent":250'),
}


def spoil(rng: np.random.Generator, lines: pa.BinaryArray) -> pa.BinaryArray:
    """Every line with one fault, evenly spread; a fault that a line has no place for becomes a cut."""
    fault = rng.permutation(len(lines)) % len(FAULTS)
    order = np.argsort(fault, kind="stable")
    ends = np.cumsum(np.bincount(fault, minlength=len(FAULTS)))
    spoilt = [
        _surely(apply, lines.take(pa.array(mine)))
        for apply, mine in zip(FAULTS.values(), np.split(order, ends[:-1]), strict=True)
    ]
    return pa.concat_arrays(spoilt).take(pa.array(np.argsort(order)))


def _surely(apply: Spoil, lines: pa.BinaryArray) -> pa.BinaryArray:
    spoilt = apply(lines)
    return pc.if_else(pc.equal(spoilt, lines), _cut(200)(lines), spoilt)
