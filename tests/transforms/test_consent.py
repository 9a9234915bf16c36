import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.consent import PERMISSIONS, STOPS, Kind, SubjectType, Terms
from tests.histories import (
    IDS,
    PLAIN,
    POLICIES,
    PURPOSES,
    TERMS,
    Histories,
    binary,
    entry,
    named,
    record,
    rows,
    sealed,
    terms_of,
)
from tests.oracle import decide
from transforms import consent, ledger
from transforms.consent import judge
from transforms.ledger import Ledger

REASONS = (
    "no_basis no_subject restricted erased closed minor withdrawn objected old_policy_version app_not_granted no_grant"
)


def masks(records, entries, stops_known="all", terms=TERMS):
    return judge(rows(records), Ledger.build(sealed(entries), terms), terms, stops_known)


def opened(one, *entries, stops_known="all"):
    """The purposes that are open for one record, by the code under test; the oracle must say the same."""
    (mask,) = masks([one], entries, stops_known).open.tolist()
    bounded = stops_known == "all"
    assert named(mask) == {name for name in PURPOSES if decide(one, name, entries, POLICIES[name], bounded)}
    return named(mask)


def reason(one, purpose, *entries):
    verdict = masks([one], entries)
    return next((name for name, column in verdict.reasons.items() if purpose in named(int(column[0]))), None)


# --- random histories -------------------------------------------------------------------------------------------------


CLOCK = st.integers(1, 4)
SUBJECTS = st.sampled_from([("device", 1), ("device", 2), ("account", 3)])
ENTRIES = st.builds(
    entry,
    st.sampled_from([kind.name for kind in Kind]),
    CLOCK,
    CLOCK,
    of=SUBJECTS,
    id=st.integers(1, 6),
    purposes=st.sampled_from([("*",), ("operations", "research"), ("location_services", "find_device")]),
    app=st.sampled_from([None, "map"]),
    version=st.sampled_from([None, "2021-01-15"]),
    guardian=st.booleans(),
)
RECORDS = st.builds(
    record,
    CLOCK,
    CLOCK,
    device=st.sampled_from([None, 1, 2]),
    account=st.sampled_from([None, 3]),
    app=st.sampled_from([None, "map", "mail"]),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(RECORDS, max_size=5), st.lists(ENTRIES, max_size=6), st.sampled_from(["all", "received"]))
def test_it_agrees_with_the_oracle_on_any_small_history(records, entries, stops_known):
    found = [named(mask) for mask in masks(records, entries, stops_known).open.tolist()]
    bounded = stops_known == "all"
    assert found == [
        {name for name in PURPOSES if decide(one, name, entries, POLICIES[name], bounded)} for one in records
    ]


@pytest.fixture(scope="module")
def crowd():
    histories = Histories(2)
    return [histories.person(unique_ids=True) for _ in range(400)]


def of_all(people):
    return [one for records, _ in people for one in records], [one for _, entries in people for one in entries]


@pytest.mark.clause("5.1")
@pytest.mark.parametrize("stops_known", ["all", "received"])
def test_a_further_stop_opens_nothing(crowd, stops_known):
    histories = Histories(3)
    stops = sorted(kind.name for kind in STOPS | {Kind.unreadable})
    more = []
    for records, entries in crowd:
        subjects = [(type_, one[type_]) for one in records for type_ in ("device", "account") if one[type_]] or [
            ("device", 1)
        ]
        stop = histories.entry(subjects, [None]) | {"kind": histories.random.choice(stops), "entry_id": next(IDS)}
        more.append((records, [*entries, stop]))
    before, after = (masks(*of_all(people), stops_known).open for people in (crowd, more))
    assert not (after & ~before).any()
    assert (before & ~after).any()


@pytest.mark.parametrize("stops_known", ["all", "received"])
def test_a_lost_permission_opens_nothing(crowd, stops_known):
    permissions = {kind.name for kind in PERMISSIONS}
    fewer = []
    for records, entries in crowd:
        lost = next((each for each in entries if each["kind"] in permissions), None)
        fewer.append((records, [each for each in entries if each is not lost]))
    before, after = (masks(*of_all(people), stops_known).open for people in (crowd, fewer))
    assert not (after & ~before).any()
    assert (before & ~after).any()


