"""What lies in state: locked, read by the version that comes after, not read twice, and bounded."""

import copy
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from apache_beam.coders import BytesCoder, IterableCoder, TupleCoder, VarIntCoder
from apache_beam.transforms.userstate import get_dofn_specs

from schemas.consent import SEALED_LEDGER
from schemas.editions import Editions
from schemas.layout import layout
from tests.gated import (
    BASE,
    EU,
    PACK,
    PLAN,
    SHARDS,
    Entry,
    Record,
    at,
    entries,
    names,
    piece,
    sealed,
    telemetry,
)
from tests.keyed import Bag, Keyed, Value
from tests.lines import keystores
from transforms.consent_gate import _ConsentGate
from transforms.deduplicate import SeenDays
from transforms.entry_ids import _Remember
from transforms.exchange import (
    HELD,
    LEDGER,
    SEEN,
    TELEMETRY,
    layout_digest,
    ledger_rows,
    locked_telemetry,
    telemetry_rows,
)
from transforms.held_ledger import HeldLedger
from transforms.ipc import to_buffer, to_ipc
from transforms.keyring import BORDER, LocalKeyService, create_keystore, local_folder
from transforms.ledger_state import HeldLedgers, LedgerState, from_bytes, to_bytes
from transforms.locks import Locks, StateMismatch
from transforms.seal import Partition
from transforms.statistics import _AwaitDay

DATA = Path(__file__).parents[1] / "data" / "state-format-1"
HOUR, DAY = 3_600_000, 86_400_000
WINDOW = 6 * HOUR
STREAM = Partition(SHARDS, WINDOW)
KEY = EU * SHARDS


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {EU: "eu"})


@pytest.fixture(scope="module")
def locks(keys):
    return Locks(keys, SHARDS)


def gate(keys, pack=PACK):
    return Keyed(_ConsentGate(Editions((pack,)), keys, STREAM, with_ledger=True), "ts-fire", "fire")


def give(keyed, keys, *lots):
    for things in lots:
        stamped = piece(things, keys, STREAM)
        keyed.element(stamped.value, stamped.timestamp)


def judged(keyed):
    """The records that were let through, by number: (window, mask)."""
    found = {}
    for output in keyed.outputs:
        if isinstance(output, tuple):
            (_, _, window), batch = output
            for row in batch.select(["event_id", "open"]).to_pylist():
                number = int.from_bytes(row["event_id"], "little")
                assert number not in found
                found[number] = window - BASE // WINDOW, row["open"]
    return found


# --- names and coders: what a savepoint is read by ---

_NUMBERED = TupleCoder([VarIntCoder(), BytesCoder()])


@pytest.mark.parametrize(
    "dofn, states, timers",
    [
        (
            _ConsentGate(Editions((PACK,)), {}, STREAM, True),
            {
                "news": BytesCoder(),
                "held": BytesCoder(),
                "generation": VarIntCoder(),
                "unfired": VarIntCoder(),
                "awaiting": IterableCoder(VarIntCoder()),
                "newest": VarIntCoder(),
                **{f"waiting_{slot}": _NUMBERED for slot in range(4)},
                **{f"seen_{slot}": _NUMBERED for slot in range(8)},
            },
            {"ts-fire"},
        ),
        (
            _AwaitDay(Editions((PACK,)), {}, STREAM),
            {"waiting": TupleCoder([VarIntCoder(), BytesCoder(), BytesCoder()])},
            {"ts-over"},
        ),
        (_Remember({}, EU, STREAM), {"known": BytesCoder()}, set()),
    ],
)
def test_states_keep_their_names_and_coders(dofn, states, timers):
    """A savepoint is read by them: a change here is a change of docs/state.md."""
    found, clocks = get_dofn_specs(dofn)
    assert {spec.name: spec.coder for spec in found} == states
    assert {spec.name for spec in clocks} == timers


def test_kinds_of_payloads_keep_their_codes():
    from transforms import exchange

    codes = {
        name: getattr(exchange, name)
        for name in ("TELEMETRY", "LEDGER", "IDS", "HELD", "SEEN", "PAIRS", "GROUPS", "ORDERED", "WAITING")
    }
    assert list(codes.values()) == list(range(9))


