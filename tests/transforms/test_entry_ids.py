"""Entries of one id that lie apart: what is told, and that every region then decides as the rule has it."""

import random
from datetime import datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.consent import NOBODY, SEALED_LEDGER, Terms
from schemas.editions import Editions
from schemas.pack_files import load_pack
from tests.lines import NOW, entry, event, keystores, ndjson
from tests.oracle import decide
from tests.tallied import totals
from transforms.border import REGISTER, Border
from transforms.canonical import canonical
from transforms.consent import Records, judge
from transforms.consent_gate import ConsentGate
from transforms.decode import decode_ledger
from transforms.entry_ids import EntryIds, Marks, Register, untold
from transforms.exchange import LEDGER, Piece
from transforms.ipc import from_ipc
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.ledger import Ledger
from transforms.locks import Locks
from transforms.scrub import Scrubber
from transforms.seal import Partition, Seals, shard_of
from transforms.seal_ledger import ACCOUNTS, NOWHERE, REGISTERED, STOPPED, UNREADABLE, LedgerSealer
from transforms.tallies import TALLIES

PACK = load_pack()
EDITIONS = Editions((PACK,))
CN, EU = PACK.where.code("cn"), PACK.where.code("eu")
SERVED = (CN, EU)
ONE, FOUR = Partition(1, None), Partition(4, None)
DEVICES = tuple(f"{number:015x}7" for number in range(1, 6))  # of four shards they use more than two
OF_ACCOUNTS = ("acct-1", "acct-2")
A, B = (("device", value) for value in DEVICES[:2])
X, Y = (("account", value) for value in OF_ACCOUNTS)
_KIND_OF = {"device": "android_id", "account": "account_id"}

PLAIN = {"closed": False, "consent": False, "minors_excluded": False, "per_application": False, "minimum": None}
POLICIES = {
    "service": PLAIN | {"needs": {"device"}, "grants": set()},
    "research": PLAIN | {"needs": {"device"}, "grants": {"device", "account"}, "consent": True},
    "support": PLAIN | {"needs": {"device"}, "grants": {"account"}, "consent": True},
}
TERMS = Terms(tuple(POLICIES), consent=0b110, needs_device=0b111, device_grants=0b010, account_grants=0b110)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {CN: "cn", EU: "eu"})


@pytest.fixture(scope="module")
def seals(keys):
    return Seals({code: open_keyring(uri) for code, uri in keys.items()})


# --- a ledger through the sealer and the register, beside the rule ---


def told(kind, id=1, of=A, region=EU, received=0, time=None, purposes=("*",)):
    """An entry as the rule sees it; `region` is where it was given, -1 for nowhere, -2 for another cell's."""
    if kind == "unreadable":
        time = received = 0
    return {
        "entry_id": id,
        "kind": kind,
        "subject": of,
        "region": region,
        "purposes": set(purposes),
        "app": None,
        "policy_version": None,
        "guardian": False,
        "time": received if time is None else time,
        "received_time": received,
    }


def seen_from(region, entries):
    """The rule for one region: a permission given elsewhere is nobody's here, but a version of its id."""
    stops_and_own = ("withdraw", "object", "restrict", "erase", "unreadable")
    return [
        e if e["kind"] in stops_and_own or e["region"] == region else e | {"subject": ("elsewhere", e["region"])}
        for e in entries
    ]


LABELS = Labels(Scrubber())


class Here:
    """What a job with these shards holds of a ledger that came in these parts."""

    def __init__(self, seals, partition, *parts):
        self._seals, self._shards = seals, partition.shards
        sealer = LedgerSealer(seals, partition, SERVED, EU, LABELS, frozenset(POLICIES))
        marks = Marks(seals, partition, SERVED)
        known = np.empty(0, REGISTERED)
        self.rows, self.told = {}, []
        for part in parts:
            sealed = sealer.seal(*_decoded(part))
            new = np.concatenate([each.register for each in sealed])
            self.told.append(untold(known, new))
            known = np.concatenate([known, new])
            for each in sealed:
                for key in np.unique(each.key).tolist():
                    self.rows.setdefault(key, []).append(each.batch.filter(pa.array(each.key == key)))
            for key, batch in marks.of(self.told[-1]):
                self.rows.setdefault(key, []).append(batch)

    def opened(self, region, records):
        """The purposes open for each record, at the shard of its device: in a bounded run, and in a stream."""
        device, account = (self._tags(type_, [r[type_] for r in records], region) for type_ in ("device", "account"))
        shard = shard_of([device, device, account], self._shards)
        time, received = (pa.array([r[name] for r in records], pa.int64()) for name in ("event_time", "received_time"))
        found = {bounded: [None] * len(records) for bounded in (True, False)}
        for number in np.unique(shard).tolist():
            at = np.flatnonzero(shard == number)
            ledger = pa.Table.from_batches(self.rows.get(region * self._shards + number, []), SEALED_LEDGER)
            ledger, rows = Ledger.build(ledger, TERMS), pa.array(at)
            nothing = np.zeros(len(at), bool), time.take(rows), received.take(rows), pa.nulls(len(at), pa.string())
            asked = Records(device.take(rows), account.take(rows), *nothing)
            for bounded, purposes in found.items():
                masks = judge(asked, ledger, TERMS, "all" if bounded else "received").open
                for place, mask in zip(at.tolist(), masks.tolist(), strict=True):
                    purposes[place] = {name for bit, name in enumerate(POLICIES) if mask >> bit & 1}
        return found

    def _tags(self, type_, values, region):
        kind = _KIND_OF[type_]
        return self._seals.tag(kind, canonical(kind, pa.array(values, pa.string()))[0], np.full(len(values), region))


