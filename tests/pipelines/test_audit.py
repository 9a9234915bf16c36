"""`douane audit`: what was decided and why, who was shown what, and whether it adds up."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import audit, ingest
from pipelines.audit_rows import keep, note_access, read_totals
from pipelines.deployment import load_deployment
from schemas.consent import CLAUSE_OF_REASON
from schemas.pack_files import DEFAULT_PACK, SHIPPED, load_pack
from schemas.tallies import COUNTS, Counts
from tests.stranger import DEVICE, REGIONS, command, deploy, event, ndjson
from transforms.reconcile import DECODED, STORED

ROOT = Path(__file__).parents[2]


def shown(prepared, *flags):
    """What the command says as data."""
    outcome = command(audit, "--deployment", prepared.deployment, "--json", *flags)
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def totals(prepared):
    return read_totals(load_deployment(prepared.deployment).regions.values())


@pytest.fixture
def copied(prepared, tmp_path):
    return prepared.copy(tmp_path / "copy")


def lose(prepared, region="eu", **words):
    """Takes one row of the audit of a region away, as if it had never been counted."""
    place = load_deployment(prepared.deployment).place(region)
    (entry,) = place.manifest.entries("audit")
    table = read_totals([place]).table.select(COUNTS.names)
    at = [all(row[name] == word for name, word in words.items()) for row in table.to_pylist()].index(True)
    rest = pa.concat_tables([table.slice(0, at), table.slice(at + 1)])
    keep(place, entry.received_date, entry.logical, rest, entry.run)


@pytest.mark.clause("4.1-c")
def test_decisions_by_region_purpose_and_reason_with_its_clause(prepared):
    told = shown(prepared)
    decided = totals(prepared)
    found = {(row["region"], row["purpose"], row["reason"]): row for row in told["counts"]}
    for outcome in audit.DECISIONS:
        by_reason = decided.by(("region", "purpose", "reason"), step="gate", outcome=outcome)
        assert {key: row[outcome] for key, row in found.items() if row[outcome]} == by_reason
    assert all(row["clause"] == CLAUSE_OF_REASON.get(row["reason"], "") for row in told["counts"])
    assert found["eu", "push", ""]["opened"] == 3 and found["cn", "user_experience", "no_grant"]["refused"] == 2
    (run,) = told["runs"]
    assert run["bounded"] and run["regions"] == list(REGIONS) and run["faults"] == [] and run["identities"] > 50


def test_by_other_columns_and_filtered(prepared):
    rows = shown(prepared, "--by", "hour,reason", "--region", "cn", "--purpose", "user_experience")["counts"]
    assert rows == [
        {"hour": "2021-03-01T10Z", "reason": "no_grant", "opened": 0, "refused": 1},
        {"hour": "2021-03-02T23Z", "reason": "no_grant", "opened": 0, "refused": 1},
    ]
    rows = shown(prepared, "--by", "purpose", "--event-type", "activation")["counts"]
    assert {row["purpose"] for row in rows} == {n for n, p in load_pack().purposes.items() if "activation" in p.events}
    assert all(row["opened"] + row["refused"] == 2 for row in rows)


def test_all_steps_if_asked_for(prepared):
    rows = shown(prepared, "--by", "step,outcome")["counts"]
    found = {(row["step"], row["outcome"]): row["count"] for row in rows}
    assert found == totals(prepared).by(("step", "outcome"))
    assert found["telemetry", "lines"] == 17


def test_a_table_for_people(prepared):
    outcome = command(
        audit, "--deployment", prepared.deployment, "--region", "eu", "--by", "region,purpose,reason,clause"
    )
    assert outcome.status == 0, outcome.err
    lines = outcome.out.splitlines()
    assert lines[0].startswith("decisions of run ")
    assert lines[2].split() == ["region", "purpose", "reason", "clause", "opened", "refused"]
    assert ["eu", "push", "3", "0"] in [line.split() for line in lines]
    assert lines[-1].startswith("run ") and lines[-1].endswith("identities hold")
    assert len({line.rstrip()[-1] for line in lines[3:5]} - set("0123456789")) == 0
    assert DEVICE not in outcome.out


def test_runs_are_told_apart(copied):
    other = copied.folder / "other.ndjson"
    other.write_bytes(ndjson(event(900), event(901, region="us"), event(902)))
    ran = command(ingest, "--events", other, "--no-ledger", "--deployment", copied.deployment, "--json")
    assert ran.status == 0, ran.err
    everything = shown(copied, "--by", "run,step,outcome")
    assert len(everything["runs"]) == 2
    lines = {
        row["run"]: row["count"]
        for row in everything["counts"]
        if row["outcome"] == "lines" and row["step"] == "telemetry"
    }
    assert sorted(lines.values()) == [3, 17]
    name = next(run for run, count in lines.items() if count == 3)
    one = shown(copied, "--run", name, "--by", "step,outcome")
    assert [run["run"] for run in one["runs"]] == [name] and one["runs"][0]["regions"] == ["cn", "eu", "us"]
    assert {"step": "telemetry", "outcome": "lines", "count": 3} in one["counts"]
    outcome = command(audit, "--deployment", copied.deployment)
    assert outcome.status == 0 and all(run in outcome.out for run in lines)
    assert outcome.out.count("adds up: all") == 2


@pytest.mark.clause("4.1-c")
def test_privileged_reads_are_shown_and_take_no_part(copied):
    place = load_deployment(copied.deployment).place("eu")
    for count in (2, 3):
        note_access(place, "revealed", reason="device_imei", count=count)
    told = shown(copied)
    assert len(told["runs"]) == 1
    (row,) = told["access"]
    assert (row["region"], row["outcome"], row["reason"], row["count"]) == ("eu", "revealed", "device_imei", 5)
    assert "privileged reads" in command(audit, "--deployment", copied.deployment).out
    assert shown(copied, "--run", told["runs"][0]["run"])["access"] == []


@pytest.mark.parametrize(
    ("lost", "identity"),
    [
        ({"step": "telemetry", "outcome": "decoded"}, f"{DECODED} does not hold for eu"),
        (
            {"step": "gate", "outcome": "opened", "purpose": "push"},
            f"{STORED} does not hold for push",
        ),
        (
            {"step": "store", "outcome": "stored", "dataset": "push"},
            f"{STORED} does not hold for push",
        ),
        ({"step": "telemetry", "outcome": "lines"}, "lines = blank + quarantined"),
    ],
)
def test_what_does_not_add_up_is_named_and_ends_with_3(copied, lost, identity):
    arrival = "cn" if lost["outcome"] == "lines" else "eu"
    lose(copied, arrival, **lost)
    outcome = command(audit, "--deployment", copied.deployment)
    assert outcome.status == 3
    assert "does not add up" in outcome.out and identity in outcome.out
    told = json.loads(command(audit, "--deployment", copied.deployment, "--json").out)
    assert any(fault.startswith(identity) for fault in told["runs"][0]["faults"])


def test_a_region_by_itself_is_compared_as_far_as_it_goes(copied):
    """Where its lines went another region's audit may say; what was lost in it is seen all the same."""
    assert len(shown(copied, "--region", "us")["runs"][0]["faults"]) == 0
    lose(copied, "us", step="store", outcome="stored", dataset="service")
    assert command(audit, "--deployment", copied.deployment, "--region", "us").status == 3
    assert command(audit, "--deployment", copied.deployment, "--region", "eu").status == 0


