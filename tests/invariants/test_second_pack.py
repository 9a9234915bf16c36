"""What a run under the second pack stores, held against the rule as it is written, and what its ledger may name."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import explain
from pipelines.audit_rows import read_totals
from schemas.datasets import SENSITIVE_SUFFIX
from tests.invariants.crowd import LABEL
from tests.invariants.needles import content
from tests.invariants.smallmaker import NOWHERE, SHIPPED, SMALL, Small
from tests.stranger import entry, event, ndjson

pytestmark = pytest.mark.clause("0-b")


def test_the_two_packs_share_no_name():
    assert len(SMALL.regions) == 2 and len(SMALL.purposes) == 3
    shared = [
        SMALL.regions.keys() & SHIPPED.regions.keys(),
        SMALL.purposes.keys() & SHIPPED.purposes.keys(),
        SMALL.statistics.tables.keys() & SHIPPED.statistics.tables.keys(),
        {gate.purpose for gate in SMALL.gates} & {gate.purpose for gate in SHIPPED.gates},
        {SMALL.version} & {SHIPPED.version},
        SMALL.limits.model_dump().items() & SHIPPED.limits.model_dump().items(),
    ]
    assert not any(shared)


# --- what is stored


@pytest.mark.clause("5.3")
@pytest.mark.clause("1.1-b")
def test_every_record_is_in_the_datasets_that_the_rule_opens_for_it_once_and_in_no_other(small):
    expected = small.crowd.expected(small.pack)
    stored = {
        name: dict(Counter(small.first[name][LABEL].to_pylist()))
        for name in small.first
        if name[1] in small.pack.purposes
    }
    assert stored == {name: dict.fromkeys(labels, 1) for name, labels in expected.items()}
    assert set(stored) == {(region, name) for region in ("north", "south") for name in ("repairs", "improvement")}
    assert min(map(len, expected.values())) > 5
    assert sum(map(len, expected.values())) < len(small.crowd.records)


def test_what_is_only_counted_is_counted_by_the_same_rule(small):
    expected = Counter(record["region"] for record in small.received("counts"))
    assert small.counted.by("region", step="statistics", outcome="counted") == expected
    assert len(expected) == 2 and expected.total() > 12


@pytest.mark.clause("1.1.2-loc")
def test_exact_location_stands_behind_the_gate_of_this_pack(small):
    """For `repairs`, which is on contract, only where `improvement` is open as well."""
    open_too = {record["label"] for record in small.opened["improvement"]}
    located = [record for record in small.received("repairs") if "location.latitude" in fields_of(small, record)]
    expected = Counter(record["region"] for record in located if record["label"] in open_too)
    found = Counter()
    for region in small.pack.regions:
        latitudes = small.first[region, "repairs" + SENSITIVE_SUFFIX]["location_latitude"].drop_null()
        assert set(latitudes.to_pylist()) <= {1.5}
        found[region] += len(latitudes)
    assert found == expected and 0 < expected.total() < len(located) / 2


def fields_of(small, record):
    return small.pack.purposes["repairs"].events[record["type"]]


@pytest.mark.clause("6-dc")
def test_what_lives_in_neither_region_is_counted_and_not_kept(small):
    totals = read_totals([small.site.place(region) for region in small.pack.regions])
    decoded = totals.by("region", step="telemetry", outcome="decoded")
    assert decoded.keys() == {"north", "south"} and min(decoded.values()) > 100
    assert totals.sum(step="telemetry", outcome="unlocatable") > 100


# --- what a ledger may name


@dataclass(frozen=True)
class Told:
    """What `explain` says of a crash with an account and a device, under some entries about the device."""

    folder: Path
    small: Small

    def of(self, *entries: dict, **changes) -> dict:
        one = event(
            **{
                "event_type": "crash",
                "account_id": "u-77.1",
                "ip": "198.51.100.77",
                "app": {"package": "com.example.map"},
                "residency": {"sim_mcc": 240},
                "location": {"latitude": 59.33, "longitude": 18.07, "cell_id": 5},
                "crash": {"exception": "no room for mail@example.com"},
            }
            | changes
        )
        (self.folder / "event.ndjson").write_bytes(ndjson(one))
        (self.folder / "consents.ndjson").write_bytes(ndjson(*entries) or b"\n")
        given = f"--event={self.folder / 'event.ndjson'}", f"--consents={self.folder / 'consents.ndjson'}"
        outcome = self.small.ask(explain, *given, self.small.policy, "--json")
        assert outcome.status == 0, outcome.err
        return json.loads(outcome.out)

    def outcomes(self, *entries: dict, **changes) -> dict[str, str]:
        return {purpose["purpose"]: purpose["outcome"] for purpose in self.of(*entries, **changes)["purposes"]}


@pytest.fixture
def told(tmp_path, small) -> Told:
    return Told(tmp_path, small)


def acting(kind: str, *purposes: str, **changes) -> dict:
    return entry(1, kind, purposes=list(purposes), residency={"sim_mcc": 240}, **changes)


@pytest.mark.clause("5.3")
def test_a_stop_closes_what_it_names_and_everything_if_it_names_what_this_pack_does_not_know(told):
    assert told.outcomes() == {"repairs": "open", "counts": "open"} | {"counts": "no_grant"}
    assert told.outcomes(acting("withdraw", "improvement"))["repairs"] == "open"
    assert told.outcomes(acting("withdraw", "repairs"))["repairs"] == "withdrawn"
    for name in SHIPPED.purposes:
        assert told.outcomes(acting("withdraw", name))["repairs"] == "withdrawn", name
        assert told.outcomes(acting("grant", name))["counts"] == "no_grant", name


def test_an_event_is_explained_by_the_rules_of_this_pack(told):
    grant = acting("grant", "improvement", app="com.example.map", policy_version="2020-09-01")
    found = told.of(grant, event_type="page_view", page_view={"page": "a page"}, crash=None)
    assert (found["policy"], found["edition"], found["place"]["region"]) == ("2020-09-01", "2020-09-01", "north")
    improvement = found["rows"]["improvement"]
    assert (improvement["ip"], improvement["event_time"]) == (None, "2021-03-01T00:00:00.000Z")
    away = {"residency": {"sim_mcc": 724}}
    found = told.of(grant | away, event_type="page_view", crash=None, **away)
    assert found["rows"]["improvement"]["ip"] == "198.51.0.0/16", "the overlay is the north's alone"
    assert told.outcomes(grant | {"app": "com.example.mail"}, event_type="page_view", crash=None) == {
        "improvement": "app_not_granted"
    }
    old = grant | {"policy_version": "2019-04-30"}
    assert told.outcomes(old, event_type="page_view", crash=None) == {"improvement": "old_policy_version"}
    failed = told.of(event_type="activation", activation={"outcome": "sim_failed"}, crash=None)
    (repairs,) = failed["purposes"]
    assert (repairs["outcome"], repairs["outcome_clause"], repairs["clause"]) == ("not_for_purpose", "1.1-b", "R-1")
    assert told.of(residency=NOWHERE)["line"]["outcome"] == "unlocatable"
    south = told.outcomes(residency={"sim_mcc": 240, "device_region": "MX"})
    assert south == {"repairs": "open", "counts": "open"}, "the south knows the basis that the north does not"
    unasked = told.outcomes(residency={"sim_mcc": 724}, event_type="session", session={"events": 3}, crash=None)
    assert unasked == {"repairs": "open", "improvement": "no_grant", "counts": "not_collected"}
    torch = {(purpose["outcome"], purpose["outcome_clause"]) for purpose in told.of(service="torch")["purposes"]}
    assert torch == {("closed_here", "T-1")}


def test_the_sample_names_the_purposes_of_the_shipped_pack_and_is_told_so(small):
    totals = read_totals([small.site.place(region) for region in small.pack.regions])
    assert totals.sum(step="ledger", outcome="unknown_purpose") > 200


# --- what is left behind


@pytest.mark.clause("1.1-a")
@pytest.mark.clause("2-analytics")
def test_no_value_is_in_any_byte_that_the_runs_left(small):
    assert len(small.values) > 1_500
    left = {str(path): path.read_bytes() for path in small.site.files()}
    left |= {"/".join(name): content(table) for name, table in small.site.datasets().items()}
    hits = {where: small.needles.found(found) for where, found in left.items()}
    assert len(hits) > 60
    assert {where: found for where, found in hits.items() if found} == {}
    named = "\n".join(left).encode()
    assert small.needles.found(named) == set()


def test_a_value_in_a_stored_row_would_be_found(small):
    (table, *_) = (table for (_, name), table in small.first.items() if name == "improvement")
    value = min(small.values)
    assert small.needles.found(content(table.append_column("leak", pa.array([value.hex()] * len(table))))) == {value}
