"""As much of JSON Schema as our schemas use, in a few lines. A keyword that is not known here is an error."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Any

_SAID = {"$schema", "$defs", "title", "description", "default"}
_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "integer": int}


def faults(value: Any, schema: dict, root: dict, place: str = "") -> Iterator[str]:
    """What of a value a schema does not take: the place, and the keyword."""
    for keyword in schema.keys() - _SAID:
        if keyword in _INNER:
            yield from _INNER[keyword](value, schema, root, place)
        elif not _CHECKS[keyword](value, schema[keyword]):
            yield f"{place or 'top'}: {keyword}"


def _typed(value: Any, name: str) -> bool:
    return _number(value) if name == "number" else isinstance(value, _TYPES[name]) and (
        name == "boolean" or not isinstance(value, bool)
    )  # fmt: skip


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_date(value: Any, _: str) -> bool:
    try:
        return not isinstance(value, str) or bool(date.fromisoformat(value))
    except ValueError:
        return False


_CHECKS = {
    "type": _typed,
    "enum": lambda value, words: value in words,
    "const": lambda value, word: value == word,
    "pattern": lambda value, pattern: not isinstance(value, str) or bool(re.search(pattern, value)),
    "format": _is_date,
    "minimum": lambda value, bound: not _number(value) or value >= bound,
    "maximum": lambda value, bound: not _number(value) or value <= bound,
    "exclusiveMinimum": lambda value, bound: not _number(value) or value > bound,
    "minItems": lambda value, least: not isinstance(value, list) or len(value) >= least,
    "maxItems": lambda value, most: not isinstance(value, list) or len(value) <= most,
    "minProperties": lambda value, least: not isinstance(value, dict) or len(value) >= least,
    "required": lambda value, keys: not isinstance(value, dict) or set(keys) <= set(value),
}


def _ref(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    return faults(value, root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)


def _any_of(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    if all(list(faults(value, one, root, place)) for one in schema["anyOf"]):
        yield f"{place or 'top'}: anyOf"


def _items(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    for index, each in enumerate(value if isinstance(value, list) else ()):
        yield from faults(each, schema["items"], root, f"{place}.{index}")


def _names(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    for key in value if isinstance(value, dict) else ():
        yield from faults(key, schema["propertyNames"], root, f"{place}.{key}")


def _properties(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    for key, each in value.items() if isinstance(value, dict) else ():
        for one in _of_key(key, schema):
            yield from faults(each, one, root, f"{place}.{key}")


def _additional(value: Any, schema: dict, root: dict, place: str) -> Iterator[str]:
    rule = schema["additionalProperties"]
    for key, each in value.items() if isinstance(value, dict) else ():
        if rule is False and not _of_key(key, schema):
            yield f"{place}.{key}: additionalProperties"
        elif isinstance(rule, dict) and not _of_key(key, schema):
            yield from faults(each, rule, root, f"{place}.{key}")


def _of_key(key: str, schema: dict) -> list[dict]:
    """What a schema says of a key by its name or by a pattern."""
    named = [schema["properties"][key]] if key in schema.get("properties", {}) else []
    return named + [one for pattern, one in schema.get("patternProperties", {}).items() if re.search(pattern, key)]


_INNER = {
    "$ref": _ref,
    "anyOf": _any_of,
    "items": _items,
    "propertyNames": _names,
    "properties": _properties,
    "additionalProperties": _additional,
    # a mapping has either named keys or keys of a pattern here, and both are looked at together
    "patternProperties": _properties,
}
