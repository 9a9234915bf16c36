"""The verdict on one line, by Python's own reader of JSON: slow, thorough, and independent of all other lines."""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np

from schemas.fields import INTEGER, NUMBER, STRING, STRINGS, Field
from schemas.shape import field_names, field_tree, unknown_path


class Reason(StrEnum):
    """Why a line is rejected. The words are stable: they are counted, and kept with what is quarantined."""

    TOO_LONG = "too_long"  # more than MAX_LINE_BYTES before its LF, a CR included
    NOT_UTF8 = "not_utf8"  # its bytes, or its escapes, are no Unicode text
    NOT_JSON = "not_json"  # not one JSON value and nothing else
    TOO_DEEP = "too_deep"  # more than MAX_DEPTH objects and lists open at once
    DUPLICATE_KEY = "duplicate_key"  # an object, known or not, names a key twice
    BAD_NUMBER = "bad_number"  # NaN, an infinity, or a number that its type cannot hold
    NUL_CHARACTER = "nul_character"  # U+0000 in a string or key
    NOT_AN_OBJECT = "not_an_object"  # JSON, but not an object
    WRONG_TYPE = "wrong_type"  # a known field that holds another type than its own
    MISSING_FIELD = "missing_field"  # a required field is absent or null
    UNKNOWN_EVENT_TYPE = "unknown_event_type"  # the event type is none of the known ones
    UNKNOWN_SCHEMA_VERSION = "unknown_schema_version"  # the schema version is none of the known ones
    UNKNOWN_VALUE = "unknown_value"  # an enumeration holds none of its words
    BAD_TIME = "bad_time"  # a time that is not RFC 3339, does not exist, or is before 1970 or after 2199
    FUTURE_EVENT = "future_event"  # dated further after its receipt than clocks may differ
    TOO_OLD = "too_old"  # dated further before its receipt than the pack's limit
    OUT_OF_RANGE = "out_of_range"  # a number outside its field's range
    BAD_EVENT_ID = "bad_event_id"  # an event id that is no UUID
    BAD_SUBJECT = "bad_subject"  # a ledger entry whose subject is no valid identifier


REASONS = tuple(Reason)
CODE = {reason: code for code, reason in enumerate(REASONS)}

MAX_DEPTH = 32

# A string without its end goes on to the end of the line, or each quote in it would be tried as the start of another.
_JSON_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"?')


Rule = tuple[re.Pattern[bytes], bytes]


@cache
def rewriting(fields: tuple[Field, ...]) -> dict[str, list[Rule]]:
    """For each field that senders quote or not as they please, what to replace by what, under the complaint that
    pyarrow.json makes of it.

    A pattern cannot match within a string: there a quote is written with a backslash before it, and the quote that
    closes a key has none. It matches where an unknown object uses the same key, which changes nothing that is kept.
    A bare 007 is no JSON and is left alone, so that no line becomes JSON by this.
    """
    values = {
        INTEGER: [(rb'"(-?)0*(0|[1-9]\d{0,17})"(?=[ \t\r]*[,}])', rb"\1\2\3")],
        STRING: [
            (rb"(-?(?:0|[1-9]\d{0,17})|true)(?=[ \t\r]*[,}])", rb'\1"\2"'),
            (rb"false(?=[ \t\r]*[,}])", rb"\1null"),
        ],
    }
    rules: dict[str, list[Rule]] = {}
    for field in fields:
        if field.lenient:
            key = rb'("%s"[ \t\r]*:[ \t\r]*)' % field.path.rpartition(".")[2].encode()
            complaint = f"Column(/{field.path.replace('.', '/')}) changed from "
            rules[complaint] = [(re.compile(key + value), replacement) for value, replacement in values[field.type]]
    return rules


def rewritten(data: bytes, rules: Iterable[Rule]) -> bytes:
    """Lines with some fields written as their type is; all else stays as it is, byte for byte."""
    for pattern, replacement in rules:
        data = pattern.sub(replacement, data)
    return data


class _BadLine(Exception):
    def __init__(self, reason: Reason) -> None:
        self.reason = reason


