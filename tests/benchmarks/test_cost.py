"""What a fleet needs is what was measured says, and the page says the same."""

import json

import pytest

from benchmarks import cost, volume


def test_the_page_is_current():
    page = cost.PAGE.read_text()
    assert cost.page(page) == page, "run python -m benchmarks.cost"


def test_the_arithmetic_of_round_figures(monkeypatch):
    measured = {"us": 10.0, "rows": 2.0, "event": 500, "exchange": 200, "row": 100, "held": 64.0}
    measured |= {"stream": 10_000.0, "worker_mb": 500.0}
    monkeypatch.setattr(cost, "DEVICES", 86_400_000)
    monkeypatch.setattr(cost, "EVENTS_A_DAY", 10)
    found = {what: amount for what, _, amount in cost.fleet(measured)}
    assert found["events a second"] == "10,000; 30,000 at 3 times the mean"
    assert found["cores, over files"] == "0.3" and found["workers, as a stream"] == "3"
    assert found["intake a day"] == "0.43 TB" and found["exchange a day"] == "0.17 TB"
    assert found["state: ledger"] == "17 GB" and found["shards, all regions together"] == "260"
    assert found["state: fingerprints"] == "0.21 TB" and found["state: records that wait"] == "2 GB"
    assert found["rows stored a day"] == "1,728,000,000" and found["bytes stored a day"] == "0.17 TB"
    assert found["files a day"] == "711,360" and found["files a day, compacted"] == "2,779"


def test_figures_are_those_of_the_results():
    job = json.loads((cost.RESULTS / "main_job.json").read_text())
    assert cost.measured()["us"] == job["median"]["total"][0]


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volume")
    volume.main(["--events", "1000", "--work", str(folder), "--out", str(folder)])
    return json.loads((folder / "volume.json").read_text())


def test_bytes_are_counted_where_they_are_made(counted):
    assert counted["events"] == 1000 and counted["entries"] == 600
    assert 100 < counted["locked"]["telemetry"] / 1000 < 2000 and counted["locked"]["ledger"] > 600 * 40
    assert all(counted[what]["records"] > 0 and counted[what]["lists"] > 0 for what in ("bytes", "files", "rows"))
