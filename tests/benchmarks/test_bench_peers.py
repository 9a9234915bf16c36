"""The peers are given what they can get right, and that their rows are the job's is found out, row by row."""

import json
import subprocess
import sys
from datetime import datetime

import pyarrow.parquet as pq
import pytest

from benchmarks import guard
from benchmarks.peers.given import given
from benchmarks.peers.outputs import Outputs
from benchmarks.steps import measure
from tests.stranger import deploy


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What peers are given of a small sample of one region; the job's and a peer's rows of it."""
    work = tmp_path_factory.mktemp("peers")
    made = given(*guard.sample(work / "sample", 2000))
    place = deploy(work / "job", ("eu",))
    ran = measure(str(made / "events.ndjson"), str(made / "consents.ndjson"), str(place), flags=["--cell", "eu"])
    (made / "job.json").write_text(json.dumps(ran))
    (made / "out").mkdir()
    script = [sys.executable, "-m", "benchmarks.peers.rowwise_beam", str(made), str(made / "out")]
    subprocess.run(script, check=True, capture_output=True)
    return made


@pytest.fixture
def outputs(folder):
    return Outputs(folder / "events.ndjson", folder.parents[1] / "job" / "deployment.yaml")


@pytest.fixture
def stored(folder):
    return json.loads((folder / "job.json").read_text())["rows"]


def test_a_peer_writes_the_rows_that_the_job_writes(folder, outputs, stored):
    assert sum(stored.values()) > 1500 and len(stored) > 12
    assert outputs.differing(folder / "out", stored) == {}


def test_every_row_that_differs_is_found(folder, outputs, stored, tmp_path):
    for path in (folder / "out").iterdir():
        table = pq.read_table(path)
        match path.stem:
            case "research":  # one row more than once, as often as another is missing
                table = table.take([0, *range(table.num_rows - 1)])
            case "operations":
                table = table.slice(3)
            case "security":
                swapped = table["device_android_id"].take([1, 0, *range(2, table.num_rows)])
                at = table.schema.get_field_index("device_android_id")
                table = table.set_column(at, "device_android_id", swapped)
        pq.write_table(table, tmp_path / path.name)
    assert outputs.differing(tmp_path, stored) == {"research": 2, "operations": 3, "security": 4}


def test_a_token_of_nothing_is_an_error(folder, outputs, stored, tmp_path):
    table = pq.read_table(folder / "out" / "legal.parquet")
    strange = table.set_column(table.schema.get_field_index("event_id"), "event_id", [[bytes(16)] * table.num_rows])
    pq.write_table(strange, tmp_path / "legal.parquet")
    with pytest.raises(ValueError, match=r"legal.event_id: a token of nothing"):
        outputs.differing(tmp_path, {"legal": stored["legal"]} | stored)


def test_rows_that_the_job_has_not_told_of_are_an_error(folder, outputs, stored):
    with pytest.raises(ValueError, match="operations: the job says"):
        outputs.differing(folder / "out", stored | {"operations": 1})


def test_given_are_as_many_lines_and_a_ledger_of_one_clock(folder):
    sample = folder.parent
    for name in ("events.ndjson", "consents.ndjson"):
        before, after = ([*map(json.loads, (at / name).open())] for at in (sample, folder))
        assert len(before) == len(after) and all(a.keys() == b.keys() for a, b in zip(before, after, strict=True))
    for entry in after:
        received, time = (datetime.fromisoformat(entry[clock]) for clock in ("received_time", "time"))
        assert (received - time).total_seconds() == 1


def test_rules_are_the_packs(folder):
    rules = json.loads((folder / "rules.json").read_text())
    assert rules["purposes"]["promotion"]["sources"]["us"] == ["device"]
    assert rules["purposes"]["research"]["bases"]["cn"] == "consent"
    assert rules["purposes"]["operations"]["collected_with"] == {"page_view": ["user_experience"]}
    assert "statistics" not in rules["purposes"] and "activation_sensitive" in rules["datasets"]
