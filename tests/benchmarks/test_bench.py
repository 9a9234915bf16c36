"""The benchmark itself: a tiny run works, its figures add up, and no step has slipped out from under its clock."""

import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import main_job
from pipelines.profile import ROWS, STEPS


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    size = ["--events", "2000", "--devices", "400", "--entries", "1200", "--runs", "1"]
    main_job.main([*size, "--work", str(folder / "work"), "--out", str(folder / "results")])
    return folder / "results"


@pytest.fixture(scope="module")
def result(bench):
    return json.loads((bench / "main_job.json").read_text())


def test_every_step_runs_under_its_clock(result):
    job = result["runs"][0]["job"]
    assert tuple(job["steps"]) == ROWS
    assert set(job["calls"]) == set(STEPS)


def test_steps_add_up_to_the_whole(result):
    job = result["runs"][0]["job"]
    assert np.sum(list(job["steps"].values()), axis=0) == pytest.approx(job["seconds"])
    assert all(wall >= 0 for wall, _ in job["steps"].values())


def test_job_and_floor_store_the_same_rows(result):
    run = result["runs"][0]
    assert run["job"]["rows"] == run["floor"]["rows"]
    assert run["job"]["lines"] == run["floor"]["lines"] == 2000
    assert result["median"]["rows_a_record"] == round(sum(run["floor"]["rows"].values()) / 2000, 2) > 0


def test_table_names_every_step(result):
    table = main_job.report.table(result)
    assert all(re.search(rf"^  {re.escape(step)} +-?\d", table, re.MULTILINE) for step in ROWS)
    assert f"{result['median']['ratio'][0]:.2f}" in table


def test_picture_is_as_wide_as_its_figures(bench, result):
    picture = ElementTree.parse(bench / "main_job.svg").getroot()
    shown = [rect for rect in picture if rect.tag.endswith("rect") and rect.get("height") == "34"]
    job, floor = shown[: len(ROWS)], shown[len(ROWS) :]
    widths = [sum(float(rect.get("width")) for rect in bar) for bar in (job, floor)]
    assert widths[0] / widths[1] == pytest.approx(result["median"]["ratio"][0], rel=0.05)


def test_runs_that_differ_from_the_floor_are_refused(tmp_path, monkeypatch):
    answers = iter([{"lines": 2, "rows": {"operations": 2}}, {"lines": 2, "rows": {"operations": 1}}])
    monkeypatch.setattr(main_job, "alone", lambda *_: next(answers))
    with pytest.raises(RuntimeError, match="same rows"):
        main_job.run_once(tmp_path / "e", tmp_path / "c", tmp_path / "work", None)
