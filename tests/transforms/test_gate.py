"""The decision on one batch: under the edition of each record's time and under the newest, and what stands of it."""

import random
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

from schemas.consent import CLAUSE_OF_REASON, SEALED_LEDGER, Kind, SubjectType
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES, SOURCES
from schemas.layout import layout
from schemas.pack_files import DEFAULT_PACK, load_pack
from schemas.policy import WITHOUT_LEDGER
from schemas.tallies import Counts
from tests.editions import OLD, OLDER, edition, midnight, old, older, three
from tests.oracle import decide
from tests.overlays import OTHERS, SERVICES, laid_over, overlaid, sayings, untold
from tests.strategies import seeds
from tests.tallied import totals
from transforms.gate import Gate

PACK = load_pack()
EDITIONS = three()
BARE = Editions((edition(DEFAULT_PACK),))  # without overlays
NOW = midnight(DEFAULT_PACK)
LABELS = {  # what the gate looks at
    "app.package": ("com.example.map", "com.example.mail"),
    "app_lifecycle.state": ("install", "remove"),
    "push_interaction.notice": ("system", "promotion"),
    "service": (*SERVICES, *SERVICES, *OTHERS),
}


# --- records and entries ---


def record(number=0, event_time=NOW, received=NOW, event_type="session", **changes):
    made = {
        "id": number,
        "event_type": event_type,
        "event_time": event_time,
        "received_time": received,
        "source": "device",
        "zeroed": False,
        "fault": False,
        "device": 1,
        "account": None,
    }
    return made | dict.fromkeys(LABELS) | {"service": OTHERS[0]} | changes


def entry(number, kind, time=NOW, received=None, **changes):
    made = {
        "entry_id": number,
        "kind": kind,
        "time": time,
        "received_time": time if received is None else received,
        "subject": ("device", 1),
        "purposes": frozenset({"*"}),
        "app": None,
        "policy_version": DEFAULT_PACK,
        "guardian": False,
    }
    return made | changes


def sealed(number):
    return None if number is None else number.to_bytes(16, "little")


def telemetry(records, editions):
    plan = layout(editions.newest, *editions.earlier)
    head = {
        "region": [3 for _ in records],
        "event_type": [EVENT_TYPES.index(r["event_type"]) for r in records],
        "source": [SOURCES.index(r["source"]) for r in records],
        "subject_fault": [r["fault"] for r in records],
        "event_id": [sealed(r["id"]) for r in records],
        "device": [sealed(r["device"]) for r in records],
        "account": [sealed(r["account"]) for r in records],
        **{name: [r[name] for r in records] for name in ("zeroed", "event_time", "received_time")},
    }

    def held(slot, record):
        code = EVENT_TYPES.index(record["event_type"])
        return next((record.get(source.path) for source, events in slot if code in events), None)

    head |= {name: [held(slot, r) for r in records] for name, slot in plan.slots.items()}
    return pa.RecordBatch.from_arrays([pa.array(head[f.name], f.type) for f in plan.schema], names=plan.schema.names)


def ledger(entries):
    made = {
        "entry_id": [sealed(e["entry_id"]) for e in entries],
        "subject": [sealed(e["subject"][1]) for e in entries],
        "subject_type": [SubjectType[e["subject"][0]] for e in entries],
        "kind": [Kind[e["kind"]] for e in entries],
        "purposes": ["*" if "*" in e["purposes"] else ",".join(sorted(e["purposes"])) for e in entries],
    }
    made |= {name: [e[name] for e in entries] for name in SEALED_LEDGER.names if name not in made}
    return pa.Table.from_arrays([pa.array(made[f.name], f.type) for f in SEALED_LEDGER], schema=SEALED_LEDGER)


def judged(records, entries, editions=EDITIONS, region="eu", with_ledger=True, bounded=True):
    return Gate(editions, region, with_ledger, bounded).judge(telemetry(records, editions), ledger(entries))


def names(mask):
    return {name for bit, name in enumerate(PACK.purposes) if int(mask) >> bit & 1}