def same(one, other):
    return (
        (one.open == other.open).all()
        and one.reasons.keys() == other.reasons.keys()
        and all((column == other.reasons[reason]).all() for reason, column in one.reasons.items())
    )


@pytest.mark.parametrize("stops_known", ["all", "received"])
def test_order_and_repetition_of_the_ledger_make_no_difference(stops_known):
    histories = Histories(4)
    records, entries = of_all([histories.person() for _ in range(300)])
    again = entries + histories.random.sample(entries, len(entries) // 2) + entries[:50]
    histories.random.shuffle(again)
    assert same(masks(records, entries, stops_known), masks(records, again, stops_known))


def test_repeated_entries_are_kept_once():
    entries = [entry("grant", 1, id=1), entry("withdraw", 2, id=2), entry("adult", 3, id=3)]
    assert len(Ledger.build(sealed(entries * 5), TERMS).entries.kind) == 3


@pytest.mark.parametrize("stops_known", ["all", "received"])
def test_a_verdict_depends_on_no_other_record_and_no_other_subject(crowd, stops_known):
    records, entries = of_all(crowd)
    together = masks(records, entries, stops_known).open.tolist()
    alone = [mask for person in crowd[:60] for mask in masks(*person, stops_known).open.tolist()]
    assert together[: len(alone)] == alone


def test_subjects_are_told_apart_by_type_and_by_every_byte():
    grant = entry("grant", 1, of=("device", 5))
    assert "research" in opened(record(9, device=5), grant)
    assert "research" not in opened(record(9, device=None, account=5), grant)
    for other in (5 << 64, 5 + (1 << 64), 4, 5 | 1 << 120):
        assert "research" not in opened(record(9, device=other), grant)


def test_a_device_and_an_account_of_the_same_bytes_are_two_subjects():
    entries = [entry("restrict", 1, of=("device", 5)), entry("object", 1, of=("account", 6))]
    both = [record(100, device=5, account=5), record(100, device=None, account=5)]
    for records in (both, both[::-1]):
        assert ["legal" in named(mask) for mask in masks(records, entries).open.tolist()] == [
            r["device"] is None for r in records
        ]


def test_what_lies_under_a_null_is_nobody():
    entries = [entry("restrict", 1, of=("device", 5)), entry("restrict", 1, of=("device", 0))]
    hidden = pa.Array.from_buffers(pa.binary(16), 1, [pa.py_buffer(b"\0"), binary([5]).buffers()[1]])
    for device in (hidden, binary([None])):
        records = replace(rows([NOW]), device=device)
        assert judge(records, Ledger.build(sealed(entries), TERMS), TERMS, "all").open.tolist() == [
            TERMS.mask(["legal"])
        ]


def test_what_lies_under_a_null_is_not_looked_for_among_many_subjects_either():
    devices = [number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128) for number in range(200)]
    entries = [entry("restrict", 1, of=("device", device)) for device in devices]
    hidden = pa.Array.from_buffers(pa.binary(16), 200, [pa.py_buffer(bytes(25)), binary(devices).buffers()[1]])
    records = replace(rows([NOW] * 200), device=hidden)
    verdict = judge(records, Ledger.build(sealed(entries), TERMS), TERMS, "all")
    assert verdict.open.tolist() == [TERMS.mask(["legal"])] * 200


@pytest.mark.parametrize("mix", [lambda words: words[:, 0] * np.uint64(0), lambda words: words[:, 1] << np.uint64(61)])
def test_a_hash_that_spreads_nothing_changes_no_verdict(crowd, monkeypatch, mix):
    people = crowd[:80]
    expected = masks(*of_all(people))
    monkeypatch.setattr(ledger, "_mix", mix)
    assert same(expected, masks(*of_all(people)))