# --- bytes of another version ---


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    """Locks under a secret that is the same in every run."""
    uri = f"local:{tmp_path_factory.mktemp('fixed')}"
    create_keystore(uri, "eu")
    folder = local_folder(uri)
    wrapped = LocalKeyService(folder / "wrapping").wrap(BORDER, bytes(range(32)), b"state")
    (folder / "secrets").mkdir()
    (folder / "secrets" / "state.wrapped").write_bytes(wrapped)
    return Locks({EU: uri}, SHARDS)


GOLDEN_LEDGER = [
    Entry(1, "grant", 0, subject=("device", 1)),
    Entry(
        2, "withdraw", 5, time=3, subject=("account", 3), purposes=frozenset({"operations", "statistics"}), app="map"
    ),
    Entry(3, "minor", 9, subject=("device", 1), guardian=True, policy_version=None),
]
GOLDEN_DIGEST = b"0123456789abcdef"
GOLDEN_MARKS = np.array([3, 5, 1 << 63], np.uint64)


def golden_rows():
    labels = pa.DictionaryArray.from_arrays(pa.array([0, None, 0], pa.int16()), pa.array(["map"]))
    return pa.record_batch({"device": pa.array([sealed(1), None, sealed(2)], pa.binary(16)), "label0": labels})


def golden(locks):
    """What state holds of these, as this version writes it."""
    rows = entries(GOLDEN_LEDGER)
    rows = rows.take(pa.array(np.argsort(np.frombuffer(rows["subject"].buffers()[1], np.uint64)[::2], kind="stable")))
    return {
        "held": locks.lock(KEY, HELD, to_bytes(HeldLedger(rows, GOLDEN_MARKS))),
        "waiting": locked_telemetry(locks, KEY, golden_rows(), GOLDEN_DIGEST),
        "news": locks.lock(KEY, LEDGER, to_buffer(entries(GOLDEN_LEDGER))),
        "seen": locks.lock(KEY, SEEN, GOLDEN_MARKS),
    }


def test_state_of_format_1_is_read(fixed):
    content = {name: (DATA / f"{name}.bin").read_bytes() for name in golden(fixed)}
    held = from_bytes(fixed.unlock(KEY, HELD, content["held"]))
    assert np.array_equal(held.spent, GOLDEN_MARKS)
    by_id = [("entry_id", "ascending")]
    assert pa.table(held.rows).sort_by(by_id).to_pylist() == entries(GOLDEN_LEDGER).to_pylist()
    assert ledger_rows(fixed.unlock(KEY, LEDGER, content["news"])).equals(entries(GOLDEN_LEDGER))
    rows = telemetry_rows(fixed.unlock(KEY, TELEMETRY, content["waiting"]), GOLDEN_DIGEST)
    assert rows.to_pylist() == golden_rows().to_pylist()
    assert fixed.unlock(KEY, SEEN, content["seen"]) == GOLDEN_MARKS.tobytes()


def test_rows_that_were_written_before_a_column_was_added_have_null_in_it():
    rows = entries(GOLDEN_LEDGER)
    before = rows.drop_columns(["app"])
    read = ledger_rows(to_ipc(before))
    assert read.schema == SEALED_LEDGER and read["app"].null_count == len(GOLDEN_LEDGER)
    assert read.drop_columns(["app"]).to_pylist() == before.to_pylist()
    reordered = rows.select(sorted(rows.schema.names))
    assert ledger_rows(to_ipc(reordered)).equals(rows)


@pytest.mark.parametrize(
    "change", [lambda rows: rows.drop_columns(["guardian"]), lambda rows: rows.append_column("x", rows["time"])]
)
def test_rows_of_an_unknown_shape_are_refused(change):
    with pytest.raises(StateMismatch, match="go on with the version that wrote it"):
        ledger_rows(to_ipc(change(entries(GOLDEN_LEDGER))))