def outcome(one, entries, purpose, editions=EDITIONS, **how):
    """ "open", or the reason why a purpose is closed for a record."""
    _, verdict = judged([one], entries, editions, **how)
    bit = np.uint64(1 << list(editions.newest.purposes).index(purpose))
    found = {"open": verdict.open, **verdict.reasons}
    (told,) = [what for what, masks in found.items() if masks[0] & bit]
    return told


# --- the oracle ---


def candidates(one):
    found = {name for name, purpose in PACK.purposes.items() if one["event_type"] in purpose.events}
    exact = any(
        path in ("location.latitude", "location.cell_id")
        for name in found
        for path in PACK.purposes[name].events[one["event_type"]]
    )
    return found | ({"location_services"} if exact else set())


def policy_of(pack, name, one, region, with_ledger):
    purpose, basis = pack.purposes[name], pack.basis(name, region)
    said = sayings(pack, region, one["service"], name)
    if any(each.basis for each in said):
        basis = "consent"
    versions = [purpose.minimum_policy_version, *(each.minimum_policy_version for each in said)]
    return {
        "closed": not with_ledger and basis not in WITHOUT_LEDGER,
        "basis": basis,
        "consent": basis == "consent",
        "needs": set(purpose.subject),
        "grants": set(purpose.grantors),
        "minors_excluded": purpose.minors == "excluded" or any(each.minors for each in said),
        "per_application": purpose.per_application,
        "minimum": max(filter(None, versions), default=None),
    }


def allowed_by(pack, name, one, entries, region, with_ledger, bounded):
    """Whether one pack, taken from its text, lets the record serve the purpose, but for what it collects at all."""
    purpose, said = pack.purposes.get(name), sayings(pack, region, one["service"], name)
    if purpose is None or (one["event_type"] not in purpose.events and one["event_type"] in PACK.purposes[name].events):
        return False
    if any(each.closed == "all" or name in each.closed for each in laid_over(pack, region, one["service"])):
        return False
    if any(one["event_type"] in each.without_events for each in said):
        return False
    kept_out = any(
        path.startswith(one["event_type"] + ".") and one[path] in words
        for unless in (purpose.unless, *(each.unless for each in said))
        for path, words in unless.items()
    )
    admitted = all(one["source"] in each.sources for each in (purpose, *said) if each.sources is not None)
    if not admitted or kept_out or (purpose.zeroed_closes and one["zeroed"]):
        return False
    asked = one | {"app": one["app.package"]}
    return decide(asked, name, entries, policy_of(pack, name, one, region, with_ledger), bounded)


def collected_by(pack, name, one, entries, region, with_ledger, bounded):
    """Whether one pack lets the record be collected for the purpose."""
    if policy_of(pack, name, one, region, with_ledger)["basis"] in ("contract", "legal_obligation"):
        return True
    rules = [rule for rule in pack.collection if one["event_type"] in rule.events and region in rule.regions]
    asked = entries, region, with_ledger, bounded
    known = set(PACK.purposes)  # a programme that was given up admits nothing
    return all(any(each in known and allowed_by(pack, each, one, *asked) for each in r.admitted_by) for r in rules)


def oracle(one, entries, bounded, region, with_ledger=True, editions=EDITIONS):
    in_force = [pack for pack in editions.packs if midnight(str(pack.effective)) <= one["event_time"]]
    if not in_force:
        return set()
    both = in_force[-1], editions.newest
    if untold(one["service"], *both):
        return set()
    asked = one, entries, region, with_ledger, bounded
    return {
        name
        for name in candidates(one)
        if all(allowed_by(pack, name, *asked) and collected_by(pack, name, *asked) for pack in both)
    }