def _decoded(entries):
    lines = [
        entry(
            "withdrew" if e["kind"] == "unreadable" else e["kind"],
            NOW + e["received_time"],
            NOW + e["time"],
            e["entry_id"],
            subject=dict(zip(("type", "value"), e["subject"], strict=True)),
            purposes=sorted(e["purposes"]),
        )
        for e in entries
    ]
    regions = [e["region"] for e in entries if e["kind"] != "unreadable"]
    return decode_ledger(ndjson(*lines)), np.array(regions, np.int64)


RECORDS = [
    {"device": device, "account": account, "fault": False, "app": None, "event_time": NOW + t, "received_time": NOW + r}
    for device in DEVICES
    for account in ((None, X[1]) if device == A[1] else (None,))
    for t, r in ((9, 9), (2, 4), (1, 9))
]


def expected(region, entries, bounded):
    there = [
        e if e["kind"] == "unreadable" else e | {"time": NOW + e["time"], "received_time": NOW + e["received_time"]}
        for e in seen_from(region, entries)
    ]
    return [{name for name in POLICIES if decide(r, name, there, POLICIES[name], bounded)} for r in RECORDS]


def agree(seals, *parts):
    """Every region, in every split of its records, decides as the rule does."""
    entries = [each for part in parts for each in part]
    wanted = {(region, mode): expected(region, entries, mode) for region in SERVED for mode in (True, False)}
    for partition in (ONE, FOUR):
        here = Here(seals, partition, *parts)
        for region in SERVED:
            assert here.opened(region, RECORDS) == {mode: wanted[region, mode] for mode in (True, False)}
    return wanted


def last(wanted, subject, region, bounded=True):
    """What is open for the latest record of a device, or of an account on some device."""
    at = next(n for n, r in enumerate(RECORDS) if subject[1] in (r["device"], r["account"]))
    return wanted[region, bounded][at]


ALL, ALWAYS = set(POLICIES), {"service"}


@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    "other",
    [
        pytest.param(told("grant", of=B), id="another device of the region"),
        pytest.param(told("grant", of=B, region=CN), id="another device elsewhere"),
        pytest.param(told("grant", region=CN), id="the same device elsewhere"),
        pytest.param(told("grant", region=-1), id="nowhere"),
        pytest.param(told("grant", region=-2), id="in another cell"),
        pytest.param(told("grant", of=X), id="an account of the region"),
        pytest.param(told("grant", of=X, region=CN), id="an account elsewhere"),
        pytest.param(told("adult", of=B, region=CN), id="of another kind elsewhere"),
        pytest.param(told("lift_restriction", of=B, region=CN), id="of the kind of a mark"),
    ],
)
@pytest.mark.parametrize("received", [0, 3])
def test_two_permissions_of_one_id_at_two_places_are_none(seals, other, received):
    mine, other = told("grant"), other | {"received_time": received, "time": received}
    assert last(agree(seals, [mine]), A, EU) == {"service", "research"}
    for parts in ([mine, other], [other, mine]), ([mine], [other]), ([other], [mine]):
        wanted = agree(seals, *(parts if isinstance(parts[0], list) else [parts]))
        assert {frozenset(each) for opened in wanted.values() for each in opened} == {frozenset(ALWAYS)}


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("of", [A, B, X])
def test_of_a_permission_and_a_stop_the_stop_counts_wherever_the_permission_lies(seals, of):
    wanted = agree(seals, [told("grant", of=A)], [told("withdraw", of=of, region=CN, received=2)])
    assert last(wanted, A, EU) == (set() if of == A else ALWAYS)
    assert [last(wanted, of, region) for region in SERVED] == [set(), set()]
    wanted = agree(seals, [told("withdraw", of=of, region=CN, received=2)], [told("grant", of=A)])
    assert last(wanted, A, EU) == (set() if of == A else ALWAYS)


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("kind, region", [("grant", EU), ("grant", CN), ("grant", -1), ("withdraw", CN)])
@pytest.mark.parametrize("of", [A, B, X])
def test_a_rejected_line_is_corrected_everywhere_by_any_valid_entry_of_its_id(seals, kind, of, region):
    garbled, valid = told("unreadable"), told(kind, of=of, region=region, received=3)
    wanted = agree(seals, [garbled], [valid])
    assert agree(seals, [valid], [garbled, garbled]) == wanted
    for bounded in (True, False):
        found = last(wanted, A, CN, bounded)
        assert found == ({"service", "research"} if (kind, of, region) == ("grant", A, CN) else ALWAYS) or (
            found == set() and (kind, of) == ("withdraw", A)
        )


