"""Long histories through the gate's state: what is compacted, spent and forgotten on the way changes no decision."""

import random

import pytest

from schemas.consent import Kind
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from tests.gated import BASE, EU, PACK, SHARDS, Entry, Record, at, candidates, names, oracle, piece
from tests.keyed import Keyed
from tests.lines import keystores
from transforms.consent_gate import _ConsentGate
from transforms.exchange import HELD
from transforms.ledger_state import from_bytes
from transforms.locks import Locks
from transforms.seal import Partition

HOUR, DAY = 3_600_000, 86_400_000
WINDOW, WINDOWS, OLDEST_DAYS = 6 * HOUR, 60, 2
KEY = EU * SHARDS
STREAM = Partition(SHARDS, WINDOW)
LIMITS = PACK.limits.model_copy(update={"oldest_days": OLDEST_DAYS})
SHORT = PACK.model_copy(update={"limits": LIMITS})
KINDS = [kind.name for kind in Kind] + ["grant"] * 8 + ["adult", "lift_objection", "lift_restriction"] * 2
REACH = 4 * 60_000  # how far a device's clock runs ahead at most


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {EU: "eu"})


def moment(draw):
    """A receipt on or beside the edges of a window."""
    return draw.randrange(WINDOWS) * WINDOW + draw.choice([0, 1, WINDOW // 2, WINDOW - 1])


def records_of(draw, number):
    found = []
    for place in range(number):
        received = moment(draw)
        age = draw.choice([-REACH, 0, 0, 1, HOUR, WINDOW, DAY, OLDEST_DAYS * DAY - 1, OLDEST_DAYS * DAY])
        found.append(
            Record(
                id=place,
                received_time=received,
                event_time=received - age,
                device=draw.choice([1, 1, 1, 2, None]),
                account=draw.choice([None, 3]),
                event_type=draw.randrange(len(EVENT_TYPES)),
                app=draw.choice([None, "map", "mail"]),
                fault=draw.random() < 0.1,
                source=draw.choice([0, 0, 0, 1, 2]),
                key=KEY,
            )
        )
    return found


def entry(draw, id, received):
    kind = draw.choice(KINDS)
    purposes = frozenset(draw.sample(["*", *PACK.purposes], draw.choice([1, 6, 12])))
    return Entry(
        id=id,
        kind=kind,
        received_time=received,
        time=received + draw.choice([REACH, 0, 0, -1, -HOUR, -DAY, -5 * DAY]),
        subject=draw.choice([("device", 1), ("device", 1), ("device", 2), ("account", 3)]),
        purposes=frozenset({"*"}) if "*" in purposes else purposes,
        app=draw.choice([None, None, "map", "mail"]),
        policy_version=draw.choice([None, "2020-01-01", "2021-01-15"]),
        guardian=draw.random() < 0.2,
        key=KEY,
    )


def ledger_of(draw, number, again):
    """Entries, a share of them `again` under an id that was there: the same, another content, a correction."""
    found = []
    for place in range(number):
        received = moment(draw)
        if found and draw.random() < again:
            earlier = draw.choice(found)
            if draw.random() < 0.3:
                found.append(Entry(**{**vars(earlier), "received_time": max(received, earlier.received_time)}))
            else:
                found.append(entry(draw, earlier.id, received))
        else:
            found.append(entry(draw, place, received))
    return found


def judged(keys, records, ledger, draw, retries):
    """Runs them in any order that the watermark allows -> {number: (window, mask)}, and the gate."""
    keyed = Keyed(_ConsentGate(Editions((SHORT,)), keys, STREAM, with_ledger=True), "ts-fire", "fire")
    waiting = draw.sample([*records, *ledger], len(records) + len(ledger))
    mark = 0
    while waiting:
        mark += draw.choice([WINDOW // 2, WINDOW, 3 * WINDOW])
        due = [thing for thing in waiting if thing.received_time < mark or draw.random() < 0.05]
        waiting = [thing for thing in waiting if thing not in due]
        attempt = keyed.attempt()
        for _ in range(1 + (draw.random() < retries)):  # the last attempt counts
            keyed.roll_back(attempt)
            for things in lots(draw.sample(due, len(due)), draw):
                stamped = piece(things, keys, STREAM)
                keyed.element(stamped.value, stamped.timestamp)
            keyed.advance(at(mark))
    keyed.advance(at((WINDOWS + 1) * WINDOW))
    found = {}
    for output in keyed.outputs:
        if isinstance(output, tuple):
            for row in output[1].select(["event_id", "open"]).to_pylist():
                found[int.from_bytes(row["event_id"], "little")] = output[0][2] - BASE // WINDOW, row["open"]
    return found, keyed


def lots(things, draw):
    """Pieces of one to three, those of a piece alike."""
    groups = {}
    for thing in things:
        window = thing.received_time // WINDOW if isinstance(thing, Record) else None
        groups.setdefault(window, []).append(thing)
    for group in groups.values():
        while group:
            size = draw.randrange(1, 4)
            yield group[:size]
            group = group[size:]


def differences(found, records, ledger):
    """(opened and should not be, closed and should not be), as pairs of record and purpose."""
    assert found.keys() == {record.id for record in records}
    more, less = [], []
    for record in records:
        window, mask = found[record.id]
        assert window == record.received_time // WINDOW
        opened, expected = names(mask) & candidates(record), oracle(record, ledger, bounded=False)
        more += [(record.id, name) for name in opened - expected]
        less += [(record.id, name) for name in expected - opened]
    return more, less


def held(keyed, keys):
    return from_bytes(Locks(keys, SHARDS).unlock(KEY, HELD, keyed.of(KEY, "held").held[0]))


@pytest.mark.clause("5.1")
@pytest.mark.parametrize("seed", range(6))
def test_a_compacted_ledger_decides_as_the_oracle(keys, seed):
    draw = random.Random(seed)
    records, ledger = records_of(draw, 40), ledger_of(draw, 60, again=0)
    found, keyed = judged(keys, records, ledger, draw, retries=0.3)
    assert differences(found, records, ledger) == ([], [])
    assert held(keyed, keys).rows.num_rows < len(ledger) and len(held(keyed, keys).spent)


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("seed", range(6))
def test_ids_that_come_again_in_later_windows_open_nothing(keys, seed):
    """Contradictions, repetitions and corrections. Of permissions that went beside one that a later version then
    contradicts, none comes back: that may close a few, and opens none."""
    draw = random.Random(seed)
    records, ledger = records_of(draw, 40), ledger_of(draw, 60, again=0.3)
    found, keyed = judged(keys, records, ledger, draw, retries=0.3)
    more, less = differences(found, records, ledger)
    assert more == []
    assert len(less) <= 5
    assert held(keyed, keys).rows.num_rows < len(ledger) and len(held(keyed, keys).spent)
