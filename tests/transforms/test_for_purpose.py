import math
import re
from dataclasses import replace
from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that, is_empty
from hypothesis import given

from schemas.apart import OTHER
from schemas.datasets import datasets
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES, Sensitivity
from schemas.layout import SERVICE, layout
from schemas.pack_files import load_pack
from schemas.policy import Form
from tests.editions import OLD, OLDER, edition, midnight, old, older
from tests.judged import judged_batch
from tests.overlays import OTHERS, SERVICES, overlaid, sayings, untold
from tests.strategies import few, seeds
from transforms.exchange import Judged
from transforms.for_purpose import ORDER, RECEIVED, REGION, SUBJECTS, ForPurpose, for_purpose

PACK = load_pack()
EDITIONS = Editions((PACK,)).of("eu")
PLAN = layout(PACK)
DATASETS = datasets(PACK)
BIT = {name: 1 << place for place, name in enumerate(PACK.purposes)}
STEP = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def generalised(column, value):
    if value is not None and column.form is Form.LISTED:
        return value if value in words_of(column) else OTHER
    if value is not None and column.form is Form.MAJOR:
        match = re.match(r"[^\W\d_]{0,3}(\d{1,9})", value)
        return match and match[1]
    if value is not None and column.form is Form.BUCKET:
        return type(value)(round(math.floor(value / column.step) * column.step, 9))
    return value


def words_of(column):
    return PACK.lists[column.among].words


def expected(record, dataset):
    """The row of one record in a dataset, or None: the allow-list, the gates and the forms, one by one."""
    purpose, event_type = PACK.purposes[dataset.purpose], EVENT_TYPES[record["event_type"]]
    if not record["stands"] & BIT[dataset.purpose] or event_type not in purpose.events:
        return None
    step = STEP[purpose.event_time]
    cut = datetime.fromtimestamp(record["event_time"] // step * step / 1000, UTC)
    row = {"event_type": record["event_type"], "event_time": cut}
    for column in dataset.columns:
        listed = column.field.path in purpose.events[event_type]
        passed = column.gate is None or record["stands"] & BIT[column.gate]
        value = record[PLAN.column_of(column, dataset.purpose)]
        row[column.name] = generalised(column, value) if listed and passed else None
    sensitive = [c.name for c in dataset.columns if c.field.sensitivity is Sensitivity.SENSITIVE]
    if dataset.sensitive and all(row[name] is None for name in sensitive):
        return None
    row |= {REGION: record["region"], RECEIVED: record["received_time"], ORDER: record["event_id"]}
    return row | {name: record[name] for name in SUBJECTS if purpose.subject}


@few
@given(seeds)
def test_each_dataset_gets_its_rows_and_columns_and_no_others(seed):
    batch = judged_batch(PACK, 40, seed)
    records = batch.to_pylist()
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, EDITIONS, PLAN)
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
        for row in for_purpose(batch, dataset, EDITIONS, PLAN).to_pylist():
            listed = purpose.events[EVENT_TYPES[row["event_type"]]]
            assert {paths[name] for name, value in row.items() if name in paths and value is not None} <= set(listed)


@pytest.mark.clause("1.1-b")
def test_a_closed_purpose_gets_nothing():
    for name, bit in BIT.items():
        batch = judged_batch(PACK, 50, 2, nulls=0, opened=(1 << len(BIT)) - 1 & ~bit)
        for dataset in DATASETS.values():
            if dataset.purpose == name:
                assert for_purpose(batch, dataset, EDITIONS, PLAN).num_rows == 0


@pytest.mark.clause("1.1.2-loc")
def test_exact_location_is_null_in_every_dataset_unless_its_purpose_is_open():
    without = (1 << len(BIT)) - 1 & ~BIT["location_services"]
    batch = judged_batch(PACK, 300, 3, nulls=0, opened=without)
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, EDITIONS, PLAN)
        if dataset.sensitive:
            assert rows.num_rows == 0
        for column in dataset.columns:
            if column.field.sensitivity is Sensitivity.SENSITIVE:
                assert rows.column(column.name).null_count == rows.num_rows


@pytest.mark.clause("1.1-a")
def test_words_of_rows_that_a_dataset_does_not_get_are_not_in_its_dictionaries():
    batch = judged_batch(PACK, 200, 4)
    for dataset in DATASETS.values():
        rows = for_purpose(batch, dataset, EDITIONS, PLAN)
        for column in rows.columns:
            if pa.types.is_dictionary(column.type):
                assert set(column.dictionary.to_pylist()) == set(column.to_pylist()) - {None}


