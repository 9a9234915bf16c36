"""RFC 3339 times to milliseconds, a column at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIRST_YEAR, LAST_YEAR = 1970, 2199

_FORM = b"0000-00-00T00:00:00.000Z"
_WIDTH = len(_FORM)
_DIGITS = np.array([i for i, byte in enumerate(_FORM) if byte == ord("0")])
_MARKS = np.array([i for i, byte in enumerate(_FORM) if byte != ord("0")])
_MARK_BYTES = np.frombuffer(_FORM, np.uint8)[_MARKS][:, None]

_MONTH_STARTS = (  # days from the epoch to the first of each month, up to the month after the last
    np.arange(f"{FIRST_YEAR}-01", f"{LAST_YEAR + 1}-02", dtype="datetime64[M]").astype("datetime64[D]").astype(np.int64)
)
_MONTH_DAYS = np.diff(_MONTH_STARTS).astype(np.int32)
_END_MS = int(_MONTH_STARTS[-1]) * 86_400_000

_ANY_FORM = (
    r"^(?P<date>\d{4}-\d\d-\d\d)[Tt](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?"
    r"(?:[Zz]|(?P<sign>[+-])(?P<hours>[01]\d|2[0-3]):(?P<minutes>[0-5]\d))$"
)


def parse_times(values: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """Each value as int64 milliseconds since the epoch, and whether it is a time (bool); where it is not, 0.

    Accepts the RFC 3339 forms with up to nine digits of fraction, truncated to milliseconds, and any offset from UTC.
    Null, a date that does not exist, hour 24, a leap second and years before 1970 or after 2199 are no times.
    """
    milliseconds, valid = np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    if values.null_count == len(values):
        return milliseconds, valid
    canonical, matrix = _canonical_rows(values)
    milliseconds[canonical], valid[canonical] = _read(matrix)

    others = np.flatnonzero(~valid & values.is_valid().to_numpy(zero_copy_only=False))
    if len(others):
        milliseconds[others], valid[others] = _read_any_form(values.take(pa.array(others)))
    return milliseconds, valid


def _canonical_rows(values: pa.StringArray) -> tuple[slice | np.ndarray, np.ndarray]:
    """Which values are as long as the usual form, and their bytes as one row each."""
    _, offset_bytes, text = values.buffers()
    offsets = np.frombuffer(offset_bytes, np.int32)[values.offset : values.offset + len(values) + 1]
    content = np.frombuffer(text, np.uint8)
    fits = np.diff(offsets) == _WIDTH
    if fits.all():
        return slice(None), content[offsets[0] : offsets[-1]].reshape(-1, _WIDTH)
    rows = np.flatnonzero(fits)
    return rows, content[offsets[rows][:, None] + np.arange(_WIDTH)]


def _read(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds and validity of rows of 24 bytes in the usual form."""
    places = np.ascontiguousarray(matrix.T)  # (24, n): each place in a row of its own is what numpy is fast on
    digits = places[_DIGITS] - np.uint8(ord("0"))  # other bytes wrap round to more than 9
    valid = (digits.max(axis=0, initial=0) <= 9) & (places[_MARKS] == _MARK_BYTES).all(axis=0)
    year, month, day = _number(digits[0:4]), _number(digits[4:6]), _number(digits[6:8])
    hour, minute, second = _number(digits[8:10]), _number(digits[10:12]), _number(digits[12:14])
    valid &= (year >= FIRST_YEAR) & (year <= LAST_YEAR) & (month >= 1) & (month <= 12)
    valid &= (hour < 24) & (minute < 60) & (second < 60)
    months = np.where(valid, (year - FIRST_YEAR) * 12 + month - 1, 0)
    valid &= (day >= 1) & (day <= _MONTH_DAYS[months])
    seconds = (hour * 60 + minute) * 60 + second
    milliseconds = ((_MONTH_STARTS[months] + day - 1) * 86_400 + seconds) * 1000 + _number(digits[14:17])
    return np.where(valid, milliseconds, 0), valid


def _number(digits: np.ndarray) -> np.ndarray:
    number = digits[0].astype(np.int32)
    for digit in digits[1:]:
        number *= 10
        number += digit
    return number


def _read_any_form(values: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """As `_read`, for the rarer forms: each is rewritten into the usual one, then moved by its offset."""
    parts = pc.extract_regex(values, _ANY_FORM)
    matched = parts.is_valid().to_numpy(zero_copy_only=False)
    milliseconds, valid = np.zeros(len(values), np.int64), matched.copy()
    if not matched.any():
        return milliseconds, valid
    parts = parts.filter(pa.array(matched))
    date, time, fraction, sign, hours, minutes = (parts.field(i) for i in range(6))
    thousandths = pc.utf8_slice_codeunits(pc.utf8_rpad(fraction, 3, "0"), 0, 3)
    usual = pc.binary_join_element_wise(pc.binary_join_element_wise(date, time, "T"), thousandths, ".")
    local, exists = _read(_canonical_rows(pc.binary_join_element_wise(usual, "Z", ""))[1])

    offset = _whole(hours) * 60 + _whole(minutes)
    ahead = pc.equal(sign, "-").to_numpy(zero_copy_only=False)
    utc = local + np.where(ahead, offset, -offset) * 60_000
    exists &= (utc >= 0) & (utc < _END_MS)
    milliseconds[matched], valid[matched] = np.where(exists, utc, 0), exists
    return milliseconds, valid


def _whole(digits: pa.StringArray) -> np.ndarray:
    return pc.utf8_lpad(digits, 2, "0").cast(pa.int64()).to_numpy(zero_copy_only=False)
