"""Identifiers brought to one canonical form, a column at a time.

A handset, a person or an entry has one identifier but many ways to write it. Keyed tags agree only on equal bytes, so
an identifier is brought to its canonical bytes before it is sealed: whoever withdraws with `35-209900-176148-1` must
stop the records that say `352099001761481`.

A value that is no such identifier is malformed. A value that by convention means "no identifier here" is absent: the
zeroed advertising id of somebody who opted out (clause 2-adcookie), the MAC that Android tells an application that may
not know it. Both become null; each row is judged by itself.

What is in doubt is malformed: nothing is guessed, so that no two identifiers can become one. White space around a value
is dropped of serial numbers alone, which people type in; `0x` and digits outside of ASCII are never read. An Android ID
of fewer than 16 digits may have lost zeros in front (Android before 8 did not write them) or its end: read as a number,
what was cut off would file a withdrawal under somebody else. Who collects writes all 16.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.countries import subscriber_mccs

# What a reader makes of a column: its canonical bytes (anything where it failed), and where it succeeded (no null is).
Reading = tuple[pa.Array, np.ndarray]
# One notation of a fixed-width kind: (length, n) bytes -> (width, n) bytes, and which of the n rows fit. Characters lie
# along the first axis, so that each step runs over whole columns.
Notation = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_BAD_PAIR = 0x100


def canonical(kind: str, values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return the canonical form of a column of identifiers, and a mask of the rows that were malformed.

    `values` is a string or large_string array, sliced or not. The first result is fixed_size_binary(width) or, for
    kinds without a width, binary; it is null where a value is null, absent or malformed, with no bytes under the null.
    The second is a bool array, true where a value was there but malformed; the empty string is malformed. What a row
    holds never changes what becomes of another. Nothing is raised for data; an unknown kind raises KeyError, a column
    of another type TypeError.
    """
    rule = KINDS[kind]
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        raise TypeError(f"identifiers come as a text column, not {values.type}")
    found, read = rule.read(values.cast(pa.binary()))
    valid = pc.is_valid(values).to_numpy(zero_copy_only=False)
    nobody = _equals_any(found, rule.nobody)
    malformed = valid & (~read | nobody)
    kept = read & ~nobody & ~_equals_any(found, rule.absent)
    # A take, since a null mask alone would leave the bytes of what was refused in the buffer.
    return found.take(pa.array(np.arange(len(found)), mask=~kept)), malformed


def _equals_any(found: pa.Array, placeholders: tuple[bytes, ...]) -> np.ndarray:
    hit = np.zeros(len(found), bool)
    for placeholder in placeholders:
        hit |= pc.equal(found, pa.scalar(placeholder, found.type)).fill_null(False).to_numpy(zero_copy_only=False)
    return hit


def _read_fixed(values: pa.BinaryArray, width: int, notations: tuple[tuple[int, Notation], ...]) -> Reading:
    lengths = pc.binary_length(values).fill_null(-1).to_numpy()
    found = np.zeros((len(values), width), np.uint8)
    read = np.zeros(len(values), bool)
    for length, notation in notations:
        rows = np.flatnonzero((lengths == length) & ~read)
        if rows.size:
            forms, fits = notation(_characters(values, rows, length))
            fitting = np.flatnonzero(fits)
            rows = rows.take(fitting)
            _items(found)[rows] = _items(np.ascontiguousarray(forms.T)).take(fitting)
            read[rows] = True
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(found), [None, pa.py_buffer(found)]), read


def _characters(values: pa.BinaryArray, rows: np.ndarray, length: int) -> np.ndarray:
    # The bytes of the given rows, all of one length: (length, rows)
    if len(rows) < len(values):
        values = values.take(pa.array(rows))
    _, offsets, data = values.buffers()
    first = np.frombuffer(offsets, np.int32, 1, values.offset * 4)[0]
    return np.ascontiguousarray(np.frombuffer(data, np.uint8, len(rows) * length, first).reshape(-1, length).T)


def _items(rows: np.ndarray) -> np.ndarray:
    # (n, width) bytes -> (n,), each row one item that numpy copies whole; a view
    return rows.view(f"V{rows.shape[1]}")[:, 0]


def _hex_pairs() -> np.ndarray:
    # By two ASCII characters, the first in the low byte: the byte that they write, or _BAD_PAIR.
    nibbles = np.full(256, _BAD_PAIR, np.uint16)
    nibbles[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16)
    nibbles[np.frombuffer(b"ABCDEF", np.uint8)] = np.arange(10, 16)
    second, first = nibbles[:, None], nibbles
    return np.where(np.maximum(first, second) < 16, first << 4 | second, _BAD_PAIR).astype(np.uint16).reshape(-1)


_HEX_PAIRS = _hex_pairs()


