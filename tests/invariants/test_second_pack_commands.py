"""Every command that takes a pack or a deployment, asked about runs under the second pack."""

import json
from dataclasses import replace

import pytest

from pipelines import audit, check, ledger, quarantine, read, report, statistics
from pipelines.dataflow import checked
from pipelines.errors import ConfigurationError
from schemas.datasets import datasets
from schemas.reference import pages
from tests.dataflow import cloud_flags
from tests.invariants.crowd import LABEL
from tests.invariants.runs import Site, ingest
from tests.invariants.smallmaker import DAY, SHIPPED, SMALL, SMALLMAKER
from tests.stranger import command

pytestmark = pytest.mark.clause("0-b")


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
    of_nobody = replace(small, site=empty)
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


def test_the_pack_is_checked_and_told_by_its_own_names():
    assert command(check, SMALLMAKER).status == 0
    told = command(check, SMALLMAKER, "--effective", "--service=torch", "--region=north", "--json")
    assert told.status == 0
    assert [each["closed_by"] for each in json.loads(told.out)["purposes"]] == ["T-1"] * len(SMALL.purposes)
    between = command(check, "--diff", SMALLMAKER, SMALLMAKER)
    assert between.status == 0 and "OPENS: " not in between.out
