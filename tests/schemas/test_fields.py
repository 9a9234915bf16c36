import pytest

from schemas.consent import PERMISSIONS, STOPS, SubjectType
from schemas.fields import (
    EVENT_FIELD,
    EVENT_FIELDS,
    EVENT_TYPES,
    IDENTIFYING,
    INTEGER,
    LEDGER_FIELDS,
    NUMBER,
    PAYLOADS,
    PERMISSION_KINDS,
    SOURCES,
    STOP_KINDS,
    STRING,
    STRINGS,
    SUBJECT_TYPES,
    Category,
    Handling,
    Sensitivity,
    payload_of,
)
from transforms.canonical import KINDS

ALL = [*((f"event {f.path}", f) for f in EVENT_FIELDS), *((f"ledger {f.path}", f) for f in LEDGER_FIELDS)]
each_field = pytest.mark.parametrize("field", [field for _, field in ALL], ids=[name for name, _ in ALL])


@pytest.mark.clause("0-a")
@each_field
def test_every_field_has_a_category_and_a_sensitivity(field):
    assert isinstance(field.category, Category) and isinstance(field.sensitivity, Sensitivity)
    assert isinstance(field.handling, Handling) and field.type in (STRING, INTEGER, NUMBER, STRINGS)
    assert field.description


@pytest.mark.clause("0-a")
@each_field
def test_what_identifies_is_at_least_personal(field):
    if field.category in IDENTIFYING or field.handling in (Handling.IDENTIFIER, Handling.ADDRESS, Handling.TEXT):
        assert field.sensitivity is not Sensitivity.ORDINARY


@pytest.mark.clause("1.1.2-loc")
def test_exact_location_is_sensitive_and_coarse_is_not_exact():
    exact = {f.path for f in EVENT_FIELDS if f.category is Category.EXACT_LOCATION}
    assert exact == {f"location.{name}" for name in ("latitude", "longitude", "accuracy_m", "cell_id")}
    assert {f.path for f in EVENT_FIELDS if f.sensitivity is Sensitivity.SENSITIVE} == exact


@pytest.mark.parametrize("fields", [EVENT_FIELDS, LEDGER_FIELDS], ids=["event", "ledger"])
def test_no_two_fields_share_a_path_or_a_column(fields):
    assert len({f.path for f in fields}) == len({f.column for f in fields}) == len(fields)
    objects = {f.path.rpartition(".")[0] for f in fields}
    assert not objects & {f.path for f in fields}  # nothing is both a value and an object
    assert all(f.path.count(".") <= 1 for f in fields)


@pytest.mark.clause("1.1.2-dev")
def test_every_identifier_of_an_event_has_a_canonical_form():
    for field in EVENT_FIELDS:
        assert (field.kind in KINDS) == (field.handling is Handling.IDENTIFIER)


@each_field
def test_handling_fits_the_type(field):
    numeric = field.type in (INTEGER, NUMBER)
    if field.handling is Handling.MEASURE:
        assert numeric and field.minimum < field.maximum
    elif field.handling in (Handling.LABEL, Handling.TEXT, Handling.IDENTIFIER, Handling.ADDRESS):
        assert field.type == STRING
    assert numeric or (field.minimum is None and field.maximum is None)
    assert len(set(field.values)) == len(field.values)


@pytest.mark.clause("1.1.2-svc")
@pytest.mark.clause("4.3")
@pytest.mark.clause("1.1.1")
def test_what_people_type_in_is_no_field():
    typed = "name phone email address order invoice bank card gender nickname photo video contact message query".split()  # noqa: SIM905
    assert not [f.path for f in EVENT_FIELDS if set(f.column.split("_")) & set(typed)]


@pytest.mark.clause("1.1.2-ecv")
def test_the_value_derived_from_all_identifiers_is_no_field():
    assert not [f.path for f in EVENT_FIELDS if "ecv" in f.column.split("_")]


def test_each_payload_is_an_event_type_and_has_fields():
    heads = {f.path.partition(".")[0] for f in EVENT_FIELDS if "." in f.path}
    assert set(PAYLOADS) == set(EVENT_TYPES) - {"location"}
    assert set(PAYLOADS) <= heads | {"app_lifecycle"} and set(PAYLOADS) <= heads
    for field in EVENT_FIELDS:
        owner = payload_of(field.path)
        assert owner is None or field.path.startswith(f"{owner}.")
    assert payload_of("location.latitude") is None and payload_of("device.imei") is None


def test_the_words_of_the_ledger_are_those_that_the_rule_knows():
    assert set(STOP_KINDS) == {kind.name for kind in STOPS}
    assert set(PERMISSION_KINDS) == {kind.name for kind in PERMISSIONS}
    assert [SubjectType[name] for name in SUBJECT_TYPES] == [0, 1]
    kinds = next(f for f in LEDGER_FIELDS if f.path == "kind")
    assert set(kinds.values) == set(STOP_KINDS) | set(PERMISSION_KINDS)


def test_the_codes_that_travel_fit_their_bytes():
    assert len(EVENT_TYPES) < 128 and len(SOURCES) < 128
    assert set(EVENT_FIELD) == {f.path for f in EVENT_FIELDS}