def _hex(template: str) -> tuple[int, Notation]:
    """The notation of a template: `x` stands for a hexadecimal digit, anything else for itself."""
    characters = np.frombuffer(template.encode(), np.uint8)
    digits = np.flatnonzero(characters == ord("x"))
    marks = np.flatnonzero(characters != ord("x"))

    def decode(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pairs = _HEX_PAIRS.take(text[digits[0::2]] | text[digits[1::2]].astype(np.uint16) << 8)
        fits = (pairs < _BAD_PAIR).all(axis=0) & (text[marks] == characters[marks, None]).all(axis=0)
        return pairs.astype(np.uint8), fits

    return len(template), decode


def _imei(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An IMEI of 15 digits; its first 14 without the check digit; or an IMEISV, those 14 and two digits of software.

    3GPP TS 23.003, 6.2 and annex B (the check digit, after Luhn).
    """
    digits = text - ord("0")  # unsigned: what is no digit becomes 10 or more
    body = digits[:14]
    twice = 2 * body[1::2]
    total = body[0::2].sum(axis=0, dtype=np.uint8) + np.where(twice > 9, twice - 9, twice).sum(axis=0, dtype=np.uint8)
    check = (10 - total % 10) % 10
    fits = (digits < 10).all(axis=0) & (body != body[0]).any(axis=0)
    if len(digits) == 15:
        fits &= digits[14] == check
    return np.vstack([text[:14], check + ord("0")]), fits


def _meid(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A MEID of 14 hexadecimal digits, or those and their check digit, after Luhn with base 16.

    3GPP2 S.R0048-A: the first two digits are A0 or more. A handset of both worlds has decimal digits alone, and they
    are its IMEI: that is the one form of it, so here they are malformed.
    """
    forms, fits = _MEID_DIGITS(text[:14])
    fits &= forms[0] >= 0xA0
    if len(text) == 15:
        twice = 2 * (forms & 15)
        total = (forms >> 4).sum(axis=0, dtype=np.uint8)
        total += np.where(twice > 15, twice - 15, twice).sum(axis=0, dtype=np.uint8)
        fits &= _HEX_PAIRS.take(ord("0") | text[14].astype(np.uint16) << 8) == -total % 16
    return forms, fits


def _meid_in_decimal(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first four bytes of a MEID as ten decimal digits, the other three as eight."""
    digits = (text - ord("0")).astype(np.int64)
    first, last = _TENS[-10:] @ digits[:10], _TENS[-8:] @ digits[10:]
    fits = (digits < 10).all(axis=0) & (first >= 0xA0 << 24) & (first < 1 << 32) & (last < 1 << 24)
    return (first << 24 | last).astype(">u8").view(np.uint8).reshape(-1, 8)[:, 1:].T, fits


_MEID_DIGITS = _hex("x" * 14)[1]
_TENS = 10 ** np.arange(9, -1, -1)


def _read_grouped(values: pa.BinaryArray, width: int, notations: tuple[tuple[int, Notation], ...]) -> Reading:
    """As `_read_fixed`, of what people write in groups: spaces, dots, slashes and hyphens may stand anywhere."""
    found, read = _read_fixed(values, width, notations)
    missed = ~read & pc.is_valid(values).to_numpy(zero_copy_only=False)
    if not missed.any():
        return found, read
    mask = pa.array(missed)
    joined = pc.replace_substring_regex(values.filter(mask), r"[ ./-]", "")
    found_joined, read[missed] = _read_fixed(joined, width, notations)
    return pc.replace_with_mask(found, mask, found_joined), read


def _imsi(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # 14 digits are filled up with F, as on the SIM (3GPP TS 31.102, 4.2.2), so that no two subscribers share a form.
    filled = np.full((15, text.shape[1]), ord("F"), np.uint8)
    filled[: len(text)] = text
    digits = text - ord("0")
    country = digits[0] * np.uint16(100) + digits[1] * np.uint16(10) + digits[2]
    return filled, (digits < 10).all(axis=0) & _HAS_SUBSCRIBERS.take(country, mode="clip")


_HAS_SUBSCRIBERS = np.isin(np.arange(1_001), list(subscriber_mccs()))  # the last for all that is no code


def _interface(template: str) -> tuple[int, Notation]:
    """As `_hex`, but no address of a group, broadcast among them: that is nobody's (IEEE 802, 8.2)."""
    length, decode = _hex(template)

    def decode_own(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        forms, fits = decode(text)
        return forms, fits & (forms[0] & 1 == 0)

    return length, decode_own


def _read_text(values: pa.BinaryArray, letters: bytes, shortest: int, longest: int) -> Reading:
    forbidden = np.ones(256, bool)
    forbidden[np.frombuffer(letters, np.uint8)] = False
    lengths = pc.binary_length(values).fill_null(-1).to_numpy()
    read = (lengths >= shortest) & (lengths <= longest)
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(values) + 1, values.offset * 4)
    text = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    strange = np.flatnonzero(forbidden.take(text)) + bounds[0]
    read[np.searchsorted(bounds, strange, side="right") - 1] = False
    return values, read


def _read_serial(values: pa.BinaryArray, letters: bytes, shortest: int, longest: int) -> Reading:
    tidy = pc.ascii_upper(pc.ascii_trim_whitespace(values.view(pa.string())))
    return _read_text(tidy.cast(pa.binary()), letters, shortest, longest)


@dataclass(frozen=True)
class Kind:
    """A kind of identifier: what it is, and how long its canonical form is.

    `width` is the number of bytes if all values have the same, else None; `longest` is the most that it can have.
    """

    name: str
    description: str
    example: str
    width: int | None
    longest: int
    read: Callable[[pa.BinaryArray], Reading] = field(repr=False)
    absent: tuple[bytes, ...] = ()  # canonical forms that say "none here"
    nobody: tuple[bytes, ...] = ()  # canonical forms that many handsets share: no identifier of anybody


_UUID = (_hex("xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"), _hex("x" * 32))
_MAC = tuple(map(_interface, ("xx:xx:xx:xx:xx:xx", "xx-xx-xx-xx-xx-xx", "xxxx.xxxx.xxxx", "x" * 12)))

_DIGITS = b"0123456789"
_UPPER = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALNUM = _DIGITS + _UPPER + _UPPER.lower()
_PRINTABLE = bytes(range(0x21, 0x7F))


def _fixed(name: str, width: int, notations: tuple, description: str, example: str, **placeholders) -> Kind:
    read = partial(_read_fixed, width=width, notations=notations)
    return Kind(name, description, example, width, width, read, **placeholders)


def _grouped(name: str, width: int, notations: tuple, description: str, example: str, **placeholders) -> Kind:
    read = partial(_read_grouped, width=width, notations=notations)
    return Kind(name, description, example, width, width, read, **placeholders)


def _variable(name: str, letters: bytes, shortest: int, longest: int, description: str, example: str) -> Kind:
    read = partial(_read_text, letters=letters, shortest=shortest, longest=longest)
    return Kind(name, description, example, None, longest, read)


def _app_id(name: str, description: str, example: str) -> Kind:
    # All zeros is what an application reads once the person has switched the identifier off.
    return _fixed(name, 16, _UUID, description, example, absent=(bytes(16),))


_ALL = (
    _fixed("event_id", 16, _UUID, "one event", "0b8f4c1e-6f0a-4f63-9d0e-2a4f5c7b9e10", nobody=(bytes(16),)),
    _app_id("oaid", "open anonymous device identifier", "7d3f1c52-90aa-4b1e-8c66-5e0f2b7a9d34"),
    _app_id("gaid", "Google advertising identifier", "38400000-8cf0-11bd-b23e-10b96e40000d"),
    _app_id("vaid", "identifier of a device towards one vendor", "c2a9e5d0-1b47-4c8f-a3d6-94e7f0b1528a"),
    _app_id("aaid", "identifier of a device towards one application", "5f6e0d3c-2b1a-4987-b6c5-d4e3f2a10b9c"),
    _fixed(
        "android_id",
        8,
        (_hex("x" * 16),),
        "identifier of an Android installation",
        "1f3a5c7e9b0d2468",
        # The second is what a whole series of handsets was shipped with.
        nobody=(bytes(8), bytes.fromhex("9774d56d682e549c")),
    ),
    _grouped(
        "imei",
        15,
        ((15, _imei), (14, _imei), (16, _imei)),
        "equipment identity with its check digit",
        "490154203237518",
        nobody=(b"004999010640000",),  # what a handset says that has lost its own
    ),
    _grouped(
        "meid",
        7,
        ((14, _meid), (15, _meid), (18, _meid_in_decimal)),
        "equipment identity of a CDMA handset",
        "AF0123450ABCDE",
        nobody=(b"\xff" * 7,),
    ),
    _fixed("imsi", 15, ((15, _imsi), (14, _imsi)), "subscriber identity of a SIM", "204046620123456"),
    _fixed(
        "mac",
        6,
        _MAC,
        "hardware address of a network interface",
        "00:00:5e:00:53:01",
        # The first is what Android tells applications that may not know the address.
        absent=(bytes.fromhex("020000000000"), bytes(6)),
    ),
    Kind(
        "serial",
        "serial number of the device",
        "28041JEHN03298",
        None,
        32,
        partial(_read_serial, letters=_DIGITS + _UPPER + b"-_./", shortest=4, longest=32),
        absent=(b"UNKNOWN", b"0123456789ABCDEF"),
    ),
    _variable("account_id", _PRINTABLE, 1, 128, "account with the service", "6200114873"),
    _variable("space_id", _ALNUM + b"_-", 1, 64, "user space on the device", "10"),
    _variable("fcm_token", _ALNUM + b"_:%.-", 20, 512, "registration for push messages", "dGVzdA:APA91bExampleOnly_0"),
    _variable("entry_id", _PRINTABLE, 1, 128, "one entry of the consent ledger", "ledger-2021-000017"),
)

KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _ALL})
