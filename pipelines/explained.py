"""An explanation as text for a person to read."""

from collections.abc import Iterator, Sequence

from pipelines.tables import aligned, printable
from schemas.explanation import Entry, Explanation, FieldFate, Link, PurposeFate

_OUTCOMES = {
    "accepted": "the line is accepted",
    "blank": "the line is blank: it is counted and left out",
    "rejected": "the line is rejected",
    "unlocatable": "no signal says where the event may live: it is counted and not kept",
    "foreign": "the event belongs to a region that this deployment does not serve: it is not kept here",
}


def as_text(told: Explanation) -> list[str]:
    """The lines to print, each of which is one and prints as it is, whatever the event and the ledger hold."""
    lines = [_verdict(told)]
    if told.event:
        type_, time, received, source = told.event.values()
        lines.append(printable(f"{type_} of {time}, received {received}, from {source}"))
        if told.edition is None:
            lines.append("at that time no edition of the policy was in force")
        elif told.edition != told.policy:
            lines.append(printable(f"at that time edition {told.edition} was in force, which has to allow it as well"))
    sections = [
        ("Region", _region(told)),
        ("Fields", [line for each in told.fields for line in _field(each)] + _unknown(told)),
        ("Entries of the ledger about its subjects", _entries(told)),
        ("Purposes", [line for purpose in told.purposes for line in _purpose(purpose)]),
        ("Rows that would be stored", _rows(told)),
    ]
    for title, body in sections:
        if body:
            lines += ["", title, "-" * len(title), *body]
    return lines


def _verdict(told: Explanation) -> str:
    line = told.line
    why = ""
    if line.outcome == "rejected":
        why = f" by {line.stage}: {line.reason} ({line.clause})"
    elif line.reason:
        why = f" ({line.reason}, {line.clause})"
    return f"Under policy {told.policy} {_OUTCOMES[line.outcome]}{why}"


def _region(told: Explanation) -> list[str]:
    place = told.place
    if place is None:
        return []
    conflict = "; its signals name several regions" if place.conflict else ""
    rows = [(s.signal, s.said, s.region or "not usable", "decides" if s.decides else "") for s in place.signals]
    return [f"  {place.region or 'none'} ({place.clause}){conflict}", *aligned(rows, indent=4)]


def _field(fate: FieldFate) -> Iterator[str]:
    found = ", ".join(f"{name} {count}" for name, count in fate.recognisers.items())
    yield f"  {fate.path}: {fate.outcome}{f' of {found}' if found else ''} ({fate.clause})"
    yield f"      {fate.category}, {fate.sensitivity}: {printable(fate.shown)}"
    rows = [
        (d.dataset, d.form, printable(d.stored) if d.why_not is None else f"nothing: {d.why_not}", f"({d.clause})")
        for d in fate.datasets
    ]
    yield from aligned(rows, indent=6)


def _unknown(told: Explanation) -> list[str]:
    return [f"  {path}: {_many(n, 'unknown field')} dropped (1.1-a)" for path, n in told.unknown.items()]


def _many(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _entries(told: Explanation) -> list[str]:
    lines = aligned([_entry(entry) for entry in told.entries], indent=2)
    if told.further_entries:
        lines.append(f"  {told.further_entries} more, not looked at one by one, though the verdicts heed them")
    if told.nobody:
        lines.append(f"  {_many(told.nobody, 'line')} of the ledger with no subject that can be read: perhaps this one")
    if not lines and told.purposes:
        lines.append("  none")
    return lines


def _entry(entry: Entry) -> tuple[str, ...]:
    about = [entry.purposes or "", f"app {entry.app}" if entry.app else "", entry.policy_version or ""]
    return (
        f"#{entry.number}",
        entry.kind,
        entry.subject,
        entry.time or "time not read",
        f"received {entry.received_time}" if entry.received_time else "",
        {None: "acts nowhere", "everywhere": "acts everywhere"}.get(entry.region, f"acts in {entry.region}"),
        " ".join(filter(None, [*about, "guardian" if entry.guardian else ""])),
        f"id {entry.entry_id}" if entry.entry_id else "no id",
    )


def _purpose(fate: PurposeFate) -> Iterator[str]:
    opened = fate.outcome == "open"
    outcome = "open" if opened else f"closed: {fate.outcome} ({fate.outcome_clause})"
    counted = "" if fate.stored or not opened else ", counted only"
    yield f"  {fate.purpose}: {outcome}{counted}"
    yield f"      {fate.title} ({fate.clause}), basis {fate.basis}"
    if fate.chain is None:
        yield "      decided by entries that are not among those above"
        return
    yield from (f"      {line}" for line in _chain(fate.chain))


def _chain(links: Sequence[Link]) -> Iterator[str]:
    """First what did something, each entry on a line; then together those that did not."""
    idle: dict[str, list[int]] = {}
    for link in links:
        if len(link.did) == 1 and link.did[0].what in _IDLE:
            idle.setdefault(link.did[0].what, []).append(link.entry)
        else:
            yield f"#{link.entry} " + ", ".join(f"{did.what} {_numbers(did.entries)}".strip() for did in link.did)
    for what, entries in idle.items():
        yield f"{what}: {_numbers(entries)}"


_IDLE = frozenset(
    {
        "about somebody else",
        "other purpose",
        "not yet known",
        "given after the event",
        "names no application",
        "other application",
        "changes nothing",
    }
)


def _numbers(entries: Sequence[int]) -> str:
    return " ".join(f"#{entry}" for entry in entries)


def _rows(told: Explanation) -> list[str]:
    if not told.rows:
        return ["  none"] if told.purposes else []
    lines = []
    for dataset, row in told.rows.items():
        cells = [(name, printable(value)) for name, value in row.items() if value is not None]
        lines += [f"  {dataset}", *aligned(cells, indent=4)]
        if empty := [name for name, value in row.items() if value is None]:
            lines.append(f"    null: {', '.join(empty)}")
    return lines
