"""The decision that can be asked: that it is the gate's and the oracle's, and that the entries it names decide."""

import ast
import inspect
from collections import Counter

import pytest

from schemas.consent import CLAUSE_OF_REASON
from tests.agreement import MODES, agree, any_policies, as_entry, as_record, crowd_of
from tests.histories import POLICIES, PURPOSES, TERMS, entry, record, terms_of
from transforms import acts, decision
from transforms.decision import REASONS, Decision, decide

NOW = record(100, account=3)
ACCOUNT = ("account", 3)


def decided(purpose, *entries, one=NOW, stops_known="all"):
    """(reason, ids of the entries that decide); the first entry has the id 0, and so on, unless it has one below 10."""
    numbered = [each | {"entry_id": min(each["entry_id"], place)} for place, each in enumerate(entries)]
    found = decide(as_record(one), purpose, [as_entry(each) for each in numbered], TERMS, stops_known)
    assert found.outcome == ("closed" if found.reason else "open")
    assert found.clause == CLAUSE_OF_REASON.get(found.reason)
    return found.reason, found.entries


# --- one rule, written three times ---


@pytest.mark.clause("5.1")
@pytest.mark.parametrize("stops_known", MODES)
@pytest.mark.parametrize("policies", [POLICIES, any_policies(1), any_policies(2)], ids=["usual", "any", "any other"])
def test_the_gate_the_decision_and_the_oracle_agree(policies, stops_known):
    given = agree(seed=len(stops_known), people=100, stops_known=stops_known, policies=policies)
    assert given.total() == 6_600 and given[None] > 500
    if policies is POLICIES:
        assert set(given) == {None, *REASONS}


@pytest.mark.parametrize("module", [acts, decision])
def test_it_shares_no_code_with_the_gate(module):
    tree = ast.parse(inspect.getsource(module))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.startswith(("transforms", "schemas", "tests"))} <= {
        "schemas.consent",
        "transforms.acts",
    }
    assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))


# --- the entries that decide ---


def decisions(policies, seed, people=40):
    """(record, purpose, entries, terms, mode, decision) of random people."""
    terms = terms_of(policies)
    for place, (records, theirs) in enumerate(crowd_of(seed, people)[0]):
        entries = [as_entry(each) for each in theirs]
        for one in map(as_record, records):
            for purpose in PURPOSES:
                mode = MODES[place % 2]
                yield one, purpose, entries, terms, mode, decide(one, purpose, entries, terms, mode)


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_the_entries_that_decide_come_to_the_same_alone_and_without_them_it_is_another(seed):
    seen = Counter()
    for one, purpose, entries, terms, mode, found in decisions(any_policies(seed), seed):
        alone = [each for each in entries if each.entry_id in found.entries]
        others = [each for each in entries if each.entry_id not in found.entries]
        again, without = (decide(one, purpose, some, terms, mode) for some in (alone, others))
        assert (again.outcome, again.reason) == (found.outcome, found.reason)
        seen[found.reason, bool(found.entries)] += 1
        if found.entries and found.reason != "minor":  # who may be a minor for two reasons
            assert without.reason != found.reason
    assert {reason for reason, named in seen if not named} - {"no_basis"} == {None, "no_subject", "no_grant"}
    assert seen[None, True] and seen["minor", True] and seen["withdrawn", True]


