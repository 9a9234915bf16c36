"""What a run asks of the file system, counted: how long that takes follows from the disk, so no clock guards it."""

import os
import threading
from collections import Counter

import pytest

from pipelines import ingest
from tests.stranger import command, deploy, entry, event, ndjson


@pytest.fixture
def asked(monkeypatch):
    """How often each of the calls that a disk may take long over was made, by any thread."""
    counts, lock = Counter(), threading.Lock()

    def counting(name, function):
        def counted(*args, **kwargs):
            with lock:
                counts[name] += 1
            return function(*args, **kwargs)

        return counted

    for name in ("fsync", "replace", "link", "rename"):
        monkeypatch.setattr(os, name, counting(name, getattr(os, name)))
    return counts


def ran(folder, deployment):
    days = [f"2021-03-0{day}T10:00:0" for day in (1, 2)]
    events = [
        event(n, region=("eu", "us")[n % 2], event_time=f"{day}0.000Z", received_time=f"{day}5.000Z")
        for n, day in enumerate(days * 4)
    ]
    stop = entry(2, "withdraw", time="2021-03-09T00:00:00.000Z", received_time="2021-03-09T00:00:00.000Z")
    (folder / "events.ndjson").write_bytes(ndjson(*events))
    (folder / "consents.ndjson").write_bytes(ndjson(entry(1, "grant"), stop))
    files = "--events", folder / "events.ndjson", "--consents", folder / "consents.ndjson"
    outcome = command(ingest, *files, "--deployment", deployment)
    assert outcome.status == 0, outcome.err


def test_a_run_puts_each_file_once_and_waits_for_the_disk_a_few_times_a_file(tmp_path, asked):
    deployment = deploy(tmp_path / "site", ("cn", "in", "ru", "eu", "us", "sg"))
    ran(tmp_path, deployment)
    keys = [path for path in (tmp_path / "site/keys").rglob("*") if path.suffix in (".key", ".wrapped")]
    files = list((tmp_path / "site/stores").rglob("*.parquet"))
    folders = {path.parent for path in files}
    of_keys = [path for path in (tmp_path / "site/keys").rglob("*") if path.is_dir()]
    keystores = regions = 6
    assert asked["link"] == len(keys) + keystores
    assert asked["replace"] == 2 * len(files)  # the entry of each, apart and then in place
    # Of a file and of its entry the content; of its three folders the names, which files of a bundle share; of folders
    # of entries the same once; of a region what it shows, and its own folders.
    waits = 5 * len(files) + 2 * len(folders) + 4 * regions
    assert asked["fsync"] <= waits + 2 * (len(keys) + keystores) + len(of_keys)
    asked.clear()
    ran(tmp_path, deployment)
    assert asked["link"] == 0
    assert asked["fsync"] <= waits