def test_what_is_repeated_to_the_letter_counts_once(seals):
    lines = [
        told("grant", 1),
        told("grant", 2, of=X, region=CN),
        told("withdraw", 3, of=B),
        told("unreadable", 4, of=Y),
    ]
    assert agree(seals, lines, lines, lines + lines) == agree(seals, lines)
    assert [len(each) for each in Here(seals, FOUR, lines, lines, lines + lines).told] == [0, 0, 0]


def test_versions_of_one_place_meet_at_the_gate_and_nothing_is_told(seals):
    versions = [told("grant", received=1), told("grant", received=4), told("grant", received=4, purposes=["research"])]
    assert agree(seals, versions) == agree(seals, *([each] for each in versions))
    assert not any(len(each) for each in Here(seals, FOUR, versions).told)
    stops = [told("withdraw", of=of, region=region) for of in (A, B, X) for region in (CN, EU, -1)]
    assert not any(len(each) for each in Here(seals, FOUR, stops).told)
    agree(seals, stops)


@pytest.mark.clause("5.3")
def test_nothing_else_corrects_it(seals):
    wanted = agree(seals, [told("unreadable"), told("grant", 2, received=3), told("unreadable", of=B)])
    assert [last(wanted, of, region) for of in (A, B) for region in SERVED] == [set()] * 4


KINDS = ["grant"] * 6 + ["lift_objection", "lift_restriction", "withdraw", "object", "restrict", "erase"]
KINDS += ["unreadable"] * 3


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("seed", range(12))
def test_every_region_decides_as_the_rule_does_over_the_whole_ledger(seals, seed):
    draw = random.Random(seed)
    people = [*(("device", value) for value in DEVICES), X, Y][: draw.choice([2, 4, 7])] + [X]
    ids = range(draw.choice([1, 3, 6]))

    def one():
        at = draw.randrange(6)
        return told(
            draw.choice(KINDS),
            draw.choice(ids),
            draw.choice(people),
            draw.choice([EU, EU, CN, -1, -2]),
            at,
            max(0, at + draw.choice([-1, 0, 0, 1])),
            draw.choice([("*",), ("*",), ("research", "support"), ("support",)]),
        )

    entries = [one() for _ in range(draw.randrange(1, 10))]
    entries += draw.sample(entries, draw.randrange(len(entries)))  # delivered again
    cuts = sorted(draw.randrange(len(entries) + 1) for _ in range(2))
    agree(seals, *filter(None, (entries[: cuts[0]], entries[cuts[0] : cuts[1]], entries[cuts[1] :])))


# --- what is told ---


def rows(*found):
    """Register rows of (id, place, receipt)."""
    table = np.zeros(len(found), REGISTERED)
    for at, (id_, place, received) in enumerate(found):
        table[at] = ((id_, 7), received, place)
    return table


def plain(table):
    return {(row["id"][0].item(), row["place"].item(), row["received"].item()) for row in table}


NONE = rows()


