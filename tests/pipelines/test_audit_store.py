"""The audit: what every step counted, sealed in its region, once however often it was counted."""

import datetime as dt
import logging
from types import SimpleNamespace

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines import sinks
from pipelines.audit_rows import counted_runs, note_access, read_totals, with_manifests
from pipelines.audit_store import RegionalAudit
from pipelines.deployment import load_deployment, prepare
from pipelines.errors import InputError
from pipelines.stores import open_dataset, retire
from schemas.datasets import AUDIT
from schemas.pack_files import load_pack
from schemas.tallies import Tally
from tests.stranger import REGIONS, deploy
from tests.tallied import tally
from transforms.reconcile import DECODED, faults

PACK = load_pack()
HERE = ("store", "stored", "crash", "operations")


@pytest.fixture
def deployment(tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu", "us"), arrival="us"))
    for place in made.regions.values():
        prepare(place, lambda _: None)
    return made


def here(count, region="eu", **words):
    return tally(region, "store", "stored", count, event_type="crash", purpose="operations", **words)


def audit(deployment, run="run", window_ms=None):
    places = tuple(deployment.regions.values())
    return RegionalAudit(places, deployment.place("us"), PACK, "abc", run, sinks.today(), window_ms)


def write(deployment, tallies, *flags, run="run"):
    with beam.Pipeline(argv=["--runner=FnApiRunner", *flags]) as pipeline:
        _ = pipeline | beam.Create(tallies).with_output_types(Tally) | audit(deployment, run)


EDITION = ("audit", "policy", PACK.version)


def told(deployment, region):
    rows = open_dataset(deployment, region, AUDIT).to_table().to_pylist()
    names = ("step", "outcome", "reason", "event_type", "purpose", "dataset")
    counted = {tuple(row[name] for name in names if row[name]): row["count"] for row in rows}
    return {words: count for words, count in counted.items() if words != EDITION}


def test_every_file_says_under_which_edition_it_was_decided(deployment):
    write(deployment, [here(1)])
    rows = open_dataset(deployment, "eu", AUDIT).to_table().select(["step", "outcome", "reason"]).to_pylist()
    assert dict(zip(("step", "outcome", "reason"), EDITION, strict=True)) in rows


def test_counts_are_summed_in_their_region_and_what_has_none_where_it_arrived(deployment):
    lines = [tally("", "telemetry", "lines", count) for count in (7, 1)]
    write(deployment, [here(1), here(5, "us"), *lines, here(2)])
    assert told(deployment, "eu") == {HERE: 3}
    assert told(deployment, "us") == {HERE: 5, ("telemetry", "lines"): 8}


@pytest.mark.clause("4.1-c")
def test_each_reason_stands_with_the_clause_that_it_follows_from(deployment):
    reasons = {"withdrawn": "5.3", "minor": "7", "not_json": "1.1-a", "too_old": "4.4-a", "": "", "device.imei": ""}
    write(deployment, [here(1, reason=reason) for reason in reasons])
    rows = open_dataset(deployment, "eu", AUDIT).to_table().to_pylist()
    assert {row["reason"]: row["clause"] for row in rows if row["step"] != "audit"} == reasons


def test_a_repeated_bundle_and_a_second_run_count_once(deployment):
    for _ in range(2):
        write(deployment, [here(3)], "--direct_runner_bundle_repeat=2")
    assert told(deployment, "eu") == {HERE: 3}


def on_days(monkeypatch, *days):
    """A clock that is read once for each of these days of March."""
    clock = iter(days)
    now = SimpleNamespace(now=lambda zone: dt.datetime(2021, 3, next(clock), tzinfo=zone))
    monkeypatch.setattr(sinks, "datetime", now)


def test_a_bundle_that_is_tried_again_after_midnight_counts_once(deployment, monkeypatch):
    """Its file has the date of the job, not of the attempt: under two dates there would be two."""
    on_days(monkeypatch, 1, 2, 3)
    write(deployment, [here(3)], "--direct_runner_bundle_repeat=2")
    rows = open_dataset(deployment, "eu", AUDIT).to_table().to_pylist()
    assert [(row["count"], row["received_date"]) for row in rows if row["step"] != "audit"] == [(3, "2021-03-01")]


def test_a_second_run_on_another_day_takes_the_place_of_the_first(deployment, monkeypatch):
    for day, count in ((1, 3), (2, 4)):
        on_days(monkeypatch, day)
        write(deployment, [here(count)], run=str(day))
    retire(deployment.place("eu"), "abc", "2")
    rows = open_dataset(deployment, "eu", AUDIT).to_table().to_pylist()
    assert [(row["count"], row["received_date"]) for row in rows if row["step"] != "audit"] == [(4, "2021-03-02")]


@pytest.mark.clause("4.1-c")
def test_a_run_is_read_back_from_its_audit(prepared):
    deployment = load_deployment(prepared.deployment)
    places = deployment.regions.values()
    (run,) = counted_runs(places)
    assert run.bounded and run.regions == REGIONS
    counted = with_manifests(read_totals(places, run.name), places, run.name, {"telemetry": 1})
    assert faults(counted, PACK) == []
    assert counted.sum(step="telemetry", outcome="lines") == 17
    judged = counted.by("region", step="gate", outcome="judged")
    assert judged == {region: 7 if region == "eu" else 2 for region in REGIONS}
    opened = counted.by("purpose", step="gate", outcome="opened")
    assert opened["activation"] == 2 and opened["push"] == 3
    stored = counted.by("dataset", step="store", outcome="stored")
    assert sum(n for name, n in stored.items() if name in opened) == opened.total() - opened["statistics"]
    assert counted.by("dataset", step="manifest") == stored
    assert not len(read_totals(places, "another").table)
    files = [path.read_bytes() for path in prepared.folder.glob(f"stores/*/{AUDIT}/*/*.parquet")]
    assert len(files) == len(REGIONS)
    assert all(content[:4] == b"PARE" and b"telemetry" not in content for content in files)


def test_what_is_damaged_says_so(prepared, tmp_path):
    spoilt = prepared.copy(tmp_path / "copy")
    (file,) = spoilt.folder.glob(f"stores/eu/{AUDIT}/*/*.parquet")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match="the audit of region eu cannot be read"):
        read_totals(load_deployment(spoilt.deployment).regions.values())


