"""The gate in time: what waits for what, on a stream whose two inputs have watermarks of their own, and in a run."""

import random
from collections import Counter

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream

from schemas.editions import Editions
from schemas.fields import EVENT_TYPES, SOURCES
from tests.gated import BASE, EU, PACK, SHARDS, Entry, Person, Record, at, candidates, names, oracle, piece
from tests.lines import keystores
from tests.tallied import totals
from transforms.consent_gate import ConsentGate
from transforms.exchange import Piece
from transforms.seal import Partition
from transforms.tallies import TALLIES

EDITIONS = Editions((PACK,))
WINDOW, DAY = 10, 86_400_000  # of milliseconds
_AFTER_ALL = 1_000 * DAY
KEYS = {}


@pytest.fixture(scope="module", autouse=True)
def _keys(tmp_path_factory):
    KEYS.update(keystores(tmp_path_factory.mktemp("keys"), {EU: "eu"}))


STREAM, BOUNDED = Partition(SHARDS, WINDOW), Partition(SHARDS, None)


# --- running the gate ---


def judged(outputs):
    """(lot, record number, received_time, mask) of every row that was let through."""
    return [
        (of_this_file(lot), int.from_bytes(row["event_id"], "little"), row["received_time"] - BASE, row["open"])
        for lot, batch in outputs
        for row in batch.select(["event_id", "received_time", "open"]).to_pylist()
    ]


def of_this_file(lot):
    """The lot with its window counted from that of time 0; a bounded run has but one."""
    region, shard, window = lot
    return region, shard, window and window - BASE // WINDOW


def stream(*steps, flags=()):
    """Runs a stream and returns (judged rows, totals). A step is a piece that arrives (a list of records or entries),
    a list of pieces, or `("telemetry" | "ledger", time)`, to which that input's watermark goes on."""
    script = test_stream.TestStream(output_tags={"telemetry", "ledger"})
    for step in steps:
        if isinstance(step, tuple):
            script.advance_watermark_to(at(step[1]), tag=step[0])
        else:
            together = step if isinstance(step[0], list) else [step]
            tag = "ledger" if isinstance(together[0][0], Entry) else "telemetry"
            script.add_elements([piece(things, KEYS, STREAM) for things in together], tag=tag)
    for tag in ("telemetry", "ledger"):
        script.advance_watermark_to(at(_AFTER_ALL), tag=tag)  # the runner stops at infinity, and fires nothing more
        script.advance_watermark_to_infinity(tag=tag)
    options = PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming", *flags])
    with beam.Pipeline(options=options) as pipeline:
        inputs = pipeline | script
        typed = [inputs[tag] | tag >> beam.Map(_same).with_output_types(Piece) for tag in ("telemetry", "ledger")]
        _keep(typed | beam.Flatten() | ConsentGate(EDITIONS, KEYS, STREAM, with_ledger=True))
    return _kept()


def run(*lots, with_ledger=True):
    """Runs a bounded job over these lists of records or entries, a piece each, and returns (judged rows, totals)."""
    pieces = [piece(things, KEYS, BOUNDED).value for things in lots]
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        typed = pipeline | beam.Create(pieces).with_output_types(Piece)
        _keep(typed | ConsentGate(EDITIONS, KEYS, BOUNDED, with_ledger))
    return _kept()


def _same(element):
    return element


_KEPT = {}  # what came out, by output; the runners work in this process


def _keep_as(element, name):
    _KEPT[name].append(element)


def _keep(gate):
    _KEPT["judged"], _KEPT["tallies"] = [], []
    for name, output in (("judged", gate.judged), ("tallies", gate[TALLIES])):
        output | f"Keep {name}" >> beam.Map(_keep_as, name)  # noqa: B018


def _kept():
    return judged(_KEPT["judged"]), totals(_KEPT["tallies"])


def named(rows):
    """(window, record number) -> the purposes opened, of those that a crash can serve."""
    return {(lot[2], number): names(mask) & candidates(Record(0, 0)) for lot, number, _, mask in rows}


GRANT = Entry(1, "grant", 0)
OPEN = {"statistics", "operations", "user_experience"}  # what a crash of a device without account opens under a grant


# --- time ---


@pytest.mark.clause("5.3")
def test_telemetry_that_overtakes_its_ledger_waits():
    rows, _ = stream(
        [Record(1, 5)],
        ("telemetry", 100),
        [Entry(1, "grant", 1)],  # comes long after, was received before
        [Entry(2, "withdraw", 4, purposes=frozenset({"operations"}))],
        ("ledger", 100),
    )
    assert named(rows) == {(0, 1): OPEN - {"operations"}}