@pytest.mark.clause("9")
def test_telemetry_that_waits_under_another_layout_is_refused(keys, locks):
    """A slot holds one field under one policy and another under the next."""
    less = {name: purpose for name, purpose in PACK.purposes.items() if name != "security"}
    plans = {layout_digest(layout(PACK.model_copy(update={"purposes": less})), WINDOW), layout_digest(PLAN, WINDOW - 1)}
    ours = layout_digest(PLAN, WINDOW)
    assert len(plans | {ours}) == 3
    keyed = gate(keys)
    for digest in plans:
        payload = locked_telemetry(locks, KEY, telemetry([Record(1, 5)]), digest)
        keyed.element((KEY, (TELEMETRY, BASE // WINDOW, payload)), at(5))
        with pytest.raises(StateMismatch, match="laid out for another policy"):
            keyed.advance(at(WINDOW))
    with pytest.raises(StateMismatch):
        telemetry_rows(to_ipc(telemetry([Record(1, 5)])), ours)


# --- locked ---


def everything(keyed):
    """All bytes that a runner holds of a key's state."""
    found = []
    for state in keyed.states.values():
        for value in getattr(state, "held", ()):
            found += [part for part in (value if isinstance(value, tuple) else (value,)) if isinstance(part, bytes)]
    return b"".join(found)


@pytest.mark.clause("6-cn")
def test_state_shows_nothing_of_what_it_holds(keys, locks):
    device, account, app = 0xD1CE_D1CE_D1CE, 0xACC0_ACC0_ACC0, "org.example.canary"
    ledger = [
        Entry(7, "grant", 1, subject=("device", device), app=app),
        Entry(8, "restrict", 2, subject=("account", account)),
    ]
    records = [[Record(9 + n, 5 + n * WINDOW, device=device, account=account, app=app)] for n in range(2)]
    needles = [sealed(device), sealed(account), app.encode(), sealed(7), sealed(9)]
    plain = to_ipc(telemetry(records[0])) + to_ipc(entries(ledger))
    assert all(needle in plain for needle in needles)
    keyed = gate(keys)
    give(keyed, keys, ledger, *records)
    for moment in (0, WINDOW):  # as they came; then merged, and with a fingerprint
        keyed.advance(at(moment))
        held = everything(keyed)
        assert len(held) > len(plain) / 2 and not [needle for needle in needles if needle in held]
    assert judged(keyed).keys() == {9}
    ((_, run),) = [run for (_, name), bag in keyed.states.items() if name.startswith("seen_") for run in bag.held]
    assert len(mark := locks.unlock(KEY, SEEN, run)) == 8 and mark not in held


# --- a flood ---


def test_a_flood_leaves_eight_bytes_a_record_and_those_for_as_long_as_it_can_come_again(keys):
    """One device sends a thousand events a window, each about an application of its own."""
    keyed, many, windows = gate(keys), 1_000, 8
    give(keyed, keys, [Entry(1, "grant", 0)])
    seen, other = [], []
    for window in range(windows):
        first = window * many
        give(
            keyed, keys, [Record(first + n, window * WINDOW + n, app=f"org.example.a{first + n}") for n in range(many)]
        )
        keyed.advance(at((window + 1) * WINDOW))
        marks = sum(
            len(run) for (_, name), bag in keyed.states.items() if name.startswith("seen_") for _, run in bag.held
        )
        seen.append(marks)
        other.append(len(everything(keyed)) - marks)
        assert not any(keyed.of(KEY, f"waiting_{slot}").held for slot in range(4))
    assert len(judged(keyed)) == windows * many
    assert len(set(other)) == 1 and other[0] < 10_000
    assert seen[-1] < windows * (8 * many + 100)
    later = windows * WINDOW + 200 * DAY
    give(keyed, keys, [Record(10**6 + n, later, event_time=later - n * DAY) for n in range(8)])  # one a bag of days
    keyed.advance(at(later + WINDOW))
    assert len(everything(keyed)) < other[0] + 8 * 100


# --- what a firing reads ---


def reads_of_held(keyed):
    return keyed.of(KEY, "held").reads


def test_a_firing_without_news_reads_nothing_of_the_ledger(keys):
    keyed = gate(keys)
    give(keyed, keys, [Entry(1, "grant", 0)], *([Record(n, 5 + n * WINDOW)] for n in range(4)))
    keyed.advance(at(WINDOW))
    written = keyed.of(KEY, "held").held[0]
    keyed.advance(at(3 * WINDOW))
    assert reads_of_held(keyed) == 0 and keyed.of(KEY, "held").held == [written]
    give(keyed, keys, [Entry(2, "withdraw", 3 * WINDOW)])
    keyed.advance(at(4 * WINDOW))  # news are merged into what the worker remembers
    assert reads_of_held(keyed) == 0 and keyed.of(KEY, "held").held != [written]
    assert keyed.of(KEY, "news").held == []
    assert {number for number, (_, mask) in judged(keyed).items() if "operations" in names(mask)} == {0, 1, 2}


def test_a_key_without_telemetry_looks_after_its_ledger_once_a_day(keys):
    """What lies there must not grow with every repetition of an entry."""
    keyed = gate(keys)
    give(keyed, keys, *([Entry(n % 3, "grant", n)] for n in range(100)))
    keyed.advance(at(DAY - 1))
    assert len(keyed.of(KEY, "news").held) == 100
    keyed.advance(at(DAY))
    assert not keyed.of(KEY, "news").held and len(keyed.of(KEY, "held").held) == 1
    give(keyed, keys, [Record(0, DAY + 5)])
    keyed.advance(at(DAY + WINDOW))
    assert "operations" in names(judged(keyed)[0][1])


def test_another_worker_reads_what_is_held(keys):
    keyed = gate(keys)
    give(keyed, keys, [Entry(1, "grant", 0)], [Record(0, 5)], [Record(1, 5 + WINDOW)])
    keyed.advance(at(WINDOW))
    keyed.dofn.setup()  # as on a worker that takes the key over
    keyed.advance(at(2 * WINDOW))
    assert reads_of_held(keyed) == 1
    assert all("operations" in names(mask) for _, mask in judged(keyed).values())


def test_a_bundle_that_is_tried_again_does_not_see_its_first_attempt(keys):
    """What the worker remembers of a bundle that was undone is not what state holds."""
    keyed = gate(keys)
    give(keyed, keys, [Entry(1, "grant", 0)], [Record(0, 5)])
    keyed.advance(at(WINDOW))
    attempt = keyed.attempt()
    give(keyed, keys, [Entry(2, "withdraw", WINDOW)], [Record(1, 5 + WINDOW)])
    keyed.advance(at(2 * WINDOW))
    assert "operations" not in names(judged(keyed)[1][1])
    keyed.roll_back(attempt)
    give(keyed, keys, [Entry(3, "grant", WINDOW)], [Record(1, 5 + WINDOW)])
    keyed.advance(at(2 * WINDOW))
    assert "operations" in names(judged(keyed)[1][1])


def test_a_worker_remembers_few_ledgers(locks):
    ledgers, states = HeldLedgers(locks), {}
    for key in range(KEY, KEY + 20):
        states[key] = LedgerState(Bag(), Value(), Value())
        states[key].news.add(locks.lock(key, LEDGER, to_buffer(entries([Entry(key, "grant", 0)]))))
        ledger, grown = ledgers.read(key, states[key])
        assert grown
        ledgers.keep(key, ledger, states[key])
    for key, state in states.items():
        ledger, grown = ledgers.read(key, copy.deepcopy(state))
        assert not grown and ledger.rows["entry_id"].to_pylist() == [sealed(key)]
    assert len(ledgers._remembered) == 8


# --- fingerprints ---


def rows_of(days, received, first=0):
    records = [Record(first + n, received, event_time=day * DAY) for n, day in enumerate(days)]
    return telemetry(records)


def test_runs_of_a_day_become_one_and_forget_nothing(locks):
    bags = tuple(Bag() for _ in range(8))
    seen, known = SeenDays(bags, 30 * DAY, locks, KEY), set()
    for firing in range(40):
        batch = rows_of([30, 31], 31 * DAY, first=firing * 2)
        before = seen.before(batch)
        assert set(before.tolist()) == known and (np.diff(before.astype(object)) > 0).all()
        marks = np.arange(firing * 2, firing * 2 + 2).astype(np.uint64)
        seen.add(batch, np.arange(2), marks)
        known |= set(marks.tolist())
        assert max(len(bag.held) for bag in bags) <= 9
    assert sum(len(bag.held) for bag in bags) < 20


def test_a_day_that_no_record_can_lie_in_is_dropped(locks):
    bags = tuple(Bag() for _ in range(8))
    seen = SeenDays(bags, 30 * DAY, locks, KEY)
    seen.add(rows_of([40], 40 * DAY), np.arange(1), np.array([5], np.uint64))
    day = BASE // DAY
    at_the_limit, later = 40 + 30, 40 + 32  # a row of day 40 + 32 shares its bag
    assert 5 in seen.before(rows_of([40], at_the_limit * DAY))
    assert [number for bag in bags for number, _ in bag.held] == [day + 40]
    seen.before(rows_of([later], (later - 2) * DAY))
    assert [number for bag in bags for number, _ in bag.held] == [day + 40]
    seen.before(rows_of([later], (later - 1) * DAY))
    assert [number for bag in bags for number, _ in bag.held] == []
