"""Groups of lines: each line stands in one, as it stood, and its kind is what it says if it says so plainly."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.fields import EVENT_TYPES
from tests.strategies import unhurried
from transforms import by_type as module
from transforms.block import layout_of
from transforms.by_type import by_type

KINDS = EVENT_TYPES
plain = st.sampled_from(KINDS).map(lambda kind: json.dumps({"event_type": kind}, separators=(",", ":")).encode())
spaced = st.sampled_from(KINDS).map(lambda kind: json.dumps({"a": 1, "event_type": kind}).encode())
odd = st.sampled_from(
    [b"", b"\r", b"{}", b"x", b'{"event_type":"', b'{"event_type":"cras', b'{"event_type":null}', b'"event_type": "no"']
)
lines = st.lists(st.one_of(plain, spaced, odd), max_size=60)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(module, "_FEWEST", 1)


def said(line):
    try:
        value = json.loads(line)
        return value.get("event_type", "") or "" if isinstance(value, dict) else ""
    except ValueError:
        return ""


@unhurried
@given(lines, st.booleans())
def test_each_line_is_in_one_group_as_it_stood(text, ends):
    block = b"\n".join(text) + (b"\n" if ends else b"")
    layout, found = layout_of(block), {}
    for kind, own, places in by_type(block, layout, KINDS):
        assert np.all(np.diff(places.number) > 0)
        for start, end, number in zip(places.start, places.end, places.number, strict=True):
            assert int(number) not in found
            found[int(number)] = (kind, own[start:end])
    assert found.keys() == set(layout.number.tolist())
    for start, end, number in zip(layout.start, layout.end, layout.number, strict=True):
        kind, line = found[int(number)]
        assert line == block[start:end]
        if kind and said(line):
            assert kind == said(line)
        if len(layout.start) >= 16:
            assert kind == said(line) or not said(line)


def test_no_two_types_look_alike_in_the_bytes_that_are_looked_at():
    starts = [f'{kind}"'.encode()[: module._WORD] for kind in KINDS]
    assert not any(a != b and a.startswith(b) for a in starts for b in starts) and len(set(starts)) == len(starts)


def test_few_lines_of_a_kind_are_read_with_all_columns(monkeypatch):
    monkeypatch.setattr(module, "_FEWEST", 2)
    block = b'{"event_type":"crash"}\n' + b'{"event_type":"session"}\n' * 40
    groups = {kind: len(places.number) for kind, _, places in by_type(block, layout_of(block), KINDS)}
    assert groups == {"": 1, "session": 40}