@pytest.mark.clause("5.3")
def test_a_ledger_that_stalls_holds_telemetry_back():
    """The same entry is known, however late it comes, until its input's watermark has passed the window."""
    rows, _ = stream(
        [GRANT],
        [Record(1, 5)],
        [Record(2, 15)],
        ("telemetry", 1_000),
        ("ledger", 9),  # not yet at the end of the window
        [Entry(2, "withdraw", 5)],
        ("ledger", 10),  # the first window is decided; of the second nothing is
        [Entry(3, "grant", 12)],
        ("ledger", 20),
    )
    assert named(rows) == {(0, 1): set(), (1, 2): OPEN}


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("slow, quick", [("telemetry", "ledger"), ("ledger", "telemetry")])
def test_a_window_is_decided_when_neither_input_can_add_to_it(slow, quick):
    """Whichever input is behind, nothing is decided until it has passed the window's end."""
    rows, counted = stream(
        [GRANT],
        [Record(1, 5)],
        (quick, 1_000),
        (slow, 9),
        [Record(2, 9)],  # on time, if and only if the window is still open
        [Entry(2, "withdraw", 9, purposes=frozenset({"operations"}))],
        (slow, 10),
        [Record(3, 9)],
        (slow, 1_000),
    )
    assert named(rows) == {(0, 1): OPEN, (0, 2): OPEN - {"operations"}, (1, 3): OPEN - {"operations"}}
    assert counted.sum(step="gate", outcome="late") == 1


@pytest.mark.clause("5.3")
def test_how_far_telemetry_is_held_back_is_a_metric(monkeypatch):
    """Its age grows with the telemetry that waits behind a ledger that stalls, and falls when the ledger goes on."""
    told = []
    monkeypatch.setattr(_Told, "ages", told)
    monkeypatch.setattr("transforms.consent_gate.HELD_BACK", _Told())
    stalled = [[Record(n, received)] for n, received in ((1, 5), (2, 9), (3, 15), (4, 215))]
    rows, counted = stream(
        [GRANT],
        *(step for lot in stalled for step in (lot, ("telemetry", lot[0].received_time + 1))),
        ("telemetry", 1_000),
        ("ledger", 9),  # nothing is opened until here, however long it takes
        ("ledger", 10),
        [Record(5, 216)],
        ("ledger", 1_000),
    )
    assert told == [0, 0, 5, 205, 195, 196, 0, 0]
    assert named(rows) == {(0, 1): OPEN, (0, 2): OPEN, (1, 3): OPEN, (21, 4): OPEN, (21, 5): OPEN}
    assert counted.sum(step="gate", outcome="judged") == 5


class _Told:
    """Stands in for the gauge."""

    ages = None

    def set(self, age):
        self.ages.append(age)


@pytest.mark.clause("5.3")
def test_an_unreadable_line_restricts_until_the_window_of_its_correction():
    rows, _ = stream(
        [GRANT, Entry(2, "unreadable", 12)],
        *([Record(n, 10 * n - 5)] for n in (1, 2, 3)),
        ("telemetry", 100),
        ("ledger", 20),  # two windows are decided, and what is known is compacted, before the correction comes
        [Entry(2, "grant", 22, purposes=frozenset({"statistics"}))],
        ("ledger", 100),
    )
    assert named(rows) == {(0, 1): OPEN, (1, 2): set(), (2, 3): OPEN}


def test_a_bundle_that_is_repeated_changes_nothing():
    """The runner tries every bundle twice, and takes what the last attempt has made."""
    steps = (
        [GRANT],
        *([Record(n, n * WINDOW), Record(n + 10, n * WINDOW)] for n in range(3)),
        [Record(1, WINDOW + 5)],
        ("telemetry", 2 * WINDOW),
        ("ledger", 2 * WINDOW),
        [Entry(2, "withdraw", 2 * WINDOW)],
    )
    once, twice = stream(*steps), stream(*steps, flags=["--direct_runner_bundle_repeat=1"])
    assert sorted(once[0]) == sorted(twice[0]) and len(once[0]) == 6
    assert once[1].table == twice[1].table


