import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.countries import country_of_mcc
from transforms.canonical import KINDS, canonical

MALFORMED = object()
UUIDS = ("oaid", "gaid", "vaid", "aaid")
SUBSCRIBERS = "|".join(map(str, (*country_of_mcc(), 221, 901)))
NOTATIONS = {
    "uuid": r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}",
    "android_id": r"[0-9a-f]{16}",
    "mac": r"(?=.[02468ace])"
    r"([0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{4}(\.[0-9a-f]{4}){2}|[0-9a-f]{12})",
    "imei": r"[0-9]{14,16}",
    "meid": r"[0-9]{18}|[a-f][0-9a-f]{13,14}",
    "imsi": rf"({SUBSCRIBERS})[0-9]{{11,12}}",
    "serial": r"[A-Z0-9\-_./]{4,32}",
    "account_id": r"[!-~]{1,128}",
    "entry_id": r"[!-~]{1,128}",
    "space_id": r"[A-Za-z0-9_\-]{1,64}",
    "fcm_token": r"[A-Za-z0-9_:%.\-]{20,512}",
}
ABSENT = {
    **{kind: {bytes(16)} for kind in UUIDS},
    "mac": {bytes(6), b"\x02\0\0\0\0\0"},
    "serial": {b"UNKNOWN", b"0123456789ABCDEF"},
}
NOBODY = {
    "event_id": {bytes(16)},
    "android_id": {bytes(8), bytes.fromhex("9774d56d682e549c")},
    "imei": {b"004999010640000"},
    "meid": {b"\xff" * 7},
}


def luhn(body: str, base: int = 10) -> str:
    digits = [int(c, base) * (1 + i % 2) for i, c in enumerate(body)]
    return f"{-sum(d // base + d % base for d in digits) % base:x}"


def slow_meid(value: str):
    """The seven bytes, or MALFORMED."""
    if len(value) == 18:
        first, last = int(value[:10]), int(value[10:])
        fits = 0xA0000000 <= first < 2**32 and last < 2**24
        return bytes.fromhex(f"{first:08x}{last:06x}") if fits else MALFORMED
    body, check = value[:14], value[14:].lower()
    return bytes.fromhex(body) if check in ("", luhn(body, 16)) else MALFORMED


def slow(kind: str, value: str | None):
    """The canonical bytes of one value, None if it is absent, or MALFORMED: written from the table of notations."""
    if value is None:
        return None
    if kind in ("imei", "meid"):
        value = re.sub("[ /.-]", "", value)
    if kind == "serial":
        value = re.sub("[a-z]", lambda m: m[0].upper(), value.strip(" \t\n\v\f\r"))
    flags = re.ASCII if kind in ("serial", "space_id", "account_id", "entry_id", "fcm_token") else re.ASCII | re.I
    if not re.fullmatch(NOTATIONS["uuid" if kind in (*UUIDS, "event_id") else kind], value, flags):
        return MALFORMED
    if kind in (*UUIDS, "event_id", "android_id", "mac"):
        found = bytes.fromhex(re.sub("[-:.]", "", value))
    elif kind == "meid":
        found = slow_meid(value)
    elif kind == "imei":
        body = value[:14]
        if len(set(body)) == 1 or (len(value) == 15 and value[14] != luhn(body)):
            return MALFORMED
        found = (body + luhn(body)).encode()
    else:
        found = (value.ljust(15, "F") if kind == "imsi" else value).encode()
    if found is MALFORMED or found in NOBODY.get(kind, ()):
        return MALFORMED
    return None if found in ABSENT.get(kind, ()) else found


PLACEHOLDERS = ["0" * 32, "0" * 16, "0" * 12, "02:00:00:00:00:00", "ffffffffffff", "9774d56d682e549c"]
PLACEHOLDERS += ["unknown", "UNKNOWN", "0123456789ABCDEF"]
ALPHABETS = {"serial": "AZaz09-_./", "space_id": "AZaz09_-", "fcm_token": "AZaz09_:%.-"}
LENGTHS = {"serial": (4, 32), "fcm_token": (18, 24)}
WIDTHS = {"android_id": 8, "mac": 6}


def grouped(text: str, mark: str, *sizes: int) -> str:
    ends = np.cumsum(sizes)
    return mark.join(text[end - size : end] for size, end in zip(sizes, ends, strict=True))


@st.composite
def written_meids(draw) -> str:
    """In hexadecimal with the right check digit, any or none; in decimal, past the highest too; in groups or not."""
    if draw(st.booleans()):
        first, last = draw(st.integers(0x9FFFFF00, 2**32 + 9)), draw(st.integers(0, 2**24 + 9))
        return grouped(f"{first:010}{last:08}", draw(st.sampled_from(["", " "])), 5, 5, 4, 4)
    body = draw(st.sampled_from("89aAfF")) + draw(st.text("0123456789abcdefABCDEF", min_size=13, max_size=13))
    value = body + draw(st.sampled_from(["", luhn(body, 16), luhn(body, 16).upper(), "0", "07"]))
    return draw(st.sampled_from([value, grouped(value, "-", 2, 6, 6, len(value) - 14)]))


