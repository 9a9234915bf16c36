"""What a run did, for a person to read: what came in, what was left behind, what opened, and what is where."""

import json
from collections import Counter
from typing import TYPE_CHECKING

from pipelines.audit import Totals
from schemas.consent import CLAUSE_OF_REASON
from schemas.datasets import AUDIT

if TYPE_CHECKING:
    from pipelines.job import Job

_WIDTH = 88


def print_summary(job: "Job", totals: Totals, as_json: bool) -> None:
    """Prints the summary of a finished run."""
    print(json.dumps(_as_data(job, totals), indent=2) if as_json else "\n".join(_as_text(job, totals)))


def _as_data(job: "Job", totals: Totals) -> dict:
    columns = ("region", "step", "event_type", "purpose", "reason")
    counts = [{**dict(zip(columns, key, strict=True)), "count": n} for key, n in sorted(totals.counts.items())]
    return {"input": job.input_id, "policy": job.pack.version, "faults": totals.faults(), "counts": counts}


def _as_text(job: "Job", totals: Totals) -> list[str]:
    sections = [
        ("What came in", _came_in(job, totals)),
        ("What identified somebody, and what became of it", _identifiers(totals)),
        ("Purposes: how often each was opened, and why it stayed closed", _purposes(job, totals)),
        ("Which region holds what", _regions(job, totals)),
    ]
    lines = []
    for title, body in sections:
        lines += ["", title, "-" * len(title), *body]
    lines += ["", *_verdict(totals), *_more(job, totals)]
    return lines


def _came_in(job: "Job", totals: Totals) -> list[str]:
    quarantined = _quarantined(totals, "telemetry")
    rows = [
        ("lines", totals.count("lines", "telemetry"), "of telemetry"),
        ("blank", totals.count("blank", "telemetry"), ""),
        ("quarantined", sum(quarantined.values()), _listed(quarantined)),
        ("unlocatable", totals.count("unlocatable", "telemetry"), "no usable signal of residency: not kept (6-dc)"),
        ("foreign", totals.count("foreign", "telemetry"), "belong to another cell: not kept here"),
        ("duplicates", totals.count("duplicates", "gate"), "seen before"),
        ("judged", totals.count("judged", "gate"), "records, each for every purpose it could serve"),
        (
            "conflicting",
            totals.count("signals_conflict", "telemetry"),
            "signals name several regions; the localising one won",
        ),
        ("unknown fields", sum(totals.by("reason", "unknown_fields").values()), "dropped (1.1-a)"),
    ]
    if job.with_ledger:
        rejected = _quarantined(totals, "ledger")
        rows += [
            ("ledger entries", totals.count("entries", "ledger"), ""),
            (
                "unlocated",
                totals.count("unlocated_permission", "ledger"),
                "permissions without a region: they act nowhere",
            ),
            ("dated ahead", totals.count("dated_ahead", "ledger"), "permissions from the future: they open nothing"),
            (
                "unknown purpose",
                totals.count("unknown_purpose", "ledger"),
                "entries; a stop among them stops everything",
            ),
            ("ledger rejected", sum(rejected.values()), _listed(rejected) or "a rejected line acts as a restriction"),
        ]
    lines = []
    for name, n, note in rows:
        if n or name in ("lines", "quarantined"):
            first, *more = _wrapped(note) or [""]
            lines += [f"  {name:16} {n:>12,}  {first}".rstrip(), *(f"{'':32}{line}" for line in more)]
    return lines


def _quarantined(totals: Totals, of: str) -> Counter:
    found: Counter = Counter()
    for (_, step, _, what, reason), n in totals.counts.items():
        if (step, what) == ("quarantine", of):
            found[reason] += n
    return +found


def _identifiers(totals: Totals) -> list[str]:
    carried, sealed = totals.by("reason", "carried"), totals.by("reason", "sealed")
    malformed, scrubbed = totals.by("reason", "malformed"), totals.by("reason", "scrubbed")
    lines = [f"  {'':22} {'carried':>10} {'replaced':>10} {'left behind':>12} {'malformed':>10}"]
    for path, n in sorted(carried.items()):
        if n and not path.startswith(("crash", "page_view", "network_request", "location")):
            behind = n - sealed[path] - malformed[path]
            lines.append(f"  {path:22} {n:>10,} {sealed[path]:>10,} {behind:>12,} {malformed[path]:>10,}")
    lines.append("  replaced: by a pseudonym or sealed; left behind: no purpose may have it for that event")
    if scrubbed:
        first, *more = _wrapped(_listed(scrubbed))
        lines += [f"  replaced in free text: {first}", *(f"{'':25}{line}" for line in more)]
    return lines


def _purposes(job: "Job", totals: Totals) -> list[str]:
    lines = [f"  {'':20} {'clause':16} {'opened':>10} {'refused':>10}  for the reason"]
    reasons: Counter = Counter()
    for name, purpose in job.pack.purposes.items():
        outcomes: Counter = Counter()
        for (_, step, _, of, why), n in totals.counts.items():
            if (step, of) == ("gate", name):
                outcomes[why] += n
        opened = outcomes.pop("opened", 0)
        reasons += outcomes
        first, *more = _wrapped(_listed(outcomes), width=50) or [""]
        counts = f"{opened:>10,} {sum(outcomes.values()):>10,}"
        lines.append(f"  {name:20} {purpose.clause:16} {counts}  {first}".rstrip())
        lines += [f"{'':62}{line}" for line in more]
    clauses = ", ".join(f"{reason} {CLAUSE_OF_REASON[reason]}" for reason, _ in reasons.most_common())
    first, *more = _wrapped(clauses) or [""]
    return [*lines, f"  closed under clause: {first}", *(f"{'':23}{line}" for line in more)]


def _regions(job: "Job", totals: Totals) -> list[str]:
    lines = []
    for place in job.places.values():
        stored: Counter = Counter()
        for (region, step, _, dataset, why), n in totals.counts.items():
            if (region, step, why) == (place.region, "store", "stored"):
                stored[dataset] += n
        records = totals.count("judged", "gate", place.region)
        lines.append(f"  {place.region}: {records:,} records, {sum(stored.values()):,} rows in {place.store}")
        lines += [f"      {line}" for line in _wrapped(_listed(stored))]
    return lines


def _verdict(totals: Totals) -> list[str]:
    faults = totals.faults()
    if not faults:
        return [
            "Every line is accounted for: lines = blank + quarantined + unlocatable + foreign + judged + duplicates."
        ]
    return ["THIS RUN DOES NOT ACCOUNT FOR EVERYTHING:", *(f"  {fault}" for fault in faults)]


def _more(job: "Job", totals: Totals) -> list[str]:
    region = max(job.places.values(), key=lambda place: totals.count("judged", "gate", place.region)).region
    read = f"douane read --deployment {job.deployment} --region {region}"
    return [
        "",
        f"More: {read} --dataset operations --out operations.jsonl",
        f"      {read} --dataset {AUDIT} --out audit.csv",
    ]


def _listed(counts: Counter) -> str:
    return ", ".join(f"{name} {n:,}" for name, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n)


def _wrapped(text: str, width: int = _WIDTH) -> list[str]:
    lines, line = [], ""
    for part in text.split(", ") if text else []:
        if len(line) + len(part) > width:
            lines.append(line.rstrip())
            line = ""
        line += f"{part}, "
    return [*lines, line.rstrip(", ")] if line else lines
