"""The job and the commands under the pack of another maker, which shares no name with the shipped one.

The pack (`tests/data/packs/smallmaker`) has two regions and three purposes. What a run stores under it is held against
the rule as it is written down; then every command that takes a pack or a deployment is asked about that run.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import audit, explain, ledger, quarantine, read, report, statistics
from pipelines.audit_rows import read_totals
from pipelines.dataflow import checked
from pipelines.errors import ConfigurationError
from pipelines.sample import Sample, write_sample
from schemas.datasets import SENSITIVE_SUFFIX, datasets
from schemas.pack_files import load_pack
from schemas.policy import Pack
from schemas.reference import pages
from schemas.tallies import Totals
from tests.dataflow import cloud_flags
from tests.invariants.crowd import LABEL, Crowd, write_pack
from tests.invariants.needles import Needles
from tests.invariants.runs import ROOT, Site, ingest
from tests.invariants.test_leak import as_bytes, content
from tests.stranger import Outcome, command, entry, event, ndjson

pytestmark = pytest.mark.clause("0-b")

SMALLMAKER = ROOT / "tests" / "data" / "packs" / "smallmaker"
SHIPPED, SMALL = load_pack(), load_pack(str(SMALLMAKER))
# By the rules of that pack: the SIM comes first, an account's country says nothing, and the south wins a conflict.
HOMES = (
    ("north", {"sim_mcc": 240}),
    ("north", {"device_region": "NO"}),
    ("north", {"sim_mcc": 204, "device_region": "US"}),
    ("north", {"account_country": "BR", "sim_mcc": 244}),
    ("south", {"sim_mcc": 724}),
    ("south", {"sim_mcc": 240, "device_region": "MX"}),
    ("south", {"account_country": "NL", "device_region": "IN"}),
)
NOWHERE = {"account_country": "NL", "device_region": "US"}
DAY = "2021-03-01"


@dataclass(frozen=True)
class Small:
    """A deployment of that maker after two runs: over people whose every record can be told apart, and over a sample
    whose identifying values are known."""

    folder: Path
    site: Site
    pack: Pack  # with a label in each dataset
    crowd: Crowd
    first: dict[tuple[str, str], pa.Table] = field(repr=False)  # what the first run stored
    counted: Totals = field(repr=False)  # and what it counted
    values: set[bytes] = field(repr=False)

    @property
    def policy(self) -> str:
        return f"--policy={self.folder / 'pack'}"

    @cached_property
    def needles(self) -> Needles:
        return Needles(self.values)

    def ask(self, module, *arguments: object) -> Outcome:
        return command(module, *arguments, f"--deployment={self.site.file}")

    @cached_property
    def opened(self) -> dict[str, list[dict]]:
        """Of the first run the records for which each purpose is open by the rule."""
        return {name: list(self.crowd.opened(name, self.pack)) for name in self.pack.purposes}

    def received(self, purpose: str) -> list[dict]:
        """Of these the ones that the purpose receives."""
        return [record for record in self.opened[purpose] if record["type"] in self.pack.purposes[purpose].events]


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    policy = f"--policy={write_pack(folder / 'pack', SMALLMAKER)}"
    pack = load_pack(str(folder / "pack"))
    crowd = Crowd(seed=31, people=240, pack=pack, homes=HOMES)
    events, consents = crowd.write(folder)
    site = Site.new(folder / "site", regions=pack.regions, arrival="south")
    assert ingest(site, [events], [consents], policy, f"--complete-through={DAY}").status == 0
    first, counted = site.datasets(), read_totals([site.place(region) for region in pack.regions])

    private = tmp_path_factory.mktemp("private")
    assert command(quarantine, "keygen", f"--deployment={site.file}", f"--out={private}").status == 0
    made = Sample(events=700, devices=150, entries=450, days=1, start=date(2021, 3, 2), seed=9, bad_share=0.03)
    (more, entries), canaries = write_sample(made, folder / "sample")
    canaries.write(folder / "canaries.json")
    assert ingest(site, [more], [entries], policy).status == 0
    listed = json.loads((folder / "canaries.json").read_text())["canaries"]
    texts = {canary["value"] for canary in listed} | {record["id"] for record in crowd.records}
    texts |= {value for record in crowd.records for value in (record["device"], record["account"]) if value}
    values = {text.encode() for text in texts} | set(as_bytes(texts))
    return Small(folder, site, pack, crowd, first, counted, values)


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
    assert found == expected and 1 < expected.total() < len(located) / 2


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


# --- the other commands


def test_every_dataset_is_read_back_and_one_without_rows_is_what_this_pack_says(small, tmp_path):
    for region in small.pack.regions:
        for name in datasets(small.pack):
            outcome = read_back(small, region, name, tmp_path / "out.jsonl", small.policy)
            assert outcome.status == 0, outcome.err
            assert small.needles.found((tmp_path / "out.jsonl").read_bytes()) == set()
            assert f"of {name} in {region}" in outcome.out
    empty = Site.new(tmp_path / "empty", regions=small.pack.regions, arrival="south")
    (tmp_path / "none.ndjson").write_bytes(b"\n")
    assert ingest(empty, [tmp_path / "none.ndjson"], [tmp_path / "none.ndjson"], small.policy).status == 0
    of_nobody = Small(small.folder, empty, small.pack, small.crowd, {}, small.counted, set())
    outcome = read_back(of_nobody, "north", "improvement", tmp_path / "none.csv", small.policy)
    assert outcome.status == 0 and "0 rows of improvement" in outcome.out
    names = [*datasets(small.pack)["improvement"].schema.names, "received_date"]
    assert (tmp_path / "none.csv").read_text().strip() == ",".join(f'"{name}"' for name in names)
    for name in datasets(SHIPPED):
        outcome = read_back(of_nobody, "north", name, tmp_path / "none.csv", small.policy)
        assert outcome.status == 2 and f"holds no rows of dataset '{name}'" in outcome.err


def read_back(small, region, dataset, out, *more):
    return small.ask(read, f"--region={region}", f"--dataset={dataset}", f"--out={out}", *more)


def test_the_audit_adds_up_by_the_names_of_this_pack(small):
    outcome = small.ask(audit, small.policy, "--json", "--by=region,purpose,outcome,reason,clause")
    assert outcome.status == 0, outcome.err
    told = json.loads(outcome.out)
    assert {row["purpose"] for row in told["counts"]} - {""} == set(small.pack.purposes)
    assert {row["region"] for row in told["counts"]} - {""} == set(small.pack.regions)
    assert not any(run["faults"] for run in told["runs"])
    words = {str(value) for row in told["counts"] for value in row.values()}
    assert not words & ((set(SHIPPED.purposes) | set(SHIPPED.regions)) - {"statistics"})
    one = small.ask(audit, small.policy, "--purpose=repairs", "--region=south")
    assert one.status == 0 and "repairs" in one.out


def test_the_page_is_about_this_pack_alone(small, tmp_path):
    outcome = small.ask(report, small.policy, f"--out={tmp_path / 'page.html'}")
    assert outcome.status == 0, outcome.err
    page = (tmp_path / "page.html").read_text()
    for name, purpose in small.pack.purposes.items():
        assert f'<span class="code">{name}</span>' in page and purpose.title in page and purpose.clause in page
    assert "Every line is accounted for" in page and "edition of <bdi>2020-09-01</bdi>" in page
    assert not [title for title in (p.title for p in SHIPPED.purposes.values()) if title in page]
    assert small.needles.found(page.encode()) == set()


@pytest.mark.parametrize("module", [audit, report], ids=["audit", "report"])
def test_without_its_pack_a_run_is_not_told_wrongly(small, module, tmp_path):
    more = [f"--out={tmp_path / 'page.html'}"] if module is report else []
    outcome = small.ask(module, *more)
    assert outcome.status == 2 and "name the policy pack of that run" in outcome.err


@pytest.mark.clause("1.1.4-b")
def test_statistics_are_released_in_the_tables_of_this_pack(small):
    listed = json.loads(small.ask(statistics, "--json").out)
    assert ("south", DAY) in {(one["region"], one["day"]) for one in listed}
    assert {(one["policy"], one["epsilon"]) for one in listed} == {("2020-09-01", 8.0)}
    rows = json.loads(small.ask(statistics, f"--day={DAY}", "--json").out)
    assert {row["table"] for row in rows} <= {"everybody", "systems"}
    (shown,) = (row for row in rows if row["table"] == "everybody" and row["region"] == "south")
    devices = {record["device"] for record in small.received("counts") if record["region"] == "south"}
    assert abs(shown["value"] - len(devices)) <= 4 * shown["interval"]
    assert "by event_type and device.os_version" in small.ask(statistics, "--table=systems").out


def test_rejected_lines_are_listed_by_region(small):
    outcome = small.ask(quarantine, "list", "--json")
    assert outcome.status == 0, outcome.err
    assert small.needles.found(outcome.out.encode()) == set()
    assert {row["region"] for row in json.loads(outcome.out)} <= set(small.pack.regions)
    assert len(json.loads(outcome.out)) > 3


def test_a_job_that_starts_from_a_snapshot_decides_as_one_that_reads_the_ledger(small, tmp_path, capsys):
    site = Site.new(tmp_path / "site", keys_of=small.site, regions=small.pack.regions, arrival="south")
    given = f"--deployment={site.file}", small.policy
    consents = f"--consents={small.folder / 'consents.ndjson'}"
    made = command(ledger, "snapshot", consents, "--as-of=2026-01-01T00:00:00Z", "--name=all", *given)
    assert made.status == 0, made.err
    assert ingest(site, [small.folder / "events.ndjson"], [], small.policy, "--consent-snapshot=all").status == 0
    where = f"--deployment {site.file} {small.policy.replace('=', ' ')}"
    assert f"douane read {where} --region north --dataset repairs --out repairs.jsonl" in capsys.readouterr().out
    found = site.datasets()
    for name in small.pack.purposes:
        for region in small.pack.regions if small.pack.purposes[name].stored else ():
            expected, labels = (sorted(table[region, name][LABEL].to_pylist()) for table in (small.first, found))
            assert labels == expected
    other = command(ledger, "snapshot", consents, "--as-of=2026-01-01T00:00:00Z", f"--deployment={site.file}")
    assert other.status == 2 and "regions lacks cn" in other.err


def test_the_reference_pages_are_about_this_pack_alone():
    told = pages(SMALL)
    text = "\n".join(told[name] for name in ("purposes.md", "regions.md", "statistics.md"))
    assert all(f"## {name}" in text for name in (*SMALL.purposes, *SMALL.regions, *SMALL.statistics.tables))
    assert not [name for name in SHIPPED.purposes if f"\n## {name}\n" in text or f"`{name}` is open" in text]


@pytest.mark.clause("6-dc")
def test_no_cloud_is_offered_for_a_region_by_the_name_of_another_pack(small):
    pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs Google's libraries")
    policy = (str(SMALLMAKER),)
    for cell, why in (("north", "known in SE, where it lives"), ("eu", "regions of the policy are north, south")):
        with pytest.raises(ConfigurationError, match=why):
            checked(cloud_flags("eu"), cell, policy)


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
