"""Compaction: whenever it is looked at, stopped, killed or repeated, every row is there once."""

import os
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import audit, compaction, ingest, sweep
from pipelines import compact as command_of
from pipelines.compaction import MOST, compact, compacting, plan
from pipelines.deployment import load_deployment, prepare
from pipelines.errors import InputError
from pipelines.manifest import Entry, Manifest
from pipelines.shared_files import PART, File, files_of
from pipelines.stores import commit, open_dataset, open_entries, stage, unlocked
from schemas.datasets import datasets
from schemas.pack_files import load_pack
from tests.pipelines.test_stopped import History, listed, order, rows_of
from tests.stranger import command, deploy, event, ndjson
from transforms import keyring

DAY, DATASET, LATER = "2021-03-01", "operations", date(2021, 3, 9)


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def eu(tmp_path):
    place = load_deployment(deploy(tmp_path, ("eu",))).place("eu")
    prepare(place, lambda _: None)
    return place


def token(number):
    return number.to_bytes(2, "big") + bytes(14)


def rows(numbers, **more):
    """Rows in the order of their events' tokens, as the job stores them."""
    numbers = sorted(numbers, key=lambda n: int.from_bytes(token(n)[:8], "little"))
    types = pa.array(["crash"] * len(numbers)).dictionary_encode()
    return pa.record_batch({"event_type": types, "event_id": pa.array(map(token, numbers), pa.binary(16)), **more})


def write(place, window, numbers, dataset=DATASET, day=DAY, run="run"):
    commit([stage(place, dataset, day, f"abc-{window}-0", rows(numbers), run)])


def held(place, dataset=DATASET):
    where = place.store.parents[1] / "deployment.yaml"
    found = open_dataset(where, "eu", dataset).to_table()["event_id"].to_pylist()
    return sorted(int.from_bytes(each[:2], "big") for each in found)


def files(place, dataset=DATASET):
    return files_of(place.manifest.entries(dataset))


def on_disk(place):
    return {path.name for path in place.folder(DATASET).rglob("*.parquet")}


SIX = {window: range(window, 50 + 6 * window, 6) for window in range(6)}
ALL = sorted(number for numbers in SIX.values() for number in numbers)


@pytest.fixture
def six(eu):
    """Six windows of a day, a file each."""
    for window, numbers in SIX.items():
        write(eu, window, numbers)
    return eu


sizes = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 5), st.booleans()), max_size=40)


def made(sizes):
    """Files of these (bytes, logical files, whether there are rows that nobody names)."""
    for number, (size, shared, dead) in enumerate(sizes):
        among = shared + dead
        named = (
            Entry("d", DAY, f"a-{number}-{part}", 1, "r", f"f{number}", bytes=size, part=part, among=among)
            for part in range(shared)
        )
        yield File(tuple(named))


@given(sizes)
def test_what_is_planned(sizes):
    given = list(made(sizes))
    packs = plan(given, full=100, most=6)
    packed = [file for pack in packs for file in pack]
    assert len({file.name for file in packed}) == len(packed)
    assert all(not file.whole or file.bytes < 50 for file in packed)
    left = [file for file in given if file not in packed]
    assert all(file.whole for file in left)
    for pack in packs:
        assert len(pack) > 1 or not pack[0].whole
        assert len(pack) == 1 or sum(len(file.entries) for file in pack) <= 6
        assert len(pack) == 1 or sum(file.bytes for file in pack[:-1]) < 100


@given(sizes)
def test_what_is_planned_again_and_again_comes_to_an_end(sizes):
    given, rounds = list(made(sizes)), 0
    while packs := plan(given, full=100, most=6):
        packed = {file.name for pack in packs for file in pack}
        given = [file for file in given if file.name not in packed]
        for pack in packs:
            entries = [entry for file in pack for entry in file.entries]
            what = {"file": pack[0].name, "bytes": sum(file.bytes for file in pack), "among": len(entries)}
            given.append(File(tuple(replace(e, part=part, **what) for part, e in enumerate(entries))))
        rounds += 1
        assert rounds <= len(sizes)