class History:
    """Records and entries of one person about the days on which editions change, on clocks that tie."""

    def __init__(self, seed):
        draw = random.Random(seed)
        pick = draw.choice
        clock = [midnight(version) + by for version in (OLDER, OLD, DEFAULT_PACK) for by in (-1, 0, 1)]
        clock += [NOW + by for by in (2, 3, 4)] * 2
        purposes = [*PACK.purposes, "given_up"]
        kinds = [kind.name for kind in Kind] + ["grant"] * 12
        self.records = [
            record(
                number,
                pick(clock),
                pick(clock),
                pick(EVENT_TYPES),
                source=pick(SOURCES),
                zeroed=draw.random() < 0.2,
                fault=draw.random() < 0.1,
                device=pick([1, 1, 1, 2, None]),
                account=pick([None, 3]),
                **{path: pick((None, *words)) for path, words in LABELS.items()},
            )
            for number in range(30)
        ]
        self.entries = [
            entry(
                number,
                pick(kinds),
                pick(clock),
                pick(clock),
                subject=pick([("device", 1), ("device", 1), ("device", 2), ("account", 3)]),
                purposes=pick([frozenset({"*"}), frozenset(draw.sample(purposes, 8))]),
                app=pick((None, *LABELS["app.package"])),
                policy_version=pick([None, OLDER, OLD, DEFAULT_PACK]),
                guardian=draw.random() < 0.2,
            )
            for number in range(draw.randrange(12))
        ]


def found_of(masks, records):
    return [names(mask) & candidates(one) for mask, one in zip(masks.tolist(), records, strict=True)]


# --- several editions ---


@pytest.mark.clause("9")
@settings(deadline=None, max_examples=40)
@given(seeds)
def test_a_purpose_is_open_if_the_edition_of_the_time_and_the_newest_open_it(seed):
    history, draw = History(seed), random.Random(seed)
    region, with_ledger = draw.choice(["eu", "us", "in"]), draw.random() < 0.8
    entries = history.entries if with_ledger else []
    _, verdict = judged(history.records, entries, region=region, with_ledger=with_ledger)
    expected = [oracle(one, entries, True, region, with_ledger) for one in history.records]
    assert found_of(verdict.open, history.records) == expected


@pytest.mark.clause("0-b")
@settings(deadline=None, max_examples=60)
@given(seeds)
def test_the_overlays_of_both_editions_and_what_is_collected_at_all_hold(seed):
    history, draw = History(seed), random.Random(seed)
    region, with_ledger, bounded = draw.choice(["eu", "us", "in"]), draw.random() < 0.9, draw.random() < 0.5
    editions, entries = overlaid(seed % 9), history.entries if with_ledger else []
    _, verdict = judged(history.records, entries, editions, region, with_ledger, bounded)
    opened, stands = (
        [oracle(one, entries, known, region, with_ledger, editions) for one in history.records]
        for known in (bounded, True)
    )
    assert found_of(verdict.open, history.records) == opened
    assert found_of(verdict.stands, history.records) == [a & b for a, b in zip(opened, stands, strict=True)]
    masks = [verdict.open, *verdict.reasons.values()]
    assert sum(int(mask).bit_count() for each in masks for mask in each.tolist()) == len(PACK.purposes) * 30


@pytest.mark.clause("5.3")
@settings(deadline=None, max_examples=40)
@given(seeds)
def test_what_stands_is_what_every_stop_at_hand_leaves_of_what_is_open(seed):
    history = History(seed)
    batch, verdict = judged(history.records, history.entries, bounded=False)
    opened = [oracle(one, history.entries, False, "eu") for one in history.records]
    all_known = [oracle(one, history.entries, True, "eu") for one in history.records]
    assert found_of(verdict.open, history.records) == opened
    stands = [now & later for now, later in zip(opened, all_known, strict=True)]
    assert found_of(verdict.stands, history.records) == stands
    assert (batch["open"].to_numpy() == verdict.open).all() and (batch["stands"].to_numpy() == verdict.stands).all()


@settings(deadline=None, max_examples=20)
@given(seeds)
def test_every_purpose_is_open_or_closed_for_one_reason(seed):
    history = History(seed)
    _, verdict = judged(history.records, history.entries, bounded=bool(seed % 2))
    masks = [verdict.open, *verdict.reasons.values()]
    every = np.uint64((1 << len(PACK.purposes)) - 1)
    assert (np.bitwise_or.reduce(masks) == every).all()
    assert sum(int(mask).bit_count() for each in masks for mask in each.tolist()) == len(PACK.purposes) * 30
    assert verdict.reasons.keys() <= CLAUSE_OF_REASON.keys()


GRANT = entry(1, "grant", midnight(OLDER), app="com.example.map")
BEFORE = NOW - 1  # the last moment of the edition before the newest


