import math
import re
from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, is_empty
from hypothesis import given

from schemas.datasets import datasets
from schemas.fields import EVENT_TYPES, Sensitivity
from schemas.layout import layout
from schemas.policy import Form, load_pack
from tests.judged import judged_batch
from tests.strategies import few, seeds
from transforms.exchange import Judged
from transforms.for_purpose import ORDER, RECEIVED, REGION, SUBJECTS, ForPurpose, for_purpose

PACK = load_pack()
PLAN = layout(PACK)
DATASETS = datasets(PACK)
BIT = {name: 1 << place for place, name in enumerate(PACK.purposes)}
STEP = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def generalised(column, value):
    if value is not None and column.form is Form.MAJOR:
        match = re.match(r"[^\W\d_]{0,3}(\d{1,9})", value)
        return match and match[1]
    if value is not None and column.form is Form.BUCKET:
        return type(value)(round(math.floor(value / column.step) * column.step, 9))
    return value


def expected(record, dataset):
    """The row of one record in a dataset, or None: the allow-list, the gates and the forms, one by one."""
    purpose, event_type = PACK.purposes[dataset.purpose], EVENT_TYPES[record["event_type"]]
    if not record["open"] & BIT[dataset.purpose] or event_type not in purpose.events:
        return None
    step = STEP[purpose.event_time]
    cut = datetime.fromtimestamp(record["event_time"] // step * step / 1000, UTC)
    row = {"event_type": record["event_type"], "event_time": cut}
    for column in dataset.columns:
        listed = column.field.path in purpose.events[event_type]
        passed = column.gate is None or record["open"] & BIT[column.gate]
        value = record[PLAN.column_of(column, dataset.purpose)]
        row[column.name] = generalised(column, value) if listed and passed else None
    sensitive = [c.name for c in dataset.columns if c.field.sensitivity is Sensitivity.SENSITIVE]
    if dataset.sensitive and all(row[name] is None for name in sensitive):
        return None
    return row | {REGION: record["region"], RECEIVED: record["received_time"], ORDER: record["event_id"]}


@few
@given(seeds)
def test_each_dataset_gets_its_rows_and_columns_and_no_others(seed):
    batch = judged_batch(PACK, 40, seed)
    records = batch.to_pylist()
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, PACK, PLAN)
        subjects = SUBJECTS if PACK.purposes[dataset.purpose].subject else ()
        assert rows.schema.names == [*dataset.schema.names, REGION, RECEIVED, ORDER, *subjects]
        assert rows.to_pylist() == [row for record in records if (row := expected(record, dataset))]


@pytest.mark.clause("1.1-a")
def test_a_shared_slot_gives_nothing_of_another_event_type():
    """All slots are full on every row: what stands in a dataset is named by the allow-list of its event type."""
    batch = judged_batch(PACK, 300, 1, nulls=0, opened=(1 << len(BIT)) - 1)
    for dataset in DATASETS.values():
        purpose = PACK.purposes[dataset.purpose]
        paths = {column.name: column.field.path for column in dataset.columns}
        for row in for_purpose(batch, dataset, PACK, PLAN).to_pylist():
            listed = purpose.events[EVENT_TYPES[row["event_type"]]]
            assert {paths[name] for name, value in row.items() if name in paths and value is not None} <= set(listed)


@pytest.mark.clause("1.1-b")
def test_a_closed_purpose_gets_nothing():
    for name, bit in BIT.items():
        batch = judged_batch(PACK, 50, 2, nulls=0, opened=(1 << len(BIT)) - 1 & ~bit)
        for dataset in DATASETS.values():
            if dataset.purpose == name:
                assert for_purpose(batch, dataset, PACK, PLAN).num_rows == 0


@pytest.mark.clause("1.1.2-loc")
def test_exact_location_is_null_in_every_dataset_unless_its_purpose_is_open():
    without = (1 << len(BIT)) - 1 & ~BIT["location_services"]
    batch = judged_batch(PACK, 300, 3, nulls=0, opened=without)
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, PACK, PLAN)
        if dataset.sensitive:
            assert rows.num_rows == 0
        for column in dataset.columns:
            if column.field.sensitivity is Sensitivity.SENSITIVE:
                assert rows.column(column.name).null_count == rows.num_rows


@pytest.mark.clause("1.1-a")
def test_words_of_rows_that_a_dataset_does_not_get_are_not_in_its_dictionaries():
    batch = judged_batch(PACK, 200, 4)
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, PACK, PLAN)
        for column in rows.columns:
            if pa.types.is_dictionary(column.type):
                assert set(column.dictionary.to_pylist()) == set(column.to_pylist()) - {None}


def test_no_record_is_no_row():
    for dataset in DATASETS.values():
        assert for_purpose(judged_batch(PACK, 0, 0), dataset, PACK, PLAN).num_rows == 0


def test_a_dataset_that_gets_rows_has_one_element_a_lot():
    lots = {(3, 0, 0): judged_batch(PACK, 30, 5), (0, 1, 0): judged_batch(PACK, 1, 6, opened=0)}

    def as_split_alone(actual):
        found = {key: rows for key, rows in actual}
        assert len(found) == len(actual)
        alone = {(name, lot): for_purpose(lots[lot], DATASETS[name], PACK, PLAN) for name in DATASETS for lot in lots}
        assert set(found) == {key for key, rows in alone.items() if rows.num_rows}
        assert all(rows.to_pylist() == alone[key].to_pylist() for key, rows in found.items())

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        judged = pipeline | beam.Create(list(lots.items())).with_output_types(Judged)
        assert_that(judged | ForPurpose(PACK), as_split_alone)


def test_nothing_judged_is_nothing_split():
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([]).with_output_types(Judged) | ForPurpose(PACK), is_empty())


def test_purposes_share_no_column_but_by_name():
    """What a purpose gets does not depend on what others get."""
    batch = judged_batch(PACK, 60, 7)
    wider = batch.set_column(
        batch.schema.get_field_index("open"),
        "open",
        pa.array(batch.column("open").to_numpy() | np.uint64(BIT["research"] | BIT["user_experience"])),
    )
    for name in ("service", "activation", "activation_sensitive", "legal"):
        one, other = (for_purpose(each, DATASETS[name], PACK, PLAN) for each in (batch, wider))
        assert one.equals(other)