def test_a_day_becomes_one_file_with_the_same_rows_and_entries(six):
    before = {entry.logical: entry for entry in six.manifest.entries(DATASET)}
    write(six, 7, [999], day="2021-03-09")  # not before the date
    done = compact(six, DATASET, LATER)
    assert (done.before, done.after) == (6, 1)
    assert held(six) == [*ALL, 999]
    after = {entry.logical: entry for entry in six.manifest.entries(DATASET)}
    assert all(
        (was.rows, was.digest, was.run) == (after[name].rows, after[name].digest, after[name].run)
        for name, was in before.items()
    )
    (shared,) = (file for file in files(six) if file.shared)
    assert shared.whole and len(shared.entries) == 6
    assert not {entry.wrapped_key for entry in before.values()} & {entry.wrapped_key for entry in shared.entries}
    assert compact(six, DATASET, LATER).before == 0


@pytest.mark.clause("2-log")
def test_rows_lie_in_the_order_of_their_tokens_whatever_they_came_from(six):
    compact(six, DATASET, LATER)
    path, decryption = unlocked(six, files(six)[0])
    with pq.ParquetFile(path, decryption_properties=decryption) as parquet:
        found = parquet.read()
    keys = [int.from_bytes(each[:8], "little") for each in found["event_id"].to_pylist()]
    assert keys == sorted(keys)
    assert len(set(np.flatnonzero(np.diff(found[PART].to_numpy())))) > 10, "parts lie among each other"
    names = open_entries(six, list(six.manifest.entries(DATASET))).schema.names
    assert names == ["event_type", "event_id", "received_date"]