@pytest.mark.clause("4.1-c")
def test_a_privileged_read_leaves_a_row_that_belongs_to_no_run(deployment):
    eu = deployment.place("eu")
    for count in (1, 2):
        note_access(eu, "opened", reason="not_json", count=count)
    write(deployment, [here(3)])
    assert counted_runs([eu])[0].name == "run" and len(counted_runs([eu])) == 1
    found = read_totals([eu])
    assert found.sum(step="access", outcome="opened", reason="not_json") == 3
    (hour, *_) = found.by("hour", step="access")
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - hour < dt.timedelta(hours=1, minutes=1)
    assert read_totals([eu], "run").sum(step="access") == 0
    retire(eu, "abc", "another run over the same input")
    assert read_totals([eu]).sum() == 3  # what somebody was shown stays noted


# --- in a stream: each window by itself ---

MINUTE = 60
FIRST = 1_614_556_800  # 2021-03-01, in seconds: where the first window starts


def decoded(count, region="eu"):
    return tally(region, "telemetry", "decoded", count, event_type="activation")


def judged(count, region="eu", late=0):
    outcomes = {"judged": {"event_type": "activation"}, "late": {}}
    made = [
        tally(region, "gate", outcome, n, **outcomes[outcome])
        for outcome, n in (("judged", count), ("late", late))
        if n
    ]
    for name in (name for name, purpose in PACK.purposes.items() if "activation" in purpose.events):
        made.append(tally(region, "gate", "refused", count, event_type="activation", purpose=name, reason="no_grant"))
    return made