@pytest.mark.parametrize(
    "known, new, expected",
    [
        ([], [], []),
        ([], [(1, 4, 9), (2, 5, 9)], []),
        ([], [(1, 4, 9), (1, 4, 8)], []),
        ([], [(1, 4, 9), (1, 5, 8)], [(1, 4, 9), (1, 5, 8)]),
        ([(1, 4, 9)], [(1, 5, 8)], [(1, 4, 9), (1, 5, 8)]),
        ([(1, 4, 9), (1, 4, 7)], [(1, 5, 8)], [(1, 4, 7), (1, 5, 8)]),
        ([(1, 4, 9), (1, 5, 8)], [(1, 6, 8)], [(1, 6, 8)]),
        ([(1, 4, 9), (1, 5, 8)], [(1, 5, 8), (1, 4, 10), (2, 4, 1)], []),
        ([(1, 4, 9), (1, 5, 8)], [(1, 5, 6)], [(1, 5, 6)]),
        ([], [(1, STOPPED, 9), (1, STOPPED, 8)], []),
        ([], [(1, UNREADABLE, 0), (1, UNREADABLE, 0)], []),
        ([(1, UNREADABLE, 0)], [(1, STOPPED, 8)], [(1, STOPPED, 8)]),
        ([(1, NOWHERE, 3)], [(1, UNREADABLE, 0)], [(1, NOWHERE, 3)]),
        ([(1, ACCOUNTS - EU, 3)], [(1, ACCOUNTS - CN, 4)], [(1, ACCOUNTS - EU, 3), (1, ACCOUNTS - CN, 4)]),
    ],
)
def test_what_is_told_and_what_has_been(known, new, expected):
    assert plain(untold(rows(*known), rows(*new))) == set(expected)


def test_the_second_half_of_an_id_tells_two_apart():
    two = rows((1, 4, 9), (1, 5, 9))
    two["id"][1, 1] += np.uint64(1)
    assert not len(untold(NONE, two))
    assert not len(untold(two[:1], two[1:]))


def test_each_row_is_told_once_however_the_ledger_is_cut():
    draw = random.Random(11)
    table = rows(*((draw.randrange(60), draw.choice([1, 2, 9, STOPPED, UNREADABLE]), 5) for _ in range(200)))
    whole, known, pieces = plain(untold(NONE, table)), NONE, []
    for start in range(0, len(table), 7):
        pieces.append(untold(known, table[start : start + 7]))
        known = table[: start + 7]
    together = np.concatenate(pieces)
    assert plain(together) == whole and len(together) == len(whole) > 30


