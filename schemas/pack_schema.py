"""The JSON Schema of a policy pack's files, by which editors complete, explain and check them while one writes.

It takes every file that a pack's loader takes, the short forms of a column included, and knows the fields of an event
by name. What needs the whole pack to be judged is left to `douane check`.
"""

import json
from collections.abc import Iterator
from typing import Any

from schemas.fields import EVENT_FIELDS
from schemas.pack_files import OVERLAYS
from schemas.policy import Pack
from schemas.statistics import EVENT_TYPE, may_group

PACK_SCHEMA, OVERLAY_SCHEMA = "pack.schema.json", "overlay.schema.json"
_DRAFT = "http://json-schema.org/draft-07/schema#"  # what YAML language servers read
_ARGUMENT = {"bucket": "step", "listed": "among"}  # of the forms that need one, the key that holds it


def schema_pages() -> dict[str, str]:
    """The text of each schema, by its file name."""
    schema = pack_schema()
    pages = {PACK_SCHEMA: schema}
    if "Overlay" in schema["$defs"]:
        pages[OVERLAY_SCHEMA] = {"$schema": _DRAFT, "$ref": f"{PACK_SCHEMA}#/$defs/Overlay"}
    return {name: json.dumps(page, indent=2, ensure_ascii=False) + "\n" for name, page in pages.items()}


def pack_schema() -> dict[str, Any]:
    """The schema of any one file of a pack: each holds some of the keys, so that none is required at the top."""
    schema = Pack.model_json_schema()
    for key in OVERLAYS.values():  # made of the files in folders of their own
        schema["properties"].pop(key, None)
    del schema["required"]
    for definition in _parts(schema):
        if "patternProperties" in definition:
            definition["additionalProperties"] = False
    for name, definition in schema["$defs"].items():
        if {"form", "step"} <= set(definition.get("properties", ())):
            schema["$defs"][name] = _with_short_forms(definition, schema["$defs"])
        for key, part in definition.get("properties", {}).items():
            definition["properties"][key] = _closer(key, part)
    return {"$schema": _DRAFT, **schema}


def _closer(key: str, part: dict) -> dict:
    """What a key holds, with what the models say in code: the names of fields, and a basis for every region."""
    if key == "columns":
        return _by_field(part)
    if key == "events" and "propertyNames" in part:
        part["additionalProperties"]["items"] = {"enum": [field.path for field in EVENT_FIELDS]}
    if key == "by":
        part["items"] = {"enum": [EVENT_TYPE, *(field.path for field in EVENT_FIELDS if may_group(field))]}
    if key == "basis" and "additionalProperties" in part:
        part["required"] = ["default"]
    return part


def _parts(part: Any) -> Iterator[dict]:
    """Every mapping in a schema."""
    if isinstance(part, dict):
        yield part
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from _parts(inner)


def _with_short_forms(definition: dict, definitions: dict) -> dict:
    """A column as people write it: the word of a form, or `{bucket: STEP}`; the long form is taken as well."""
    form = definition["properties"]["form"]
    words = form.get("enum") or definitions[form["$ref"].rpartition("/")[2]]["enum"]
    argued = {word: definition["properties"][_ARGUMENT[word]] for word in words if word in _ARGUMENT}
    short = [
        {"type": "object", "properties": {word: _needed(part)}, "required": [word], "additionalProperties": False}
        for word, part in argued.items()
    ]
    description = definition.pop("description")
    return {
        "description": description,
        "anyOf": [{"enum": [word for word in words if word not in argued]}, *short, definition],
    }


def _needed(part: dict) -> dict:
    """A value that may be left out elsewhere, where it may not."""
    (value,) = (each for each in part["anyOf"] if each != {"type": "null"})
    return {"description": part["description"], **value}


def _by_field(columns: dict) -> dict:
    """Columns by the fields that an event has, each explained."""
    column = columns["additionalProperties"]
    fields = {
        field.path: {"description": f"{field.description} ({field.category})", **column} for field in EVENT_FIELDS
    }
    described = {key: value for key, value in columns.items() if key in ("description", "default")}
    return {"type": "object", **described, "properties": fields, "additionalProperties": False}