def stream(deployment, *steps):
    """Runs a stream: a step is a list of (window, tally), or the number of the window that the watermark reaches.
    Returns how many identities did not hold."""
    script = test_stream.TestStream(coder=beam.coders.PickleCoder())
    for step in steps:
        if isinstance(step, list):
            script.add_elements([TimestampedValue(each, at(window)) for window, each in step])
        else:
            script.advance_watermark_to(at(step))
    options = PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"])
    pipeline = beam.Pipeline(options=options)
    tallies = pipeline | script.advance_watermark_to_infinity() | beam.Map(_same).with_output_types(Tally)
    _ = tallies | audit(deployment, window_ms=MINUTE * 1000)
    pipeline.run().wait_until_finish()
    return read_totals(deployment.regions.values()).sum(step="audit", outcome="unreconciled")


def at(window):
    return Timestamp(FIRST + window * MINUTE)


def _same(tally):
    return tally


def windows(*numbered):
    return [(number, each) for number, tallies in numbered for each in tallies]


def test_a_window_that_adds_up_raises_no_alarm(deployment, caplog):
    raised = stream(
        deployment,
        windows((0, [decoded(2), decoded(1), decoded(4, "us")]), (1, [decoded(5)])),
        windows((0, judged(3)), (0, judged(4, "us"))),
        1,
        windows((1, judged(5))),
        2,
    )
    assert not raised and not [record for record in caplog.records if record.levelno >= logging.ERROR]
    (run,) = counted_runs(deployment.regions.values())
    assert not run.bounded and run.dates == ("2021-03-01",)
    counted = read_totals(deployment.regions.values())
    assert counted.by(("region", "outcome"), step="telemetry") == {("eu", "decoded"): 8, ("us", "decoded"): 4}
    assert counted.sum(step="gate", outcome="judged") == 12 and counted.sum(step="audit", outcome="unreconciled") == 0
    names = {entry.logical for entry in deployment.place("eu").manifest.entries(AUDIT)}
    assert names == {f"abc-{FIRST}-0", f"abc-{FIRST + MINUTE}-0"}


@pytest.mark.clause("4.1-c")
def test_a_window_that_lost_something_raises_one(deployment, caplog):
    raised = stream(
        deployment,
        windows((0, [decoded(3)]), (1, [decoded(5)]), (1, [decoded(2, "us")])),
        windows((0, judged(3)), (1, judged(4)), (1, judged(2, "us"))),
        2,
    )
    assert raised == 1
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        f"{DECODED} does not hold for eu: 5 on the left, 4 on the right"
    ]
    counted = read_totals(deployment.regions.values())
    assert counted.by(("region", "reason"), step="audit", outcome="unreconciled") == {("eu", DECODED): 1}
    assert [told for told in faults(counted, PACK) if told.startswith("1 identities did not hold")]


def test_a_window_of_which_nothing_was_judged_raises_one(deployment):
    assert stream(deployment, windows((0, [decoded(3)])), 1) == 1


def test_counts_that_come_late_are_kept_and_raise_none(deployment, caplog):
    """Their other side is in another window, or late as well."""
    raised = stream(
        deployment,
        windows((0, [decoded(2)]), (0, judged(2))),
        1,
        windows((0, [decoded(1)])),
        windows((1, [decoded(3)]), (1, judged(4, late=1))),
        2,
    )
    assert not raised and not [record for record in caplog.records if record.levelno >= logging.ERROR]
    counted = read_totals(deployment.regions.values())
    assert counted.sum(outcome="decoded") == 6 and counted.sum(outcome="judged") == 6
    names = {entry.logical for entry in deployment.place("eu").manifest.entries(AUDIT)}
    assert names == {f"abc-{FIRST}-0", f"abc-{FIRST + MINUTE}-0"}


def test_what_has_no_time_is_kept_under_the_day_of_the_job(deployment):
    lines = tally("eu", "telemetry", "lines", 5)
    options = PipelineOptions(["--runner=FnApiRunner", "--streaming"])
    with beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([lines]).with_output_types(Tally) | audit(deployment, window_ms=MINUTE * 1000)
    (entry,) = deployment.place("eu").manifest.entries(AUDIT)
    assert entry.received_date == dt.datetime.now(dt.UTC).date().isoformat()
    assert told(deployment, "eu") == {("telemetry", "lines"): 5}