@st.composite
def well_written(draw, kind: str) -> str:
    if kind == "imei":
        body = draw(st.text("0123456789", min_size=14, max_size=14))
        value = body + draw(st.sampled_from(["", luhn(body), luhn(body), "0", "07"]))
        return draw(st.sampled_from([value, *(grouped(value, mark, 2, 6, 6, len(value) - 14) for mark in "- ./")]))
    if kind == "meid":
        return draw(written_meids())
    if kind == "imsi":
        mcc = draw(st.sampled_from(["204", "460", "311", "221", "901", "001", "999", "200", "799"]))
        return mcc + draw(st.text("0123456789", min_size=10, max_size=13))
    if kind in LENGTHS or kind in ALPHABETS:
        shortest, longest = LENGTHS.get(kind, (1, 66))
        return draw(st.text(ALPHABETS[kind], min_size=shortest, max_size=longest))
    if kind in ("account_id", "entry_id"):
        return draw(st.text("!az09AZ@.~", min_size=1, max_size=130))
    width = WIDTHS.get(kind, 16)
    digits = draw(st.binary(min_size=width, max_size=width)).hex()
    written = [digits]
    if kind == "mac":
        written += [grouped(digits, mark, *[2] * 6) for mark in ":-"] + [grouped(digits, ".", 4, 4, 4)]
    elif width == 16:
        written += [grouped(digits, "-", 8, 4, 4, 4, 12)] * 3
    return draw(st.sampled_from(written))


@st.composite
def written(draw, kind: str) -> str | None:
    """A value that is mostly well written, in any notation and case; or one spoilt in one place; or anything."""
    value = draw(well_written(kind))
    at = draw(st.integers(0, len(value)))
    spoilt = value[:at] + draw(st.sampled_from(["", " ", "g", "-", "\0", "１", "é", "\n"])) + value[at + 1 :]
    others = [value.upper(), value.lower(), f" {value}\t", spoilt, "", None, draw(st.sampled_from(PLACEHOLDERS))]
    return draw(st.sampled_from([value] * 4 + others) | st.text(max_size=20))


@pytest.mark.parametrize("kind", KINDS)
@given(st.data())
def test_each_row_is_read_as_if_it_were_alone(kind, data):
    values = data.draw(st.lists(written(kind), max_size=10))
    start = data.draw(st.integers(0, len(values)))
    column = pa.array(values, data.draw(st.sampled_from([pa.string(), pa.large_string()]))).slice(start)
    found, malformed = canonical(kind, column)
    expected = [slow(kind, value) for value in values[start:]]
    found.validate(full=True)
    assert found.to_pylist() == [None if e is MALFORMED else e for e in expected]
    assert malformed.dtype == bool
    assert malformed.tolist() == [e is MALFORMED for e in expected]
    width = KINDS[kind].width
    assert found.type == (pa.binary() if width is None else pa.binary(width))
    assert_no_bytes_under_nulls(found)


def assert_no_bytes_under_nulls(found: pa.Array):
    kept = b"".join(value for value in found.to_pylist() if value is not None)
    if pa.types.is_fixed_size_binary(found.type):
        rows = np.frombuffer(found.buffers()[1] or b"", np.uint8).reshape(-1, found.type.byte_width)[: len(found)]
        assert not rows[~found.is_valid().to_numpy(zero_copy_only=False)].any()
    else:
        assert bytes(found.buffers()[2] or b"")[: len(kept) + 1] == kept


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_says_what_it_is(kind):
    rule = KINDS[kind]
    assert rule.name == kind and rule.description
    found, malformed = canonical(kind, pa.array([rule.example]))
    assert not malformed.any() and found.null_count == 0
    assert rule.width in (None, rule.longest)
    assert len(found[0].as_py()) <= rule.longest