def test_rows_without_a_token_keep_none_of_their_files_together(eu):
    for window in range(2):
        numbers = pa.array(range(window * 1000, window * 1000 + 1000))
        commit([stage(eu, "research", DAY, f"abc-{window}-0", pa.record_batch({"number": numbers}), "run")])
    compact(eu, "research", LATER)
    found = open_entries(eu, list(eu.manifest.entries("research"))).to_table()["number"].to_numpy()
    assert sorted(found) == list(range(2000))
    assert 400 < np.count_nonzero(np.diff(found // 1000)) < 1600


class Killed(BaseException):
    pass


def steps(monkeypatch, before_each):
    """Calls that before whatever compaction does to a disk."""
    monkeypatch.setattr(keyring, "DISK_THREADS", 1)  # one after the other
    for of, name in ((compaction, "on_disk"), (os, "utime"), (Manifest, "exchange"), (os, "replace")):
        plain = getattr(of, name)

        def step(*given, plain=plain):
            before_each()
            return plain(*given)

        monkeypatch.setattr(of, name, step)


def test_a_reader_sees_every_row_once_at_every_step(six, monkeypatch):
    where = six.store.parents[1] / "deployment.yaml"
    early, seen = open_dataset(where, "eu", DATASET), []
    steps(monkeypatch, lambda: seen.append((held(six) == ALL, open_dataset(where, "eu", DATASET))))
    compact(six, DATASET, LATER)
    assert len(seen) == 2 + 6 + 6 + 6 and all(whole for whole, _ in seen)
    assert early.count_rows() == len(early.to_table()) == len(ALL), "who opened it before goes on"
    assert all(opened.count_rows() == len(ALL) for _, opened in seen), "and who opened it meanwhile"
    assert len(files(six)) == 1


@pytest.mark.parametrize("at", range(20))
def test_a_kill_at_any_step_leaves_every_row_once_and_is_made_good(six, monkeypatch, at):
    left = iter(range(at))

    def kill():
        if next(left, None) is None:
            raise Killed

    with monkeypatch.context() as patch:
        steps(patch, kill)
        with pytest.raises(Killed):
            compact(six, DATASET, LATER)
    assert held(six) == ALL
    compact(six, DATASET, LATER)
    assert held(six) == ALL and len(files(six)) == 1 and files(six)[0].whole
    assert command(sweep, "--deployment", six.store.parents[1] / "deployment.yaml", "--older-than", "0").status == 0
    assert held(six) == ALL and len(on_disk(six)) == 1


def test_readers_beside_a_compaction(six):
    wrong, over = [], threading.Event()

    def read():
        while not over.is_set():
            if held(six) != ALL:
                wrong.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for turn in range(5):
        compact(six, DATASET, LATER)
        write(six, turn, SIX[turn])
    over.set()
    reader.join()
    assert not wrong


@pytest.mark.parametrize("numbers", [SIX[2], (1, 2), ()], ids=["the same", "others", "none"])
def test_what_is_written_again_takes_the_place_of_its_part(six, numbers):
    compact(six, DATASET, LATER)
    wanted = sorted([n for n in ALL if n not in SIX[2]] + [*numbers])
    first = files(six)[0].name
    write(six, 2, numbers, run="again")
    assert held(six) == wanted and not next(file for file in files(six) if file.name == first).whole
    compact(six, DATASET, LATER)
    assert held(six) == wanted
    (file,) = files(six)
    assert file.whole and file.name != first and {e.run for e in file.entries} <= {"run", "again"}


@pytest.mark.parametrize("come", [lambda eu: write(eu, 2, [1, 2]), lambda eu: erase(eu, 2)], ids=["written", "erased"])
def test_what_comes_while_files_are_put_together_stays(six, monkeypatch, come):
    plain = compaction._write

    def writing(*given):
        done = plain(*given)
        come(six)
        return done

    monkeypatch.setattr(compaction, "_write", writing)
    compact(six, DATASET, LATER)
    gone = [n for n in ALL if n not in SIX[2]]
    assert held(six) in (gone, sorted([*gone, 1, 2]))
    monkeypatch.setattr(compaction, "_write", plain)
    now = held(six)
    compact(six, DATASET, LATER)
    assert held(six) == now and len(files(six)) == 1 and files(six)[0].whole


def erase(place, window):
    place.manifest.put(Entry(DATASET, DAY, f"abc-{window}-0", 0, erased=True))


@pytest.mark.clause("5.2-erase")
def test_what_is_erased_is_gone_at_once_and_from_the_file_with_the_next_compaction(six):
    compact(six, DATASET, LATER)
    (old,) = files(six)
    erase(six, 3)
    left = [n for n in ALL if n not in SIX[3]]
    assert held(six) == left
    write(six, 3, SIX[3])
    assert held(six) == left, "a tombstone is for ever"
    compact(six, DATASET, LATER)
    (new,) = files(six)
    assert held(six) == left and new.whole and new.entries[0].among == len(left)
    kept = b"".join(path.read_bytes() for path in six.manifest_folder.parent.rglob("*") if path.is_file())
    assert old.entries[0].wrapped_key.encode() not in kept, "no copy of the older file can be read any more"
    assert command(sweep, "--deployment", six.store.parents[1] / "deployment.yaml", "--older-than", "0").status == 0
    assert on_disk(six) == {new.name}


def test_two_that_put_the_same_files_together(six, monkeypatch):
    pack = files(six)
    compaction._merge(six, pack)
    compaction._merge(six, pack)  # as if both had read the manifest before
    assert held(six) == ALL and len(files(six)) == 1
    assert len(on_disk(six)) == 7, "the file that nobody names is gone"


def test_one_at_a_time_compacts_a_region(six):
    given = ("--deployment", six.store.parents[1] / "deployment.yaml")
    with compacting(six) as mine:
        assert mine
        outcome = command(command_of, *given)
        assert outcome.status == 0 and outcome.out == "" and "another compaction is going on" in outcome.err
    assert len(files(six)) == 6
    assert command(command_of, *given).out == "eu: 6 files became 1\n"


def test_a_region_that_holds_nothing_stays_so(tmp_path):
    where = deploy(tmp_path, ("eu",))
    assert command(command_of, "--deployment", where).out == "eu: nothing is stored\n"
    assert [path.name for path in tmp_path.rglob("*")] == ["deployment.yaml"]


def test_what_was_replaced_is_as_new_for_a_sweep(six):
    for path in six.store.rglob("*.parquet"):
        os.utime(path, (1, 1))
    given = ("--deployment", six.store.parents[1] / "deployment.yaml")
    opened = open_dataset(given[1], "eu", DATASET)
    compact(six, DATASET, LATER)
    assert command(sweep, *given).out == "eu: 0 files removed, 0.0 MB\n"
    assert opened.count_rows() == len(ALL)
    for path in six.store.rglob("*.parquet"):
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    assert command(sweep, *given).out.startswith("eu: 6 files removed") and held(six) == ALL


def test_a_sweep_that_had_listed_its_files_before_leaves_what_was_replaced_meanwhile(six, monkeypatch):
    for path in six.store.rglob("*.parquet"):
        os.utime(path, (1, 1))
    waiting = Manifest.waiting

    def meanwhile(manifest):
        compact(six, DATASET, LATER)
        return waiting(manifest)

    plain = Manifest.datasets
    monkeypatch.setattr(Manifest, "datasets", lambda held: [meanwhile(held), plain(held)][1])
    monkeypatch.setattr(compaction, "compactable", lambda _: [DATASET])
    assert list(sweep.unnamed(six, time.time() - 3600)) == []
    assert held(six) == ALL and len(on_disk(six)) == 7


def test_files_of_other_columns_stay_apart(six):
    commit([stage(six, DATASET, DAY, "abc-8-0", rows([900], added=pa.array([1])), "run")])
    compact(six, DATASET, LATER)
    assert sorted(len(file.entries) for file in files(six)) == [1, 6]
    assert held(six) == [*ALL, 900]


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_a_file_that_cannot_be_read_is_told_and_nothing_is_changed(six, spoil):
    before = list(six.manifest.entries(DATASET))
    spoil(sorted(six.store.rglob("*.parquet"))[2])
    there = on_disk(six)
    with pytest.raises(InputError, match="cannot be read .*bring it back"):
        compact(six, DATASET, LATER)
    assert list(six.manifest.entries(DATASET)) == before and on_disk(six) == there


def test_a_file_without_the_rows_that_its_entry_counts_is_not_put_together(six):
    before = list(six.manifest.entries(DATASET))
    six.manifest.put(replace(before[1], rows=before[1].rows + 1))
    with pytest.raises(InputError, match="has not the rows that the manifest says"):
        compact(six, DATASET, LATER)
    assert len(files(six)) == 6 and len(on_disk(six)) == 6


def test_no_more_than_so_many_in_one(eu):
    entries = [Entry("d", DAY, f"a-{n}-0", 1, "r", f"f{n}", bytes=1) for n in range(MOST * 2 + 1)]
    assert [len(pack) for pack in plan(files_of(entries))] == [MOST, MOST]


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("seed", range(12))
def test_readers_leave_out_the_same_rows_of_files_that_were_put_together(eu, seed):
    """Whatever orders and lots there are, and whichever of them lie together."""
    draw, history = random.Random(seed), History(seed)
    history.write(eu)
    for _ in range(2):
        found = files(eu)
        compaction._merge(eu, draw.sample(found, draw.randrange(1, len(found) + 1)))
    lists = files(eu, f"{DATASET}_stopped")
    compaction._merge(eu, lists)
    if seed % 2:  # one of them is written again
        at = draw.choice(list(history.files))
        commit([stage(eu, DATASET, DAY, "{}-{}-{}".format(*at), rows_of(history.files[at]), "run")])
        name, orders = draw.choice(list(history.lists.items()))
        commit([stage(eu, f"{DATASET}_stopped", DAY, f"{name}-0-0", listed(orders), "run")])
    dataset = open_dataset(eu.store.parents[1] / "deployment.yaml", "eu", DATASET)
    assert sorted(int.from_bytes(e, "big") for e in dataset.to_table()["event_id"].to_pylist()) == history.left()
    assert dataset.count_rows() == len(history.left())
    assert dataset.schema.names[-1] == "received_date" and not any(name[0] == "_" for name in dataset.schema.names)


@pytest.mark.clause("5.3")
def test_a_stop_that_comes_later_takes_rows_out_of_a_shared_file(eu):
    records = [{"event": n, "device": n % 3, "account": None, "time": 0, "app": None} for n in range(1, 13)]
    for window in range(4):
        commit([stage(eu, DATASET, DAY, f"a-{window}-0", rows_of(records[window * 3 : window * 3 + 3]), "run")])
    compact(eu, DATASET, LATER)
    commit([stage(eu, f"{DATASET}_stopped", DAY, "a-2-0", listed([order(1, 1, window=2)]), "run")])
    dataset = open_dataset(eu.store.parents[1] / "deployment.yaml", "eu", DATASET)
    assert sorted(int.from_bytes(e, "big") for e in dataset.to_table()["event_id"].to_pylist()) == [
        n for n in range(1, 13) if not (n % 3 == 1 and n <= 6)
    ]


def test_a_file_of_many_row_groups_is_in_order_throughout(eu):
    drawn = np.random.default_rng(1).integers(0, 1 << 64, (2, 300_000), np.uint64)
    for window, words in enumerate(np.sort(drawn)):
        tokens = pa.Array.from_buffers(pa.binary(16), len(words), [None, pa.py_buffer(np.repeat(words, 2).tobytes())])
        made = pa.record_batch({"event_id": tokens, "number": np.arange(len(words)) + window * len(words)})
        commit([stage(eu, DATASET, DAY, f"abc-{window}-0", made, "run")])
    compact(eu, DATASET, LATER)
    path, decryption = unlocked(eu, files(eu)[0])
    with pq.ParquetFile(path, decryption_properties=decryption) as parquet:
        assert parquet.num_row_groups == 3
        found = parquet.read()
    words = np.frombuffer(found["event_id"].combine_chunks().buffers()[1], np.uint64)[::2]
    assert (words == np.sort(drawn, axis=None)).all()
    assert (np.sort(drawn).ravel()[found["number"].to_numpy()] == words).all(), "every row has kept its own token"
    assert (found[PART].to_numpy() == found["number"].to_numpy() // 300_000).all()


@pytest.mark.clause("5.2-erase")
@pytest.mark.parametrize("seed", range(8))
def test_whatever_happens_in_whatever_order(eu, monkeypatch, seed):
    """Windows are written, and written again, and erased; compactions are killed, or act on what they read long ago."""
    draw, expected, erased, read_before = random.Random(seed), {}, set(), []
    for _ in range(25):
        window, act = draw.randrange(8), draw.choice(["write", "write", "erase", "compact", "killed", "late", "look"])
        if act == "write":
            numbers = range(window, draw.randrange(60), 8)
            write(eu, window, numbers)
            expected[window] = [] if window in erased else list(numbers)
        elif act == "erase" and draw.random() < 0.3:
            erase(eu, window)
            erased.add(window)
            expected[window] = []
        elif act == "look" and (found := files(eu)):
            read_before = draw.sample(found, draw.randrange(1, len(found) + 1))
        elif act == "late" and read_before:
            compaction._merge(eu, read_before)
        elif act == "killed":
            left = iter(range(draw.randrange(12)))

            def kill(left=left):
                if next(left, None) is None:
                    raise Killed

            with monkeypatch.context() as patch:
                steps(patch, kill)
                with suppress(Killed):
                    compact(eu, DATASET, LATER)
        elif act == "compact":
            compact(eu, DATASET, LATER)
        assert held(eu) == sorted(number for numbers in expected.values() for number in numbers), act
    compact(eu, DATASET, LATER)
    assert all(file.whole for file in files(eu)) and len(files(eu)) <= 1


@pytest.mark.clause("5.2-erase")
def test_runs_over_several_inputs_are_put_together_and_each_can_be_made_again(prepared, tmp_path):
    copied = prepared.copy(tmp_path / "copy")
    names = list(datasets(load_pack()))
    more = tmp_path / "more.ndjson"
    more.write_bytes(ndjson(*(event(900 + n, "session", region) for n in range(3) for region in ("eu", "us"))))
    inputs = [copied.folder / "events.ndjson", more]

    def run(events):
        consents = ("--consents", copied.folder / "consents.ndjson")
        assert command(ingest, "--events", events, *consents, "--deployment", copied.deployment).status == 0

    def everything():
        read = {name: open_dataset(copied.deployment, "eu", name).to_table() for name in names}
        return {name: sorted(map(str, table.to_pylist())) for name, table in read.items()}

    def compacted():
        outcome = command(command_of, "--deployment", copied.deployment)
        assert outcome.status == 0, outcome.err
        return [
            line
            for line in outcome.out.splitlines()
            if line.endswith(": 0 files became 0") is line.endswith("nothing is stored")
        ]

    run(more)
    before = everything()
    assert len(before["service"]) == 5 and [line[:3] for line in compacted()] == ["eu:", "us:"]
    assert everything() == before and not compacted()
    for events in inputs:
        run(events)
        assert everything() == before
        assert compacted() and everything() == before
    assert command(audit, "--deployment", copied.deployment).status == 0


def test_what_is_asked_for_wrongly(six):
    given = ("--deployment", six.store.parents[1] / "deployment.yaml")
    outcome = command(command_of, *given, "--dataset", "audit")
    assert outcome.status == 2 and "there are: operations" in outcome.err
    assert command(command_of, *given, "--before", "soon").status == 2
