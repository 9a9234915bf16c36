"""From bytes to sealed pieces: what a runner may see, what is counted, and when an element says it was received."""

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines.errors import InputError, StoreError
from schemas.consent import SEALED_LEDGER, Kind
from schemas.editions import Editions
from schemas.layout import layout
from schemas.pack_files import load_pack
from tests.lines import ANDROID_ID, EXAMPLES, NOW, entry, event, full_event, keystores, ndjson
from tests.tallied import totals
from transforms.border import REGISTER, Border
from transforms.exchange import IDS, LEDGER, TELEMETRY
from transforms.ipc import from_ipc
from transforms.locks import Locks
from transforms.quarantine import REJECTED
from transforms.seal import Partition
from transforms.seal_ledger import REGISTERED
from transforms.tallies import TALLIES

PACK = load_pack()
CN, EU = PACK.where.code("cn"), PACK.where.code("eu")
IN_CN, IN_IN, NOWHERE = ({"account_country": code} for code in ("CN", "IN", "XX"))
SHARDS = 2


def blocks(element):
    """Stands in for reading: an element is the blocks of an input, and a None among them is where reading fails."""
    for block in element:
        if block is None:
            raise InputError("the disk is gone")
        yield block if isinstance(block, tuple) else (block, None)


_KEPT = {}  # what came out, by output: (milliseconds, element); the runner works in this process