def test_no_record_is_no_row():
    for dataset in DATASETS.values():
        assert for_purpose(judged_batch(PACK, 0, 0), dataset, EDITIONS, PLAN).num_rows == 0


def test_a_dataset_that_gets_rows_has_one_element_a_lot():
    lots = {(3, 0, 0): judged_batch(PACK, 30, 5), (0, 1, 0): judged_batch(PACK, 1, 6, opened=0)}

    def as_split_alone(actual):
        found = {key: rows for key, rows in actual}
        assert len(found) == len(actual)
        alone = {
            (name, lot): for_purpose(lots[lot], DATASETS[name], EDITIONS, PLAN) for name in DATASETS for lot in lots
        }
        assert set(found) == {key for key, rows in alone.items() if rows.num_rows}
        assert all(rows.to_pylist() == alone[key].to_pylist() for key, rows in found.items())

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        judged = pipeline | beam.Create(list(lots.items())).with_output_types(Judged)
        assert_that(judged | ForPurpose(Editions((PACK,))), as_split_alone)


def test_nothing_judged_is_nothing_split():
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        assert_that(pipeline | beam.Create([]).with_output_types(Judged) | ForPurpose(Editions((PACK,))), is_empty())


def test_purposes_share_no_column_but_by_name():
    """What a purpose gets does not depend on what others get."""
    batch = judged_batch(PACK, 60, 7)
    wider = batch.set_column(
        batch.schema.get_field_index("stands"),
        "stands",
        pa.array(batch.column("stands").to_numpy() | np.uint64(BIT["research"] | BIT["user_experience"])),
    )
    for name in ("service", "activation", "activation_sensitive", "legal"):
        one, other = (for_purpose(each, DATASETS[name], EDITIONS, PLAN) for each in (batch, wider))
        assert one.equals(other)


# --- of several editions ---

BOTH = Editions((PACK, edition(OLD, old), edition(OLDER, older))).of("eu")
STRICTER = {(Form.TOKEN, Form.SEALED), (Form.FINGERPRINT, Form.TEXT)}  # and of another type


def around_the_changes(seed, rows=60, pack=PACK):
    """Judged records about the days on which editions change."""
    draw, batch = np.random.default_rng(seed), judged_batch(pack, rows, seed)
    days = [midnight(pack.version) for pack in BOTH.editions]
    times = draw.choice(days, rows) + draw.integers(-1, 2, rows) * draw.integers(0, 7_200_000, rows)
    return at(batch, times)


def at(batch, times):
    return batch.set_column(batch.schema.get_field_index("event_time"), "event_time", pa.array(times))


