"""The reference pages, written from the tables of fields and from the policy pack: `python -m schemas.reference DIR`.
With them goes the JSON Schema by which editors help to write a pack.

Nothing in them is written by hand, so that they cannot say anything else than what the job does. The same fields and
the same pack always give the same bytes.
"""

import sys
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from schemas.apart import OTHER
from schemas.datasets import RECEIVED_DATE, Dataset, DatasetColumn, datasets
from schemas.fields import (
    EVENT_FIELDS,
    EVENT_TYPES,
    LEDGER_FIELDS,
    SCHEMA_VERSION,
    VERSIONS_AHEAD,
    Field,
    Handling,
    payload_of,
)
from schemas.markdown import bullets, code, joined, number, table
from schemas.pack_files import load_pack
from schemas.pack_schema import schema_pages
from schemas.policy import Form, Pack, Purpose
from schemas.reference_clauses import clauses_page
from schemas.reference_recognisers import recognisers_page
from schemas.reference_regions import regions_page
from schemas.reference_retention import retention_page
from schemas.reference_sharing import sharing_page
from schemas.reference_statistics import statistics_page
from schemas.shape import MAX_LINE_BYTES
from schemas.words import form_in_words

_HANDLING = {
    Handling.ENVELOPE: "read and checked; what is decided rests on it",
    Handling.IDENTIFIER: "brought to its canonical bytes, then sealed; a malformed value is dropped alone",
    Handling.ADDRESS: "cut to its network; the address itself goes no further",
    Handling.LABEL: "checked for its shape and scrubbed; a malformed value is dropped alone",
    Handling.TEXT: "scrubbed",
    Handling.MEASURE: "a number, checked for its range",
    Handling.SIGNAL: "says where the record may live, then dropped",
}
_FORM = {
    Form.PLAIN: "as the border left it",
    Form.TOKEN: "pseudonym of this purpose, region and epoch; no way back",
    Form.SEALED: "reversible, for who holds this dataset's key",
    Form.TEXT: "scrubbed text",
    Form.FINGERPRINT: "keyed digest of the scrubbed text (a trace: its group), of this purpose, region and epoch",
    Form.GROUP: "the group of a trace, readable: to count by, in no dataset",
    Form.NETWORK: "network of the address",
    Form.MAJOR: "first number of the version",
    Form.BUCKET: "cut down to a multiple of the step",
    Form.LISTED: f"a word of a list of the pack; every other is `{OTHER}`",
}
# What every dataset has of a record, whatever its allow-list says.
_IN_ALL = {
    "event_type": "every stored purpose",
    "event_time": "every stored purpose (cut)",
    "received_time": f"every stored purpose (its date, as `{RECEIVED_DATE}`)",
}
_MADE = "Written by `make reference` from `schemas/fields.py` and the policy pack {version}; do not edit."


def pages(pack: Pack) -> dict[str, str]:
    """The text of each page, by its file name."""
    made = _MADE.format(version=pack.version)
    return {
        "fields.md": _fields(pack),
        "purposes.md": _purposes(pack),
        "regions.md": regions_page(pack, made),
        "retention.md": retention_page(pack, made),
        "sharing.md": sharing_page(pack, made),
        "clauses.md": clauses_page(pack, made),
        "statistics.md": statistics_page(pack, made),
        "recognisers.md": recognisers_page(),
        **schema_pages(),
    }


def _fields(pack: Pack) -> str:
    uses = _uses(pack)
    parts = [
        "# Fields",
        _MADE.format(version=pack.version),
        "Every field that a line may carry. An unknown field is dropped and counted; a line with a wrong type, without "
        "a required field or with a value out of its range is set aside alone. Null is the same as absent. A field "
        "that no purpose may have is left behind at the border.",
        "## What the border does with a field",
        table(("handling", "what happens"), ((str(handling), what) for handling, what in _HANDLING.items())),
        "## Bounds",
        _bounds(pack),
        "## Telemetry",
    ]
    for name, fields in groupby(EVENT_FIELDS, _object):
        parts += [f"### {_heading(name)}", _field_table(fields, uses)]
    return joined(parts + ["## Consent ledger", _field_table(LEDGER_FIELDS, {})])


def _object(field: Field) -> str:
    return field.path.rpartition(".")[0]


def _heading(name: str) -> str:
    if not name:
        return "Of the record itself"
    return f"`{name}`, on events of that type alone" if payload_of(name) else f"`{name}`"


def _field_table(fields: Iterable[Field], uses: dict[str, list[str]]) -> str:
    head = ["field", "type", "category", "sensitivity", "handling", "required", "range or values", "what it is"]
    rows = [
        [
            code(field.path),
            code(field.type),
            str(field.category),
            str(field.sensitivity),
            f"{field.handling} ({field.kind})" if field.kind else str(field.handling),
            "yes" if field.required else "",
            _domain(field),
            field.description,
        ]
        for field in fields
    ]
    if uses:
        head.append("purposes that may have it")
        rows = [[*row, ", ".join(uses.get(row[0].strip("`"), [])) or "none"] for row in rows]
    return table(head, rows)


def _domain(field: Field) -> str:
    if field.values:
        return ", ".join(map(code, field.values))
    bounds = "" if field.minimum is None else f"{number(field.minimum)} to {number(field.maximum)}"
    return ", ".join(part for part in (bounds, "quoted or bare" if field.lenient else "") if part)


