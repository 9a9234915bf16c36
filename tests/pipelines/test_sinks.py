"""RegionalStore: each row in its region and day, foreign rows refused, what is gone taken away."""

import datetime as dt

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from pipelines import sinks
from pipelines.deployment import load_deployment, prepare
from pipelines.manifest import Entry
from pipelines.sinks import RegionalStore, by_date, logical_name
from pipelines.stores import open_dataset, retire
from schemas.fields import EVENT_TYPES
from tests.stranger import deploy
from tests.tallied import plain
from transforms.for_purpose import RECEIVED, REGION, ROWS

EU, US = 3, 4
DAY_MS = 86_400_000
NOON = 18_687 * DAY_MS + DAY_MS // 2  # 2021-03-01T12:00


def rows(*received, regions=None, event_types=None):
    count = len(received)
    return pa.record_batch(
        {
            "event_type": pa.array(event_types or [0] * count, pa.int8()),
            "number": pa.array(range(count), pa.int64()),
            REGION: pa.array(regions or [EU] * count, pa.int8()),
            RECEIVED: pa.array(received, pa.int64()),
        }
    )


@pytest.fixture
def deployment(tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu", "us")))
    for place in made.regions.values():
        prepare(place, lambda _: None)
    return made


@pytest.fixture
def store(deployment):
    """Stores batches of one dataset in one lot, and checks what the step counts of it."""

    def run(batch, expected, dataset="service", lot=(EU, 0, 0), run="first"):
        transform = RegionalStore({EU: deployment.place("eu"), US: deployment.place("us")}, "abc", run)
        with beam.Pipeline(runner="FnApiRunner") as pipeline:
            lots = pipeline | beam.Create([((dataset, lot), batch)]).with_output_types(ROWS)
            assert_that(lots | transform, counted_as(expected))

    return run


def counted_as(expected):
    def matches(tallies):
        assert plain(tallies) == expected

    return matches


def stored(count, outcome="stored", event_type=EVENT_TYPES[0]):
    return {("eu", "store", outcome, event_type, "service", "service"): count}


def foreign(count):
    return {("eu", "store", "foreign", "service"): count}


@given(st.lists(st.integers(0, 5 * DAY_MS), max_size=30).map(sorted))
def test_rows_are_cut_at_the_ends_of_days(received):
    parts = list(by_date(rows(*received)))
    assert sum((part["number"].to_pylist() for _, part in parts), []) == list(range(len(received)))
    for date, part in parts:
        days = {dt.datetime.fromtimestamp(ms / 1000, dt.UTC).date().isoformat() for ms in part[RECEIVED].to_pylist()}
        assert days == {date}
    assert len({date for date, _ in parts}) == len(parts)


def test_rows_lie_under_the_day_of_their_receipt(deployment, store):
    store(
        rows(NOON, NOON + 1, NOON + DAY_MS, event_types=[0, 2, 2]),
        stored(1) | stored(2, event_type=EVENT_TYPES[2]),
    )
    table = open_dataset(deployment, "eu", "service").to_table()
    assert table.column_names == ["event_type", "number", "received_date"]
    assert table["received_date"].to_pylist() == ["2021-03-01", "2021-03-01", "2021-03-02"]
    assert table["event_type"].cast(pa.string()).to_pylist() == [EVENT_TYPES[code] for code in (0, 2, 2)]


@pytest.mark.clause("3.2")
@pytest.mark.clause("6-dc")
def test_a_row_of_another_region_is_refused(deployment, store):
    store(rows(NOON, NOON, NOON, regions=[EU, US, EU]), foreign(1) | stored(2))
    assert open_dataset(deployment, "eu", "service").to_table()["number"].to_pylist() == [0, 2]
    assert not [path for path in deployment.place("us").store.rglob("*") if path.is_file()]


def test_a_row_without_a_region_is_refused(deployment, store):
    store(rows(NOON, NOON, regions=[None, EU]), foreign(1) | stored(1))
    assert open_dataset(deployment, "eu", "service").to_table()["number"].to_pylist() == [1]


def test_a_second_run_replaces_and_takes_away_what_is_gone(deployment, store):
    store(rows(NOON, NOON + DAY_MS), stored(2))
    store(rows(NOON, NOON), stored(2), run="second")
    retire(deployment.place("eu"), "abc", "second")
    assert open_dataset(deployment, "eu", "service").to_table()["received_date"].to_pylist() == ["2021-03-01"] * 2
    store(rows(), {}, run="third")
    retire(deployment.place("eu"), "abc", "third")
    assert [entry.rows for entry in deployment.place("eu").manifest.entries("service")] == [0, 0]


def test_other_lots_are_left_alone(deployment, store):
    store(rows(NOON), stored(1))
    store(rows(NOON, NOON), stored(2), lot=(EU, 1, 0))
    store(rows(NOON, NOON, NOON), stored(3), lot=(EU, 0, 7))
    assert open_dataset(deployment, "eu", "service").count_rows() == 6
    names = {entry.logical for entry in deployment.place("eu").manifest.entries("service")}
    assert names == {logical_name("abc", 0, 0), logical_name("abc", 0, 1), logical_name("abc", 7, 0)}


@pytest.mark.clause("5.2-erase")
def test_erased_rows_are_told_apart(deployment, store):
    eu = deployment.place("eu")
    eu.manifest.put(Entry("service", "2021-03-01", logical_name("abc", 0, 0), 0, erased=True))
    store(rows(NOON, NOON + DAY_MS), stored(1, "erased") | stored(1))
    assert open_dataset(deployment, "eu", "service").to_table()["received_date"].to_pylist() == ["2021-03-02"]


def test_what_is_sensitive_is_counted_for_its_purpose_and_dataset(deployment, store):
    store(
        rows(NOON, NOON),
        {("eu", "store", "stored", EVENT_TYPES[0], "service", "service_sensitive"): 2},
        dataset="service_sensitive",
    )


def test_freshness_is_a_sum_a_count_and_the_oldest(monkeypatch):
    told = {}
    for name in ("FRESHNESS", "FRESHNESS_ROWS"):
        monkeypatch.setattr(getattr(sinks, name), "inc", lambda value, name=name: told.update({name: value}))
    monkeypatch.setattr(sinks.OLDEST, "set", lambda value: told.update(OLDEST=value))
    sinks.tell_freshness(np.array([1_000, 2_500, 4_000]), 5_000)
    assert told == {"FRESHNESS": 7_500, "FRESHNESS_ROWS": 3, "OLDEST": 4_000}