@pytest.mark.clause("5.3")
def test_an_entry_on_the_edge_of_a_window_belongs_to_the_next():
    rows, _ = stream(
        [GRANT],
        [Record(1, 9), Record(2, 9, event_time=3)],
        [Record(3, 10)],
        [Record(4, 11)],
        ("telemetry", 100),
        [Entry(2, "withdraw", 10)],
        ("ledger", 100),
    )
    assert named(rows) == {(0, 1): OPEN, (0, 2): OPEN, (1, 3): set(), (1, 4): set()}


@pytest.mark.clause("5.3")
def test_what_was_received_after_a_record_is_not_known_to_it():
    """Even if it is at hand: what a stream decides does not depend on how far the ledger runs ahead."""
    ledger = [
        GRANT,
        Entry(2, "withdraw", 6, purposes=frozenset({"operations"})),
        Entry(3, "withdraw", 25, time=2, purposes=frozenset({"statistics"})),
        Entry(4, "grant", 0, subject=("device", 2), purposes=frozenset({"operations"})),
        Entry(5, "grant", 6, time=4, subject=("device", 2), purposes=frozenset({"user_experience"})),
    ]
    both = [[Record(number, at, device=number % 2 or 2)] for number, at in ((1, 5), (2, 5), (3, 7), (4, 7))]
    rows, _ = stream(ledger, both, ("telemetry", 100), ("ledger", 100))
    assert named(rows) == {
        (0, 1): OPEN,
        (0, 2): OPEN - {"user_experience"},
        (0, 3): OPEN - {"operations"},
        (0, 4): OPEN,
    }


@pytest.mark.clause("5.3")
def test_what_contradicts_an_entry_counts_from_its_own_window_on():
    """The more restrictive of two contents of one id is in force, but not for windows that end before it came."""
    contradiction = Entry(GRANT.id, "withdraw", 15)
    rows, _ = stream([GRANT], [contradiction], [Record(1, 5)], [Record(2, 15)], ("telemetry", 100), ("ledger", 100))
    assert named(rows) == {(0, 1): OPEN, (1, 2): set()}


@pytest.mark.clause("5.3")
def test_a_piece_behind_the_last_firing_is_received_then():
    """It knows the stop that came between its own receipt and now, and goes out with the next window."""
    late = Record(1, 5)
    rows, counted = stream(
        [GRANT],
        [Record(2, 6)],
        ("telemetry", 10),
        ("ledger", 10),  # window 0 fires
        [Entry(2, "withdraw", 9)],
        [late],
        ("telemetry", 40),
        ("ledger", 40),
    )
    assert named(rows) == {(0, 2): OPEN, (1, 1): set()}
    assert {received for _, number, received, _ in rows if number == 1} == {WINDOW}
    assert counted.sum(region="eu", step="gate", outcome="judged") == 2
    assert counted.sum(region="eu", step="gate", outcome="late") == 1
    assert counted.sum(region="eu", step="gate", outcome="passed_on") == 1


@pytest.mark.clause("1.1-a")
def test_a_record_that_comes_again_is_kept_once():
    early, middle, late = 40 * DAY, 40 * DAY + 25, 40 * DAY + 70
    ids = range(1, 11)

    def received(at):
        """Ten records of ten days: two of them a ring of days apart."""
        return [Record(number, at, event_time=(30 + number) * DAY) for number in ids]

    rows, counted = stream(
        [Entry(1, "grant", 0)],
        received(early) + received(early + 3),  # twice within a piece, the earlier first
        received(early + 1),  # again in the same window
        received(middle),  # in a later window
        [Record(1, middle, event_time=31 * DAY, device=2)],  # another's, under the same id
        ("telemetry", early + 60),
        ("ledger", early + 60),
        received(late),  # after both have fired
    )
    found = sorted((number, at) for _, number, at, _ in rows)
    assert found == sorted([*((number, early) for number in ids), (1, middle)])
    assert counted.sum(step="gate", outcome="duplicates") == 40
    assert counted.sum(step="gate", outcome="judged") == 11


@pytest.mark.clause("4.4-c")
def test_a_late_row_that_has_grown_too_old_is_dropped():
    """It counts as received when the window begins that it is passed on to, and its event may be too old for that."""
    limit, now = PACK.limits.oldest_days * DAY, 40 * DAY
    rows, counted = stream(
        [Entry(1, "grant", 0)],
        [Record(1, now, event_time=now - limit)],
        ("telemetry", now + 10),
        ("ledger", now + 10),  # its window fires; the next begins ten milliseconds later
        [Record(2, now, event_time=now + 10 - limit), Record(3, now, event_time=now + 9 - limit)],
    )
    assert sorted((number, received) for _, number, received, _ in rows) == [(1, now), (2, now + 10)]
    assert counted.by("outcome", region="eu", step="gate", event_type="") == {
        "known": 1, "late": 2, "passed_on": 2, "too_old": 1,
    }  # fmt: skip