def _uses(pack: Pack) -> dict[str, list[str]]:
    uses: dict[str, list[str]] = {}
    for name, purpose in pack.purposes.items():
        for path, column in purpose.columns.items():
            counted = "" if purpose.stored else ", counted only"
            uses.setdefault(path, []).append(f"{name} ({form_in_words(column)}{counted})")
    return uses | {path: [words] for path, words in _IN_ALL.items()}


def _bounds(pack: Pack) -> str:
    limits = pack.limits
    return bullets(
        f"A line has at most {MAX_LINE_BYTES:,} bytes; times are RFC 3339.",
        f"schema_version {SCHEMA_VERSION} is the newest that is known; up to {SCHEMA_VERSION + VERSIONS_AHEAD} are "
        "read, since versions only ever add optional fields.",
        f"event_time lies at most {limits.future_minutes} minutes after received_time, and at most "
        f"{limits.oldest_days} days before it ({limits.clause}).",
        f"A free text is cut at {limits.text_bytes:,} bytes, and a time inside of it to the {limits.text_time}.",
        f"An address is cut to {limits.ipv4_prefix} bits (IPv4) or {limits.ipv6_prefix} bits (IPv6).",
    )


def _purposes(pack: Pack) -> str:
    parts = [
        "# Purposes",
        _MADE.format(version=pack.version),
        "What each purpose may receive, on which legal basis and for whom. What is not listed here is not stored for "
        "it. Every stored row also has `event_type`, `event_time` (cut as said below) and `received_date`. Sensitive "
        "columns stand in a dataset of their own.",
        "## Legal bases",
        "The basis in force: a purpose that names one which the region's law does not know falls back to consent "
        "there (*).",
        _bases(pack),
        "## Forms",
        table(("form", "what is stored"), ((str(form), what) for form, what in _FORM.items())),
        "## Lists",
        "What a column of the form `listed` keeps.",
        table(
            ("list", "clause", "words"),
            ([code(n), kept.clause, ", ".join(kept.words)] for n, kept in pack.lists.items()),
        ),
        "## Gates",
        bullets(
            *(
                f"Columns of the categories {', '.join(map(code, gate.categories))} are null in every dataset unless "
                f"`{gate.purpose}` is open for the record ({gate.clause})."
                for gate in pack.gates
            )
        ),
    ]
    of_purpose: dict[str, list[Dataset]] = {}
    for dataset in datasets(pack).values():
        of_purpose.setdefault(dataset.purpose, []).append(dataset)
    for name, purpose in pack.purposes.items():
        stored = of_purpose.get(name, [])
        parts += [f"## {name}", f"{purpose.title}.", table(("what", "rule"), _rules(purpose, stored))]
        parts += [_columns(dataset) for dataset in stored] or [_counted(purpose)]
    return joined(parts)


def _bases(pack: Pack) -> str:
    rows = []
    for name, purpose in pack.purposes.items():
        cells = [name]
        for region in pack.regions:
            basis, declared = pack.basis(name, region), purpose.basis.get(region, purpose.basis["default"])
            cells.append(str(basis) if basis is declared else f"{basis} *")
        rows.append(cells)
    return table(("purpose", *pack.regions), rows)


def _rules(purpose: Purpose, stored: Sequence[Dataset]) -> list[tuple[str, str]]:
    return [
        ("clause", purpose.clause),
        ("subject that the record must have", " and ".join(purpose.subject) or "none"),
        ("whose grant counts", " or ".join(purpose.grantors)),
        ("minors", purpose.minors),
        ("consent", "application by application" if purpose.per_application else "for the subject as a whole"),
        ("least policy version of a grant", purpose.minimum_policy_version or "any"),
        ("sources", ", ".join(purpose.sources)),
        ("event types", ", ".join(purpose.events)),
        ("event_time cut to", f"the {purpose.event_time}"),
        ("a pseudonym lives", "for ever" if purpose.token_epoch == "forever" else f"one {purpose.token_epoch}"),
        ("retention", f"{purpose.retention_days} days"),
        ("datasets", ", ".join(code(dataset.name) for dataset in stored) or "none: its records are only counted"),
    ]


def _columns(dataset: Dataset) -> str:
    rows = [
        (
            code(column.name),
            code(column.field.path),
            form_in_words(column),
            code(str(column.type)),
            _on(column),
        )
        for column in dataset.columns
    ]
    return joined([f"Dataset `{dataset.name}`:", table(("column", "field", "form", "type", "stands on"), rows)])


def _on(column: DatasetColumn) -> str:
    events = ", ".join(EVENT_TYPES[event] for event in sorted(column.events))
    return f"{events}; where `{column.gate}` is open" if column.gate else events


def _counted(purpose: Purpose) -> str:
    rows = [
        (
            code(path),
            form_in_words(column),
            ", ".join(e for e, paths in purpose.events.items() if path in paths),
        )
        for path, column in purpose.columns.items()
    ]
    return joined(["What it is counted from:", table(("field", "form", "stands on"), rows)])


def main(argv: list[str] | None = None) -> int:
    """Writes the pages of the shipped pack into the folder that is named; returns the exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: python -m schemas.reference DIR", file=sys.stderr)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages(load_pack()).items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
