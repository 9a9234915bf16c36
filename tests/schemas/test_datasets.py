import pyarrow as pa
import pytest

from schemas.datasets import AUDIT, SENSITIVE_SUFFIX, TOKEN, datasets, purpose_columns
from schemas.fields import EVENT_FIELD, EVENT_TYPES, IDENTIFYING, Category, Handling, Sensitivity
from schemas.pack_files import load_pack
from schemas.policy import Form

PACK = load_pack()
DATASETS = datasets(PACK)
each_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)


@pytest.mark.clause("1.1-b")
def test_a_purpose_has_one_dataset_and_one_more_for_what_is_sensitive():
    stored = {name for name, purpose in PACK.purposes.items() if purpose.stored}
    assert {d.name for d in DATASETS.values() if not d.sensitive} == stored
    for name, dataset in DATASETS.items():
        assert dataset.name == name == dataset.purpose + SENSITIVE_SUFFIX * dataset.sensitive
    assert AUDIT not in DATASETS


@pytest.mark.clause("4.1-b")
@each_dataset
def test_sensitive_columns_stand_in_sensitive_datasets_only(dataset):
    sensitive = [c for c in dataset.columns if c.field.sensitivity is Sensitivity.SENSITIVE]
    assert bool(sensitive) == dataset.sensitive
    if dataset.sensitive:
        assert all(c.form is Form.TOKEN for c in dataset.columns if c not in sensitive)


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("name", [name for name, purpose in PACK.purposes.items() if purpose.stored])
def test_every_column_of_a_purpose_is_stored_once_and_nothing_else(name):
    own = [d for d in DATASETS.values() if d.purpose == name]
    stored = [c.field.path for d in own for c in d.columns if not (d.sensitive and c.form is Form.TOKEN)]
    assert sorted(stored) == sorted(PACK.purposes[name].columns)


@each_dataset
def test_a_column_may_stand_where_the_allow_list_says(dataset):
    events = PACK.purposes[dataset.purpose].events
    for column in dataset.columns:
        listed = {EVENT_TYPES.index(event) for event, paths in events.items() if column.field.path in paths}
        assert column.events == listed and listed


@pytest.mark.clause("1.1.2-loc")
@each_dataset
def test_exact_location_stands_behind_its_gate(dataset):
    for column in dataset.columns:
        exact = column.field.category is Category.EXACT_LOCATION
        assert column.gate == ("location_services" if exact else None)


@pytest.mark.clause("2-analytics")
@each_dataset
def test_no_identifier_is_stored_as_it_came(dataset):
    for column in dataset.columns:
        if column.field.handling is Handling.IDENTIFIER:
            assert column.type in (TOKEN, pa.binary())
        if column.field.handling is Handling.ADDRESS:
            assert column.form is Form.NETWORK
        if column.type == TOKEN:
            assert column.form in (Form.TOKEN, Form.FINGERPRINT)


@pytest.mark.clause("1.1.2-ads")
@each_dataset
def test_advertising_identifiers_serve_advertising_alone(dataset):
    advertising = [c.name for c in dataset.columns if c.field.category is Category.ADVERTISING_IDENTIFIER]
    assert not advertising or dataset.purpose == "personalised_ads"


@pytest.mark.clause("5.2-auto")
@each_dataset
def test_a_column_is_a_field_of_an_event_and_no_verdict_on_anybody(dataset):
    assert all(EVENT_FIELD[column.field.path] is column.field for column in dataset.columns)


@each_dataset
def test_the_schema_names_each_column_once(dataset):
    names = dataset.schema.names
    assert names[:2] == ["event_type", "event_time"] and len(set(names)) == len(names)
    assert names[2:] == [column.field.column for column in dataset.columns]
    assert dataset.schema.field("event_time").type == pa.timestamp("ms", tz="UTC")


@pytest.mark.clause("2-analytics")
def test_an_exact_measure_goes_to_one_dataset():
    owners = {}
    for dataset in DATASETS.values():
        for column in dataset.columns:
            if column.field.handling is Handling.MEASURE and column.form is Form.PLAIN:
                owners.setdefault(column.field.path, []).append(dataset.name)
    joining = {path: names for path, names in owners.items() if len(names) > 1}
    # Few-valued codes and counts tell nobody apart; measures in milliseconds, degrees or cells would.
    codes = {f"location.{name}" for name in ("mcc", "mnc")}
    assert set(joining) - codes <= {"location.cell_id"}
    assert joining.get("location.cell_id", []) in ([], ["activation_sensitive", "find_device_sensitive"])


@pytest.mark.clause("1.1.1")
def test_the_full_text_of_a_field_goes_to_one_dataset_at_most():
    texts = [c.field.path for d in DATASETS.values() for c in d.columns if c.form is Form.TEXT]
    assert len(texts) == len(set(texts)) and texts


@pytest.mark.clause("1.2-perf")
@pytest.mark.clause("1.2-internal")
@pytest.mark.parametrize("name", [n for n, d in DATASETS.items() if not PACK.purposes[d.purpose].subject])
def test_a_dataset_without_a_subject_holds_nothing_that_points_to_one(name):
    location = {Category.EXACT_LOCATION, Category.COARSE_LOCATION}
    assert not [c.name for c in DATASETS[name].columns if c.field.category in IDENTIFYING | location]


@pytest.mark.clause("1.1.4-c")
def test_what_is_only_counted_has_no_dataset():
    assert "statistics" in PACK.purposes and "statistics" not in DATASETS
    assert purpose_columns(PACK, PACK.purposes["statistics"])
