"""The decisions of a whole run, from bytes to stores, beside those of the rule as it is written down."""

from collections import Counter

import pytest

from schemas.datasets import AUDIT, QUARANTINE, SENSITIVE_SUFFIX
from tests.invariants.crowd import LABEL
from tests.invariants.runs import LISTS

pytestmark = [pytest.mark.clause("5.3"), pytest.mark.clause("1.1-b")]


def stored(judged) -> dict[tuple[str, str], Counter]:
    return {
        name: Counter(table[LABEL].to_pylist())
        for name, table in judged.held.items()
        if name[1] not in (AUDIT, QUARANTINE) and not name[1].endswith((SENSITIVE_SUFFIX, *LISTS))
    }


def test_every_record_is_in_the_datasets_that_the_rule_opens_for_it_once_and_in_no_other(judged):
    expected = judged.crowd.expected(judged.pack)
    assert {name: dict(labels) for name, labels in stored(judged).items()} == {
        name: dict.fromkeys(labels, 1) for name, labels in expected.items()
    }


def test_the_comparison_is_about_many_decisions_of_either_kind(judged):
    expected = judged.crowd.expected(judged.pack)
    rows = sum(map(len, expected.values()))
    candidates = sum(
        record["type"] in purpose.events
        for record in judged.crowd.records
        for purpose in judged.pack.purposes.values()
        if purpose.stored
    )
    assert rows > 300 and candidates - rows > 300
    opened = {dataset for _, dataset in expected}
    assert opened == {name for name, purpose in judged.pack.purposes.items() if purpose.stored}


@pytest.mark.clause("1.1.2-loc")
@pytest.mark.parametrize("purpose", ["location_services", "find_device"])
def test_exact_location_is_kept_for_those_alone_who_opened_it_for_that_application(judged, purpose):
    expected = judged.crowd.expected(judged.pack)
    for region in judged.pack.regions:
        name = (region, purpose + SENSITIVE_SUFFIX)
        label_of = dict(_pairs(judged.held.get((region, purpose)), "event_id", LABEL))
        found = {label_of[token] for token, _ in _pairs(judged.held.get(name), "event_id", "location_latitude")}
        allowed = expected.get((region, "location_services"), set()) & expected.get((region, purpose), set())
        assert found == allowed


def _pairs(table, *names):
    return [] if table is None else zip(*(table[name].to_pylist() for name in names), strict=True)
