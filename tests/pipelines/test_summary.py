"""The summary of a run: compact in a terminal, complete as JSON, and the same numbers in both."""

import json
from types import SimpleNamespace

import pytest

from pipelines.deployment import load_deployment
from pipelines.summary import print_summary
from schemas.tallies import Totals
from tests.counted import PACK, RUN, counted
from tests.stranger import deploy


@pytest.fixture
def job(tmp_path):
    deployment = load_deployment(deploy(tmp_path))
    return SimpleNamespace(
        pack=PACK,
        places=dict(enumerate(deployment.regions.values())),
        with_ledger=True,
        input_id=RUN.input_id,
        run=RUN.name,
        where="--deployment deployment.yaml",
    )


@pytest.fixture
def told(job, capsys):
    def text(totals: Totals, as_json: bool = False) -> str:
        print_summary(job, totals, as_json)
        return capsys.readouterr().out

    return text


def test_what_was_replaced_in_texts_is_told_by_event_type(told):
    assert row(told(counted({"eu": 3})), "replaced in free text of crash:") == ["email", "5"]


def row(text: str, name: str) -> list[str]:
    """The words of the first line that begins with these."""
    return next(line for line in text.splitlines() if line.strip().startswith(name)).strip()[len(name) :].split()


@pytest.mark.clause("4.1-c")
def test_text_and_json_say_the_same(told):
    totals = counted({"eu": 3000, "us": 30})
    text, data = told(totals), json.loads(told(totals, as_json=True))
    for name in ("lines", "quarantined", "judged"):
        assert row(text, name)[0] == f"{data['came_in']['telemetry'][name]:,}"
    for name, purpose in data["purposes"].items():
        expected = [purpose["clause"], f"{purpose['opened']:,}", f"{purpose['refused']:,}"]
        assert row(text, f"{name} ")[:3] == expected
    for name, region in data["by_region"].items():
        assert row(text, f"{name}:")[:4] == [f"{region['judged']:,}", "records,", f"{region['stored']:,}", "rows"]
    imei = data["identifiers"]["device.imei"]
    assert row(text, "device.imei") == [f"{n}" for n in imei.values()] == ["9", "4", "3", "2"]
    assert "email 5" in text and "statistics: 2021-02-27" not in text  # nothing is released in this deployment
    assert f"Run {RUN.name} of input {RUN.input_id}, policy {PACK.version}." in text


def test_text_is_compact(told):
    lines = told(counted({"eu": 3000})).splitlines()
    assert max(map(len, lines)) <= 125
    assert "blank" not in "".join(lines[:10])  # of what did not happen nothing is said


def test_what_does_not_reconcile_is_told_last_and_loud(told):
    totals = counted({"eu": 3}, lost=1)
    text, data = told(totals), json.loads(told(totals, as_json=True))
    assert "THIS RUN DOES NOT ACCOUNT FOR EVERYTHING:" in text and "Every line is accounted for" not in text
    assert not data["reconciles"]
    assert all(f"  {fault}" in text.splitlines() for fault in data["faults"])


def test_a_run_that_read_nothing(told):
    text = told(counted({}, quarantined=0))
    assert row(text, "lines") == ["0", "of", "telemetry"]
    assert "Every line is accounted for" in text


def test_an_empty_ledger_is_told(told):
    assert row(told(counted({"eu": 3})), "ledger entries") == ["0"]


def test_without_a_ledger_nothing_is_said_of_one(told, job):
    job.with_ledger = False
    assert "ledger entries" not in told(counted({"eu": 3}))