class Judge:
    """Tells what is wrong with single lines of one table of fields."""

    def __init__(self, fields: tuple[Field, ...]) -> None:
        self._tree, self._names = field_tree(fields), field_names(fields)

    def verdict(self, line: bytes) -> tuple[Reason | None, Counter[str]]:
        """What is wrong with a line, if anything, and else how many unknown fields it holds by `unknown_path`.

        The line comes without BOM and outer space; its length is not looked at, nor what its values mean.
        """
        unknown: Counter[str] = Counter()
        try:
            value = _decoded(line)
            _check_strings(value, line)
            self._check_types(value, self._tree, "", unknown)
        except _BadLine as bad:
            return bad.reason, Counter()
        return None, unknown

    def _check_types(self, value: dict[str, Any], tree: dict[str, Any], parent: str, unknown: Counter[str]) -> None:
        for name, member in value.items():
            if member is None:
                continue
            known = tree.get(name)
            if known is None:
                unknown[unknown_path(parent, name, self._names)] += 1
            elif isinstance(known, Field):
                _check_type(member, known)
            elif isinstance(member, dict):
                self._check_types(member, known, name, unknown)
            else:
                raise _BadLine(Reason.WRONG_TYPE)


def _decoded(line: bytes) -> dict[str, Any]:
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise _BadLine(Reason.NOT_UTF8) from None
    if _depth(line) > MAX_DEPTH:
        raise _BadLine(Reason.TOO_DEEP)
    try:
        value = _JSON.decode(text)
    except ValueError:
        raise _BadLine(Reason.NOT_JSON) from None
    if not isinstance(value, dict):
        raise _BadLine(Reason.NOT_AN_OBJECT)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise _BadLine(Reason.DUPLICATE_KEY)
    return members


def _constant(_: str) -> float:
    raise _BadLine(Reason.BAD_NUMBER)


def _whole_number(digits: str) -> float:
    return int(digits) if len(digits) < 400 else math.inf  # int() refuses thousands of digits, and no type holds them


def _decimal(digits: str) -> float:
    """A number that float64 holds. pyarrow.json refuses all others, even zero if the exponent is one of theirs."""
    number = float(digits)
    if math.isinf(number) or (number == 0 and (zero := _LARGE_ZERO.fullmatch(digits)) and _exceeds(*zero.groups(""))):
        raise _BadLine(Reason.BAD_NUMBER)
    return number


_LARGE_ZERO = re.compile(r"-?0(?:\.(0*))?[eE]\+?0*(\d*)")


def _exceeds(fraction: str, exponent: str) -> bool:
    return len(exponent) > 9 or int(exponent or 0) > sys.float_info.max_10_exp + len(fraction)


_JSON = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_int=_whole_number, parse_float=_decimal
)


def _depth(line: bytes) -> int:
    if line.count(b"{") + line.count(b"[") <= MAX_DEPTH:
        return 0  # not known, nor needed
    brackets = np.frombuffer(_JSON_STRING.sub(b"", line), np.uint8)
    opened = (brackets == ord("{")) | (brackets == ord("["))
    closed = (brackets == ord("}")) | (brackets == ord("]"))
    return int((np.cumsum(opened) - np.cumsum(closed)).max(initial=0))


def _check_strings(value: dict[str, Any], line: bytes) -> None:
    if b"\\u" not in line:
        return  # only an escape can bring what the bytes did not show
    for string in _strings(value):
        if "\0" in string:
            raise _BadLine(Reason.NUL_CHARACTER)
        if any("\ud800" <= character <= "\udfff" for character in string):
            raise _BadLine(Reason.NOT_UTF8)


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value:
            yield from _strings(part)
        if isinstance(value, dict):
            yield from _strings(list(value.values()))


_INT64, _FLOAT64 = (-(2**63), 2**63 - 1), (-sys.float_info.max, sys.float_info.max)


def _check_type(value: Any, field: Field) -> None:
    if field.type == STRING:
        fits = isinstance(value, str)
    elif field.type == STRINGS:
        fits = isinstance(value, list) and all(item is None or isinstance(item, str) for item in value)
    else:
        fits = _fits_number(value, field)
    if not fits:
        raise _BadLine(Reason.WRONG_TYPE)


def _fits_number(value: Any, field: Field) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = _INT64 if field.type == INTEGER else _FLOAT64
    if not low <= value <= high:
        raise _BadLine(Reason.BAD_NUMBER)
    return field.type == NUMBER or isinstance(value, int)