@pytest.mark.clause("9")
@pytest.mark.parametrize(
    ("event_time", "purpose", "event_type", "expected"),
    [
        (NOW, "push", "push_interaction", "open"),
        (BEFORE, "push", "push_interaction", "no_basis"),  # a purpose that came later
        (NOW, "operations", "page_view", "open"),
        (BEFORE, "operations", "page_view", "no_basis"),  # an event type that it was not given before
        (midnight(OLD) - 1, "operations", "page_view", "open"),  # but had been still earlier
        (NOW, "user_experience", "crash", "open"),
        (midnight(OLD), "user_experience", "crash", "open"),
        (midnight(OLD) - 1, "user_experience", "crash", "no_basis"),
        (midnight(OLDER) - 1, "service", "session", "no_policy"),
        (midnight(OLDER), "service", "session", "open"),
    ],
)
def test_what_an_edition_lacks_opens_nothing_of_its_time(event_time, purpose, event_type, expected):
    one = record(1, event_time, NOW + 5, event_type)
    assert outcome(one, [GRANT], purpose) == expected


@pytest.mark.clause("9")
def test_without_a_policy_nothing_is_open_and_nothing_else_is_said():
    one = record(1, 0, NOW, device=None, source="partner")
    _, verdict = judged([one], [entry(1, "restrict", 0)])
    assert verdict.open.tolist() == [0] and list(verdict.reasons) == ["no_policy"]


@pytest.mark.clause("9")
def test_the_newest_says_first_why_a_purpose_is_closed():
    newest_too = [entry(1, "restrict", NOW)]
    assert outcome(record(1, BEFORE, event_type="push_interaction"), newest_too, "push") == "restricted"
    assert outcome(record(1, BEFORE, event_type="push_interaction"), [], "push") == "no_basis"
    objected = [entry(1, "object", NOW)]
    assert outcome(record(1, BEFORE, event_type="crash"), [], "operations") == "no_grant"  # it asked for consent then
    assert outcome(record(1, BEFORE, event_type="crash"), objected, "operations") == "objected"
    assert outcome(record(1, NOW, event_type="crash"), [], "operations") == "open"


@pytest.mark.clause("9")
@pytest.mark.parametrize("event_time", [BEFORE, NOW])
@pytest.mark.parametrize("version", [None, OLDER, OLD, DEFAULT_PACK])
@pytest.mark.parametrize(("purpose", "least"), [("personalisation", DEFAULT_PACK), ("user_experience", OLD)])
def test_a_consent_counts_under_the_version_that_both_editions_demand(event_time, version, purpose, least):
    """`personalisation` has raised its demand: a consent to the old terms no longer serves records of their time. The
    demand of `user_experience` has been dropped, and holds for the records of its time."""
    event_type = {"personalisation": "app_usage", "user_experience": "crash"}[purpose]
    given_ = entry(1, "grant", midnight(OLD), policy_version=version)
    enough = (version or "") >= (least if event_time < NOW or purpose == "personalisation" else "")
    found = outcome(record(1, event_time, event_type=event_type), [given_], purpose)
    assert found == ("open" if enough else "old_policy_version")


@pytest.mark.clause("9")
def test_the_conditions_of_both_editions_keep_a_record_out():
    removed = {"app_lifecycle.state": "remove"}
    assert outcome(record(1, NOW, event_type="app_lifecycle", **removed), [], "service") == "open"
    assert outcome(record(1, BEFORE, event_type="app_lifecycle", **removed), [], "service") == "not_for_purpose"
    assert outcome(record(1, BEFORE, event_type="app_lifecycle"), [], "service") == "open"
    assert outcome(record(1, NOW, source="web"), [], "security") == "open"
    assert outcome(record(1, BEFORE, source="web"), [], "security") == "source_not_admitted"
    zeroed = record(1, BEFORE, event_type="ad_interaction", zeroed=True)  # that it closes is newer than the record
    assert outcome(zeroed, [GRANT], "personalised_ads") == "opted_out"


@pytest.mark.clause("9")
def test_a_record_is_judged_alike_whichever_editions_are_given_beside_its_own():
    history = History(4)
    late = [one for one in history.records if one["event_time"] >= NOW]
    alone, several = (judged(late, history.entries, editions)[1] for editions in (Editions((PACK,)), EDITIONS))
    assert len(late) > 5 and (alone.open == several.open).all()
    assert {r: m.tolist() for r, m in alone.reasons.items()} == {r: m.tolist() for r, m in several.reasons.items()}