def _keep(element, name, received=beam.DoFn.TimestampParam):
    _KEPT[name].append((received.micros // 1000, element))


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {CN: "cn", EU: "eu"})


@pytest.fixture
def cross(keys):
    """Lets inputs (lists of blocks) cross; returns ((milliseconds, piece) in order, the totals of what was counted)."""

    def crossed(*inputs, ledger=False, window_ms=None, since=None):
        _KEPT.update(pieces=[], tallies=[], rejected=[], register=[])
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            border = Border(ledger, blocks, Editions((PACK,)), keys, Partition(SHARDS, window_ms), EU)
            read = pipeline | beam.Create([list(each) for each in inputs])
            if since is not None:
                read |= "Since" >> beam.Map(TimestampedValue, Timestamp(micros=since * 1000))
            out = read | border
            kept = {"pieces": out.pieces, "tallies": out[TALLIES], "rejected": out[REJECTED], "register": out[REGISTER]}
            for name, output in kept.items():
                output | f"Keep {name}" >> beam.Map(_keep, name)  # noqa: B018
        pieces = [_opened(piece, keys) for piece in sorted(_KEPT["pieces"])]
        return pieces, totals([tally for _, tally in _KEPT["tallies"]])

    return crossed


def _opened(piece, keys):
    stamp, (key, (kind, window, payload)) = piece
    return stamp, (key, (kind, window, Locks(keys, SHARDS).unlock(key, kind, payload)))


def rows_of(pieces):
    return [row for _, (_, (_, _, payload)) in pieces for row in from_ipc(payload).to_pylist()]


def test_every_line_of_telemetry_is_accounted_for(cross):
    lines = [
        ndjson(event(1), event(2, residency=IN_CN)),
        b"\n  \n",
        b"no json\n",
        ndjson(event(3, event_type="unheard of"), event(4, residency=NOWHERE), event(5, residency=IN_IN)),
        ndjson(event(6, event_id="no uuid"), event(7, surprise=1, schema_version=2)),
    ]
    pieces, counted = cross([b"".join(lines)])
    total = counted.by("outcome", step="telemetry")
    faults = counted.by("reason", step="telemetry", outcome="quarantined")
    assert counted.by("region", outcome="decoded") == {"eu": 2, "cn": 1}
    assert faults == {"not_json": 1, "unknown_event_type": 1, "bad_event_id": 1}
    assert (total["lines"], total["blank"], total["unlocatable"], total["foreign"]) == (10, 2, 1, 1)
    assert total["ahead"] == 1
    assert total["lines"] == total["blank"] + 1 + 1 + faults.total() + total["decoded"]
    assert counted.by(("reason", "dataset"), step="fields", outcome="unknown") == {("*", "telemetry"): 1}
    assert len(rows_of(pieces)) == 3
    assert _rejected_lines() == {"telemetry": 3}


def _rejected_lines():
    """How many lines of each input the rows for the quarantine stand for."""
    found = {}
    for _, (_, rows) in _KEPT["rejected"]:
        for row in rows.to_pylist():
            found[row["input"]] = found.get(row["input"], 0) + row["lines"]
    return found


def test_every_line_of_the_ledger_is_accounted_for(cross):
    lines = [
        ndjson(entry("grant", number=1), entry("withdraw", number=2), entry("grant", number=3, residency=NOWHERE)),
        ndjson(entry("grant", number=4, time=NOW + 300_001), entry("withdrew", number=5)),
        ndjson(entry("object", number=6, subject={"type": "device", "value": "?"})),
        b"no json\n\n",
    ]
    pieces, counted = cross([b"".join(lines)], ledger=True)
    total = counted.by("outcome", step="ledger")
    faults = counted.by("reason", step="ledger", outcome="quarantined")
    assert (total["lines"], total["blank"], total["entries"], total["dated_ahead"]) == (8, 1, 3, 1)
    assert total["nobody"] == 2  # a subject that is none, and a line without one
    assert total["unlocated"] == 1
    assert faults == {"unknown_value": 1, "not_json": 1, "bad_subject": 1}
    assert total["lines"] == total["blank"] + total["entries"] + total["dated_ahead"] + faults.total()
    assert len(rows_of(pieces)) == 1 + 2 + 2  # the grant in eu; the stop and what was rejected in both regions
    assert _rejected_lines() == {"ledger": 3}


@pytest.mark.clause("1.1-a")
def test_the_first_thing_that_a_runner_sees_is_sealed(cross):
    lines = [full_event("activation", 1), full_event("push_interaction", 2), full_event("crash", 3)]
    pieces, _ = cross([ndjson(*lines)])
    locked = repr(_KEPT["pieces"])
    assert "word-" in repr(pieces) and "word-" not in locked  # what lies in the clear in it is locked
    others, _ = cross([ndjson(entry(reference="case-4711"))], ledger=True)
    content = repr([pieces, others])
    assert rows_of(pieces) and rows_of(others)
    raw = [*EXAMPLES.values(), *(line["event_id"] for line in lines), "203.0.113.77", "case-4711", "entry-0"]
    assert not [value for value in raw if value in content]
    assert bytes.fromhex(ANDROID_ID) not in b"".join(payload for _, (_, (_, _, payload)) in pieces + others)


def test_a_piece_is_of_one_key_and_window_and_stamped_with_its_earliest_receipt(cross):
    lines = [
        event(n, received=NOW + (n * 37) % 1_000 * 10, residency=IN_CN if n % 3 else {"account_country": "NL"})
        for n in range(60)
    ]
    pieces, _ = cross([ndjson(*lines)], window_ms=2_500)
    places = [(key, window) for _, (key, (_, window, _)) in pieces]
    assert len(set(places)) == len(places) > 4
    for stamp, (key, (kind, window, payload)) in pieces:
        batch = from_ipc(payload)
        received = batch["received_time"].to_pylist()
        assert kind == TELEMETRY and stamp == min(received)
        assert {time // 2_500 for time in received} == {window}
        assert set(batch["region"].to_pylist()) == {key // SHARDS}
        assert batch.schema.names == layout(PACK).schema.names
    assert len(rows_of(pieces)) == 60


def test_a_piece_of_the_ledger_is_stamped_with_its_earliest_receipt(cross):
    lines = [entry("withdraw", received=NOW + n * 100, number=n) for n in (5, 3, 9)]
    pieces, _ = cross([ndjson(*lines)], ledger=True, window_ms=100)
    assert [stamp for stamp, _ in pieces] == [NOW + 300] * 2
    for _, (key, (kind, window, payload)) in pieces:
        assert (kind, window) == (LEDGER, 0) and key // SHARDS in (CN, EU)
        assert from_ipc(payload).schema.names == SEALED_LEDGER.names


@pytest.mark.parametrize("since, expected", [(None, 0), (NOW - 700, NOW - 700)])
def test_a_line_of_the_ledger_that_does_not_read_counts_since_its_element_can_have_come(cross, since, expected):
    pieces, _ = cross([ndjson(entry(kind="garbled"), entry(number=1))], ledger=True, window_ms=100, since=since)
    received = {row["kind"]: row["received_time"] for row in rows_of(pieces)}
    assert received == {Kind.unreadable: expected, Kind.grant: NOW}


def test_the_register_is_told_of_each_entry_once_and_of_no_record(cross, keys):
    """Whoever knows an entry's id must not find it there, and equal ids must meet: in one bucket, of whatever block."""
    lines = [entry(kind, received=NOW + n, number=n) for n, kind in enumerate(["withdraw", "grant", "withdrew"] * 20)]
    cross([ndjson(*lines)], [ndjson(*lines)], ledger=True)
    ids = {}
    for stamp, (bucket, (kind, window, payload)) in _KEPT["register"]:
        rows = np.frombuffer(Locks(keys, SHARDS).unlock(EU * SHARDS, IDS, payload), REGISTERED)
        assert (kind, window, stamp) == (IDS, 0, rows["received"].min())
        for row in rows:
            ids.setdefault(row["id"].tobytes(), []).append(bucket)
    assert len(ids) == len(lines) and all(len(found) == 2 and len(set(found)) == 1 for found in ids.values())
    assert b"entry-" not in b"".join(payload for _, (_, (_, _, payload)) in _KEPT["register"])
    cross([ndjson(event(1))])
    assert not _KEPT["register"]


def test_blocks_and_inputs_are_crossed_one_by_one(cross):
    parts = [ndjson(event(n)) for n in range(4)]
    ids = [
        {row["event_id"] for row in rows_of(cross(*inputs)[0])}
        for inputs in ([[b"".join(parts)]], [parts], [[p] for p in parts])
    ]
    assert ids[0] == ids[1] == ids[2] and len(ids[0]) == 4


def test_an_input_that_breaks_off_keeps_what_was_read_and_is_told(cross, caplog):
    pieces, counted = cross([ndjson(event(1)), None, ndjson(event(2))], [ndjson(event(3))])
    assert len(rows_of(pieces)) == 2
    assert counted.sum(step="telemetry", outcome="input_unreadable") == 1
    assert counted.sum(step="telemetry", outcome="lines") == 2
    assert "the disk is gone" in caplog.text and ANDROID_ID not in caplog.text


@pytest.mark.parametrize("ledger", [False, True])
def test_only_reading_is_forgiven(cross, monkeypatch, ledger):
    """A disk that is full while a key is made is no telemetry that breaks off: its block would be lost unseen."""

    def full(*_):
        raise StoreError("no space left")

    sealer = "transforms.seal_ledger.LedgerSealer.seal" if ledger else "transforms.border.EventSealer.seal"
    monkeypatch.setattr(sealer, full)
    with pytest.raises(OSError, match="no space left"):
        cross([ndjson(entry() if ledger else event(1))], ledger=ledger)


@pytest.mark.clause("5.3")
def test_a_ledger_that_breaks_off_ends_the_run(cross):
    with pytest.raises(OSError, match="the disk is gone"):
        cross([ndjson(entry()), None], ledger=True)


@pytest.mark.parametrize("ledger", [False, True])
def test_an_empty_input_gives_nothing(cross, ledger):
    pieces, counted = cross([b""], ledger=ledger)
    assert not pieces and counted.by("outcome") == {"spans": 1} and not _KEPT["rejected"]


@pytest.mark.clause("6-cn")
def test_a_record_of_a_region_that_is_not_served_goes_nowhere(cross):
    pieces, counted = cross([ndjson(event(1, residency=IN_IN))])
    assert pieces == [] and counted.sum(step="telemetry", outcome="foreign") == 1


def test_signals_that_conflict_are_counted(cross):
    pieces, counted = cross([ndjson(event(1, residency={"account_country": "NL", "device_region": "CN"}))])
    assert [row["region"] for row in rows_of(pieces)] == [CN]
    assert counted.sum(step="telemetry", outcome="conflicting") == 1


def test_no_count_is_named_after_what_a_record_brought(cross):
    line = event(1, "crash", surprise_of_mine="x", crash__exception="ada@example.org", device__model="@@@")
    _, counted = cross([ndjson(line)])
    table = counted.table
    words = {word for name in table.column_names if name not in ("hour", "count") for word in table[name].to_pylist()}
    assert not [word for word in words if "surprise" in word or "ada" in word or "@" in word]
    assert counted.sum(step="fields", outcome="malformed", reason="device.model") == 1


HOUR = 3_600_000


@pytest.mark.clause("1.1.2-log")
def test_what_was_found_in_texts_is_counted_by_recogniser_and_event_type(cross):
    lines = [
        event(0, "crash", crash__trace="a@b.org " * 3_000, residency=IN_CN),
        event(1, "page_view", page_view__page="for a@b.org", residency=IN_CN),
    ]
    _, counted = cross([ndjson(*lines)])
    found = counted.by(("event_type", "reason"), step="text", outcome="scrubbed")
    assert found.keys() == {("crash", "email"), ("crash", "cut"), ("page_view", "email")}
    assert (found["crash", "cut"], found["page_view", "email"]) == (1, 1) and found["crash", "email"] > 1


def test_what_goes_on_is_counted_by_the_hour_of_its_receipt(cross):
    lines = [
        event(n, event_type, received=NOW + ms)
        for n, (event_type, ms) in enumerate(
            [("session", 0), ("session", HOUR - 1), ("session", HOUR), ("crash", HOUR)]
        )
    ]
    _, counted = cross([ndjson(*lines)])
    found = counted.by(("hour", "event_type"), step="telemetry", outcome="decoded")
    by_hour = {(int(hour.timestamp() * 1000) - NOW, event_type): n for (hour, event_type), n in found.items()}
    assert by_hour == {(0, "session"): 2, (HOUR, "session"): 1, (HOUR, "crash"): 1}


def test_what_goes_on_in_a_stream_is_counted_at_the_end_of_the_window_that_judges_it(cross):
    lines = [event(n, received=NOW + ms) for n, ms in enumerate([0, 999, 1_000, 2_500])]
    _, counted = cross([ndjson(*lines)], window_ms=1_000)
    stamps = {
        stamp - NOW: sum(rows["count"].to_pylist()) for stamp, (region, rows) in _KEPT["tallies"] if region == "eu"
    }
    assert stamps == {1_000: 2, 2_000: 1, 3_000: 1}
    assert counted.sum(outcome="decoded") == 4


@pytest.mark.parametrize("cuts", [(0, 5), (0, 1, 3, 5), (0, 2, 4, 5)])
def test_of_what_a_broker_brought_each_line_is_told_in_the_window_of_its_receipt(cross, cuts):
    """However messages are gathered: a bundle that is tried again gathers them otherwise."""
    lines = [ndjson(event(1)), b"no json\n", b"nor this\n", ndjson(event(2)), b"neither this"]
    received = NOW + np.array([0, 999, 1_000, 500, 2_500])
    blocks = [
        (b"".join(lines[start:stop]), received[start:stop]) for start, stop in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    _, counted = cross(*([each] for each in blocks), window_ms=1_000)
    rejected = {}
    for stamp, (_, rows) in _KEPT["rejected"]:
        window = (stamp - NOW) // 1_000
        rejected[window] = rejected.get(window, 0) + sum(rows["lines"].to_pylist())
    assert rejected == {0: 1, 1: 1, 2: 1}
    told = {}
    for stamp, tally in _KEPT["tallies"]:
        found = totals([tally]).by("outcome", step="telemetry")
        for outcome in ("lines", "quarantined"):
            if found[outcome]:
                window = (stamp - NOW) // 1_000
                told[outcome, window] = told.get((outcome, window), 0) + found[outcome]
    assert told == {("lines", 0): 3, ("lines", 1): 1, ("lines", 2): 1} | {("quarantined", n): 1 for n in range(3)}
    assert counted.sum(step="telemetry", outcome="decoded") == 2