@pytest.mark.parametrize("block", [1, 7, 64])
def test_the_size_of_blocks_changes_no_verdict(crowd, monkeypatch, block):
    expected = masks(*of_all(crowd[:80]), "received")
    monkeypatch.setattr(consent, "BLOCK", block)
    assert same(expected, masks(*of_all(crowd[:80]), "received"))


@pytest.mark.parametrize("stops_known", ["all", "received"])
def test_what_is_done_for_subjects_with_many_entries_changes_no_verdict(monkeypatch, stops_known):
    histories = Histories(7)
    people = of_all([histories.person() for _ in range(300)])
    expected = masks(*people, stops_known)
    for module in (ledger, consent):
        monkeypatch.setattr(module, "MANY", 0)
    assert same(expected, masks(*people, stops_known))


def test_of_a_subject_with_many_entries_nothing_that_decides_is_taken_for_superfluous(monkeypatch):
    for module in (ledger, consent):
        monkeypatch.setattr(module, "MANY", 0)
    records = [record(at, 200) for at in range(0, 40)]
    # an erasure parts the events before it from those after it, with no other entry between them
    verdict = masks(records, [entry("erase", 20, 30), entry("lift_objection", 1), entry("grant", 39)])
    assert ["operations" in named(mask) for mask in verdict.open.tolist()] == [at > 20 for at in range(0, 40)]
    # the earlier of two adults makes the grant between them good
    given = [entry("minor", 2), entry("adult", 4), entry("grant", 6), entry("adult", 8)]
    verdict = masks(records, given)
    assert ["research" in named(mask) for mask in verdict.open.tolist()] == [at >= 6 for at in range(0, 40)]