def test_one_edition_is_judged_once(monkeypatch):
    asked = []
    judge = Gate._under
    monkeypatch.setattr(Gate, "_under", lambda self, *given: asked.append(given[0]) or judge(self, *given))
    bare = Editions((edition(OLDER, older), edition(OLD, old), edition(DEFAULT_PACK)))
    for editions, variants in ((bare, [0, 1, 2]), (EDITIONS, [0, 2, 4])):  # here with a second variant, of notes
        for records, expected in (
            ([record(1)], variants[2:]),
            ([record(1), record(2, BEFORE)], [variants[2], variants[1]]),
        ):
            asked.clear()
            judged(records, [GRANT], editions)
            assert asked == expected
    asked.clear()
    judged([record(1)], [GRANT], Editions((PACK,)))
    judged([record(1), record(2, service="notes")], [GRANT], Editions((PACK,)))
    assert asked == [0, 0, 1]


# --- overlays, and what is collected ---


def narrowed_pack(**sections):
    return edition(DEFAULT_PACK, lambda rules: rules.update(sections))


def said_of(purpose, **said):
    return {"clause": "0-b", "purposes": {purpose: {"clause": "0-b"} | said}}


@pytest.mark.clause("0-b")
@pytest.mark.parametrize(
    ("overlay", "purpose", "changes", "reason"),
    [
        ({"clause": "1.2-local", "closed": "all"}, "service", {}, "closed_here"),
        ({"clause": "1.2-local", "closed": ["service"]}, "service", {}, "closed_here"),
        (said_of("service", without_events=["session"]), "service", {}, "closed_here"),
        (said_of("security", basis="consent"), "security", {}, "no_grant"),
        (said_of("service", sources=["web"]), "service", {}, "source_not_admitted"),
        (
            said_of("service", unless={"app_lifecycle.state": ["remove"]}),
            "service",
            {"event_type": "app_lifecycle", "app_lifecycle.state": "remove"},
            "not_for_purpose",
        ),
    ],
)
def test_an_overlay_closes_for_its_region_or_service_and_no_other(overlay, purpose, changes, reason):
    one = record(1, **({"service": "notes"} | changes))
    other = one | {"service": "browser"}
    of_region, of_service = (
        Editions((narrowed_pack(**kind),))
        for kind in ({"by_region": {"eu": overlay}}, {"by_service": {"notes": overlay}})
    )
    assert outcome(one, [], purpose, of_region) == outcome(other, [], purpose, of_region) == reason
    assert outcome(one, [], purpose, of_region, region="us") == outcome(one, [], purpose, BARE) == "open"
    assert outcome(one, [], purpose, of_service) == reason and outcome(other, [], purpose, of_service) == "open"


@pytest.mark.clause("0-b")
@pytest.mark.parametrize("service", [None, "<EMAIL> at home"])
def test_whose_service_cannot_be_told_opens_nothing_where_services_are_told_apart(service):
    local = narrowed_pack(by_service={"notes": {"clause": "1.2-local", "closed": ["promotion"]}})
    one = record(1, service=service)
    _, verdict = judged([one], [entry(1, "restrict")], Editions((local,)))
    assert verdict.open.tolist() == [0] and list(verdict.reasons) == ["no_service"]
    assert outcome(one, [], "service", BARE) == "open"


PROGRAMME = {"clause": "1.2-uep", "events": ["page_view"], "regions": ["eu"], "admitted_by": ["user_experience"]}
JOINED = entry(1, "grant", purposes=frozenset({"user_experience"}))


@pytest.mark.clause("1.2-uep")
def test_with_the_programme_off_none_of_what_is_its_own_is_collected():
    editions = Editions((narrowed_pack(collection=[PROGRAMME]),))
    one, crash = record(1, NOW + 1, NOW + 9, "page_view"), record(1, NOW + 1, NOW + 9, "crash")
    assert outcome(one, [], "operations", editions) == outcome(one, [], "statistics", editions) == "not_collected"
    assert outcome(one, [], "user_experience", editions) == "no_grant"
    assert (
        outcome(one, [JOINED], "operations", editions) == outcome(one, [JOINED], "user_experience", editions) == "open"
    )
    assert outcome(crash, [], "operations", editions) == outcome(one, [], "service", editions) == "open"
    assert outcome(one, [], "operations", editions, region="us") == "open"


