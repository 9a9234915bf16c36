"""The audit: what every step counted, sealed in its region, once however often it was counted, and what must add up."""

import datetime as dt
from collections import Counter
from types import SimpleNamespace

import apache_beam as beam
import pytest

from pipelines import audit
from pipelines.audit import RegionalAudit, Totals, read_totals
from pipelines.deployment import load_deployment, prepare
from pipelines.stores import open_dataset, retire
from schemas.datasets import AUDIT
from schemas.policy import load_pack
from tests.stranger import REGIONS, deploy
from transforms.exchange import Tally

RECONCILED = {
    ("eu", "telemetry", "", "", "lines"): 10,
    ("eu", "telemetry", "", "", "blank"): 1,
    ("eu", "quarantine", "", "telemetry", "not_json"): 2,
    ("eu", "telemetry", "", "", "unlocatable"): 1,
    ("eu", "telemetry", "", "", "foreign"): 1,
    ("eu", "telemetry", "", "", "decoded"): 3,
    ("us", "telemetry", "", "", "decoded"): 2,
    ("eu", "gate", "", "", "judged"): 3,
    ("us", "gate", "", "", "judged"): 1,
    ("us", "gate", "", "", "duplicates"): 1,
    ("eu", "gate", "session", "service", "opened"): 3,
    ("eu", "gate", "session", "statistics", "opened"): 3,
    ("eu", "store", "session", "service", "stored"): 2,
    ("eu", "store", "session", "service", "erased"): 1,
}


def totals(changes=None):
    return Totals(frozenset({"service"}), Counter(RECONCILED | (changes or {})))


def test_what_adds_up_has_no_fault():
    assert totals().faults() == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({("eu", "telemetry", "", "", "lines"): 11}, "11 lines came in, but 10 are accounted for"),
        ({("eu", "telemetry", "", "", "lines"): 9}, "9 lines came in, but 10 are accounted for"),
        ({("us", "gate", "", "", "judged"): 0}, "5 records were decoded, but not all of them were judged"),
        ({("eu", "store", "session", "service", "stored"): 1}, "service was opened 3 times, but 2 rows were stored"),
        ({("eu", "store", "session", "service", "stored"): 3}, "service was opened 3 times, but 4 rows were stored"),
        ({("eu", "store", "", "service", "foreign"): 1}, "1 rows were refused at a store of another region"),
        ({("eu", "telemetry", "", "", "input_unreadable"): 2}, "2 inputs broke off: what came before is stored"),
        ({("eu", "ledger", "", "", "nobody"): 2}, "2 ledger lines name no subject that can be read"),
    ],
)
def test_what_does_not_add_up_is_told(changes, fault):
    (told,) = totals(changes).faults()
    assert told.startswith(fault)


def test_sums():
    counted = totals()
    assert counted.count("decoded") == counted.count("decoded", "telemetry") == 5
    assert counted.count("decoded", region="us") == 2
    assert counted.count("decoded", "gate") == 0
    assert counted.by("region", "gate", "judged") == {"eu": 3, "us": 1}
    assert counted.by("purpose", "gate", "opened") == {"service": 3, "statistics": 3}
    assert counted.by("reason", "store") == {"stored": 2, "erased": 1}


@pytest.fixture
def deployment(tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu", "us"), arrival="us"))
    for place in made.regions.values():
        prepare(place, lambda _: None)
    return made


def write(deployment, tallies, *flags, run="run"):
    places, arrival = tuple(deployment.regions.values()), deployment.place("us")
    with beam.Pipeline(argv=["--runner=FnApiRunner", *flags]) as pipeline:
        made = pipeline | beam.Create(tallies).with_output_types(Tally)
        _ = made | RegionalAudit(places, arrival, "abc", run)


def told(deployment, region):
    rows = open_dataset(deployment, region, AUDIT).to_table().to_pylist()
    return {(row["step"], row["event_type"], row["purpose"], row["reason"]): row["count"] for row in rows}


def test_counts_are_summed_in_their_region_and_what_has_none_where_it_arrived(deployment):
    here, there, nowhere = ("eu", "a", "b", "c", "d"), ("us", "a", "b", "c", "d"), ("", "telemetry", "", "", "lines")
    write(deployment, [(here, 1), (there, 5), (nowhere, 7), (here, 2), (nowhere, 1)])
    assert told(deployment, "eu") == {("a", "b", "c", "d"): 3}
    assert told(deployment, "us") == {("a", "b", "c", "d"): 5, ("telemetry", "", "", "lines"): 8}


def test_a_repeated_bundle_and_a_second_run_count_once(deployment):
    for _ in range(2):
        write(deployment, [(("eu", "a", "b", "c", "d"), 3)], "--direct_runner_bundle_repeat=2")
    assert told(deployment, "eu") == {("a", "b", "c", "d"): 3}


def test_a_second_run_on_another_day_takes_the_place_of_the_first(deployment, monkeypatch):
    for day, count in ((1, 3), (2, 4)):
        now = SimpleNamespace(now=lambda zone, day=day: dt.datetime(2021, 3, day, tzinfo=zone))
        monkeypatch.setattr(audit, "datetime", now)
        write(deployment, [(("eu", "a", "b", "c", "d"), count)], run=str(day))
    retire(deployment.place("eu"), "abc", "2")
    rows = open_dataset(deployment, "eu", AUDIT).to_table().to_pylist()
    assert [(row["count"], row["received_date"]) for row in rows] == [(4, "2021-03-02")]


@pytest.mark.clause("4.1-c")
def test_a_run_is_read_back_from_its_audit(prepared):
    deployment, pack = load_deployment(prepared.deployment), load_pack()
    (entry,) = deployment.place("eu").manifest.entries(AUDIT)
    places = dict(enumerate(deployment.regions.values()))
    job = SimpleNamespace(pack=pack, input_id=entry.logical.split("-")[0], run=entry.run, places=places)
    counted = read_totals(job)
    assert counted.faults() == []
    assert counted.count("lines", "telemetry") == 17
    judged = {region: counted.count("judged", "gate", region) for region in REGIONS}
    assert judged == {region: 7 if region == "eu" else 2 for region in REGIONS}
    opened = counted.by("purpose", "gate", "opened")
    assert opened["activation"] == 2 and opened["push"] == 3
    assert counted.count("stored") == sum(opened.values()) - opened["statistics"]  # which is counted, never stored
    job.run = "another"
    assert not read_totals(job).counts
    files = [path.read_bytes() for path in prepared.folder.glob(f"stores/*/{AUDIT}/*/*.parquet")]
    assert len(files) == len(REGIONS)
    assert all(content[:4] == b"PARE" and b"telemetry" not in content for content in files)
