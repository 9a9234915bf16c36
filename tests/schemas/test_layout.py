import pyarrow as pa
import pytest

from schemas.datasets import datasets
from schemas.fields import EVENT_FIELD, EVENT_TYPES, Handling
from schemas.layout import HEAD, LABEL, Source, layout, source_of
from schemas.policy import Form
from tests.editions import bare

PACK = bare()
CONDITIONS = {path for purpose in PACK.purposes.values() for path in purpose.unless}
PLAN = layout(PACK)
DATASETS = datasets(PACK)
SLOTS = {
    "token": pa.binary(16),
    "sealed": pa.binary(),
    "text": pa.string(),
    "label": LABEL,
    "int": pa.int64(),
    "float": pa.float64(),
}


def test_every_column_of_every_dataset_has_a_place_of_its_type():
    for dataset in DATASETS.values():
        for column in dataset.columns:
            place = PLAN.schema.field(PLAN.column_of(column, dataset.purpose))
            stored = LABEL if column.type == pa.string() and column.form is not Form.TEXT else column.type
            assert place.type == stored


@pytest.mark.clause("1.1-a")
def test_two_fields_that_share_a_slot_share_no_event_type():
    shared = 0
    for held in PLAN.slots.values():
        for place, (one, events) in enumerate(held):
            for other, others in held[place + 1 :]:
                assert one != other and events.isdisjoint(others)
                shared += 1
    assert shared


@pytest.mark.clause("1.1-a")
def test_a_slot_holds_a_field_on_the_event_types_where_some_purpose_may_receive_it():
    wanted = {}
    for name, purpose in PACK.purposes.items():
        for dataset in DATASETS.values():
            if dataset.purpose == name and purpose.stored:
                for column in dataset.columns:
                    wanted.setdefault(source_of(column, name), set()).update(column.events)
    for table in PACK.statistics.tables.values():
        for path in set(table.by) - {"event_type"}:
            counted_on = table.event_types(PACK.purposes[PACK.statistics.purpose])
            form = "bare" if path == "crash.trace" else "plain"
            wanted.setdefault(Source(path, form), set()).update(counted_on)
    held = {source: set(events) for slots in PLAN.slots.values() for source, events in slots}
    for source, events in held.items():
        if source.path == "app.package" or source.path in CONDITIONS:  # what some purposes are judged by as well
            assert events >= wanted.get(source, set())
        else:
            assert events == wanted[source]
    heads = {Source(path, "seal") for path in ("event_id", "device.android_id", "account_id")}
    assert set(wanted) - set(held) == heads


@pytest.mark.clause("1.1-a")
def test_what_no_purpose_may_receive_has_no_place():
    admitted = {path for purpose in PACK.purposes.values() if purpose.stored for path in purpose.columns}
    counted_by = set(PACK.statistics.fields) - {"event_type"}
    assert {source.path for source in PLAN.places} == admitted | CONDITIONS | counted_by
    assert set(EVENT_FIELD) - admitted  # there are such fields


@pytest.mark.clause("1.1.2-loc")
def test_the_application_is_known_wherever_a_purpose_is_judged_by_it():
    slot = PLAN.application
    events = {source.path: on for source, on in PLAN.slots[slot]}["app.package"]
    for name, purpose in PACK.purposes.items():
        for event, paths in purpose.events.items():
            gated = {gate.purpose for path in paths if (gate := PACK.gate_of(EVENT_FIELD[path]))}
            if purpose.per_application or any(PACK.purposes[gate].per_application for gate in gated):
                assert EVENT_TYPES.index(event) in events, (name, event)


def test_identifiers_are_sealed_and_only_for_who_needs_them_reversibly():
    for source, place in PLAN.places.items():
        handling = EVENT_FIELD[source.path].handling
        if handling is Handling.IDENTIFIER:
            assert source.form in ("seal", "sealed")
        assert (source.purpose is None) == (source.form != "sealed")
        assert place in HEAD.names or place in PLAN.slots


def test_the_schema_is_the_head_and_the_slots():
    assert PLAN.schema.names == [*HEAD.names, *PLAN.slots]
    for name in PLAN.slots:
        assert PLAN.schema.field(name).type == SLOTS[name.rstrip("0123456789")]


def test_the_layout_follows_from_the_pack_alone():
    assert layout(bare()) == PLAN


def test_without_statistics_nothing_travels_for_them():
    uncounted = layout(PACK.model_copy(update={"statistics": None}))
    models = Source("device.model", "plain")
    session = EVENT_TYPES.index("session")
    assert session in dict(PLAN.slots[PLAN.places[models]])[models]
    assert session not in dict(uncounted.slots[uncounted.places[models]])[models]


def test_a_record_stays_narrow():
    """A slot a field would be more than twice as many columns (and bytes on the exchange)."""
    assert len(PLAN.slots) < len({source for source in PLAN.places}) * 0.75