@pytest.mark.clause("1.2-uep")
def test_who_has_left_the_programme_since_is_not_served_by_it():
    editions = Editions((narrowed_pack(collection=[PROGRAMME]),))
    left = entry(2, "withdraw", NOW + 5, purposes=frozenset({"user_experience"}))
    one = record(1, NOW + 1, NOW + 2, "page_view")
    _, verdict = judged([one], [JOINED | {"received_time": NOW + 1}, left], editions, bounded=False)
    assert of("operations", verdict.open) == [True] and of("operations", verdict.stands) == [False]


# --- what stands ---


def of(purpose, masks):
    return [purpose in names(mask) for mask in masks.tolist()]


@pytest.mark.clause("5.3")
def test_who_has_left_in_the_meantime_is_decided_as_of_then_and_not_served():
    records = [record(number, event_type="crash", received=NOW + by) for number, by in ((1, 5), (2, 9), (3, 10))]
    entries = [GRANT, entry(2, "withdraw", NOW + 9, purposes=frozenset({"user_experience"}))]
    _, verdict = judged(records, entries, bounded=False)
    assert of("user_experience", verdict.open) == [True, False, False]
    assert of("user_experience", verdict.stands) == [False, False, False]
    assert of("operations", verdict.stands) == [True, True, True]


def test_a_bounded_run_has_nothing_that_is_open_and_does_not_stand():
    records = [record(number, event_type="crash", received=NOW + number) for number in range(4)]
    _, verdict = judged(records, [GRANT, entry(2, "withdraw", NOW + 2)])
    assert verdict.stands is verdict.open and not verdict.open.any()


@pytest.mark.parametrize(
    ("kind", "received", "again"),
    [("withdraw", 6, True), ("unreadable", 6, True), ("withdraw", 5, False), ("grant", 6, False), ("adult", 9, False)],
)
def test_a_stream_judges_again_only_if_a_stop_came_after_a_record(monkeypatch, kind, received, again):
    asked = []
    judge = Gate._verdict
    monkeypatch.setattr(Gate, "_verdict", lambda self, *given: asked.append(given[2]) or judge(self, *given))
    records = [record(1, received=NOW + 5), record(2, received=NOW + 8)]
    judged(records, [entry(1, kind, NOW, NOW + received)], bounded=False)
    assert asked == ["received", "all"][: 1 + again]


@pytest.mark.clause("4.1-c")
def test_what_was_stopped_is_counted_by_purpose():
    records = [record(number, event_type="crash", received=NOW + by) for number, by in ((1, 5), (2, 9), (3, 10))]
    entries = [GRANT, entry(2, "withdraw", NOW + 9, purposes=frozenset({"user_experience", "operations"}))]
    counts, gate = Counts(), Gate(EDITIONS, "eu", True, False)
    gate.tally(*gate.judge(telemetry(records, EDITIONS), ledger(entries)), counts)
    found = totals(counts.tallies())
    stopped = found.by(("event_type", "purpose"), step="gate", outcome="stopped")
    assert stopped == {("crash", "user_experience"): 1, ("crash", "operations"): 1}
    opened = found.by("purpose", step="gate", outcome="opened")
    assert opened["user_experience"] == 1 and opened["statistics"] == 3


def test_nothing_is_judged_of_no_record():
    batch, verdict = judged([], [GRANT], bounded=False)
    assert batch.num_rows == 0 and batch.schema.names[-2:] == ["open", "stands"] and len(verdict.stands) == 0


def test_an_edition_that_is_the_newest_but_for_its_day_changes_nothing():
    history, early = History(5), PACK.model_copy(update={"version": "2000-01-01", "effective": date(2000, 1, 1)})
    alone, both = (judged(history.records, history.entries, Editions(packs)) for packs in ((early,), (early, PACK)))
    assert (alone[1].open == both[1].open).all() and alone[1].open.any()
