"""Entries are whole or not there, and a tombstone is for ever."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import manifest
from pipelines.errors import InputError, StoreError
from pipelines.manifest import Entry, Manifest
from pipelines.whole_files import put_whole

ENTRY = Entry("service", "2021-03-01", "abc-0-0", 7, "run", "abc-0-0.f00.parquet", "d3JhcHBlZA==", "digest", 1234)
TOMBSTONE = Entry("service", "2021-03-01", "abc-0-0", 0, erased=True)
words = st.text("abcdefghijklmnopqrstuvwxyz0123456789-_", min_size=1, max_size=20)


@settings(max_examples=50, deadline=None)
@given(
    st.builds(
        Entry,
        words,
        words,
        words,
        st.integers(0),
        words,
        st.none() | words,
        st.none() | st.text(),
        st.none() | words,
        st.integers(0),
        st.booleans(),
    )
)
def test_what_is_put_is_read(tmp_path_factory, entry):
    held = Manifest(tmp_path_factory.mktemp("manifest"))
    assert held.put(entry)
    assert list(held.entries(entry.dataset)) == [entry] == list(held.of(entry.dataset, entry.logical))
    assert held.datasets() == [entry.dataset]


def test_entries_come_in_the_order_of_their_names(tmp_path):
    held = Manifest(tmp_path)
    places = [(date, logical) for date in ("2021-03-02", "2021-03-01") for logical in ("b-0-0", "a-0-0")]
    for date, logical in places:
        held.put(replace(ENTRY, received_date=date, logical=logical))
    assert [(e.received_date, e.logical) for e in held.entries("service")] == sorted(places)
    assert [e.received_date for e in held.of("service", "a-0-0")] == ["2021-03-01", "2021-03-02"]


def test_a_later_entry_takes_the_place_of_an_older_one(tmp_path):
    held = Manifest(tmp_path)
    assert held.put(ENTRY)
    later = replace(ENTRY, rows=9, file="abc-0-0.f01.parquet")
    assert held.put(later)
    assert list(held.entries("service")) == [later]


@pytest.mark.clause("5.2-erase")
def test_a_tombstone_is_never_replaced(tmp_path):
    held = Manifest(tmp_path)
    held.put(ENTRY)
    assert held.put(TOMBSTONE)
    assert not held.put(ENTRY)
    assert not held.put(replace(ENTRY, rows=0, file=None, wrapped_key=None))
    assert list(held.entries("service")) == [TOMBSTONE]
    assert held.put(replace(ENTRY, received_date="2021-03-02"))  # another day is another file


@pytest.mark.clause("5.2-erase")
def test_a_tombstone_that_comes_while_a_writer_is_at_it_stays(tmp_path, monkeypatch):
    held, plain = Manifest(tmp_path), manifest.put_whole
    eraser = threading.Thread(target=held.put, args=(TOMBSTONE,))

    def slowly(path, content):
        monkeypatch.setattr(manifest, "put_whole", plain)
        eraser.start()
        eraser.join(3)  # where a lock keeps it out it comes later
        plain(path, content)

    monkeypatch.setattr(manifest, "put_whole", slowly)
    held.put(ENTRY)
    eraser.join()
    assert list(held.entries("service")) == [TOMBSTONE]


def test_nothing_there(tmp_path):
    held = Manifest(tmp_path / "none")
    assert held.datasets() == []
    assert list(held.entries("service")) == list(held.of("service", "abc-0-0")) == []
    assert not (tmp_path / "none").exists()


def test_an_entry_of_another_format_is_refused(tmp_path):
    held = Manifest(tmp_path)
    held.put(ENTRY)
    path = next(tmp_path.rglob("*.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": manifest.FORMAT + 1}))
    with pytest.raises(InputError, match="written by another version"):
        list(held.entries("service"))


def test_who_fails_halfway_leaves_the_older_one(tmp_path, monkeypatch):
    held = Manifest(tmp_path)
    held.put(ENTRY)

    def failing(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(StoreError, match="No space left on device"):
        held.put(replace(ENTRY, rows=9))
    assert list(held.entries("service")) == [ENTRY]
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


WRITER = """
import sys
from pathlib import Path
from pipelines.errors import InputError
from pipelines.manifest import Entry, Manifest
folder, writer = Path(sys.argv[1]), int(sys.argv[2])
file = "x" * 5000 * (writer + 1)
for turn in range(20):
    Manifest(folder).put(Entry("service", "2021-03-01", "abc-0-0", writer, file=file, bytes=turn))
"""


def _processes(folder):
    root = Path(manifest.__file__).parents[1]
    started = [subprocess.Popen([sys.executable, "-c", WRITER, folder, str(n)], cwd=root) for n in range(2)]
    return [process.poll for process in started]


def _threads(folder):
    def write(writer):
        for turn in range(20):
            Manifest(folder).put(replace(ENTRY, rows=writer, file="x" * 5000 * (writer + 1), bytes=turn))

    pool = ThreadPoolExecutor(4)
    futures = [pool.submit(write, writer) for writer in range(4)]
    pool.shutdown(wait=False)
    return [lambda each=future: 0 if each.done() and not each.exception() else None for future in futures]


@pytest.mark.parametrize("start", [_threads, _processes])
def test_who_writes_at_once_leaves_one_whole_entry(tmp_path, start):
    held = Manifest(tmp_path)
    writers = start(tmp_path)
    deadline = time.monotonic() + 60
    while any(writer() is None for writer in writers):
        assert time.monotonic() < deadline
        for entry in held.entries("service"):  # raises for a part
            assert len(entry.file) == 5000 * (entry.rows + 1)
    assert [writer() for writer in writers] == [0] * len(writers)
    (entry,) = held.entries("service")
    assert entry.bytes == 19
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_put_whole_makes_the_folders_on_the_way(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    put_whole(path, memoryview(b"content"))
    assert path.read_bytes() == b"content"
    assert [each.name for each in path.parent.iterdir()] == ["file"]


def test_what_is_taken_back_is_taken_at_one_moment(tmp_path, monkeypatch):
    """Whoever goes on all the same, and publishes meanwhile, shows nothing of it: half would be worse."""
    mine, remove = Manifest(tmp_path, "abc-1"), manifest.shutil.rmtree
    mine.put(ENTRY)
    monkeypatch.setattr(manifest.shutil, "rmtree", lambda path: mine.publish())
    Manifest(tmp_path).withdraw("abc-", time.time() + 1)
    assert list(Manifest(tmp_path).entries("service")) == []
    monkeypatch.setattr(manifest.shutil, "rmtree", remove)  # the first was killed: the next ends it
    assert Manifest(tmp_path).withdraw("abc-", time.time() + 1) == set()


def test_runs_that_end_at_once_do_not_fail_each_other(tmp_path):
    for _ in range(10):
        attempt = Manifest(tmp_path, "in-run")
        for number in range(40):
            attempt.put(replace(ENTRY, logical=f"in-{number}"))
        attempt.publish()
        told = []
        with ThreadPoolExecutor(3) as runs:
            list(runs.map(Manifest(tmp_path).settle, [told.append] * 3))
        assert told == ["in-run"]
        assert len(list(Manifest(tmp_path).entries(ENTRY.dataset))) == 40 and not attempt.published()
