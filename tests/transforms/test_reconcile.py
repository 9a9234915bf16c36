"""What must add up: each way in which a step can lose a row, or bring one in, is told by one identity."""

from types import SimpleNamespace

import pyarrow as pa
import pytest

from schemas.pack_files import load_pack
from schemas.tallies import Counts, Totals
from tests.tallied import totals
from transforms.reconcile import (
    CANDIDATES,
    COUNTED,
    DECODED,
    ENTRIES,
    LINES,
    NAMED,
    QUARANTINED,
    RELEASED,
    STORED,
    faults,
    identities,
    of_regions,
    of_window,
)

# A pack as far as reconciling looks at it: two stored purposes and one that is counted, all for sessions.
PACK = SimpleNamespace(
    purposes={
        "service": SimpleNamespace(events={"session": ()}, stored=True),
        "operations": SimpleNamespace(events={"session": ()}, stored=True),
        "statistics": SimpleNamespace(events={"session": ()}, stored=False),
        "activation": SimpleNamespace(events={"activation": ()}, stored=True),
    },
    statistics=SimpleNamespace(purpose="statistics"),
)
ACCOUNTED = {  # (region, step, outcome, reason, event type, purpose, dataset): count
    ("", "telemetry", "lines", "", "", "", ""): 11,
    ("", "telemetry", "blank", "", "", "", ""): 1,
    ("", "telemetry", "quarantined", "not_json", "", "", ""): 3,
    ("", "telemetry", "unlocatable", "", "", "", ""): 1,
    ("", "telemetry", "foreign", "", "", "", ""): 1,
    ("eu", "telemetry", "decoded", "", "session", "", ""): 3,
    ("us", "telemetry", "decoded", "", "session", "", ""): 2,
    ("", "ledger", "lines", "", "", "", ""): 7,
    ("", "ledger", "blank", "", "", "", ""): 1,
    ("", "ledger", "quarantined", "missing_field", "", "", ""): 2,
    ("", "ledger", "dated_ahead", "", "", "", ""): 1,
    ("", "ledger", "entries", "", "", "", ""): 3,
    ("eu", "quarantine", "kept", "not_json", "", "", "telemetry"): 1,
    ("eu", "quarantine", "repeated", "not_json", "", "", "telemetry"): 1,
    ("", "quarantine", "foreign", "not_json", "", "", "telemetry"): 1,
    ("us", "quarantine", "sampled", "missing_field", "", "", "ledger"): 1,
    ("us", "quarantine", "no_key", "missing_field", "", "", "ledger"): 1,
    ("eu", "gate", "judged", "", "session", "", ""): 3,
    ("us", "gate", "judged", "", "session", "", ""): 1,
    ("us", "gate", "duplicates", "", "", "", ""): 1,
    ("eu", "gate", "opened", "", "session", "service", ""): 3,
    ("us", "gate", "opened", "", "session", "service", ""): 1,
    ("eu", "gate", "opened", "", "session", "operations", ""): 1,
    ("eu", "gate", "refused", "withdrawn", "session", "operations", ""): 1,
    ("eu", "gate", "refused", "minor", "session", "operations", ""): 1,
    ("us", "gate", "refused", "no_grant", "session", "operations", ""): 1,
    ("eu", "gate", "opened", "", "session", "statistics", ""): 3,
    ("us", "gate", "refused", "no_subject", "session", "statistics", ""): 1,
    ("eu", "store", "stored", "", "session", "service", "service"): 2,
    ("eu", "store", "erased", "", "session", "service", "service"): 1,
    ("us", "store", "stored", "", "session", "service", "service"): 1,
    ("eu", "store", "stored", "", "session", "operations", "operations"): 1,
    ("eu", "store", "stored", "", "session", "service", "service_sensitive"): 1,
    ("eu", "statistics", "counted", "", "session", "statistics", ""): 3,
    ("eu", "statistics", "released", "", "", "statistics", ""): 1,
    ("eu", "statistics", "incomplete", "", "", "statistics", ""): 2,
    ("eu", "manifest", "rows", "", "", "", "service"): 2,
    ("us", "manifest", "rows", "", "", "", "service"): 1,
    ("eu", "manifest", "rows", "", "", "", "operations"): 1,
    ("eu", "manifest", "rows", "", "", "", "service_sensitive"): 1,
    ("eu", "access", "explained", "event", "", "", ""): 5,
}


def counted(changes=None) -> Totals:
    """The counts of a run, some of them changed. A count of 0 is a row all the same, as in what manifests name."""
    rows = ACCOUNTED | (changes or {})
    names = ("region", "step", "outcome", "reason", "event_type", "purpose", "dataset")
    columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    columns["region"] = [region or "eu" for region in columns["region"]]  # where it arrived
    return Totals(pa.table({**columns, "count": list(rows.values())}))


def test_what_adds_up_has_no_fault():
    assert faults(counted(), PACK) == []
    titles = {identity.title for identity in identities(counted(), PACK)}
    assert titles == {LINES, ENTRIES, QUARANTINED, DECODED, CANDIDATES, STORED, COUNTED, RELEASED, NAMED}


def test_a_run_that_read_nothing_adds_up():
    assert faults(totals([]), PACK) == []


