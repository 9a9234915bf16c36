"""What must add up: nothing was lost, nothing crept in, and each decision is accounted for (design section 2).

    lines      = blank + quarantined + unlocatable + foreign + decoded        of the run
    quarantined = kept + no_key + sampled + repeated + foreign                of each input
    decoded    = duplicates + too old + judged                                of each region
    entries sent = entries that the gate knows                                of each region
    judged     = opened + refused                                             of each region, purpose and event type
    opened     = stored + erased + stopped, or counted + stopped              of each region, purpose and event type
    counted    = released + already released + incomplete + late             of each region
    stored     = rows of the files that the manifest names                    of each region and dataset
    spans read = spans given                                                  of each input

Each side is counted by another step, so that what one step loses the next one misses.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from schemas.policy import Pack
from schemas.tallies import Totals


@dataclass(frozen=True)
class Identity:
    """Two counts that must be equal. `about` says of what: a region, purpose and event type, an input, or the run."""

    title: str
    about: str
    left: int
    right: int

    @property
    def holds(self) -> bool:
        return self.left == self.right

    def __str__(self) -> str:
        return f"{self.title} does not hold for {self.about}: {self.left:,} on the left, {self.right:,} on the right"


LINES = "lines = blank + quarantined + unlocatable + foreign + decoded"
ENTRIES = "lines = blank + quarantined + dated ahead + entries"
QUARANTINED = "quarantined = kept + no_key + sampled + repeated + foreign"
DECODED = "decoded = duplicates + too old + judged"
SENT = "entries sent = entries that the gate knows"
CANDIDATES = "judged = opened + refused"
STORED = "opened = stored + erased + stopped"
COUNTED = "opened = counted + stopped"
RELEASED = "counted = released + already released + incomplete + late"
READ = "spans read = spans given"
NAMED = "stored = rows that the manifest names"


def identities(totals: Totals, pack: Pack) -> list[Identity]:
    """Everything that must add up once a run has ended."""
    return [*_of_inputs(totals), *of_regions(totals, pack)]


def of_regions(totals: Totals, pack: Pack) -> list[Identity]:
    """What must add up in each region by itself, for who cannot see all that a run counted."""
    return [
        *_judged(totals, window=False),
        *_sent(totals),
        *_purposes(totals, pack),
        *_released(totals),
        *_named(totals),
    ]


def of_window(totals: Totals, pack: Pack) -> list[Identity]:
    """What must add up for one window of a stream. Its lines lie in no one window, and records that came after their
    own window had been judged were decoded in that one (`passed_on` there) and judged in this one (`late` here)."""
    return [*_judged(totals, window=True), *_purposes(totals, pack)]


def _of_inputs(totals: Totals) -> Iterator[Identity]:
    for title, step, parts in (
        (LINES, "telemetry", ("blank", "quarantined", "unlocatable", "foreign", "decoded")),
        (ENTRIES, "ledger", ("blank", "quarantined", "dated_ahead", "entries")),
    ):
        found = totals.by("outcome", step=step)
        yield Identity(title, step, found["lines"], sum(found[part] for part in parts))
        yield _quarantined(totals, step)
    for step, given in sorted(totals.by("dataset", step="plan", outcome="given").items()):
        yield Identity(READ, step, totals.sum(step=step, outcome="spans"), given)


def _quarantined(totals: Totals, step: str) -> Identity:
    kept = totals.by("outcome", step="quarantine", dataset=step).total()
    return Identity(QUARANTINED, step, totals.sum(step=step, outcome="quarantined"), kept)


def _judged(totals: Totals, window: bool) -> Iterator[Identity]:
    decoded = totals.by("region", step="telemetry", outcome="decoded")
    gate = totals.by(("region", "outcome"), step="gate")
    for region in sorted(decoded.keys() | {region for region, _ in gate}):
        judged = sum(gate[region, outcome] for outcome in ("duplicates", "too_old", "judged"))
        if window:
            judged += gate[region, "passed_on"] - gate[region, "late"]
        yield Identity(DECODED, region, decoded[region], judged)


def _sent(totals: Totals) -> Iterator[Identity]:
    sent = totals.by("region", step="ledger", outcome="sent")
    known = totals.by("region", step="gate", outcome="known")
    for region in sorted(sent.keys() | known.keys()):
        yield Identity(SENT, region, sent[region], known[region])


def _purposes(totals: Totals, pack: Pack) -> Iterator[Identity]:
    judged = totals.by(("region", "event_type"), step="gate", outcome="judged")
    decided = totals.by(("region", "event_type", "purpose", "outcome"), step="gate")
    stored = totals.by(("region", "event_type", "dataset"), step="store", outcome="stored")
    stored += totals.by(("region", "event_type", "dataset"), step="store", outcome="erased")
    counted = totals.by(("region", "event_type", "purpose"), step="statistics", outcome="counted")
    places = {(r, e, p) for r, e in judged for p, of in pack.purposes.items() if e in of.events}
    places |= {(r, e, p) for r, e, p, _ in decided if p} | {key for key in stored if key[2] in pack.purposes}
    for region, event_type, name in sorted(places | set(counted)):
        at = region, event_type, name
        about = f"{name}, {event_type} in {region}"
        opened, stopped = decided[*at, "opened"], decided[*at, "stopped"]
        yield Identity(CANDIDATES, about, judged[region, event_type], opened + decided[*at, "refused"])
        if pack.purposes[name].stored:
            yield Identity(STORED, about, opened, stored[at] + stopped)
        elif pack.statistics is not None:
            yield Identity(COUNTED, about, opened, counted[at] + stopped)


def _released(totals: Totals) -> Iterator[Identity]:
    found = totals.by(("region", "outcome"), step="statistics")
    for region in sorted({region for region, _ in found}):
        ended = sum(found[region, part] for part in ("released", "already_released", "incomplete", "late"))
        yield Identity(RELEASED, region, found[region, "counted"], ended)


def _named(totals: Totals) -> Iterator[Identity]:
    """Only where somebody has looked: when a run has ended, not once rows may have been erased."""
    stored = totals.by(("region", "dataset"), step="store", outcome="stored")
    for step in ("quarantine", "orders"):
        stored += totals.by(("region", "dataset"), step=step, outcome="rows")
    for (region, dataset), rows in sorted(totals.by(("region", "dataset"), step="manifest").items()):
        yield Identity(NAMED, f"{dataset} in {region}", stored[region, dataset], rows)


def faults(totals: Totals, pack: Pack) -> list[str]:
    """What keeps a run from being accounted for, each in a sentence; empty if every line is."""
    return [str(identity) for identity in identities(totals, pack) if not identity.holds] + alarms(totals)


def alarms(totals: Totals) -> list[str]:
    """What must never happen, whether it adds up or not."""
    found = []
    if foreign := totals.sum(step="store", outcome="foreign"):
        found.append(f"{foreign:,} rows were refused at a store of another region")
    if unreadable := totals.sum(outcome="input_unreadable"):
        found.append(f"{unreadable:,} inputs broke off: the rest was not read")
    if nobody := totals.sum(outcome="nobody"):
        found.append(f"{nobody:,} ledger lines name no subject that can be read: whom they protect is not known")
    if windows := totals.sum(step="audit", outcome="unreconciled"):
        found.append(f"{windows:,} identities did not hold when their window was closed")
    return found
