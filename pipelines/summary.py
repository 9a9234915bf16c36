"""What a run did, to read in a terminal: what came in, what was left behind, what opened, what is where."""

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pipelines import profile as profiles
from pipelines.audit_rows import CountedRun
from pipelines.digest import Digest, Rejected, as_data, digest, released_days
from pipelines.profile import Profile
from pipelines.tables import days_listed
from schemas.tallies import Totals

if TYPE_CHECKING:
    from pipelines.job import Job

_WIDTH = 88


def print_summary(job: "Job", totals: Totals, as_json: bool, profile: Profile | None = None) -> None:
    """Prints the summary of a finished run, and its profile, if any. As JSON it has the form that `pipelines.digest`
    describes, with the profile as `profile` (`pipelines.profile`)."""
    places = list(job.places.values())
    run = CountedRun(job.run, job.input_id, tuple(place.region for place in places), dates=(), bounded=True)
    found = digest(totals, job.pack, run, released_days(places, job.run), ended=True)
    lines = found.came_in["telemetry"]["lines"]
    if as_json:
        told = {"profile": profiles.as_data(profile, lines)} if profile else {}
        print(json.dumps(as_data(found, totals) | told, indent=2))
    else:
        told = _section("Where the time went", profiles.as_text(profile, lines)) if profile else []
        print("\n".join([*_as_text(job, found), *told]))


def _as_text(job: "Job", found: Digest) -> list[str]:
    sections = [
        ("What came in", [*_came_in(found), *(_ledger(found) if job.with_ledger else ())]),
        ("What identified somebody, and what became of it", _identifiers(found)),
        ("Purposes: how often each was opened, and why it stayed closed", _purposes(found)),
        ("Which region holds what", _regions(job, found)),
    ]
    lines = []
    for title, body in sections:
        lines += _section(title, body)
    return [*lines, "", *_verdict(found), *_more(job, found)]


def _section(title: str, body: list[str]) -> list[str]:
    return ["", title, "-" * len(title), *body]


def _came_in(found: Digest) -> list[str]:
    came, rejected = found.came_in["telemetry"], found.quarantine["telemetry"]
    rows = [
        ("lines", came["lines"], "of telemetry"),
        ("blank", came["blank"], ""),
        ("quarantined", came["quarantined"], _listed(_by_reason(rejected))),
        ("  of these", came["quarantined"], _listed(_fates(rejected))),
        ("unlocatable", came["unlocatable"], "no usable signal of residency: not kept (6-dc)"),
        ("foreign", came["foreign"], "belong to another cell: not kept here"),
        ("duplicates", came["duplicates"], "seen before"),
        ("too old", came["too_old"], "came so late that their events lie too far back"),
        ("judged", came["judged"], "records, each for every purpose it could serve"),
        ("late", came["late"], "of these, that came after their window"),
        ("conflicting", came["conflicting"], "signals name several regions; the localising one won"),
        ("versions ahead", came["ahead"], "records of a newer schema: what it adds is dropped (1.1-a)"),
        ("unknown fields", sum(found.unknown_fields.values()), "dropped (1.1-a)"),
    ]
    return _table(rows, always=("lines", "quarantined"))


def _ledger(found: Digest) -> list[str]:
    came, rejected = found.came_in["ledger"], found.quarantine["ledger"]
    rows = [
        ("ledger entries", came["entries"], ""),
        ("from snapshot", found.came_in["snapshot"]["entries"], "entries, in each region where they act"),
        ("unlocated", came["unlocated"], "permissions without a region: they act nowhere"),
        ("dated ahead", came["dated_ahead"], "permissions from the future: they open nothing"),
        ("unknown purpose", came["unknown_purpose"], "entries; a stop among them stops everything"),
        ("ledger rejected", came["quarantined"], _listed(_by_reason(rejected))),
        ("  of these", came["quarantined"], _listed(_fates(rejected))),
        ("nobody", came["nobody"], "rejected, and it is not known whom they name"),
    ]
    return _table(rows, always=("ledger entries",))