@pytest.mark.clause("5.3")
def test_windows_that_share_a_bag_are_judged_apart():
    windows = (0, 4, 8, 9, 13)
    stops = [Entry(10 + w, "withdraw", w * WINDOW + 5, purposes=frozenset({"operations"})) for w in (4,)]
    records = [[Record(100 + w, w * WINDOW + 5)] for w in windows]
    rows, _ = stream([GRANT], *records, stops, ("telemetry", 95), ("ledger", 45), ("ledger", 95), [Record(1, 131)])
    expected = {(w, 100 + w): OPEN if w < 4 else OPEN - {"operations"} for w in windows}
    assert named(rows) == expected | {(13, 1): OPEN - {"operations"}}
    assert len(rows) == len(windows) + 1


def test_one_firing_a_window_judges_all_its_pieces():
    rows, counted = stream([GRANT], *([Record(n, n)] for n in range(8)), ("telemetry", 50), ("ledger", 50))
    assert len({lot for lot, *_ in rows}) == 1 and len(rows) == 8
    assert counted.sum(step="gate", outcome="opened", event_type="crash", purpose="operations") == 8


# --- tallies ---


def test_every_candidate_is_opened_or_refused_once():
    partner = SOURCES.index("partner")
    records = [Record(1, 5), Record(2, 5, device=2), Record(3, 5, source=partner), Record(4, 5, device=None)]
    ledger = [GRANT, Entry(2, "withdraw", 1, subject=("device", 2), purposes=frozenset({"operations"}))]
    _, counted = run(records, ledger)
    by = "region", "step", "event_type"
    assert counted.sum(outcome="known") == len(ledger)
    assert set(counted.by(by)) == {("eu", "gate", "crash"), ("eu", "gate", "")}
    decided = counted.by("purpose", event_type="crash") - Counter({"": len(records)})
    assert decided == dict.fromkeys(candidates(records[0]), len(records))
    assert counted.by(("outcome", "reason"), purpose="operations") == {
        ("opened", ""): 1,
        ("refused", "withdrawn"): 1,
        ("refused", "source_not_admitted"): 1,
        ("refused", "no_subject"): 1,
    }
    assert counted.sum(outcome="judged") == 4 and counted.sum(outcome="duplicates") == 0


