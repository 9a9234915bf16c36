"""Releases: made once, whole, and never again."""

import json
import stat
import threading

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.testing.util import assert_that

from pipelines.deployment import load_deployment
from pipelines.errors import StoreError
from pipelines.statistics_store import StatisticsStore, _put_once
from schemas.pack_files import load_pack
from schemas.statistics import RELEASE, release_schema
from tests.stranger import deploy
from transforms.statistics import Day

PACK = load_pack()
EU, US = PACK.where.code("eu"), PACK.where.code("us")
DAY = 18_687
NAME = RELEASE.format(day="2021-03-01")


def exact(devices=1_000_000):
    names = release_schema(PACK.statistics).names[2:-2]
    columns = {name: pa.nulls(1, pa.string()) for name in names}
    return pa.record_batch({"table": ["active"], **columns, "devices": [devices], "events": [devices]})


@pytest.fixture
def places(tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu", "us"))).regions
    return {EU: made["eu"], US: made["us"]}


@pytest.fixture
def store(places):
    """Releases days, and checks what the step tells of them: {(region, outcome): records}."""

    def run(days, expected, run="first", *flags):
        def told(actual):
            found = {}
            for region, rows in actual:
                for row in rows.to_pylist():
                    assert (row["step"], row["purpose"], row["hour"]) == ("statistics", "statistics", None)
                    found[region, row["outcome"]] = found.get((region, row["outcome"]), 0) + row["count"]
            assert found == expected

        options = beam.options.pipeline_options.PipelineOptions(["--runner=FnApiRunner", *flags])
        with beam.Pipeline(options=options) as pipeline:
            elements = pipeline | beam.Create(days).with_output_types(Day)
            assert_that(elements | StatisticsStore(places, PACK, run), told)

    return run


@pytest.mark.clause("1.1.4-b")
def test_a_release_is_made_once_and_never_replaced(places, store):
    store([((EU, DAY), (7, exact())), ((US, DAY), (9, exact()))], {("eu", "released"): 7, ("us", "released"): 9})
    file = places[EU].statistics / NAME
    before = file.read_bytes(), file.stat().st_mtime_ns
    store([((EU, DAY), (5, exact(2_000_000)))], {("eu", "already_released"): 5}, "second")
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before


def test_no_noise_is_drawn_for_a_day_that_is_released(store, monkeypatch):
    def drawn(*_):
        raise AssertionError("drawn again")

    store([((EU, DAY), (7, exact()))], {("eu", "released"): 7})
    monkeypatch.setattr("pipelines.statistics_store.release", drawn)
    store([((EU, DAY), (7, exact()))], {("eu", "already_released"): 7}, "second")


def test_a_bundle_that_is_tried_again_finds_its_own_release(places, store):
    store([((EU, DAY), (7, exact()))], {("eu", "released"): 7})
    before = (places[EU].statistics / NAME).read_bytes()
    store([((EU, DAY), (7, exact()))], {("eu", "released"): 7})
    store([((EU, DAY + 1), (7, exact()))], {("eu", "released"): 7}, "third", "--direct_runner_bundle_repeat=2")
    assert (places[EU].statistics / NAME).read_bytes() == before


@pytest.mark.clause("1.1.4-b")
def test_a_day_on_which_nothing_may_be_shown_is_spent_as_well(places, store):
    """Or it could be tried until something is shown."""
    store([((EU, DAY), (1, exact(1)))], {("eu", "released"): 1})
    assert pq.read_table(places[EU].statistics / NAME).num_rows == 0
    store([((EU, DAY), (1, exact()))], {("eu", "already_released"): 1}, "second")
    assert pq.read_table(places[EU].statistics / NAME).num_rows == 0


@pytest.mark.clause("3.1.4")
def test_a_release_says_how_it_was_made_and_nothing_exact(places, store):
    store([((EU, DAY), (123_457, exact(1_234_567)))], {("eu", "released"): 123_457})
    file = pq.ParquetFile(places[EU].statistics / NAME)
    facts = {key.decode(): value.decode() for key, value in file.schema_arrow.metadata.items()}
    tables = json.loads(facts["tables"])
    assert facts["epsilon"] == "1" and facts["delta"] == "1e-08" and facts["clause"] == "1.1.4-b"
    assert (facts["policy"], facts["region"], facts["day"]) == (PACK.version, "eu", "2021-03-01")
    spent = sum(sum(table["epsilon"].values()) for table in tables.values())
    assert spent == pytest.approx(float(facts["epsilon"]))
    assert sum(table["delta"]["groups"] for table in tables.values()) == pytest.approx(float(facts["delta"]))
    assert {name: table["by"] for name, table in tables.items()} == {
        name: list(table.by) for name, table in PACK.statistics.tables.items()
    }
    assert not {"123457", "1234567"} & {str(fact) for fact in facts.values()}
    (row,) = file.read().to_pylist()
    assert abs(row["value"] - 1_234_567) < 10_000 and row["interval"] == 30


def test_anybody_may_read_a_release(places, store):
    store([((EU, DAY), (1, exact()))], {("eu", "released"): 1})
    assert (places[EU].statistics / NAME).stat().st_mode & stat.S_IROTH


def test_of_many_attempts_at_once_one_counts_and_no_other_leaves_a_trace(tmp_path):
    path, ready = tmp_path / "day=2021-03-01" / "release.parquet", threading.Barrier(8)
    tables = [pa.table({"value": np.full(1_000, number)}) for number in range(8)]

    def attempt(table):
        ready.wait()
        _put_once(path, table)

    threads = [threading.Thread(target=attempt, args=(table,)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert sum(pq.read_table(path).equals(table) for table in tables) == 1


def test_who_comes_second_changes_nothing(tmp_path):
    path = tmp_path / "day=2021-03-01" / "release.parquet"
    for number in (1, 2):
        _put_once(path, pa.table({"value": [number]}))
    assert pq.read_table(path)["value"].to_pylist() == [1] and len(list(path.parent.iterdir())) == 1


def test_what_a_killed_worker_drew_is_taken_away_before_another_draw(tmp_path):
    path = tmp_path / "day=2021-03-01" / "release.parquet"
    path.parent.mkdir()
    path.with_name(f".{path.name}.0123456789abcdef.part").write_bytes(b"noise")
    _put_once(path, pa.table({"value": [1]}))
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def broken(table, where):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", broken)
    path = tmp_path / "day=2021-03-01" / "release.parquet"
    with pytest.raises(StoreError, match="No space left"):
        _put_once(path, pa.table({"value": [1]}))
    assert not list(path.parent.iterdir())