def narrowed(record, dataset, row):
    """What the edition of the record's time leaves of a row that is as the newest has it."""
    pack = [pack for pack in BOTH.editions if midnight(pack.version) <= record["event_time"]][-1]
    purpose, event_type = pack.purposes[dataset.purpose], EVENT_TYPES[record["event_type"]]
    step = max(STEP[purpose.event_time], STEP[PACK.purposes[dataset.purpose].event_time])
    row["event_time"] = datetime.fromtimestamp(record["event_time"] // step * step / 1000, UTC)
    for column in dataset.columns:
        theirs, gate = purpose.columns.get(column.field.path), pack.gate_of(column.field)
        listed = column.field.path in purpose.events.get(event_type, ())
        passed = gate is None or record["stands"] & BIT[gate.purpose]
        if not listed or not passed or (theirs.form, column.form) in STRICTER:
            row[column.name] = None
        elif row[column.name] is not None and theirs.form in (Form.MAJOR, Form.BUCKET, Form.LISTED):
            value = record[PLAN.column_of(column, dataset.purpose)]
            row[column.name] = generalised(column, generalised(theirs, value))
    sensitive = [c.name for c in dataset.columns if c.field.sensitivity is Sensitivity.SENSITIVE]
    return None if dataset.sensitive and all(row[name] is None for name in sensitive) else row


@pytest.mark.clause("9")
@few
@given(seeds)
def test_a_record_of_an_older_edition_passes_both(seed):
    batch = around_the_changes(seed)
    records = [record for record in batch.to_pylist() if record["event_time"] >= midnight(OLDER)]
    for dataset in DATASETS.values():
        if not all(dataset.purpose in pack.purposes for pack in BOTH.editions):
            continue  # the gate has closed what an edition lacks
        rows = [(record, row) for record in records if (row := expected(record, dataset))]
        wanted = [row for record, whole in rows if (row := narrowed(record, dataset, whole))]
        found = for_purpose(batch, dataset, BOTH, PLAN)
        assert sorted(found.to_pylist(), key=_id) == sorted(wanted, key=_id)
        for column in found.columns:
            if pa.types.is_dictionary(column.type):
                assert set(column.dictionary.to_pylist()) == set(column.to_pylist()) - {None}


def _id(row):
    return row[ORDER]


@pytest.mark.clause("9")
def test_rows_of_the_newest_edition_do_not_depend_on_those_before():
    batch = judged_batch(PACK, 60, 8)
    for dataset in DATASETS.values():
        assert for_purpose(batch, dataset, BOTH, PLAN).equals(for_purpose(batch, dataset, EDITIONS, PLAN))


@pytest.mark.clause("9")
def test_what_no_policy_was_in_force_for_is_not_stored_even_if_it_were_open():
    batch = judged_batch(PACK, 60, 9, opened=(1 << len(BIT)) - 1)
    before = at(batch, np.full(batch.num_rows, midnight(OLDER) - 1))
    for dataset in DATASETS.values():
        assert for_purpose(batch, dataset, BOTH, PLAN).num_rows > 0 or dataset.sensitive
        assert for_purpose(before, dataset, BOTH, PLAN).num_rows == 0


# --- under overlays ---


def forms(pack, purpose, path, event_type, service):
    """How one pack with its overlays lets a field stand: a list of (form, step), None where it does not."""
    column, said = pack.purposes[purpose].columns.get(path), sayings(pack, "eu", service, purpose)
    listed = path in pack.purposes[purpose].events.get(event_type, ())
    coarser = [each.columns[path] for each in said if path in each.columns]
    if (
        not listed
        or any(event_type in each.without_events for each in said)
        or any(c.form == "absent" for c in coarser)
    ):
        return None
    steps = [each.step for each in (column, *coarser) if each.step]
    if steps:
        return [(Form.BUCKET, max(steps))]
    return [(Form.MAJOR, None)] if any(each.form == "major" for each in (column, *coarser)) else [(column.form, None)]


def made_under(packs, dataset, column, record, service, plan):
    event_type, path = EVENT_TYPES[record["event_type"]], column.field.path
    all_forms = [forms(pack, dataset.purpose, path, event_type, service) for pack in packs]
    gates = [gate.purpose for pack in packs if (gate := pack.gate_of(column.field))]
    if None in all_forms or not all(record["stands"] & BIT[gate] for gate in gates):
        return None
    if ((own := all_forms[0][0][0]), column.form) in STRICTER and own != column.form:
        return None
    value = record[plan.column_of(column, dataset.purpose)]
    for (form, step), *_ in all_forms:
        value = generalised(replace(column, form=form, step=step), value)
    return value


@pytest.mark.clause("0-b")
@few
@given(seeds)
def test_a_row_holds_what_the_overlays_of_both_packs_leave(seed):
    editions = overlaid(seed % 9)
    plan, variants = layout(editions.newest, *editions.earlier), editions.of("eu")
    batch = around_the_changes(seed, pack=editions.newest)
    services = np.random.default_rng(seed).choice([*SERVICES, *OTHERS], batch.num_rows)
    place = batch.schema.get_field_index(plan.places[SERVICE])
    batch = batch.set_column(place, batch.schema.names[place], pa.array(services).dictionary_encode())
    for dataset in datasets(editions.newest).values():
        if not all(dataset.purpose in pack.purposes for pack in editions.packs):
            continue
        wanted = []
        for record, service in zip(batch.to_pylist(), services.tolist(), strict=True):
            own = [pack for pack in editions.packs if midnight(pack.version) <= record["event_time"]]
            if not own or not record["stands"] & BIT[dataset.purpose] or untold(service, own[-1], editions.newest):
                continue
            packs, purpose = (own[-1], editions.newest), editions.newest.purposes[dataset.purpose]
            if EVENT_TYPES[record["event_type"]] not in purpose.events:
                continue
            said = [each for pack in packs for each in sayings(pack, "eu", service, dataset.purpose) if each.event_time]
            step = max(STEP[each.event_time] for each in (*said, *(pack.purposes[dataset.purpose] for pack in packs)))
            cut = datetime.fromtimestamp(record["event_time"] // step * step / 1000, UTC)
            row = {c.name: made_under(packs, dataset, c, record, service, plan) for c in dataset.columns}
            sensitive = [c.name for c in dataset.columns if c.field.sensitivity is Sensitivity.SENSITIVE]
            if not dataset.sensitive or any(row[name] is not None for name in sensitive):
                wanted.append((record["event_id"], cut, row))
        found = [
            (row[ORDER], row["event_time"], {c.name: row[c.name] for c in dataset.columns})
            for row in for_purpose(batch, dataset, variants, plan).to_pylist()
        ]
        assert sorted(found, key=lambda row: row[0]) == sorted(wanted, key=lambda row: row[0])