@pytest.mark.parametrize(
    ("kind", "same"),
    [
        ("gaid", ["38400000-8cf0-11bd-b23e-10b96e40000d", "38400000-8CF0-11BD-B23E-10B96E40000D"]),
        ("gaid", ["384000008cf011bdb23e10b96e40000d", "38400000-8cf0-11bd-b23e-10b96e40000d"]),
        ("mac", ["00:00:5e:00:53:AF", "00-00-5E-00-53-af", "0000.5e00.53af", "00005e0053af"]),
        (
            "imei",
            ["352099001761481", "35209900176148", "35-209900-176148-1", "3520990017614823", "35 209900/176148.23"],
        ),
        ("meid", ["AF0123450ABCDE", "af-012345-0abcde-C", "293608736500703710", "29360 87365 0070 3710"]),
        ("serial", ["28041jehn03298", " 28041JEHN03298\r\n"]),
    ],
)
def test_notations_of_one_identifier_are_one(kind, same):
    found, malformed = canonical(kind, pa.array(same))
    assert not malformed.any()
    assert len(found.unique()) == 1 and found.null_count == 0


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("event_id", "00000000-0000-0000-0000-000000000000"),
        ("event_id", "{0b8f4c1e-6f0a-4f63-9d0e-2a4f5c7b9e10}"),
        ("event_id", "0b8f4c1e6-f0a-4f63-9d0e-2a4f5c7b9e10"),
        ("android_id", "9774D56D682E549C"),
        ("android_id", "0000000000000000"),
        ("android_id", "１234567890abcdef"),
        ("imei", "490154203237517"),
        ("imei", "000000000000000"),
        ("imei", "４90154203237518"),
        ("imei", "49015420323751g"),
        ("imei", "004999010640000"),  # the one of handsets that have lost their own
        ("imei", "AF0123450ABCDE"),
        ("android_id", "1f3a5c7e9b0d246"),  # a zero in front, or an end that is cut off?
        ("android_id", "0x1f3a5c7e9b0d2468"),
        ("android_id", " 1f3a5c7e9b0d2468"),
        ("gaid", "38400000-8cf0-11bd-b23e-10b96e40000d "),
        ("meid", "99000012345678"),  # decimal digits alone: an IMEI
        ("meid", "9FFFFFFFFFFFFF"),
        ("meid", "AF0123450ABCDED"),
        ("meid", "FFFFFFFFFFFFFF"),
        ("meid", "268435455916777215"),  # below A0 in its first byte
        ("meid", "429496729600000000"),  # ten digits of more than four bytes
        ("meid", "293608736516777216"),  # eight digits of more than three
        ("imsi", "1234567890123"),
        ("imsi", "001010123456789"),  # a test network
        ("imsi", "999010123456789"),  # a private one
        ("imsi", "800010123456789"),
        ("mac", "00:00-5e:00:53:01"),
        ("mac", "01:00:5e:00:00:01"),  # a group
        ("mac", "ff:ff:ff:ff:ff:ff"),
        ("serial", "AB1"),
        ("serial", "SERIAL NUMBER"),
        ("account_id", "two words"),
        ("account_id", "é" * 4),
        ("account_id", "x" * 129),
        ("space_id", ""),
        ("fcm_token", "short"),
        ("fcm_token", "x" * 65_536),
    ],
)
def test_what_is_malformed(kind, value):
    found, malformed = canonical(kind, pa.array([value, KINDS[kind].example]))
    assert malformed.tolist() == [True, False]
    assert found.is_valid().to_pylist() == [False, True]


@pytest.mark.clause("2-adcookie")
@pytest.mark.parametrize("kind", UUIDS)
def test_a_zeroed_advertising_identifier_is_an_opt_out(kind):
    found, malformed = canonical(kind, pa.array(["00000000-0000-0000-0000-000000000000", "0" * 32]))
    assert found.null_count == 2 and not malformed.any()


@pytest.mark.parametrize(
    ("kind", "value"), [("mac", "02:00:00:00:00:00"), ("mac", "000000000000"), ("serial", "unknown")]
)
def test_placeholders_are_absent(kind, value):
    found, malformed = canonical(kind, pa.array([value]))
    assert found.null_count == 1 and not malformed.any()


def test_the_subscribers_of_every_country_and_of_networks_in_no_one_country_are_known():
    codes = sorted({*country_of_mcc(), 221, 901})
    found, malformed = canonical("imsi", pa.array([f"{mcc}046620123456" for mcc in codes]))
    assert len(codes) > 200 and not malformed.any() and found.null_count == 0
    others = [f"{mcc:03}" for mcc in range(1000) if mcc not in codes]
    assert canonical("imsi", pa.array([f"{mcc}046620123456" for mcc in others]))[1].all()


@pytest.mark.parametrize("kind", KINDS)
def test_columns_without_values(kind):
    without_offset = pa.StringArray.from_buffers(0, pa.py_buffer(b""), pa.py_buffer(b""))
    for column in (without_offset, pa.array([], pa.large_string()), pa.array([None, None], pa.string())):
        found, malformed = canonical(kind, column)
        assert len(found) == len(malformed) == found.null_count == len(column)
        assert not malformed.any()


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_no_text_are_malformed(kind):
    junk = b"\xff\xfe\x80" * 12
    column = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(np.int32([0, len(junk)])), pa.py_buffer(junk)])
    assert canonical(kind, column)[1].tolist() == [True]


def test_bytes_under_a_null_are_not_read():
    offsets, valid = pa.py_buffer(np.int32([0, 17, 34])), pa.py_buffer(b"\x01")
    for kind, text in (
        ("mac", b"00:00:5e:00:53:01"),
        ("account_id", b"account-of-17-abc"),
        ("imei", b"49-0154203237-518"),
    ):
        column = pa.Array.from_buffers(pa.string(), 2, [valid, offsets, pa.py_buffer(text * 2)])
        found, malformed = canonical(kind, column)
        assert found.is_valid().to_pylist() == [True, False] and not malformed.any()
        assert_no_bytes_under_nulls(found)


def test_what_is_no_text_column_or_no_kind_is_refused():
    with pytest.raises(TypeError, match="int64"):
        canonical("imei", pa.array([490154203237518]))
    with pytest.raises(KeyError):
        canonical("passport", pa.array(["X"]))