# Which identities notice if this count is one less or one more.
NOTICED = {
    ("telemetry", "lines"): {LINES},
    ("telemetry", "blank"): {LINES},
    ("telemetry", "quarantined"): {LINES, QUARANTINED},
    ("telemetry", "unlocatable"): {LINES},
    ("telemetry", "foreign"): {LINES},
    ("telemetry", "decoded"): {LINES, DECODED},
    ("ledger", "lines"): {ENTRIES},
    ("ledger", "blank"): {ENTRIES},
    ("ledger", "quarantined"): {ENTRIES, QUARANTINED},
    ("ledger", "dated_ahead"): {ENTRIES},
    ("ledger", "entries"): {ENTRIES},
    ("quarantine", "kept"): {QUARANTINED},
    ("quarantine", "repeated"): {QUARANTINED},
    ("quarantine", "sampled"): {QUARANTINED},
    ("quarantine", "no_key"): {QUARANTINED},
    ("quarantine", "foreign"): {QUARANTINED},
    ("gate", "judged"): {DECODED, CANDIDATES},
    ("gate", "duplicates"): {DECODED},
    ("gate", "opened"): {CANDIDATES, STORED},
    ("gate", "refused"): {CANDIDATES},
    ("store", "stored"): {STORED, NAMED},
    ("store", "erased"): {STORED},
    ("statistics", "counted"): {COUNTED, RELEASED},
    ("statistics", "released"): {RELEASED},
    ("statistics", "incomplete"): {RELEASED},
    ("manifest", "rows"): {NAMED},
}


@pytest.mark.clause("4.1-c")
@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("place", [key for key in ACCOUNTED if key[1] != "access"], ids=lambda key: "-".join(key))
def test_one_less_or_one_more_of_anything_is_noticed(place, by):
    region, step, outcome, _, _, purpose, dataset = place
    expected = NOTICED[step, outcome]
    if (outcome, purpose) == ("opened", "statistics"):
        expected = {CANDIDATES, COUNTED}
    elif dataset == "service_sensitive":  # how many rows have something sensitive no other step counts
        expected = {NAMED}
    changed = counted({place: ACCOUNTED[place] + by})
    broken = [identity for identity in identities(changed, PACK) if not identity.holds]
    assert {identity.title for identity in broken} == expected
    assert {abs(identity.left - identity.right) for identity in broken} == {1}
    told = faults(changed, PACK)
    assert len(told) == len(broken)
    assert all(identity.title in sentence for identity, sentence in zip(broken, told, strict=True))


def test_privileged_reads_take_no_part():
    assert faults(counted({("eu", "access", "explained", "event", "", "", ""): 6}), PACK) == []


@pytest.mark.parametrize("step", ["telemetry", "ledger", "quarantine", "gate", "store", "statistics", "manifest"])
def test_a_step_whose_counts_are_all_lost_is_noticed(step):
    table = counted().table
    kept = table.filter([word != step for word in table["step"].to_pylist()])
    found = faults(Totals(kept), PACK)
    assert found if step != "manifest" else not found  # which is looked at when a run has ended, and not later


def test_a_purpose_that_was_never_decided_is_noticed():
    """Every purpose that receives an event type has to be decided for each of its records."""
    lost = {key: 0 for key in ACCOUNTED if key[1] in ("gate", "store", "manifest") and "operations" in key}
    assert any(CANDIDATES in told and "operations, session in eu" in told for told in faults(counted(lost), PACK))


def test_a_region_is_told_by_its_name():
    (told,) = faults(counted({("us", "gate", "duplicates", "", "", "", ""): 2}), PACK)
    assert told == f"{DECODED} does not hold for us: 2 on the left, 3 on the right"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({("eu", "store", "foreign", "", "", "", "service"): 1}, "1 rows were refused at a store of another region"),
        ({("", "telemetry", "input_unreadable", "", "", "", ""): 2}, "2 inputs broke off"),
        ({("", "ledger", "nobody", "", "", "", ""): 2}, "2 ledger lines name no subject that can be read"),
        ({("eu", "audit", "unreconciled", DECODED, "", "", ""): 3}, "3 identities did not hold when their window was"),
    ],
)
def test_what_must_not_happen_is_told_though_it_adds_up(changes, told):
    (found,) = faults(counted(changes), PACK)
    assert found.startswith(told)


def test_a_region_by_itself_is_reconciled_without_its_lines():
    table = counted().table
    alone = Totals(table.filter([word == "us" for word in table["region"].to_pylist()]))
    assert not all(identity.holds for identity in identities(alone, PACK))  # lines were accounted for elsewhere
    found = of_regions(alone, PACK)
    assert {identity.title for identity in found} == {DECODED, CANDIDATES, STORED, COUNTED, NAMED}
    assert all(identity.holds for identity in found)


def test_what_came_late_was_decoded_in_another_window():
    late = {("eu", "gate", "late", "", "", "", ""): 1, ("eu", "telemetry", "decoded", "", "session", "", ""): 2}
    assert all(identity.holds for identity in of_window(counted(late), PACK))
    assert not all(identity.holds for identity in of_regions(counted(late), PACK))
    lost = {("eu", "telemetry", "decoded", "", "session", "", ""): 4}
    assert [identity.title for identity in of_window(counted(lost), PACK) if not identity.holds] == [DECODED]


def test_every_purpose_of_the_shipped_pack_is_looked_at():
    pack, counts = load_pack(), Counts()
    for name, purpose in pack.purposes.items():
        for event_type in purpose.events:
            counts.add("gate", "judged", 1, region="eu", event_type=event_type)
            counts.add("gate", "opened", 1, region="eu", event_type=event_type, purpose=name)
    found = identities(totals(counts.tallies()), pack)
    decided = {identity.about.partition(",")[0] for identity in found if identity.title == CANDIDATES}
    kept = {identity.about.partition(",")[0] for identity in found if identity.title in (STORED, COUNTED)}
    assert decided == kept == set(pack.purposes)