def test_decisions_are_counted_by_the_hour_of_receipt():
    hour = 3_600_000
    session = EVENT_TYPES.index("session")
    records = [
        Record(1, 5),
        Record(2, hour - 1, device=2),
        Record(3, hour),
        Record(4, hour + 1, event_type=session),
        Record(5, 9 * hour, device=2),
    ]
    ledger = [GRANT, Entry(2, "withdraw", 1, subject=("device", 2), purposes=frozenset({"operations"}))]
    _, counted = run(records, ledger)

    def by_hour(*columns, **where):
        found = counted.by(("hour", *columns), step="gate", **where)
        return {((int(of.timestamp() * 1000) - BASE) // hour, *words): n for (of, *words), n in found.items()}

    judged_of = {(0, "crash"): 2, (1, "crash"): 1, (1, "session"): 1, (9, "crash"): 1}
    assert by_hour("event_type", outcome="judged") == judged_of
    assert by_hour("outcome", event_type="crash", purpose="operations") == {
        (0, "opened"): 1,
        (0, "refused"): 1,
        (1, "opened"): 1,
        (9, "refused"): 1,
    }
    for name in candidates(records[0]):  # in each hour each purpose decides all of them
        found = by_hour(event_type="crash", purpose=name)
        assert found == {(at,): count for (at, event_type), count in judged_of.items() if event_type == "crash"}


@pytest.mark.clause("1.2-consented")
@pytest.mark.clause("5.3")
def test_without_a_ledger_only_contract_and_legal_obligation_open():
    event_types = range(len(EVENT_TYPES))
    records = [Record(n, 5, event_type=n, account=3, app="map") for n in event_types]
    rows, _ = run(records, with_ledger=False)
    assert len(rows) == len(records)
    opened = {name for _, number, _, mask in rows for name in names(mask) & candidates(records[number])}
    assert opened == {name for name in PACK.purposes if PACK.basis(name, "eu") in ("contract", "legal_obligation")}


@pytest.mark.clause("5.3")
def test_in_a_bounded_run_a_stop_that_came_after_counts():
    ledger = [GRANT, Entry(2, "withdraw", 1_000)]
    rows, _ = run([Record(1, 5)], ledger)
    assert named(rows) == {(0, 1): set()}


def test_a_run_without_telemetry_releases_nothing():
    rows, counted = run([GRANT])
    assert not rows and counted.by("outcome") == {"known": 1}


# --- random histories ---

PEOPLE = 9  # each under a key of his own, so that one stream holds them all
END = 9 * WINDOW
CLOCK = [w * WINDOW + offset for w in range(END // WINDOW) for offset in (0, 1, 5, 9)]


def batches(things, draw, window=None):
    """The things in pieces of one to three, those of a piece of one key and window."""
    groups = {}
    for thing in draw.sample(things, len(things)):
        groups.setdefault((thing.key, window and thing.received_time // window), []).append(thing)
    found = []
    for group in groups.values():
        while group:
            size = draw.randrange(1, 4)
            found.append(group[:size])
            group = group[size:]
    return draw.sample(found, len(found))


def expected(people, bounded):
    return {
        (person.records[place].id): oracle(record, person.entries, bounded)
        for person in people
        for place, record in enumerate(person.records)
    }


def found_of(rows, people):
    records = {record.id: record for person in people for record in person.records}
    found = {number: names(mask) & candidates(records[number]) for _, number, _, mask in rows}
    assert len(found) == len(rows) == len(records)
    return found


@pytest.mark.clause("5.1")
def test_a_bounded_run_decides_as_the_oracle_with_all_stops_known():
    people = [Person(1, number, CLOCK) for number in range(PEOPLE)]
    draw = random.Random(1)
    things = [batches([thing for p in people for thing in part(p)], draw) for part in (_records, _entries)]
    results = []
    for order in (1, -1):
        parts = [batch for kind in things for batch in kind]
        results.append(run(*parts[::order]))
    assert found_of(results[0][0], people) == expected(people, bounded=True)
    assert results[0][0] == sorted_like(results[0][0], results[1][0]) and results[0][1].table == results[1][1].table


def sorted_like(rows, others):
    """Elements come in any order; rows within an element do not."""
    lots = list(dict.fromkeys(lot for lot, *_ in rows))
    return sorted(others, key=lambda row: lots.index(row[0]))


def _records(person):
    return person.records


def _entries(person):
    return person.entries


def arrival(people, seed):
    """Steps of a stream: pieces and bundles of any size, in any order that their watermarks allow, and each input
    as far ahead of the other as it likes."""
    draw = random.Random(seed)
    steps = {"telemetry": [], "ledger": []}
    for tag, part, window in (("telemetry", _records, WINDOW), ("ledger", _entries, None)):
        waiting = batches([thing for p in people for thing in part(p)], draw, window)
        for mark in range(0, END + WINDOW, draw.choice([10, 17, 23])):
            # What is stamped before the mark must come before it; some of the rest comes early.
            due = [b for b in waiting if min(t.received_time for t in b) < mark or draw.random() < 0.2]
            waiting = [b for b in waiting if b not in due]
            half = draw.randrange(len(due) + 1)
            steps[tag] += [bundle for bundle in (due[:half], due[half:]) if bundle] + [(tag, mark)]
        steps[tag] += [waiting] if waiting else []
    turns = [tag for tag, own in steps.items() for _ in own]
    return [steps[tag].pop(0) for tag in draw.sample(turns, len(turns))]


@pytest.mark.clause("5.1")
def test_a_stream_decides_as_the_oracle_with_the_stops_received_whatever_the_order():
    people = [Person(1, number, CLOCK) for number in range(PEOPLE)]
    lots = []
    for seed in (1, 2):
        rows, counted = stream(*arrival(people, seed))
        assert found_of(rows, people) == expected(people, bounded=False)
        assert all(lot[2] == received // WINDOW for lot, _, received, _ in rows)
        assert counted.sum(region="eu", step="gate", outcome="judged") == len(rows)
        lots.append({})
        for lot, *row in rows:
            lots[-1].setdefault(lot, []).append(row)
    assert lots[0] == lots[1]  # rows and their order within a lot do not tell how they came