def test_a_mark_lies_everywhere_but_with_its_own_entry_and_tells_of_nobody(seals):
    own, account, stop = rows((1, EU * 4 + 2, 9)), rows((2, ACCOUNTS - EU, 9)), rows((3, STOPPED, 9))
    every = [region * 4 + shard for region in SERVED for shard in range(4)]
    marks = Marks(seals, FOUR, SERVED)
    assert [key for key, _ in marks.of(own)] == [key for key in every if key != EU * 4 + 2]
    assert [key for key, _ in marks.of(account)] == every[:4]
    assert [key for key, _ in marks.of(stop)] == every
    for key, batch in marks.of(np.concatenate([own, stop])):
        assert set(batch["subject"].to_pylist()) == {NOBODY} and set(batch["purposes"].to_pylist()) == {""}
        assert set(batch["received_time"].to_pylist()) == {9}
        raw = pa.array([row["id"].tobytes() for row in (own[0], stop[0])], pa.binary(16))
        ids = seals.tag("entry_id", raw, np.full(2, key // 4)).to_pylist()
        assert batch["entry_id"].to_pylist() == (ids[1:] if key == EU * 4 + 2 else ids)


# --- in a pipeline ---


def blocks(element):
    return ((block, None) for block in element)


_KEPT = {}  # what the matchers saw: they are pickled, and so can carry nothing back themselves


def _keep_pieces(actual):
    _KEPT["pieces"] = sorted(actual)


def _keep_rows(actual):
    _KEPT["rows"] = [
        (region, window, row["received_time"] - NOW, row["open"])
        for (region, _, window), batch in actual
        for row in batch.select(["received_time", "open"]).to_pylist()
    ]


def _keep_tallies(actual):
    _KEPT["tallies"] = actual


@pytest.mark.parametrize("runner", ["FnApiRunner", "BundleBasedDirectRunner"])
def test_a_bounded_run_tells_what_all_pieces_together_say(keys, runner):
    parts = [rows((n, EU * 4, NOW), (n, CN * 4, NOW)) if n % 3 else rows((n, EU * 4, NOW)) for n in range(40)]
    locks = Locks(keys, 4)
    register = Register(locks, EU, FOUR)
    with beam.Pipeline(runner=runner) as pipeline:
        told = [piece for part in parts for half in (part[:1], part[1:]) for piece in register.pieces(half)]
        typed = pipeline | beam.Create(told).with_output_types(Piece)
        assert_that(typed | EntryIds(keys, EU, FOUR), _keep_pieces)
    marked = {}
    for key, (kind, _, payload) in _KEPT["pieces"]:
        assert kind == LEDGER
        marked[key] = marked.get(key, 0) + from_ipc(locks.unlock(key, LEDGER, payload)).num_rows
    both = sum(n % 3 > 0 for n in range(40))
    assert marked == {region * 4 + shard: both * (1 if shard == 0 else 2) for region in SERVED for shard in range(4)}


WINDOW = 10
STREAM = Partition(2, WINDOW)
OPEN = {"statistics", "operations", "user_experience"}  # what a crash of a device without account opens under a grant
GRANTED = {"user_experience"}  # of these, what consent alone opens
DEVICE = DEVICES[0]
HERE, THERE = {"account_country": "NL"}, {"account_country": "CN"}


def crash(received, number):
    return event(number, "crash", NOW + received, device__android_id=DEVICE, residency=HERE)


def line(kind, received, number=1, of=DEVICE, residency=HERE):
    return entry(kind, NOW + received, number=number, subject={"type": "device", "value": of}, residency=residency)


def receipt(made):
    return Timestamp(seconds=datetime.fromisoformat(made["received_time"]).timestamp())


def stream(keys, *steps):
    """Runs a stream from lines on: {receipt of a record: what is open}, and totals. A step is a line that arrives, or
    a time to which both watermarks go on."""
    tags = ("telemetry", "ledger")
    script = test_stream.TestStream(output_tags=set(tags))
    for step in steps:
        if isinstance(step, int):
            for tag in tags:
                script.advance_watermark_to(Timestamp(micros=(NOW + step) * 1000), tag=tag)
        else:
            received = TimestampedValue([ndjson(step)], receipt(step))
            script.add_elements([received], tag="telemetry" if "event_id" in step else "ledger")
    for tag in tags:
        script.advance_watermark_to(Timestamp(micros=(NOW + 10_000) * 1000), tag=tag)
        script.advance_watermark_to_infinity(tag=tag)
    with beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])) as pipeline:
        inputs = pipeline | script
        telemetry, ledger = (
            inputs[tag] | tag >> Border(tag == "ledger", blocks, EDITIONS, keys, STREAM, EU) for tag in tags
        )
        marks = ledger[REGISTER] | EntryIds(keys, EU, STREAM)
        gate = (telemetry.pieces, ledger.pieces, marks) | beam.Flatten() | ConsentGate(EDITIONS, keys, STREAM, True)
        assert_that(gate.judged, _keep_rows, label="judged")
        tallies = (ledger[TALLIES], gate[TALLIES]) | "Told" >> beam.Flatten()
        assert_that(tallies, _keep_tallies, label="tallies")
    terms = PACK.terms("eu")
    opened = {
        received: {name for bit, name in enumerate(terms.purposes) if mask >> bit & 1} & OPEN
        for _, _, received, mask in _KEPT["rows"]
    }
    return opened, totals(_KEPT["tallies"])


@pytest.mark.clause("5.3")
def test_in_a_stream_what_contradicts_an_entry_elsewhere_counts_from_its_own_window_on(keys):
    found, counted = stream(
        keys,
        line("grant", 1),
        crash(5, 1),
        crash(12, 2),
        crash(35, 3),
        10,  # the first window is decided
        20,  # and the second
        line("grant", 31, of=DEVICES[1], residency=THERE),
        40,
    )
    assert found == {5: OPEN, 12: OPEN, 35: OPEN - GRANTED}
    sent, known = (counted.sum(step=step, outcome=what) for step, what in (("ledger", "sent"), ("gate", "known")))
    assert sent == known == 2  # marks are none


@pytest.mark.clause("5.3")
def test_in_a_stream_a_rejected_line_ends_with_the_receipt_of_a_correction_elsewhere(keys):
    found, _ = stream(
        keys,
        line("grant", 1, number=7),
        crash(5, 1),
        10,
        line("withdrew", 11),
        crash(15, 2),
        20,
        crash(42, 3),
        crash(47, 4),
        line("grant", 45, of=DEVICES[1], residency=THERE),
        60,
    )
    assert found == {5: OPEN, 15: set(), 42: set(), 47: OPEN}


@pytest.mark.clause("5.3")
def test_in_a_stream_a_correction_is_remembered_for_a_line_that_comes_later(keys, monkeypatch):
    monkeypatch.setattr("transforms.entry_ids._RUNS", 1)  # what is known is put together each time
    corrections = (line("grant", 3, 1, of, THERE) for of in (*DEVICES[1:3], DEVICES[1]))
    found, _ = stream(keys, line("grant", 1, number=7), *corrections, 20, line("withdrew", 21), crash(25, 1), 30)
    assert found == {25: OPEN}