def test_records_between_the_same_entries_of_a_crowded_subject_are_decided_once(monkeypatch):
    entries = [entry(("grant", "withdraw")[i % 2], 100 * i) for i in range(200)]
    records = [record(i) for i in range(20_000)]
    decided, decide_these = [], consent._decide
    monkeypatch.setattr(consent, "_decide", lambda asked, *rest: (decided.append(asked), decide_these(asked, *rest))[1])
    verdict = masks(records, entries, "received")
    assert len(decided[0].event) < 1_000
    opened = verdict.open & np.uint64(TERMS.mask(["research"])) != 0
    assert (opened == (np.arange(20_000) // 100 % 2 == 0)).all()


def test_one_subject_with_many_entries_takes_bounded_memory():
    kinds = ("grant", "withdraw", "minor", "adult")
    entries = [entry(kinds[i % 4], 1_000 + i, 2_000 - i) for i in range(160)]
    records = [record(1_000 + i, 3_000 - i) for i in range(200)]
    tracemalloc.start()
    try:
        masks(records, entries)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


# --- each comparison of the rule --------------------------------------------------------------------------------------

NOW = record(100, 100)


@pytest.mark.clause("5.2-object")
@pytest.mark.parametrize("stop", ["withdraw", "object"])
@pytest.mark.parametrize("lift", ["grant", "lift_objection"])
@pytest.mark.parametrize(
    ("time", "received", "lifts"), [(11, 21, True), (10, 21, False), (11, 20, False), (10, 20, False), (9, 99, False)]
)
def test_a_permission_lifts_only_what_it_is_later_than_on_both_clocks(stop, lift, time, received, lifts):
    stopped = entry(stop, 10, 20)
    assert ("operations" in opened(NOW, stopped, entry(lift, time, received))) == lifts
    assert "research" not in opened(NOW, stopped, entry("lift_objection", time, received))
    assert ("research" in opened(NOW, stopped, entry("grant", time, received))) == lifts


@pytest.mark.clause("5.2-restrict")
@pytest.mark.clause("7")
@pytest.mark.parametrize(
    ("stop", "lift", "purpose"),
    [("restrict", "lift_restriction", "legal"), ("minor", "adult", "promotion")],
)
@pytest.mark.parametrize(
    ("time", "received", "lifts"), [(11, 21, True), (10, 21, False), (11, 20, False), (9, 99, False)]
)
def test_what_is_about_the_whole_subject_is_lifted_likewise(stop, lift, purpose, time, received, lifts):
    stopped = entry(stop, 10, 20, purposes=("push",), app="map")
    assert purpose not in opened(NOW, stopped)
    lifting = entry(lift, time, received, purposes=("push",), app="mail")
    assert (purpose in opened(NOW, stopped, lifting)) == lifts


@pytest.mark.parametrize(("event", "receipt", "counts"), [(30, 40, True), (29, 40, False), (30, 39, False)])
@pytest.mark.parametrize(
    ("kind", "purpose", "stop"),
    [
        ("grant", "research", None),
        ("grant", "operations", "withdraw"),
        ("lift_objection", "operations", "object"),
        ("lift_restriction", "operations", "restrict"),
        ("adult", "promotion", "minor"),
    ],
)
def test_a_permission_acts_from_its_own_time_and_its_receipt_on(event, receipt, counts, kind, purpose, stop):
    entries = [entry(kind, 30, 40)] + ([entry(stop, 1, 2)] if stop else [])
    for stops_known in ("all", "received"):
        assert (purpose in opened(record(event, receipt), *entries, stops_known=stops_known)) == counts


@pytest.mark.parametrize("kind", ["withdraw", "object", "restrict", "minor", "erase", "close", "unreadable"])
def test_a_stop_counts_from_its_receipt_on_in_a_stream_and_always_in_a_bounded_run(kind):
    entries = [entry("grant", 1, of=("account", 3)), entry(kind, 60, 50, of=("account", 3))]
    before, at = record(40, 49, account=3), record(40, 50, account=3)
    everything = opened(before, entries[0])
    assert opened(before, *entries, stops_known="received") == everything
    assert opened(at, *entries, stops_known="received") < everything
    assert opened(before, *entries) == opened(at, *entries, stops_known="received")


def test_the_time_of_a_stop_is_the_smaller_of_its_clocks():
    for time, received in ((10, 99), (99, 10)):
        stop = entry("erase", time, received)
        assert "operations" not in opened(record(10, 100), stop)
        assert "operations" in opened(record(11, 100), stop)
    # dated after its receipt, a withdrawal is lifted by a grant later than the receipt on both clocks
    assert "research" in opened(NOW, entry("withdraw", 50, 10), entry("grant", 11, 11))
    # while a permission keeps its own time
    assert "research" in opened(NOW, entry("minor", 1), entry("adult", 30, 10), entry("grant", 40, 20))


def test_a_permission_from_the_future_is_rejected():
    late = record(10_000_000, 10_000_000)
    assert "research" in opened(late, entry("grant", 300_001, 1))
    assert "research" not in opened(late, entry("grant", 300_002, 1))
    # and is no correction of an unreadable line either
    assert opened(late, entry("unreadable", 1, id=1), entry("lift_objection", 300_002, 1, id=1)) == set()


@pytest.mark.clause("5.2-erase")
def test_erasure_reaches_up_to_its_time_and_asks_for_a_new_grant():
    erase, before = entry("erase", 50, purposes=("push",)), entry("grant", 40)
    assert opened(record(50, 100), before, erase) == set()
    assert "operations" in opened(record(51, 100), before, erase)
    assert "research" not in opened(record(51, 100), before, erase)
    assert "research" not in opened(record(90, 100), erase, entry("grant", 51, 50))
    assert "research" not in opened(record(90, 100), erase, entry("grant", 50, 51))
    assert "research" in opened(record(90, 100), erase, entry("grant", 51))
    assert "operations" not in opened(record(50, 100), erase, entry("grant", 51))


@pytest.mark.clause("5.4")
def test_a_closed_account_stops_what_needs_the_account_for_good():
    both = record(100, account=3)
    entries = [entry("grant", 90, of=("account", 3)), entry("grant", 95)]
    assert {"support", "push"} <= opened(both, *entries)
    close = entry("close", 10, of=("account", 3), purposes=("legal",))
    assert opened(both, *entries, close) == opened(both, *entries) - {"support", "push"}
    assert opened(both, *entries, entry("close", 10)) == opened(both, *entries)


@pytest.mark.clause("7")
def test_a_minor_is_left_out_until_an_adult_and_consents_only_with_a_guardian():
    minor, adult = entry("minor", 10), entry("adult", 20)
    assert "promotion" not in opened(NOW, minor)
    assert "promotion" in opened(NOW, minor, adult)
    assert "operations" in opened(NOW, minor)
    assert "research" not in opened(NOW, entry("grant", 15), minor)
    assert "research" not in opened(NOW, entry("grant", 5), minor)
    assert "research" in opened(NOW, entry("grant", 15, guardian=1), minor)
    assert "research" not in opened(NOW, entry("grant", 15), minor, adult)
    for time, received in ((20, 21), (21, 20), (20, 20)):
        assert "research" not in opened(NOW, entry("grant", time, received), minor, adult)
    assert "research" in opened(NOW, entry("grant", 21), minor, adult)
    assert "push" not in opened(record(100, account=3), entry("grant", 15, guardian=1, of=("account", 3)), minor)


@pytest.mark.clause("7")
def test_an_adult_makes_of_age_only_for_minors_that_it_lifts():
    first, second = entry("minor", 10), entry("minor", 30)
    adult, grant = entry("adult", 20), entry("grant", 40)
    assert "research" not in opened(NOW, first, second, adult, grant)
    assert "research" in opened(NOW, first, second, adult, entry("adult", 31), grant)
    assert "research" not in opened(NOW, first, second, adult, entry("adult", 31), entry("grant", 31))


@pytest.mark.clause("9")
def test_a_grant_must_name_the_least_policy_version_or_a_later_one():
    for version, new_enough in (("2021-01-15", True), ("2021-01-14", False), ("2022-01-01", True), (None, False)):
        assert ("user_experience" in opened(NOW, entry("grant", 10, version=version))) == new_enough
    assert "operations" in opened(NOW, entry("object", 5), entry("grant", 10, version="1999-01-01"))


@pytest.mark.clause("1.1.2-loc")
def test_location_is_granted_and_withdrawn_by_application():
    on_map, without = record(100, app="map"), record(100)
    grant, everywhere = entry("grant", 10, app="map"), entry("grant", 10)
    assert "location_services" in opened(on_map, grant)
    assert "location_services" not in opened(record(100, app="mail"), grant)
    assert "location_services" not in opened(without, grant)
    assert "location_services" not in opened(on_map, everywhere)
    assert "location_services" in opened(on_map, grant, entry("withdraw", 20, app="mail"))
    assert "location_services" not in opened(on_map, grant, entry("withdraw", 20, app="map"))
    assert "location_services" not in opened(on_map, grant, entry("withdraw", 20))
    assert "research" in opened(record(100, app="mail"), grant)
    assert "research" not in opened(record(100, app="mail"), grant, entry("withdraw", 20, app="map"))


def test_an_objection_by_application_stops_and_is_lifted_by_application():
    stop = entry("object", 10, app="map")
    assert "find_device" not in opened(record(100, app="map"), stop)
    assert "find_device" in opened(record(100, app="mail"), stop)
    assert "find_device" not in opened(record(100), stop)
    assert "find_device" in opened(record(100, app="map"), stop, entry("lift_objection", 20, app="map"))
    assert "find_device" not in opened(record(100, app="map"), stop, entry("lift_objection", 20, app="mail"))
    assert "find_device" not in opened(record(100, app="map"), stop, entry("grant", 20))


def test_applications_of_one_device_are_judged_apart():
    entries = [entry("grant", 1, app="map"), entry("withdraw", 5, app="mail")]
    applications = ["map", "mail", None, "map", "other", "mail"]
    plain = rows([record(100, app=app) for app in applications])
    coded = replace(plain, app=plain.app.dictionary_encode())
    held = Ledger.build(sealed(entries), TERMS)
    for records in (plain, coded):
        found = [named(mask) for mask in judge(records, held, TERMS, "all").open.tolist()]
        assert ["location_services" in one for one in found] == [True, False, False, True, False, False]
        assert ["find_device" in one for one in found] == [True, False, False, True, True, False]


def test_many_applications_of_one_device_are_judged_apart():
    entries = [entry("grant", 1, app=str(n)) for n in range(0, 20, 2)] + [entry("withdraw", 1, app="1")]
    found = masks([record(100, app=str(n)) for n in range(20)], entries).open.tolist()
    assert ["location_services" in named(mask) for mask in found] == [True, False] * 10


def test_stops_of_any_subject_count_and_grants_of_the_subject_that_the_pack_names():
    both = record(100, account=3)
    of_account = {"of": ("account", 3)}
    assert "push" in opened(both, entry("grant", 10, **of_account))
    assert "push" not in opened(both, entry("grant", 10))
    assert "user_experience" not in opened(both, entry("grant", 10, version="2021-01-15", **of_account))
    assert "push" not in opened(both, entry("grant", 10, **of_account), entry("withdraw", 20))
    assert "operations" not in opened(both, entry("object", 20, **of_account))
    assert "operations" in opened(both, entry("object", 20, **of_account), entry("grant", 30))
    assert "operations" in opened(both, entry("restrict", 20, **of_account), entry("lift_restriction", 30))


def test_one_grant_must_lift_every_stop_of_a_consented_purpose():
    first, second = entry("withdraw", 10, 40), entry("withdraw", 30, 20)
    halves = [entry("grant", 20, 50), entry("grant", 40, 35)]
    assert "research" not in opened(NOW, first, second, *halves)
    assert "operations" in opened(NOW, first, second, *halves)
    assert "research" in opened(NOW, first, second, *halves, entry("grant", 41, 51))


def test_a_record_without_a_valid_subject_opens_only_what_needs_none():
    assert opened(record(100, device=None)) == {"legal"}
    assert opened(record(100, fault=True, account=3), entry("grant", 1)) == {"legal", "statistics"}
    assert "support" not in opened(NOW)
    assert "support" in opened(record(100, account=3))
    assert opened(record(100, device=None, account=3)) == {"legal", "support"}


# --- lines that could not be read, and ids with two contents ----------------------------------------------------------


def test_an_unreadable_line_restricts_until_it_is_corrected_and_nothing_lifts_it():
    line, fix = entry("unreadable", 10, id=1), entry("lift_objection", 5, 50, id=1)
    assert opened(NOW, line, entry("lift_restriction", 20)) == set()
    assert "operations" in opened(NOW, line, fix)
    assert opened(NOW, line, entry("grant", 20, id=2)) == set()
    assert "research" in opened(NOW, line, entry("grant", 20, id=1))
    assert opened(record(49, 49), line, fix, stops_known="received") == set()
    assert "operations" in opened(record(50, 50), line, fix, stops_known="received")
    assert "operations" in opened(record(49, 49), line, fix)
    assert "operations" in opened(record(9, 9), line, stops_known="received")


def test_a_line_corrected_by_an_entry_about_another_subject_restricts_up_to_its_receipt():
    entries = [entry("unreadable", 10, id=1), entry("grant", 20, 50, id=1, of=("device", 2))]
    records = [record(60, received) for received in (51, 49, 50, 9)]
    found = [named(mask) for mask in masks(records, entries, "received").open.tolist()]
    assert ["operations" in one for one in found] == [True, False, True, True]
    assert all("operations" in named(mask) for mask in masks(records, entries, "all").open.tolist())


def test_a_permission_beside_a_stop_of_the_same_id_does_not_count():
    assert "research" not in opened(NOW, entry("grant", 20, id=1), entry("withdraw", 10, id=1))
    assert "research" in opened(NOW, entry("grant", 20), entry("withdraw", 10))
    assert "operations" not in opened(NOW, entry("withdraw", 10, id=1), entry("minor", 10, id=1))


@pytest.mark.parametrize(
    "other",
    [
        {"of": ("device", 2)},
        {"of": ("account", 1)},
        {"kind": "lift_objection"},
        {"app": "map"},
        {"purposes": ("push",)},
    ],
    ids=lambda change: str(*change.values()),
)
def test_versions_that_differ_in_what_they_are_about_do_not_count(other):
    change = {"kind": "grant", **other}
    again = entry(change.pop("kind"), 10, id=1, **change)
    assert "research" not in opened(NOW, entry("grant", 10, id=1), again)


def test_versions_of_a_permission_count_where_each_of_them_would():
    one, other = entry("grant", 10, 40, id=1, purposes=("research",)), entry("grant", 30, 20, id=1)
    assert "research" in opened(record(30, 40), one, other)
    assert "research" not in opened(record(29, 40), one, other)
    assert "research" not in opened(record(30, 39), one, other)
    for stop in (entry("withdraw", 9, 19), entry("withdraw", 10, 19), entry("withdraw", 9, 20)):
        assert ("research" in opened(NOW, one, other, stop)) == (stop["time"] == 9 and stop["received_time"] == 19)
    assert "operations" not in opened(NOW, one, other, entry("object", 5))
    minor = entry("minor", 1)
    assert "research" in opened(NOW, one | {"guardian": True}, other | {"guardian": True}, minor)
    assert "research" not in opened(NOW, one | {"guardian": True}, other, minor)
    versions = [entry("grant", 10, id=1, version=version) for version in ("2021-01-15", "2020-12-31")]
    assert "user_experience" in opened(NOW, versions[0])
    assert "user_experience" not in opened(NOW, *versions)


def test_an_adult_in_two_versions_asks_for_a_grant_later_than_both():
    minor, adult = entry("minor", 5), [entry("adult", 10, 20, id=1), entry("adult", 20, 10, id=1)]
    assert "research" not in opened(NOW, minor, *adult, entry("grant", 20, 21))
    assert "research" not in opened(NOW, minor, *adult, entry("grant", 21, 20))
    assert "research" in opened(NOW, minor, *adult, entry("grant", 21, 21))


# --- reasons and refusals ---------------------------------------------------------------------------------------------


def test_each_purpose_of_a_record_is_open_or_has_one_reason():
    histories = Histories(6)
    records, entries = of_all([histories.person() for _ in range(300)])
    verdict = masks(records, entries)
    columns = np.stack([verdict.open, *verdict.reasons.values()])
    assert (np.bitwise_or.reduce(columns) == TERMS.every).all()
    assert (np.bitwise_count(columns).sum(axis=0) == len(PURPOSES)).all()
    assert set(verdict.reasons) == set(REASONS.split())


@pytest.mark.parametrize(
    ("expected", "purpose", "entries"),
    [
        (None, "operations", []),
        ("no_basis", "personalised_ads", [entry("restrict", 10)]),
        ("no_subject", "support", [entry("restrict", 10)]),
        ("restricted", "operations", [entry("restrict", 10), entry("erase", 100)]),
        ("restricted", "operations", [entry("unreadable", 10)]),
        ("erased", "promotion", [entry("erase", 100), entry("minor", 10)]),
        ("minor", "promotion", [entry("minor", 10), entry("object", 10)]),
        ("minor", "research", [entry("minor", 10), entry("grant", 20)]),
        ("withdrawn", "operations", [entry("withdraw", 10), entry("object", 10)]),
        ("withdrawn", "research", [entry("grant", 5), entry("withdraw", 10)]),
        ("objected", "operations", [entry("object", 10)]),
        ("old_policy_version", "user_experience", [entry("grant", 10, version="2020-01-01")]),
        ("app_not_granted", "location_services", [entry("grant", 10, app="map")]),
        ("app_not_granted", "location_services", [entry("grant", 10)]),
        ("no_grant", "research", []),
        ("no_grant", "research", [entry("object", 10), entry("lift_objection", 20)]),
        ("no_grant", "research", [entry("grant", 10), entry("erase", 20)]),
    ],
)
def test_the_reason_of_a_refusal(expected, purpose, entries):
    assert reason(NOW, purpose, *entries) == expected


def test_the_reason_for_a_closed_account():
    assert reason(record(100, account=3), "support", entry("close", 10, of=("account", 3))) == "closed"


def test_a_verdict_without_records_and_a_ledger_without_entries():
    assert len(masks([], [entry("grant", 1)]).open) == 0
    assert masks([], []).reasons == {}
    assert opened(NOW) == {"operations", "promotion", "legal", "find_device"}


def test_a_table_of_many_chunks_and_a_slice_give_the_same_ledger():
    entries = [entry("grant", 10, app="map"), entry("withdraw", 20, app="mail"), entry("erase", 15)]
    parts = [sealed([each]) for each in entries]
    records = rows([record(100, app=app) for app in ("map", "mail")])
    expected = judge(records, Ledger.build(sealed(entries), TERMS), TERMS, "all").open.tolist()
    longer = sealed([entry("restrict", 1), *entries, entry("restrict", 1)])
    for other in (pa.Table.from_batches(parts), longer.slice(1, 3)):
        assert judge(records, Ledger.build(other, TERMS), TERMS, "all").open.tolist() == expected


def with_column(name, values):
    batch = sealed([entry("grant", 1)])
    index = batch.schema.get_field_index(name)
    return batch.set_column(index, batch.schema.field(index), pa.array(values, batch.schema.field(index).type))


@pytest.mark.parametrize(
    "batch",
    [
        with_column("kind", [99]),
        with_column("subject_type", [2]),
        with_column("time", [None]),
        with_column("subject", [None]),
        sealed([entry("grant", 1)]).drop_columns(["guardian"]),
    ],
    ids=["kind", "subject type", "no time", "no subject", "no guardian"],
)
def test_a_batch_that_is_no_sealed_ledger_is_refused(batch):
    with pytest.raises(ValueError, match="ledger entries"):
        Ledger.build(batch, TERMS)


def test_a_judgement_without_its_terms_clocks_or_mode_is_refused():
    held, records = Ledger.build(sealed([]), TERMS), rows([NOW])
    with pytest.raises(ValueError, match="other terms"):
        judge(records, held, terms_of({"legal": PLAIN}), "all")
    with pytest.raises(ValueError, match="stops_known"):
        judge(records, held, TERMS, "some")
    with pytest.raises(ValueError):
        judge(replace(records, event_time=pa.array([None], pa.int64())), held, TERMS, "all")


def test_terms_have_at_most_64_purposes_and_no_stranger():
    assert Terms(tuple(map(str, range(64))), consent=1 << 63).every == 2**64 - 1
    for wrong in ({"purposes": tuple(map(str, range(65)))}, {"purposes": ("a", "a")}):
        with pytest.raises(ValueError, match="at most 64"):
            Terms(**wrong)
    for wrong in ({"consent": 2}, {"minimum_versions": {"b": "2021-01-15"}}):
        with pytest.raises(ValueError, match="do not list"):
            Terms(("a",), **wrong)


def test_the_highest_purpose_of_64_is_decided_like_the_others():
    terms = Terms(tuple(map(str, range(64))), consent=1 << 63, device_grants=1 << 63)
    granted, not_granted = (masks([NOW], entries, terms=terms).open.tolist() for entries in ([entry("grant", 1)], []))
    assert (granted, not_granted) == ([2**64 - 1], [2**63 - 1])


def test_codes_of_kinds_never_change():
    codes = "withdraw 1 object 2 restrict 3 minor 4 erase 5 close 6 unreadable 7 grant 17 lift_objection 18 "
    codes += "lift_restriction 19 adult 20 device 0 account 1"
    assert " ".join(f"{each.name} {each.value}" for each in (*Kind, *SubjectType)) == codes


def test_nothing_of_a_person_is_in_a_repr():
    held, records = (
        Ledger.build(sealed([entry("grant", 1, app="secret.app")]), TERMS),
        rows([record(7, app="secret.app")]),
    )
    for one in (held, held.entries, records, judge(records, held, TERMS, "all")):
        assert "secret" not in repr(one) and "array" not in repr(one)
