"""A stream from watched folders to what is read of it, told again as after a failure, and gone on with."""

from dataclasses import replace

import pytest

from pipelines import audit, report
from pipelines import job as jobs
from pipelines.audit_rows import counted_runs, read_totals
from pipelines.options import parse
from pipelines.stores import open_dataset
from pipelines.watch import ReadWatched
from tests.folders import Feeder
from tests.invariants.runs import Site
from tests.lines import ANDROID_ID, NOW, event, moment, ndjson
from tests.stranger import command, entry
from transforms.reconcile import alarms

SECOND = 1_000


def of_ledger(number, kind, received, **more):
    return entry(number, kind, ANDROID_ID, received_time=moment(received), time=moment(received), **more)


@pytest.fixture
def folders(tmp_path):
    """Six events of a device, a second apart, one of them twice, and lines that come to nothing; the device grants all
    before, withdraws after the third, and grants again after the fifth."""
    telemetry, ledger = Feeder(tmp_path / "telemetry"), Feeder(tmp_path / "ledger")
    events = [event(n, "crash", NOW + n * SECOND, device__android_id=ANDROID_ID) for n in range(6)]
    telemetry.put(ndjson(*events[:3]) + b"not json\n", NOW)
    telemetry.put(ndjson(*events[3:], events[3], event(9, received=NOW + 4 * SECOND, residency={})), NOW + 3 * SECOND)
    telemetry.promise(NOW + 60 * SECOND)
    moments = {"grant": NOW - 5 * SECOND, "withdraw": NOW + 2_500, "lift": NOW + 4_500}
    ledger.put(ndjson(of_ledger(1, "grant", moments["grant"])), moments["grant"])
    ledger.put(ndjson(of_ledger(2, "withdraw", moments["withdraw"])), moments["withdraw"])
    ledger.put(ndjson(of_ledger(3, "grant", moments["lift"])), moments["lift"])
    ledger.promise(NOW + 60 * SECOND)
    return tmp_path


@pytest.fixture
def stream(folders, monkeypatch):
    """Plans and runs the stream over the folders as they are, to the end of what is in them."""
    site = Site.new(folders / "site")
    monkeypatch.setattr(jobs, "reading", lambda source, ledger, config: ReadWatched(source.name, stop_at_end=True))

    def ran(*flags):
        inputs = ["--events", f"watch:{folders / 'telemetry'}", "--consents", f"watch:{folders / 'ledger'}"]
        named = ["--deployment", str(site.file), "--job_name=fleet", "--cell=eu"]
        job = jobs.plan(parse([*inputs, *named, *flags]), say=lambda message: None)
        jobs.submit(job, ["--runner=FnApiRunner", "--streaming"]).wait_until_finish()
        return site, job

    return ran


def rows(site, dataset="operations"):
    table = open_dataset(site.file, "eu", dataset).to_table(columns=["event_time", "received_date"])
    return sorted(row["event_time"].timestamp() for row in table.to_pylist())


def test_what_comes_of_it(stream):
    site, job = stream("--window-seconds=1")
    assert job.partition.window_ms == SECOND
    totals = read_totals([site.place("eu")], job.run)
    lines = totals.by("outcome", step="telemetry")
    assert (lines["lines"], lines["quarantined"], lines["unlocatable"], lines["decoded"]) == (9, 1, 1, 7)
    gate = totals.by("outcome", step="gate")
    assert (gate["judged"], gate["duplicates"], gate["late"]) == (6, 1, 0)
    assert not alarms(totals)
    assert len(rows(site)) == 1, "only what came after the second grant: the withdrawal took the rest"
    logical = {entry.logical.rpartition("-")[0] for entry in site.place("eu").manifest.entries("operations")}
    assert logical == {f"{job.input_id}-{(NOW + second * SECOND) // SECOND}" for second in (0, 1, 5)}


def test_told_again_it_is_the_same(stream):
    """As after a failure: what was read is read again, and every file takes its own place."""
    site, job = stream("--window-seconds=1")
    first = site.entries("eu")
    again, same = stream("--runner=FlinkRunner", "--savepoint_path=/somewhere")
    assert same.run == job.run
    assert {name: rows for name, (rows, _) in site.entries("eu").items()} == {n: rows for n, (rows, _) in first.items()}
    of_records = [name for name in first if name[0] not in ("quarantine",)]
    assert [site.entries("eu")[name] for name in of_records] == [first[name] for name in of_records]


def test_its_page_and_its_audit(stream, folders, tmp_path):
    site, job = stream("--window-seconds=1")
    (run,) = counted_runs([site.place("eu")])
    assert (run.name, run.input_id, run.bounded) == (job.run, job.input_id, False)
    told = command(audit, "--deployment", site.file, "--region", "eu", "--run", job.run)
    assert told.status == 0 and f"run {job.run} adds up: every window was reconciled" in told.out
    page = command(report, job.run, "--deployment", site.file, "--out", tmp_path / "page.html")
    assert page.status == 0, page.err


def test_who_granted_again_is_read_after_a_restart(stream):
    """The lists say which windows knew of a stop, by lineage: rows of a job that goes on must be of the same."""
    site, _ = stream("--window-seconds=1")
    _, resumed = stream("--runner=FlinkRunner", "--savepoint_path=/somewhere")
    place = site.place("eu")
    last = [e for e in place.manifest.entries("operations") if e.logical.endswith(f"-{NOW // SECOND + 5}-0")]
    for run, seen in ((resumed.run, 1), ("of another job", 0)):
        for each in last:
            place.manifest.put(replace(each, run=run))
        assert len(rows(site)) == seen
