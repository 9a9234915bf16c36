"""What `douane check` tells of a policy pack, for a person to read."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pipelines.tables import bulleted, printable, terminal_width, wrapped
from schemas.coverage import Cited, Covered
from schemas.difference import KINDS, Change
from schemas.words import listed

_SHOWN = 3  # tests of a clause that are named; the rest are counted


def effective_lines(told: dict[str, Any], width: int | None = None) -> list[str]:
    """The policy in force, as `schemas.in_force.told` gives it."""
    width = width or terminal_width()
    lines = [printable(f"Policy {told['policy']} in {told['region']}, {_for_service(told)}")]
    purposes = told["purposes"]
    sections = (
        ("Purposes", _PURPOSES, [_purpose(each) for each in purposes]),
        (
            "Their clauses and conditions",
            ("purpose", "clause", "only if"),
            [row for each in purposes for row in _conditions(each)],
        ),
        ("What they receive", ("purpose", "event type", "columns"), [row for e in purposes for row in _received(e)]),
        ("Columns behind a purpose of their own", ("categories", "null unless open", "clause"), _gates(told)),
        ("What is not collected", ("event types", "unless open", "clause"), _collection(told)),
        ("What may leave", ("what", "to whom", "for", "categories", "instrument", "until"), _leaving(told)),
    )
    for title, head, rows in sections:
        body = wrapped(head, rows, width) if rows else ["  nothing"]
        lines += ["", title, *body]
    return lines


_PURPOSES = ("purpose", "opens on", "subject", "minors", "consent from", "time by", "kept, days")


def _for_service(told: dict[str, Any]) -> str:
    if told["service"] is None:
        return "for every service without a policy of its own"
    follows = "" if told["own_overlay"] else ", which has no policy of its own and follows the base"
    return f"for service {told['service']}{follows}"


def _purpose(each: dict[str, Any]) -> Sequence[str]:
    days = ", ".join(
        [str(each["retention_days"]), *(f"{category} {days}" for category, days in each["retention"].items())]
    )
    return (
        each["purpose"],
        f"closed by {each['closed_by']}" if each["closed_by"] else each["basis"].replace("_", " "),
        listed(each["subject"]) if each["subject"] else "none",
        each["minors"],
        each["minimum_policy_version"] or "any",
        each["event_time"],
        days if each["stored"] else "only counted",
    )


def _conditions(each: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    said = [f"sent by {listed(each['sources'], 'or')}"]
    if each["granted_by"] and tuple(each["granted_by"]) != tuple(each["subject"]):
        said.append(f"granted by {listed(each['granted_by'], 'or')}")
    if each["per_application"]:
        said.append("granted for the record's application")
    if each["zeroed_closes"]:
        said.append("no advertising id is zeroed")
    said += [f"{path} is not {listed(words, 'or')}" for path, words in each["unless"].items()]
    yield each["purpose"], each["clause"], "; ".join(said)


def _received(each: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for event, columns in each["events"].items():
        yield each["purpose"], event, ", ".join(f"{path} {form}" for path, form in columns.items())


def _gates(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(", ".join(gate["categories"]), gate["purpose"], gate["clause"]) for gate in told["gates"]]


def _collection(told: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [
        (", ".join(rule["events"]), listed(rule["admitted_by"], "or"), rule["clause"]) for rule in told["collection"]
    ]


def _leaving(told: dict[str, Any]) -> list[Sequence[str]]:
    rows = [
        (f"a transfer from {each['origin']}", each["to"], each["purpose"], *_terms(each)) for each in told["transfers"]
    ]
    rows += [(f"to a {each['kind']}", each["name"], each["purpose"], *_terms(each)) for each in told["recipients"]]
    return rows + [
        ("services combined", listed(each["services"]), ", ".join(each["purposes"]), "", each["control"], "")
        for each in told["combinations"]
    ]


def _terms(each: dict[str, Any]) -> tuple[str, str, str]:
    return ", ".join(each["categories"]), each["instrument"] or "none", each["until"] or "no end"


def difference_lines(old: str, new: str, changes: Sequence[Change], width: int | None = None) -> list[str]:
    """What a change opens, closes and changes, a sentence each."""
    if not changes:
        return [printable(f"policy packs {old} and {new} say the same")]
    lines = [printable(f"From policy pack {old} to {new}")]
    for kind in KINDS:
        sentences = [str(change) for change in changes if change.kind == kind]
        lines += ["", f"{kind.upper()}: {len(sentences)}"]
        lines += [line for said in sentences for line in bulleted(said, width or terminal_width())]
    return lines


def coverage_lines(rows: Iterable[Covered], proven: Sequence[Cited] | None, width: int | None = None) -> list[str]:
    """Each clause with its duty, the rules of the pack for it, the module that holds it, the tests that prove it, and
    what is not built."""
    table = [(row.clause.id if not number else "", *said) for row in rows for number, said in enumerate(_covered(row))]
    width = width or terminal_width()
    lines = wrapped(("clause", "", "what there is for it"), table, width, indent=0)
    if proven is None:
        return [*lines, "", "There is no folder of tests beside the package: none are listed."]
    computed = [mention.at for mention in proven if not mention.clause]
    note = bulleted(f"not listed, since they compute their clause: {listed(computed)}", width) if computed else []
    return [*lines, "", *note] if note else lines


def _covered(row: Covered) -> Iterator[tuple[str, str]]:
    yield "duty", row.clause.duty
    for rule in row.rules:
        yield "rule", f"{rule.what} ({rule.at})"
    for held in row.held:
        yield "code", f"{held.module}: {held.how}"
    for missing in row.not_yet:
        yield "not yet", missing
    names = [test.what for test in row.tests]
    for name in names[:_SHOWN]:
        yield "test", name
    if len(names) > _SHOWN:
        yield "", f"and {len(names) - _SHOWN} more"
