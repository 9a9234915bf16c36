"""`douane sweep` takes what no manifest names, and nothing else."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from pipelines import sweep, whole_files
from pipelines.deployment import load_deployment, prepare
from pipelines.stores import commit, stage
from tests.stranger import command, deploy


@pytest.fixture
def spoilt(prepared, tmp_path):
    """The small run's stores, with what a killed worker leaves: a file beside named ones, one of a dataset that has no
    entry, and one in the quarantine; all written two days ago."""
    copied = prepared.copy(tmp_path / "copy")
    place = load_deployment(copied.deployment).place("eu")
    folders = (place.folder("service"), place.folder("find_device"), place.folder("quarantine"))
    orphans = [folder / "received_date=2021-03-01" / "abc-0-0.00ff.parquet" for folder in folders]
    for path in orphans:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1_000_000)
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    return copied, place, orphans


def files(place):
    return {path for path in place.store.parents[1].rglob("*") if path.is_file()}


def test_what_no_manifest_names_goes_and_all_else_stays(spoilt):
    copied, place, orphans = spoilt
    before = files(place)
    outcome = command(sweep, "--deployment", copied.deployment)
    assert outcome.status == 0, outcome.err
    assert "eu: 3 files removed, 3.0 MB" in outcome.out and "us: 0 files removed" in outcome.out
    assert before - files(place) == set(orphans)
    assert "eu: 0 files removed" in command(sweep, "--deployment", copied.deployment).out


def test_what_was_written_just_now_may_yet_be_named(spoilt):
    copied, place, orphans = spoilt
    os.utime(orphans[0])
    outcome = command(sweep, "--deployment", copied.deployment, "--region", "eu")
    assert outcome.out == "eu: 2 files removed, 2.0 MB\n" and orphans[0].exists()
    outcome = command(sweep, "--deployment", copied.deployment, "--region", "eu", "--older-than", "0")
    assert outcome.out == "eu: 1 files removed, 1.0 MB\n"


def test_a_damaged_manifest_lets_nothing_go(spoilt):
    copied, place, orphans = spoilt
    entry = next(place.manifest_folder.glob("service/*/*.json"))
    entry.write_text("{")
    outcome = command(sweep, "--deployment", copied.deployment, "--region", "eu")
    assert outcome.status == 4 and all(path.exists() for path in orphans)


def test_a_manifest_that_is_elsewhere_lets_nothing_go(spoilt):
    """As after a slip of the pen in the deployment file: the store is right, and the keys' folder is not."""
    copied, place, orphans = spoilt
    place.manifest_folder.rename(place.manifest_folder.with_name("elsewhere"))
    outcome = command(sweep, "--deployment", copied.deployment, "--region", "eu", "--older-than", "0")
    assert outcome.status == 4 and "names no file at all" in outcome.err
    assert all(path.exists() for path in orphans)


@pytest.mark.parametrize("given", ["-1", "soon"])
def test_minutes_that_are_none(spoilt, given):
    outcome = command(sweep, "--deployment", spoilt[0].deployment, "--older-than", given)
    assert outcome.status == 2 and "write a number of minutes" in outcome.err


def test_what_a_killed_run_had_put_apart_goes_once_it_is_old(tmp_path):
    """Of a run that goes on neither entries nor files do, however old these are."""
    eu = load_deployment(deploy(tmp_path, ("eu",))).place("eu")
    prepare(eu, lambda _: None)
    rows = pa.record_batch({"event_type": pa.array(["session"]).dictionary_encode()})
    commit([stage(eu, "service", "2021-03-01", "abc-0-0", rows, "done")])
    for run in ("dead", "alive"):
        apart = replace(eu, attempt=f"abc-{run}")
        staged = stage(apart, "service", "2021-03-01", "abc-0-0", rows, run)
        commit([staged])
        os.utime(staged.path, (1, 1))
        apart.releases.mkdir(parents=True)
    for folder in (eu.manifest_folder, eu.statistics):
        os.utime(folder / ".pending/abc-dead", (1, 1))
    assert command(sweep, "--deployment", tmp_path / "deployment.yaml").status == 0
    assert sorted(path.name.split(".")[1] for path in eu.store.rglob("*.parquet")) == ["alive", "done"]
    assert [entry.run for entry in eu.manifest.waiting()] == ["alive"]
    assert [path.name for path in (eu.statistics / ".pending").iterdir()] == ["abc-alive"]


@pytest.mark.clause("5.2-erase")
def test_what_a_killed_writer_left_of_an_entry_goes_once_it_is_old(tmp_path, monkeypatch):
    """It holds a wrapped key: of a file that is erased none may stay."""
    deployment = deploy(tmp_path, ("eu",))
    place = load_deployment(deployment).place("eu")
    prepare(place, lambda _: None)
    staged = stage(place, "service", "2021-03-01", "abc-0-0", pa.record_batch({"event_type": ["crash"]}), "run")
    commit([staged])
    with monkeypatch.context() as killed:
        killed.setattr(whole_files, "alone", None)  # before it is put in place
        killed.setattr(Path, "unlink", lambda *_, **__: None)  # a process that is killed tidies up nothing
        with pytest.raises(TypeError):
            place.manifest.put(staged.entry)
    place.manifest.put(replace(staged.entry, file=None, wrapped_key=None, erased=True))

    def keys():
        files = place.manifest_folder.rglob("*")
        return [path for path in files if path.is_file() and staged.entry.wrapped_key.encode() in path.read_bytes()]

    assert len(keys()) == 1
    assert command(sweep, "--deployment", deployment).status == 0 and len(keys()) == 1, "it may be of a writer at work"
    os.utime(keys()[0], (time.time() - 2 * 86_400,) * 2)
    assert command(sweep, "--deployment", deployment).status == 0 and not keys()
