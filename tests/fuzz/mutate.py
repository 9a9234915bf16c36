"""Lines made worse: as senders, brokers and attackers do, and as nobody would."""

import random
import re
from collections.abc import Callable

_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"(?!\s*:)|-?\d[\d.eE+-]*|true|false|null')
_MEMBER = re.compile(rb'"[^"]*":(?:"[^"]*"|[\d.]+|\{[^{}]*\}),?')
# What has a meaning somewhere on the way: to JSON, to text, to Arrow, to a kind of identifier.
WORDS = [
    *(
        b'null true false NaN -Infinity 1e999 -0 0e999 1.0 1.5 01 "1" 9223372036854775808 -1 100.5 "" {} [] {"a":1}'
    ).split(),
    *(b'[[[[ }}}} [[]] "a":1, ,, : \\ \\" \\u0000 \\ud800 \\udc00 \\u0065 /**/ // +').split(),
    *(b'"mcc":"0460" "signal":11 "signal":false "guardian":true "x": "device": "subject": "residency":').split(),
    *(b"2026-02-30T00:00:00Z 2026-01-01T00:00:60Z 2026-01-01t00:00:00.123456789+14:00 24:00 -00:00").split(),
    *(b"0000000000000000 9774d56d682e549c 02:00:00:00:00:00 352099001761481 unknown 460001234567890").split(),
    *(b"a@example.com 198.51.100.7 https://example.com/?q=1 <EMAIL> \x01 \x02 eyJhbGciOiJIUzI1NiJ9.e30.x").split(),
    *(b" \t\r\x00\x0b\x0c\x7f").split(b"?"),
    *[
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xe2\x80\xa8",
        b"\xf0\x9f\x98\x80",
        b"\xf4\x90\x80\x80",
    ],
    b"[" * 40,
    b'{"a":' * 40,
    b"9" * 400,
    b"\r",
    b"\n",
]
Line = bytes


def worse(draw: random.Random, line: Line, others: list[Line]) -> Line:
    """The line after one or a few accidents, each as likely."""
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        line = draw.choice(_ACCIDENTS)(draw, line, others)
    return line


def _bytes(draw: random.Random, line: Line, _: list[Line]) -> Line:
    at = draw.randint(0, len(line))
    return line[:at] + draw.randbytes(draw.randint(0, 3)) + line[at + draw.randint(0, 3) :]


def _word(draw: random.Random, line: Line, _: list[Line]) -> Line:
    at = draw.randint(0, len(line))
    return line[:at] + draw.choice(WORDS) + line[at + draw.choice((0, 0, 1)) :]


def _value(draw: random.Random, line: Line, others: list[Line]) -> Line:
    """Another value in the place of one."""
    places = list(_VALUE.finditer(line))
    if not places:
        return _word(draw, line, others)
    place = draw.choice(places)
    strange = _VALUE.findall(draw.choice(others)) or WORDS
    return line[: place.start()] + draw.choice((draw.choice(WORDS), draw.choice(strange))) + line[place.end() :]


def _member(draw: random.Random, line: Line, others: list[Line]) -> Line:
    """A member left out, or said twice, or that of another line."""
    places = list(_MEMBER.finditer(line))
    if not places:
        return _bytes(draw, line, others)
    place = draw.choice(places)
    strange = _MEMBER.findall(draw.choice(others)) or [b""]
    return (
        line[: place.start()] + draw.choice((b"", place[0] * 2, place[0] + draw.choice(strange))) + line[place.end() :]
    )


def _cut(draw: random.Random, line: Line, _: list[Line]) -> Line:
    return draw.choice((line[: draw.randint(0, len(line))], line[draw.randint(0, len(line)) :]))


def _joined(draw: random.Random, line: Line, others: list[Line]) -> Line:
    other = draw.choice(others)
    return line[: draw.randint(0, len(line))] + other[draw.randint(0, len(other)) :]


_ACCIDENTS: tuple[Callable[[random.Random, Line, list[Line]], Line], ...] = (
    _bytes,
    _word,
    _value,
    _member,
    _cut,
    _joined,
)