def test_a_stream_was_compared_window_by_window(tmp_path):
    """It may still be going on, so its sums need not add up yet; what was noted of a window counts."""
    events = tmp_path / "e.ndjson"
    events.write_bytes(ndjson(event(1), event(2, received_time="2021-03-01T12:00:05.000Z")))
    deployment = deploy(tmp_path)
    given = ("--events", events, "--no-ledger", "--deployment", deployment, "--json", "--streaming")
    assert command(ingest, *given).status == 0
    outcome = command(audit, "--deployment", deployment)
    assert outcome.status == 0 and outcome.out.endswith("adds up: every window was reconciled\n")
    place = load_deployment(deployment).place("eu")
    held = list(place.manifest.entries("audit"))[-1]
    place.manifest.put(held.__class__(**{**vars(held), "file": None, "rows": 0}))  # a window is not counted yet
    assert command(audit, "--deployment", deployment).status == 0
    counts = Counts()
    counts.add("audit", "unreconciled", 2, reason=DECODED)
    (tally,) = counts.tallies()
    keep(place, "2021-03-01", held.logical[:-1] + "9", pa.Table.from_batches([tally[1]]), held.run)
    outcome = command(audit, "--deployment", deployment)
    assert outcome.status == 3 and "2 identities did not hold when their window was closed" in outcome.out


def test_where_nothing_was_counted(tmp_path):
    outcome = command(audit, "--deployment", deploy(tmp_path), "--region", "eu")
    assert outcome.status == 2 and "no keystore" in outcome.errors[0]


class TestWhatIsWrong:
    def said(self, prepared, *flags):
        outcome = command(audit, "--deployment", prepared.deployment, *flags)
        assert outcome.status == 2 and outcome.out == ""
        (line,) = outcome.errors
        return line

    def test_keys_that_are_not_here(self, copied):
        shutil.rmtree(copied.folder / "keys/ru")
        line = self.said(copied)
        assert "region ru: no keystore at" in line and "--region" in line
        assert command(audit, "--deployment", copied.deployment, "--region", "eu").status == 0

    def test_a_column(self, prepared):
        assert "--by: no column 'purposes'; did you mean purpose?" in self.said(prepared, "--by", "region,purposes")

    def test_a_run(self, prepared):
        assert "--run no_such: no run of that name" in self.said(prepared, "--run", "no_such")

    def test_a_region(self, prepared):
        assert "no region 'atlantis'" in self.said(prepared, "--region", "atlantis")

    def test_a_purpose(self, prepared):
        assert "--purpose psh: purposes are service" in self.said(prepared, "--purpose", "psh")

    def test_an_event_type(self, prepared):
        assert "--event-type crush: event types are" in self.said(prepared, "--event-type", "crush")

    def test_another_policy(self, prepared, tmp_path):
        """Under a pack that does not know a purpose nobody can say what must add up."""
        pack = tmp_path / "pack"
        shutil.copytree(SHIPPED / DEFAULT_PACK, pack)
        for path in pack.glob("*.yaml"):
            path.write_text(path.read_text().replace("  legal:\n", "  legal_duties:\n"))
        later = tmp_path / "later"
        shutil.copytree(SHIPPED / DEFAULT_PACK, later)
        file = later / "policy.yaml"
        file.write_text(file.read_text().replace('version: "2021-01-15"', 'version: "2031-01-01"'))
        line = self.said(prepared, "--policy", pack)
        assert "it is edition 2031-01-01, and a run was made under 2021-01-15" in self.said(prepared, "--policy", later)
        assert "it has no purpose 'legal'" in line and "name the policy pack of that run" in line


def test_it_does_not_wait_for_beam(prepared):
    script = (
        "import sys\n"
        "from pipelines.__main__ import main\n"
        f"status = main(['audit', '--deployment', {str(prepared.deployment)!r}])\n"
        "print('beam' if 'apache_beam' in sys.modules else 'none', status, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.split() == ["none", "0"]