def _table(rows: Iterable[tuple[str, int, str]], always: tuple[str, ...]) -> list[str]:
    lines = []
    for name, count, note in rows:
        if count or name in always:
            first, *more = _wrapped(note) or [""]
            lines += [f"  {name:16} {count:>12,}  {first}".rstrip(), *(f"{'':32}{line}" for line in more)]
    return lines


def _by_reason(rejected: list[Rejected]) -> dict[str, int]:
    return {fault.reason: fault.count for fault in rejected}


def _fates(rejected: list[Rejected]) -> dict[str, int]:
    fates: dict[str, int] = {}
    for fault in rejected:
        for outcome, count in fault.outcomes.items():
            fates[outcome] = fates.get(outcome, 0) + count
    return fates


def _identifiers(found: Digest) -> list[str]:
    lines = [f"  {'':22} {'carried':>10} {'replaced':>10} {'left behind':>12} {'malformed':>10}"]
    for path, of in found.identifiers.items():
        lines.append(f"  {path:22} {of.carried:>10,} {of.replaced:>10,} {of.left_behind:>12,} {of.malformed:>10,}")
    lines.append("  replaced: by a pseudonym or sealed; left behind: no purpose may have it for that event, or the")
    lines.append("  event is unlocatable or foreign and goes no further")
    for event_type, counts in found.scrubbed.items():
        lines += _labelled(f"replaced in free text of {event_type}: ", _listed(counts))
    return lines


def _purposes(found: Digest) -> list[str]:
    lines = [f"  {'':20} {'clause':16} {'opened':>10} {'refused':>10}  for the reason"]
    for name, of in found.purposes.items():
        reasons = _listed({reason.reason: reason.count for reason in of.reasons})
        first, *more = _wrapped(reasons, width=50) or [""]
        lines.append(f"  {name:20} {of.clause:16} {of.opened:>10,} {of.refused:>10,}  {first}".rstrip())
        lines += [f"{'':62}{line}" for line in more]
    clauses = ", ".join(f"{reason.reason} {reason.clause}" for reason in found.reasons)
    return lines + _labelled("closed under clause: ", clauses)


def _regions(job: "Job", found: Digest) -> list[str]:
    lines = []
    for place in job.places.values():
        of = found.by_region[place.region]
        lines.append(f"  {place.region}: {of.judged:,} records, {of.stored:,} rows in {place.store}")
        lines += [f"      {line}" for line in _wrapped(_listed(of.datasets))]
        lines += [f"      statistics: {line}" for line in _statistics(of.statistics, of.days_released)]
    return lines


def _statistics(records: Mapping[str, int], days: list[str]) -> list[str]:
    told = [f"{days_listed(days)} released"] if days else []
    for outcome, words in (
        ("incomplete", "of days that are not complete"),
        ("late", "too late for their day"),
        ("already_released", "of days released before"),
    ):
        if outcome in records:
            told.append(f"{records[outcome]:,} records {words}")
    return ["; ".join(told)] if told else []


def _verdict(found: Digest) -> list[str]:
    if found.reconciles:
        return [
            "Every line is accounted for: lines = blank + quarantined + unlocatable + foreign + duplicates + too old "
            "+ judged."
        ]
    return ["THIS RUN DOES NOT ACCOUNT FOR EVERYTHING:", *(f"  {fault}" for fault in found.faults)]


def _more(job: "Job", found: Digest) -> list[str]:
    lines = [
        "",
        f"Run {found.run} of input {found.input}, policy {found.policy}.",
        f"More: douane report {found.run} {job.where}",
        f"      douane audit {job.where}",
    ]
    region, of = max(found.by_region.items(), key=lambda named: named[1].stored)
    if of.stored:
        dataset = next(iter(of.datasets))
        lines.append(f"      douane read {job.where} --region {region} --dataset {dataset} --out {dataset}.jsonl")
    return lines


def _labelled(label: str, text: str) -> list[str]:
    """Wrapped text under a label, or nothing."""
    lines = _wrapped(text)
    return [f"  {label if not at else '':{len(label)}}{line}" for at, line in enumerate(lines)]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n)


def _wrapped(text: str, width: int = _WIDTH) -> list[str]:
    lines, line = [], ""
    for part in text.split(", ") if text else []:
        if len(line) + len(part) > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{part}, "
    return [*lines, line.rstrip(", ")] if line else lines