@pytest.mark.parametrize(
    ("purpose", "entries", "expected"),
    [
        ("operations", [], (None, ())),
        ("operations", [entry("grant", 10)], (None, ())),
        ("research", [], ("no_grant", ())),
        ("research", [entry("grant", 10), entry("grant", 20), entry("grant", 200)], (None, (0, 1))),
        ("research", [entry("withdraw", 5), entry("grant", 10), entry("lift_objection", 7)], (None, (1,))),
        ("operations", [entry("withdraw", 5), entry("grant", 10), entry("lift_objection", 7)], (None, (1, 2))),
        ("research", [entry("minor", 5), entry("adult", 7), entry("grant", 10)], (None, (1, 2))),
        ("research", [entry("minor", 5), entry("adult", 7), entry("grant", 10, guardian=1)], (None, (2,))),
        ("operations", [entry("minor", 5), entry("adult", 7)], (None, ())),
        ("promotion", [entry("minor", 5), entry("adult", 7)], (None, (1,))),
        ("promotion", [entry("minor", 5), entry("adult", 5)], ("minor", (0,))),
        ("operations", [entry("restrict", 5), entry("lift_restriction", 6)], (None, (1,))),
        ("operations", [entry("restrict", 5), entry("unreadable", 0), entry("erase", 100)], ("restricted", (0, 1))),
        ("operations", [entry("erase", 99), entry("erase", 100)], ("erased", (1,))),
        ("support", [entry("close", 1), entry("close", 1, of=ACCOUNT)], ("closed", (1,))),
        ("research", [entry("grant", 10), entry("minor", 5)], ("minor", (0, 1))),
        ("research", [entry("grant", 10), entry("withdraw", 20), entry("object", 30)], ("withdrawn", (1,))),
        ("operations", [entry("grant", 10), entry("object", 30), entry("object", 5)], ("objected", (1,))),
        ("research", [entry("grant", 10), entry("object", 20), entry("lift_objection", 30)], ("no_grant", ())),
        ("user_experience", [entry("grant", 10, version="2020-01-01")], ("old_policy_version", (0,))),
        ("user_experience", [entry("grant", 10)], ("old_policy_version", (0,))),
        ("location_services", [entry("grant", 10), entry("grant", 10, app="map")], ("app_not_granted", (0, 1))),
        ("personalised_ads", [entry("grant", 10)], ("no_basis", ())),
        ("push", [entry("grant", 10, of=ACCOUNT)], (None, (0,))),
        # several of one id
        ("research", [entry("grant", 10, id=1), entry("grant", 20, id=1)], (None, (0, 1))),
        ("research", [entry("grant", 10, id=0), entry("grant", 20, id=0)], (None, (0,))),
        ("research", [entry("grant", 10, id=0), entry("grant", 20, id=0, app="map")], ("no_grant", ())),
        ("research", [entry("grant", 10, id=0), entry("withdraw", 5, id=0)], ("withdrawn", (0,))),
        ("operations", [entry("unreadable", 0, id=0), entry("grant", 10, id=0)], (None, ())),
    ],
)
def test_the_entries_of_a_decision(purpose, entries, expected):
    assert decided(purpose, *entries) == expected


def test_a_subject_that_is_missing_decides_by_itself():
    assert decided("operations", entry("restrict", 1), one=record(100, device=None)) == ("no_subject", ())
    assert decided("operations", entry("restrict", 1), one=record(100, fault=True)) == ("no_subject", ())
    assert decided("legal", entry("restrict", 1), one=record(100, fault=True)) == ("restricted", (0,))


@pytest.mark.clause("5.3")
def test_stops_that_are_not_known_yet_do_not_decide_in_a_stream():
    early, stop = record(10, 10), entry("withdraw", 11)
    assert decided("operations", stop, one=early) == ("withdrawn", (0,))
    assert decided("operations", stop, one=early, stops_known="received") == (None, ())
    broken = [entry("unreadable", 0, id=0), entry("grant", 11, id=0)]
    assert decided("operations", *broken, one=early) == (None, ())
    assert decided("operations", *broken, one=early, stops_known="received") == ("restricted", (0,))


def test_a_question_about_an_unknown_purpose_or_mode_is_refused():
    for purpose, mode in (("no_such", "all"), ("research", "some")):
        with pytest.raises(ValueError):
            decide(as_record(NOW), purpose, [], TERMS, mode)


def test_nothing_of_a_person_is_in_a_repr():
    secret = as_entry(entry("grant", 1, id="secret", app="secret"))
    for one in (secret, as_record(record(1, app="secret")), Decision("open", None, None, ("secret",))):
        assert "secret" not in repr(one)
