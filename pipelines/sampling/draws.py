"""Columns of random words, numbers and identifiers: each function draws a whole column at once."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

ALPHANUMERIC = b"abcdefghijklmnopqrstuvwxyz0123456789"
LETTERS = ALPHANUMERIC[:26]
BASE64URL = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ" + ALPHANUMERIC + b"-_"

_HEX_PAIRS = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint8).reshape(256, 2)
_UUID_HYPHENS = (8, 13, 18, 23)


def strings(matrix: np.ndarray) -> pa.StringArray:
    """Row i of a (rows, width) matrix of ASCII codes as the i-th string."""
    rows, width = matrix.shape
    offsets = np.arange(rows + 1, dtype=np.int32) * np.int32(width)
    ascii_codes = np.ascontiguousarray(matrix, dtype=np.uint8)
    return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(ascii_codes))


def hexadecimal(values: np.ndarray) -> np.ndarray:
    """(rows, width) bytes as (rows, 2 * width) ASCII codes of their lower-case hexadecimal digits."""
    return _HEX_PAIRS[values].reshape(len(values), 2 * values.shape[1])


def random_bytes(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    return np.frombuffer(rng.bytes(rows * width), np.uint8).reshape(rows, width)


def uuids(values: np.ndarray) -> pa.StringArray:
    """(rows, 16) random bytes as UUIDs of version 4 (RFC 9562)."""
    values = values.copy()
    values[:, 6] = values[:, 6] & 0x0F | 0x40
    values[:, 8] = values[:, 8] & 0x3F | 0x80
    text = np.full((len(values), 36), ord("-"), np.uint8)
    text[:, np.setdiff1d(np.arange(36), _UUID_HYPHENS)] = hexadecimal(values)
    return strings(text)


def random_text(rng: np.random.Generator, rows: int, width: int, letters: bytes = ALPHANUMERIC) -> pa.StringArray:
    return strings(np.frombuffer(letters, np.uint8)[rng.integers(0, len(letters), (rows, width), np.uint8)])


def random_hex(rng: np.random.Generator, rows: int, width: int) -> pa.StringArray:
    """Hexadecimal strings of `width` bytes."""
    return strings(hexadecimal(random_bytes(rng, rows, width)))


def macs(rng: np.random.Generator, rows: int) -> pa.StringArray:
    """Universally administered unicast hardware addresses (IEEE 802)."""
    values = random_bytes(rng, rows, 6).copy()
    values[:, 0] &= 0xFC
    text = np.full((rows, 17), ord(":"), np.uint8)
    text[:, np.arange(17) % 3 != 2] = hexadecimal(values)
    return strings(text)


def digits(rng: np.random.Generator, rows: int, width: int) -> np.ndarray:
    """Digits 0 to 9 as a (rows, width) matrix of numbers, not of ASCII codes."""
    return rng.integers(0, 10, (rows, width), dtype=np.uint8)


def numerals(numbers: np.ndarray) -> pa.StringArray:
    """A matrix of digits, as `digits` gives it, as strings."""
    return strings(numbers + np.uint8(ord("0")))


def with_luhn(numbers: np.ndarray) -> np.ndarray:
    """Digits with the check digit of ISO/IEC 7812-1 behind them, as IMEIs and payment cards have it."""
    doubled = numbers[:, ::-1].astype(np.int64)
    doubled[:, ::2] *= 2
    total = np.where(doubled > 9, doubled - 9, doubled).sum(axis=1)
    return np.column_stack([numbers, (-total % 10).astype(np.uint8)])


def imeis(rng: np.random.Generator, rows: int) -> pa.StringArray:
    numbers = digits(rng, rows, 14)
    numbers[:, :2] = (8, 6)  # the reporting body that most phones' type allocation codes begin with
    return numerals(with_luhn(numbers))


def meids(rng: np.random.Generator, rows: int) -> pa.StringArray:
    """As handsets of CDMA networks have them: 14 hexadecimal digits, the first of them a letter."""
    values = random_bytes(rng, rows, 7).copy()
    values[:, 0] |= 0xA0
    return pc.utf8_upper(strings(hexadecimal(values)))


def ipv4s(rng: np.random.Generator, rows: int) -> pa.Array:
    """Addresses outside the private, shared, loopback and multicast blocks."""
    first = np.array([23, 31, 36, 49, 58, 77, 80, 85, 91, 94, 103, 111, 117, 122, 151, 176, 182, 188, 202, 212])
    octets = [rng.choice(first, rows), *rng.integers(0, 256, (2, rows)), rng.integers(1, 255, rows)]
    return pc.binary_join_element_wise(*[pa.array(octet).cast(pa.string()) for octet in octets], ".")


def ipv6s(rng: np.random.Generator, rows: int) -> pa.StringArray:
    values = random_bytes(rng, rows, 16).copy()
    values[:, :2] = (0x2A, 0x02)
    values[:, 2::2] |= 0x10  # no group begins with a zero, so that each is in its shortest form already
    text = np.full((rows, 39), ord(":"), np.uint8)
    text[:, np.arange(39) % 5 != 4] = hexadecimal(values)
    return strings(text)


def times(milliseconds: np.ndarray) -> pa.StringArray:
    """Milliseconds since 1970 as RFC 3339 in UTC: 2021-03-01T08:00:00.000Z."""
    spaced = pa.array(milliseconds.astype(np.int64)).cast(pa.timestamp("ms")).cast(pa.string())
    rows = len(spaced)
    text = np.full((rows, 24), ord("Z"), np.uint8)
    if rows:
        text[:, :23] = np.frombuffer(spaced.buffers()[2], np.uint8)[: rows * 23].reshape(rows, 23)
        text[:, 10] = ord("T")
    return strings(text)


def zipf(count: int, exponent: float = 1.0) -> np.ndarray:
    """Shares of `count` things of which a few are common and most are rare."""
    weights = np.arange(1, count + 1) ** -exponent
    return weights / weights.sum()


def pick(
    rng: np.random.Generator, rows: int, words: Sequence[str], shares: Sequence[float] | np.ndarray | None = None
) -> pa.DictionaryArray:
    """A column of words, each with its share; by default all have the same."""
    indices = rng.choice(len(words), rows, p=shares).astype(np.int16)
    return pa.DictionaryArray.from_arrays(indices, pa.array(words, pa.string()))


def chance(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    return rng.random(rows) < share


def only(mask: np.ndarray, column: pa.Array) -> pa.Array:
    """The column, null where the mask is False."""
    return pc.if_else(pa.array(mask), column, pa.scalar(None, column.type))
