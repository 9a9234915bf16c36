"""What a line is worth, told slowly: one line, Python's own JSON, and the table of fields read word by word.

It shares nothing with what it is compared with but the table of fields, so that the two can only agree by being right.
"""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.consent import FUTURE_LIMIT, PERMISSIONS
from schemas.fields import (
    ACCEPTED_VERSIONS,
    EVENT_FIELDS,
    EVENT_TYPES,
    INTEGER,
    LEDGER_FIELDS,
    NUMBER,
    STRING,
    STRINGS,
    Field,
)
from schemas.shape import MAX_LINE_BYTES
from transforms.decode import Limits

Row = dict[str, Any]

_DEPTH = 32
_SPACE = b" \t\r"
# A number that a double may be too small for, which may be refused in unknown fields too.
HUGE = re.compile(rb"[eE]\+?0*[3-9]\d\d|\d{300}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))", re.ASCII
)


class Bad(Exception):
    """A line that is not good; it says nothing more."""


class _Whole(int):
    """A whole number that still knows how it was written."""

    text: str


def event_row(line: bytes, limits: Limits) -> Row | None:
    """What a line of telemetry holds by path, its two times in ms; None for a blank one. Raises Bad."""
    row = _row(line, EVENT_FIELDS)
    if row is None:
        return None
    _among(row["event_type"], EVENT_TYPES)
    _among(row["schema_version"], ACCEPTED_VERSIONS)
    event_time, received_time = time_of(row["event_time"]), time_of(row["received_time"])
    if not received_time - limits.oldest_ms <= event_time <= received_time + limits.future_ms:
        raise Bad
    return row | {"": (event_time, received_time)}


def entry_row(line: bytes) -> tuple[Row | None, bool]:
    """The same of a line of the ledger, and whether it is a permission that is dated ahead of its receipt."""
    row = _row(line, LEDGER_FIELDS)
    if row is None:
        return None, False
    time, received_time = time_of(row["time"]), time_of(row["received_time"])
    ahead = row["kind"] in {kind.name for kind in PERMISSIONS} and time > received_time + FUTURE_LIMIT
    return row | {"": (time, received_time)}, ahead


def time_of(text: str) -> int:
    """An RFC 3339 time in ms since the epoch. Raises Bad."""
    found = _TIME.fullmatch(text)
    if not found:
        raise Bad
    *clock, fraction, sign, hours, minutes = found.groups()
    try:
        local = datetime(*map(int, clock), tzinfo=UTC)
    except ValueError:
        raise Bad from None
    if not 1970 <= local.year <= 2199:
        raise Bad
    ahead = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    if not _EPOCH <= local - ahead < datetime(2200, 1, 1, tzinfo=UTC):
        raise Bad
    return (local - ahead - _EPOCH) // timedelta(milliseconds=1) + int(((fraction or "") + "000")[:3])


def _row(line: bytes, fields: tuple[Field, ...]) -> Row | None:
    if len(line) > MAX_LINE_BYTES:
        raise Bad
    if not line.strip(_SPACE):
        return None
    value = _object(line)
    row = {field.path: _leaf(value, field) for field in fields}
    for field in fields:
        if row[field.path] is None and field.required:
            raise Bad
        if row[field.path] is not None:
            _check(row[field.path], field)
    return row


def _object(line: bytes) -> dict[str, Any]:
    try:
        text = line.removesuffix(b"\r").removeprefix(b"\xef\xbb\xbf").strip(_SPACE).decode()
        value = json.loads(text, object_pairs_hook=_members, parse_constant=_refuse, parse_int=_whole)
    except (ValueError, RecursionError):
        raise Bad from None
    if not isinstance(value, dict) or _depth(value) > _DEPTH:
        raise Bad
    _check_text(value)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise Bad
    return dict(pairs)


def _refuse(_: str) -> None:
    raise Bad


def _whole(digits: str) -> float:
    if len(digits) > 400:
        return math.inf  # no type holds it
    number = _Whole(digits)
    number.text = digits
    return number


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _check_text(value: Any) -> None:
    if isinstance(value, str):
        if "\0" in value or not value.isascii() and any("\ud800" <= each <= "\udfff" for each in value):
            raise Bad
    elif isinstance(value, dict | list):
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _check_text(each)


def _leaf(value: dict[str, Any], field: Field) -> Any:
    parent, _, name = field.path.rpartition(".")
    if parent:
        value = value.get(parent)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise Bad
    found = value.get(name)
    return None if found is None else _typed(found, field)


def _typed(found: Any, field: Field) -> Any:
    if field.lenient and not isinstance(found, float):
        found = _lenient(found, field.type)
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if field.type == STRING and (found is None or isinstance(found, str)):
        return found
    if field.type == INTEGER and is_number and isinstance(found, int) and -(2**63) <= found < 2**63:
        return found
    if field.type == NUMBER and is_number and abs(found) < 2**1024 - 2**970:
        return float(found)
    if (
        field.type == STRINGS
        and isinstance(found, list)
        and all(each is None or isinstance(each, str) for each in found)
    ):
        return found
    raise Bad


def _lenient(found: Any, type_: str) -> Any:
    """Digits, 18 at most, and `true` may stand in quotes or not."""
    if type_ == STRING and isinstance(found, bool):
        return "true" if found else None
    if type_ == STRING and isinstance(found, _Whole) and re.fullmatch(r"-?\d{1,18}", found.text):
        return found.text
    if type_ == INTEGER and isinstance(found, str) and re.fullmatch(r"-?0{0,17}\d{1,18}", found, re.ASCII):
        return int(found)
    return found


def _check(found: Any, field: Field) -> None:
    if field.values:
        _among(found, field.values)
    if field.minimum is not None and field.maximum is not None and not field.minimum <= found <= field.maximum:
        raise Bad


def _among(found: Any, words: tuple) -> None:
    if found not in words:
        raise Bad
