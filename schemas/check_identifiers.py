"""Rules about what points to somebody: identifiers, free text and places in the columns of purposes."""

from collections.abc import Iterator
from datetime import date

from schemas.datasets import SUBJECT_FIELD
from schemas.fields import EVENT_FIELD, EVENT_FIELDS, LEDGER_FIELDS, Category, Handling, Sensitivity
from schemas.findings import Finding
from schemas.policy import Column, Form, Pack, Purpose
from schemas.yaml_files import Place

_PERSISTENT = frozenset(
    {Category.PERSISTENT_IDENTIFIER, Category.SUBJECT_IDENTIFIER, Category.ACCOUNT_IDENTIFIER},
)
_RESETTABLE = frozenset(
    {Category.RESETTABLE_IDENTIFIER, Category.ADVERTISING_IDENTIFIER, Category.APPLICATION_IDENTIFIER},
)


def field_without_category(pack: Pack, today: date) -> Iterator[Finding]:
    """Every field of every schema has a data category and a sensitivity class (0-a)."""
    for field in (*EVENT_FIELDS, *LEDGER_FIELDS):
        if not (isinstance(field.category, Category) and isinstance(field.sensitivity, Sensitivity)):
            yield Finding(
                "field_without_category",
                (),
                "0-a",
                f"the field {field.path} lacks a data category or a sensitivity",
                "give it both in schemas/fields.py",
            )


def identifier_not_named(pack: Pack, today: date) -> Iterator[Finding]:
    """A purpose holds an identifier or an address only if its clause names it, and in no closer a form (1.1-a,
    1.1.2-ads, 1.2-activation, 1.2-unlock). The token of its own subject, by which its rows are found, needs no naming,
    and that of the event, which tells its rows apart, neither."""
    for name, purpose in pack.purposes.items():
        for path, column in purpose.columns.items():
            category = EVENT_FIELD[path].category
            if EVENT_FIELD[path].handling not in (Handling.IDENTIFIER, Handling.ADDRESS) or _own(purpose, path, column):
                continue
            place = ("purposes", name, "columns", path)
            named = purpose.identifiers.get(category)
            if named is None:
                message = f"{name} holds {path} ({column.form}), and `identifiers` does not name {category}"
                remedy = f"drop it, or name it there if {purpose.clause} does"
                yield Finding("identifier_not_named", place, purpose.clause, message, remedy)
            elif column.form not in (named, Form.TOKEN):
                message = f"{name} holds {path} as {column.form}, and `identifiers` allows {category} as {named}"
                yield Finding("identifier_not_named", place, purpose.clause, message, f"write {named}")


def _own(purpose: Purpose, path: str, column: Column) -> bool:
    """Whether a column is the token of the purpose's own subject, or of the event."""
    own = {SUBJECT_FIELD[subject].path for subject in purpose.subject} | {"event_id"}
    return column.form is Form.TOKEN and path in own


def counted_without_device(pack: Pack, today: date) -> Iterator[Finding]:
    """What one device adds to a statistic is bounded by its token, so that has to be received with each type of event
    that is counted (1.1.4-b)."""
    if pack.statistics is None:
        return
    device, name = SUBJECT_FIELD["device"].path, pack.statistics.purpose
    for event_type, paths in pack.purposes[name].events.items():
        if device not in paths:
            place = ("purposes", name, "events", event_type)
            message = f"{name} counts {event_type} without {device}, by which one device's part is bounded"
            remedy = f"add {device} to its columns, as token, and here"
            yield Finding("counted_without_device", place, pack.statistics.clause, message, remedy)


def resettable_beside_persistent(pack: Pack, today: date) -> Iterator[Finding]:
    """No dataset holds an identifier that a person can reset beside one that stays (1.2-push). The one exception is
    the subject's token: rows must be found again for who withdraws or is erased, and the ledger speaks of the subject
    alone. It is a pseudonym of this purpose and of one epoch, and joins nothing else (docs/adr/0006)."""
    for name, purpose in pack.purposes.items():
        lasting = [
            path
            for path, column in purpose.columns.items()
            if EVENT_FIELD[path].category in _PERSISTENT and not _own(purpose, path, column)
        ]
        resettable = [path for path in purpose.columns if EVENT_FIELD[path].category in _RESETTABLE]
        if lasting and resettable:
            yield Finding(
                "resettable_beside_persistent",
                ("purposes", name, "columns", lasting[0]),
                "1.2-push",
                f"{name} holds {', '.join(resettable)}, which can be reset, beside {', '.join(lasting)}, which stays",
                "keep one of both",
            )


