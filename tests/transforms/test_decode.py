"""Checks on the values of events and ledger entries, and what becomes of lines that fail them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.consent import Kind
from schemas.fields import ACCEPTED_VERSIONS, EVENT_FIELDS, EVENT_TYPES, LEDGER_FIELDS, SCHEMA_VERSION, VERSIONS_AHEAD
from schemas.shape import MAX_LINE_BYTES
from transforms import decode
from transforms.decode import Limits, decode_events, decode_ledger
from transforms.verdict import REASONS

LIMITS = Limits(future_ms=300_000, oldest_ms=86_400_000)
RECEIVED = 1_767_225_600_000  # 2026-01-01T00:00:00Z
EVENT = {
    "event_id": "8c4ff7f2-5d0b-4b9a-9c2a-0d5ab1f5a111",
    "event_type": "session",
    "schema_version": 1,
    "event_time": "2026-01-01T00:00:00.000Z",
    "received_time": "2026-01-01T00:00:00.000Z",
    "source": "device",
    "service": "browser",
}
ENTRY = {
    "entry_id": "e1",
    "time": "2026-01-01T00:00:00.000Z",
    "received_time": "2026-01-01T00:00:00.000Z",
    "kind": "grant",
    "subject": {"type": "device", "value": "a1b2"},
    "purposes": ["*"],
}


def line(base, **changes):
    """The line with dotted paths set to a value, or left out where it is ..."""
    value = json.loads(json.dumps(base))
    for path, new in changes.items():
        *parent, leaf = path.split("__")
        node = value.setdefault(parent[0], {}) if parent else value
        node.pop(leaf, None)
        if new is not ...:
            node[leaf] = new
    return json.dumps(value).encode()


FAULTY = [
    *((line(EVENT, **{f.path: ...}), "missing_field") for f in EVENT_FIELDS if f.required),
    *((line(EVENT, **{f.path: None}), "missing_field") for f in EVENT_FIELDS if f.required),
    (line(EVENT, event_type="sessions"), "unknown_event_type"),
    (line(EVENT, event_type=""), "unknown_event_type"),
    *(
        (line(EVENT, schema_version=version), "unknown_schema_version")
        for version in (-1, 0, ACCEPTED_VERSIONS[-1] + 1, 2**63 - 1)
    ),
    (line(EVENT, source="toaster"), "unknown_value"),
    (line(EVENT, activation__outcome="Succeeded"), "unknown_value"),
    (line(EVENT, event_time="2026-02-30T00:00:00.000Z"), "bad_time"),
    (line(EVENT, received_time="yesterday"), "bad_time"),
    (line(EVENT, event_time="2026-01-01T00:05:00.001Z"), "future_event"),
    (line(EVENT, event_time="2025-12-30T23:59:59.999Z"), "too_old"),
    (line(EVENT, location__latitude=90.001), "out_of_range"),
    (line(EVENT, location__longitude=-180.5), "out_of_range"),
    (line(EVENT, location__cell_id=2**36), "out_of_range"),
    (line(EVENT, session__duration_ms=-1), "out_of_range"),
    (line(EVENT, device_state__cpu_percent=100.5), "out_of_range"),
    (b'{"event_id":', "not_json"),
    (line(EVENT, source=17), "wrong_type"),
    (line(EVENT)[:-1] + b',"service":"browser"}', "duplicate_key"),
    (line(EVENT).replace(b"browser", b"brow\xffser"), "not_utf8"),
    (line(EVENT)[:-1] + b',"x":"' + b"x" * MAX_LINE_BYTES + b'"}', "too_long"),
]
FINE = [
    line(EVENT),
    line(EVENT, event_time="2026-01-01T00:05:00.000Z"),
    line(EVENT, event_time="2025-12-31T01:00:00.000+01:00"),
    line(EVENT, location__latitude=-90, location__longitude=180.0, location__cell_id=2**36 - 1),
    line(EVENT, event_type="crash", crash__signal=11, activation__outcome=None),
]


@pytest.mark.clause("8")
@pytest.mark.parametrize("i", range(len(FAULTY)), ids=lambda i: f"{i}-{FAULTY[i][1]}")
def test_a_faulty_event_is_set_aside_alone(i):
    decoded = decode_events(FINE[0] + b"\n\n" + FAULTY[i][0] + b"\n" + FINE[4], LIMITS)
    assert decoded.faults.counts() == {FAULTY[i][1]: 1} and decoded.faults.line.tolist() == [2]
    assert [EVENT_TYPES[code] for code in decoded.event_type] == ["session", "crash"]
    assert decoded.line.tolist() == [0, 3]
    assert decoded.columns["crash.signal"].to_pylist() == [None, "11"]


def test_fine_events():
    decoded = decode_events(b"\n".join(FINE), LIMITS)
    assert decoded.faults.counts() == {}
    assert (decoded.event_time - RECEIVED).tolist() == [0, 300_000, -86_400_000, 0, 0]
    assert decoded.received_time.tolist() == [RECEIVED] * 5
    assert decoded.event_type.dtype == np.int8


def test_what_a_replay_received_counts_from_then_on():
    """The first receipt neither saves an event that is too old by now nor condemns one."""
    later = RECEIVED + 3_600_000
    texts = (EVENT["event_time"], "2025-12-31T00:30:00.000Z", "2026-01-01T00:59:00.000Z")
    decoded = decode_events(b"\n".join(line(EVENT, event_time=text) for text in texts), LIMITS, received=later)
    assert decoded.received_time.tolist() == [later, later]
    assert decoded.line.tolist() == [0, 2]
    assert decoded.faults.counts() == {"too_old": 1}


def test_what_a_broker_received_counts_line_by_line():
    """Blank and rejected lines have a receipt too: each line keeps its own."""
    block = b"\n".join([line(EVENT), b"", b"no json", line(EVENT, event_time="2025-12-31T00:30:00.000Z"), line(EVENT)])
    received = RECEIVED + np.array([5, 1, 2, 3_600_000, 7])
    decoded = decode_events(block, LIMITS, received=received)
    assert decoded.line.tolist() == [0, 4]
    assert decoded.received_time.tolist() == [RECEIVED + 5, RECEIVED + 7]
    assert decoded.faults.counts() == {"not_json": 1, "too_old": 1}


def columns_of(decoded, fields=EVENT_FIELDS):
    """What was read, without the version itself."""
    read = {field.path: decoded.columns[field.path].to_pylist() for field in fields if field.path != "schema_version"}
    return read, decoded.event_time.tolist(), decoded.event_type.tolist(), decoded.line.tolist()


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("ahead", range(1, VERSIONS_AHEAD + 1))
def test_a_newer_version_is_read_without_what_it_adds(ahead):
    newer = {"schema_version": SCHEMA_VERSION + ahead, "fold": {"angle": 3}, "device__foldable": True, "tilt": "far"}
    decoded = decode_events(line(EVENT, **newer) + b"\n" + line(EVENT), LIMITS)
    assert (decoded.ahead, decoded.unknown) == (1, {"*": 2, "device.*": 1})
    assert columns_of(decoded) == columns_of(decode_events(line(EVENT) + b"\n" + line(EVENT), LIMITS))


@pytest.mark.clause("1.1-a")
def test_an_older_version_is_read_by_who_knows_what_was_added(monkeypatch):
    added = tuple(replace(EVENT_FIELDS[0], path=path, required=False) for path in ("fold.angle", "tilt"))
    block = b"\n".join([line(EVENT), line(EVENT, schema_version=SCHEMA_VERSION + 1, tilt="far")])
    before = decode_events(block, LIMITS)
    monkeypatch.setattr(decode, "EVENT_FIELDS", EVENT_FIELDS + added)
    monkeypatch.setattr(decode, "SCHEMA_VERSION", SCHEMA_VERSION + 1)
    decoded = decode_events(block, LIMITS)
    assert (decoded.ahead, decoded.unknown, decoded.faults.counts()) == (0, {}, {})
    assert columns_of(decoded) == columns_of(before)
    assert decoded.columns["tilt"].to_pylist() == [None, "far"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(FINE) + len(FAULTY)), max_size=20))
def test_every_line_is_accounted_for(mix):
    lines = [*FINE, *(text for text, _ in FAULTY), b""]
    reasons = [*(None for _ in FINE), *(reason for _, reason in FAULTY)]
    decoded = decode_events(b"".join(lines[i] + b"\n" for i in mix), LIMITS)
    assert decoded.lines == len(mix) == decoded.blank + len(decoded.faults.line) + len(decoded.event_type)
    assert {len(column) for column in decoded.columns.values()} == {len(decoded.event_time)}
    assert decoded.line.tolist() == [k for k, i in enumerate(mix) if i < len(FINE)]
    good = decode_events(b"".join(lines[i] + b"\n" for i in mix if i < len(FINE)), LIMITS)
    assert columns_of(decoded)[0] == columns_of(good)[0]
    assert decoded.received_time.tolist() == good.received_time.tolist()
    expected = [(k, reasons[i]) for k, i in enumerate(mix) if i < len(reasons) and reasons[i]]
    found = zip(decoded.faults.line, decoded.faults.reason, strict=True)
    assert [(n, REASONS[code].value) for n, code in found] == expected


def test_ledger_entries():
    block = b"\n".join(
        [
            line(ENTRY),
            line(ENTRY, kind="erase", time="2039-01-01T00:00:00Z"),  # a stop may bear any time
            line(ENTRY, time="2026-01-01T00:05:00.000Z"),
            line(ENTRY, time="2026-01-01T00:05:00.001Z"),
            line(ENTRY, guardian=True, kind="adult"),
        ]
    )
    decoded = decode_ledger(block)
    assert decoded.kind.tolist() == [Kind.grant, Kind.erase, Kind.grant, Kind.adult] and decoded.kind.dtype == np.int8
    assert (decoded.dated_ahead, decoded.lost, len(decoded.faults.line)) == (1, 0, 0)
    assert decoded.line.tolist() == [0, 1, 2, 4]
    assert (decoded.time - decoded.received_time)[2] == 300_000
    assert decoded.columns["guardian"].to_pylist() == [None, None, None, "true"]


SUBJECT = b'"subject":{"type":"device","value":"a1"}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(ENTRY, kind="forget"), [("e1", "device", "a1b2")]),
        (line(ENTRY, time="soon"), [("e1", "device", "a1b2")]),
        (line(ENTRY, entry_id=7), [(None, "device", "a1b2")]),
        (line(ENTRY, entry_id=...), [(None, "device", "a1b2")]),
        (line(ENTRY, purposes="*"), [("e1", "device", "a1b2")]),
        (line(ENTRY)[:-5], [("e1", "device", "a1b2")]),
        (b'{"entry_id":"e","subject":{"value":"a1", "type":"account"', [("e", "account", "a1")]),
        (b'{"entry_id":"e",%s,"x":"\xff"}' % SUBJECT, [("e", "device", "a1")]),
        (
            b'{"entry_id":"e",%s}{%s}' % (SUBJECT, SUBJECT.replace(b"a1", b"b2")),
            [("e", "device", v) for v in ("a1", "b2")],
        ),
        (
            b'{"entry_id":"e",%s,%s}' % (SUBJECT, SUBJECT.replace(b"a1", b"b2")),
            [("e", "device", v) for v in ("a1", "b2")],
        ),
        (b'{"entry_id":"e","entry_id":"f",%s}' % SUBJECT, [(None, "device", "a1")]),
        (b"[{%s}]" % SUBJECT, [(None, "device", "a1")]),
        (b"\xef\xbb\xbf" + line(ENTRY, kind=None), [("e1", "device", "a1b2")]),
        (b'{"entry_id":"e",%s,"x":%s}' % (SUBJECT, b"[" * 5000), [("e", "device", "a1")]),
        (b'{%s,"x":"%s"}' % (SUBJECT, b"a" * 70_000), [(None, "device", "a1")]),
        (line(ENTRY, subject__value="a\udc00"), []),
        (line(ENTRY, subject__value="a\x00"), []),
        (b'{"subject":{"type":"device","value":"\xff"}}', []),
        (line(ENTRY, subject__value=12), []),
        (line(ENTRY, subject__type="household"), []),
        (line(ENTRY, subject__type=None), []),
        (line(ENTRY, subject=...), []),
        (line(ENTRY, subject="a1b2"), []),
        (b"nonsense", []),
    ],
)
@pytest.mark.clause("5.3")
def test_a_lost_entry_opens_nothing(text, expected):
    """Each subject that a rejected line names is handed on, and a line that names none is counted."""
    decoded = decode_ledger(line(ENTRY) + b"\n" + text + b"\n" + line(ENTRY))
    assert len(decoded.kind) == 2 and decoded.faults.line.tolist() == [1]
    *named, since = (column.to_pylist() for column in decoded.unreadable.values())
    assert list(zip(*named, strict=True)) == expected and set(since) <= {0}
    assert decoded.lost == (not expected)


@pytest.mark.parametrize("since, expected", [(None, 0), (7, 7), (np.array([3, 5, 9]), 5)])
def test_a_rejected_line_counts_from_the_earliest_that_it_can_have_come(since, expected):
    """What it says of its own receipt is not believed: one that said too late a time would open something."""
    decoded = decode_ledger(line(ENTRY) + b"\n" + line(ENTRY, kind="garbled") + b"\n" + line(ENTRY), since=since)
    assert decoded.unreadable["since"].to_pylist() == [expected]
    assert decoded.received_time.tolist() == decode_ledger(line(ENTRY) + b"\n" + line(ENTRY)).received_time.tolist()


def test_required_of_the_ledger():
    for field in LEDGER_FIELDS:
        decoded = decode_ledger(line(ENTRY, **{field.path.replace(".", "__"): None}))
        assert decoded.faults.counts() == ({"missing_field": 1} if field.required else {})


def test_no_value_in_what_is_shown():
    shown = repr(decode_ledger(line(ENTRY, kind="canary"))) + repr(decode_events(line(EVENT), LIMITS))
    assert "canary" not in shown and "a1b2" not in shown and "8c4ff7f2" not in shown


def test_a_ledger_line_that_repeats_its_keys_costs_no_more_than_its_length():
    """Each type with each value: not as many pairs as the line repeats both."""
    repeated = b",".join(b'"type":"device","value":"a%d"' % number for number in range(3_000))
    ledger = decode_ledger(b'{"entry_id":"e","subject":{' + repeated + b"}}\n")
    assert len(ledger.unreadable["entry_id"]) == 3_000
