"""Versions of the schema: what each has released, and what the next may change (clause 1.1-a).

Senders run versions ahead of and behind a pipeline. Both stay readable because a version only ever adds: a field that
is optional, a word to an enumeration, room to a range. `schemas/released` holds what every version was released with,
and a test compares the tables with it. `python -m schemas.versions` writes the files of a new version.
"""

import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from schemas.fields import EVENT_FIELDS, LEDGER_FIELDS, SCHEMA_VERSION, Field

RELEASED = Path(__file__).parent / "released"
TABLES = {"events": EVENT_FIELDS, "ledger": LEDGER_FIELDS}
_TOLD = ("type", "kind", "required", "values", "minimum", "maximum", "lenient")

Description = Mapping[str, Mapping[str, Any]]  # what senders rely on, by the path of a field


def described(fields: Iterable[Field]) -> Description:
    """What senders rely on of a table, in the types of JSON."""
    told = {field.path: {name: getattr(field, name) for name in _TOLD} for field in fields}
    return json.loads(json.dumps(told))


def released(table: str, version: int) -> Description:
    """What a version was released with. Raises OSError if there is no such version."""
    return json.loads((RELEASED / f"{table}-{version}.json").read_text(encoding="utf-8"))


def breaches(old: Description, new: Description) -> Iterator[str]:
    """What a successor may not change, each with its path: whoever wrote or reads the older version relies on it."""
    for path, was in old.items():
        if path not in new:
            yield f"{path} is gone"
        else:
            yield from (f"{path}: {what}" for what in _breaches_of_field(was, new[path]))
    yield from (f"{path} is new and required" for path in new.keys() - old.keys() if new[path]["required"])


def _breaches_of_field(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for name in ("type", "kind", "required"):
        if was[name] != now[name]:
            yield f"{name} was {was[name]} and is {now[name]}"
    if was["lenient"] and not now["lenient"]:
        yield "it was read quoted or not"
    if now["values"] and (not was["values"] or set(was["values"]) - set(now["values"])):
        yield "words of its enumeration are gone"
    (least, most), (least_now, most_now) = _range(was), _range(now)
    if least_now > least or most_now < most:
        yield "its range is narrower"


def _range(told: Mapping[str, Any]) -> tuple[float, float]:
    least, most = told["minimum"], told["maximum"]
    return -math.inf if least is None else least, math.inf if most is None else most


def main() -> int:
    """Writes the files of SCHEMA_VERSION; returns the exit status. What was released before is never replaced."""
    for table, fields in TABLES.items():
        path = RELEASED / f"{table}-{SCHEMA_VERSION}.json"
        if path.exists():
            print(f"{path} is released: raise SCHEMA_VERSION in schemas/fields.py for a new version", file=sys.stderr)
            return 2
        lines = (f"  {json.dumps(name)}: {json.dumps(told)}" for name, told in described(fields).items())
        path.parent.mkdir(exist_ok=True)
        path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
