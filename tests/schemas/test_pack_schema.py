"""The JSON Schema of a pack takes what the loader takes, and refuses what an editor can tell to be wrong."""

import json
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from schemas.fields import EVENT_FIELD
from schemas.pack_files import DEFAULT_PACK, OVERLAYS, SHIPPED
from schemas.pack_schema import OVERLAY_SCHEMA, PACK_SCHEMA, pack_schema, schema_pages
from schemas.policy import Column, Pack
from tests.json_schema import faults
from tests.models import models

FILES = sorted((SHIPPED / DEFAULT_PACK).rglob("*.yaml"))
SCHEMA = pack_schema()


def content_of(text: str):
    """YAML as an editor sees it: a date is a word."""
    return json.loads(json.dumps(yaml.safe_load(text), default=lambda day: day.isoformat()))


def schema_of(file: Path) -> dict:
    return {"$ref": "#/$defs/Overlay"} if file.parent.name in OVERLAYS else SCHEMA


@pytest.mark.parametrize("model", sorted(models() | {Pack}, key=lambda model: model.__name__))
def test_every_model_and_every_field_is_described(model):
    assert model.__doc__
    assert not [name for name, field in model.model_fields.items() if not field.description]


def test_the_schema_explains_every_key_that_a_person_writes():
    for name, definition in {"Pack": SCHEMA, **SCHEMA["$defs"]}.items():
        for key, part in definition.get("properties", {}).items():
            assert part.get("description"), f"{name}.{key}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_shipped_files_fit(file):
    assert not list(faults(content_of(file.read_text(encoding="utf-8")), schema_of(file), SCHEMA))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_shipped_files_lead_an_editor_to_the_schema(file):
    first = file.read_text(encoding="utf-8").partition("\n")[0]
    name = OVERLAY_SCHEMA if file.parent.name in OVERLAYS else PACK_SCHEMA
    schema = Path(__file__).parents[2] / "docs" / "reference" / name
    assert first.startswith("# yaml-language-server: $schema=")
    assert (file.parent / first.partition("=")[2]).resolve() == schema and schema.exists()


SAME_OF_A_COLUMN = [
    *("plain", "token", "sealed", "text", "fingerprint", "network", "major"),
    *({"bucket": 5}, {"bucket": 0.5}, {"form": "major"}, {"form": "bucket", "step": 5}),
    *("bucket_", {"bucket": 0}, {"bucket": "five"}, {"bucket": 5, "form": "plain"}, {"form": "other"}, {}, 5, None, []),
]


@pytest.mark.parametrize("column", SAME_OF_A_COLUMN, ids=str)
def test_an_editor_takes_the_columns_that_the_loader_takes(column):
    try:
        TypeAdapter(Column).validate_python(column)
        taken = True
    except ValidationError:
        taken = False
    assert taken == (not list(faults(column, {"$ref": "#/$defs/Column"}, SCHEMA)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("purpose: {}", ".purpose: additionalProperties"),
        ("version: 2021", ".version: type"),
        ("version: third", ".version: format"),
        ("effective: some day", ".effective: format"),
        ("limits: {clause: 4.4-a, future_minutes: -1}", ".limits.future_minutes: minimum"),
        ("limits: {clause: 4.4-a}", ".limits: required"),
        ("regions: {EU: {}}", ".regions.EU: additionalProperties"),
        ("purposes: {push: {columns: {app.pakage: plain}}}", ".purposes.push.columns.app.pakage: additionalProperties"),
        ("purposes: {push: {columns: {app.package: plane}}}", ".purposes.push.columns.app.package: anyOf"),
        ("purposes: {push: {events: {crash: [app.pakage]}}}", ".purposes.push.events.crash.0: enum"),
        ("purposes: {push: {events: {crush: []}}}", ".purposes.push.events.crush: enum"),
        ("statistics: {clause: x, purpose: p, epsilon: 0}", ".statistics: anyOf"),
        ("gates: {}", ".gates: type"),
    ],
)  # fmt: skip
def test_what_an_editor_can_tell_to_be_wrong(text, expected):
    assert expected in list(faults(content_of(text), SCHEMA, SCHEMA))


def test_a_file_may_hold_any_of_the_keys():
    assert "required" not in SCHEMA and not list(faults({}, SCHEMA, SCHEMA))
    assert set(SCHEMA["properties"]) == set(Pack.model_fields) - set(OVERLAYS.values())


def test_columns_are_completed_and_explained():
    columns = SCHEMA["$defs"]["Purpose"]["properties"]["columns"]["properties"]
    assert list(columns) == list(EVENT_FIELD)
    assert columns["device.model"]["description"] == "Model (device_description)"


def test_an_editor_reads_draft_7():
    assert json.loads(schema_pages()[PACK_SCHEMA])["$schema"] == "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("purposes.yaml", "basis: {default: contract}", "basis: {eu: contract}"),
        ("residency.yaml", "signals: [account_country,", "signals: [account,"),
        ("residency.yaml", "signals: [account_country, device_region, sim_mcc]", "signals: []"),
        ("residency.yaml", "data_centre: CN", "data_centre: Beijing"),
        ("statistics.yaml", "by: [app.package, app.version]", "by: [ip]"),
        ("statistics.yaml", "by: [app.package, app.version]", "by: [app_usage.launches]"),
    ],
)
def test_what_the_loader_refuses_of_one_word_the_schema_refuses(file, old, new):
    text = (SHIPPED / DEFAULT_PACK / file).read_text(encoding="utf-8")
    assert old in text and list(faults(content_of(text.replace(old, new, 1)), SCHEMA, SCHEMA))