def advertising_without_consent(pack: Pack, today: date) -> Iterator[Finding]:
    """An advertising identifier needs explicit consent before anything, a zeroed one is an opt-out (2-adcookie), and
    who holds one makes a picture of a person (1.2-ads)."""
    for name, purpose in pack.purposes.items():
        held = [path for path in purpose.columns if EVENT_FIELD[path].category is Category.ADVERTISING_IDENTIFIER]
        if not held:
            continue
        what, rule = f"{name} holds {held[0]}", "advertising_without_consent"
        if others := without_consent(pack, name):
            message = f"{what} and is not on consent in {', '.join(others)}"
            yield Finding(rule, ("purposes", name, "basis"), "2-adcookie", message, "write `default: consent` alone")
        if not purpose.zeroed_closes:
            message = f"{what}, and a zeroed one does not close it"
            yield Finding(rule, ("purposes", name), "2-adcookie", message, "write `zeroed_closes: true`")
        if not purpose.profiling:
            message = f"{what} and does not say that it is profiling"
            yield Finding(rule, ("purposes", name), "1.2-ads", message, "write `profiling: true`")


def text_in_two_purposes(pack: Pack, today: date) -> Iterator[Finding]:
    """Scrubbed text as a whole goes to one purpose at most: two that held it could be joined on it (2-analytics)."""
    first = None
    for name, purpose in pack.purposes.items():
        held = [path for path, column in purpose.columns.items() if column.form is Form.TEXT]
        if held and first:
            yield Finding(
                "text_in_two_purposes",
                ("purposes", name, "columns", held[0]),
                "2-analytics",
                f"{name} keeps {', '.join(held)} as text, and {first} keeps text already",
                "write `fingerprint`, or drop it",
            )
        first = first or (name if held else None)


def sensitive_without_consent(pack: Pack, today: date) -> Iterator[Finding]:
    """A sensitive column is behind a purpose on consent, and an exact place behind one that is granted application by
    application: its gate's, or else the purpose itself (1.1.2-loc)."""
    for guard, (place, category) in _guards(pack).items():
        what = (
            f"{category} stands behind {guard}" if place[0] == "gates" else f"{guard} holds {category} behind no gate"
        )
        if others := without_consent(pack, guard):
            message = f"{what}, and {guard} is not on consent in {', '.join(others)}"
            remedy = "put it behind a gate of a purpose on consent, or drop it"
            yield Finding("sensitive_without_consent", place, "1.1.2-loc", message, remedy)
        elif category is Category.EXACT_LOCATION and not pack.purposes[guard].per_application:
            message = f"{what}, and {guard} is not granted application by application"
            remedy = f"write `per_application: true` in {guard}"
            yield Finding("sensitive_without_consent", place, "1.1.2-loc", message, remedy)


def _guards(pack: Pack) -> dict[str, tuple[Place, Category]]:
    """The purposes on whose consent sensitive columns hang: of each the place where that is said, and a category."""
    found: dict[str, tuple[Place, Category]] = {}
    for name, purpose in pack.purposes.items():
        for field in map(EVENT_FIELD.get, purpose.columns):
            if field.sensitivity is not Sensitivity.SENSITIVE:
                continue
            if gate := pack.gate_of(field):
                found.setdefault(gate.purpose, (("gates", pack.gates.index(gate), "purpose"), field.category))
            else:
                found.setdefault(name, (("purposes", name, "columns", field.path), field.category))
    return found


def without_consent(pack: Pack, purpose: str) -> list[str]:
    """The regions in which a purpose stands on another basis than consent."""
    return [region for region in pack.regions if pack.basis(purpose, region) != "consent"]
