"""Digest: what a run did, in the numbers that a person asks for. Text, JSON and page are made of it alone, so that the
three cannot disagree. Everything in it is a count, a word of ours or a date; a record's values are nowhere.

As JSON (`as_data`), format 1; a count that is not there is zero:

    format run input policy ended       ids, edition; false for a stream that may still go on
    overlays        {regions: [names], services: [names]}: those that narrow the edition
    received                            [first, last] hour of receipt, or []
    reconciles faults checks            faults are sentences; checks [{title left right checked holding}]
    came_in         {telemetry: {lines ...}, ledger, snapshot}: outcomes of reading, deduplicating and judging
    by_region       {region: {decoded duplicates judged opened refused stored datasets statistics days_released}}
    purposes        {purpose: {title clause opened refused stored erased stopped counted
                               reasons: [{reason clause count}]}}
    identifiers     {field: {carried replaced left_behind malformed}}
    unknown_fields  {path, * for a name that is no word of the schema: count}
    scrubbed        {event_type: {recogniser: count}}
    quarantine      {telemetry: [{reason clause count outcomes: {kept: ...}}], ledger: [...]}
    counts          [{region step outcome reason event_type purpose dataset count}]: all of the above is made of them

`ingest --profile` adds `profile`, which is not made of counts (`pipelines.profile`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.audit_rows import CountedRun
from pipelines.deployment import RegionalPlace
from pipelines.errors import InputError
from schemas.consent import CLAUSE_OF_REASON
from schemas.fields import EVENT_FIELD, Handling
from schemas.policy import Pack
from schemas.quarantine import CLAUSE_OF_FAULT, INPUTS
from schemas.statistics import RELEASES
from schemas.tallies import COUNTS, Totals
from transforms.reconcile import Identity, alarms, identities

FORMAT = 1
_IDENTIFYING = (Handling.IDENTIFIER, Handling.ADDRESS)  # what is replaced, where a purpose may have it at all
_READ = ("lines", "blank", "quarantined", "unlocatable", "conflicting", "input_unreadable")
_CAME_IN = {
    "telemetry": (*_READ, "foreign", "decoded", "ahead"),
    "ledger": (*_READ, "entries", "dated_ahead", "nobody", "unlocated", "unknown_purpose"),
    "snapshot": ("entries",),
}


@dataclass(frozen=True)
class Reason:
    """How often purposes stayed closed for one reason."""

    reason: str
    clause: str
    count: int


@dataclass(frozen=True)
class OfPurpose:
    """What was decided for one purpose, and what came of it. `counted` is for statistics, which stores no record;
    `stopped` had been opened, but a stop that came in time took it back."""

    title: str
    clause: str
    opened: int
    refused: int
    stored: int
    erased: int
    stopped: int
    counted: int
    reasons: list[Reason]


@dataclass(frozen=True)
class OfRegion:
    """What became of one region's records. `stored` counts rows, by dataset in `datasets`; `statistics` records."""

    decoded: int
    duplicates: int
    judged: int
    opened: int
    refused: int
    stored: int
    datasets: dict[str, int]
    statistics: dict[str, int]
    days_released: list[str]


@dataclass(frozen=True)
class OfIdentifier:
    """What became of one identifying field, wherever it was carried."""

    carried: int
    replaced: int
    left_behind: int
    malformed: int


@dataclass(frozen=True)
class Rejected:
    """Lines that were rejected for one fault, and what became of them."""

    reason: str
    clause: str
    count: int
    outcomes: dict[str, int]


@dataclass(frozen=True)
class Check:
    """One identity, everywhere that it must hold."""

    title: str
    identities: list[Identity]

    @property
    def left(self) -> int:
        return sum(identity.left for identity in self.identities)

    @property
    def right(self) -> int:
        return sum(identity.right for identity in self.identities)

    @property
    def broken(self) -> list[Identity]:
        return [identity for identity in self.identities if not identity.holds]

    @property
    def holding(self) -> int:
        return len(self.identities) - len(self.broken)


@dataclass(frozen=True)
class Digest:
    """One run. See the head of this module."""

    run: str
    input: str
    policy: str
    overlays: dict[str, list[str]]
    ended: bool
    received: list[str]
    faults: list[str]
    checks: list[Check]
    came_in: dict[str, dict[str, int]]
    by_region: dict[str, OfRegion]
    purposes: dict[str, OfPurpose]
    identifiers: dict[str, OfIdentifier]
    unknown_fields: dict[str, int]
    scrubbed: dict[str, dict[str, int]]
    quarantine: dict[str, list[Rejected]]

    @property
    def reconciles(self) -> bool:
        return not self.faults

    @property
    def reasons(self) -> list[Reason]:
        """Why purposes stayed closed, over all purposes."""
        summed: Counter = Counter()
        for purpose in self.purposes.values():
            summed.update({reason.reason: reason.count for reason in purpose.reasons})
        return _reasons(summed)


def digest(totals: Totals, pack: Pack, run: CountedRun, days: Mapping[str, list[str]], ended: bool) -> Digest:
    """The digest of a run's totals. `days` are those whose statistics it released, by region. Of a stream that may not
    have ended nothing adds up but its closed windows, which it has checked itself. Purposes that the totals name must
    be in the pack."""
    checks = _checks(identities(totals, pack)) if ended else []
    broken = [str(identity) for check in checks for identity in check.broken]
    return Digest(
        run=run.name,
        input=run.input_id,
        policy=pack.version,
        overlays={"regions": [*pack.by_region], "services": [*pack.by_service]},
        ended=ended,
        received=_received(totals),
        faults=broken + alarms(totals),
        checks=checks,
        came_in=_came_in(totals),
        by_region=_by_region(totals, run.regions, days),
        purposes=_purposes(totals, pack),
        identifiers=_identifiers(totals),
        unknown_fields=_largest_first(totals.by("reason", step="fields", outcome="unknown")),
        scrubbed=_scrubbed(totals),
        quarantine={step: _rejected(totals, step) for step in INPUTS},
    )


def _scrubbed(totals: Totals) -> dict[str, dict[str, int]]:
    found = {"step": "text", "outcome": "scrubbed"}
    types = sorted(totals.by("event_type", **found))
    return {name: _largest_first(totals.by("reason", event_type=name, **found)) for name in types}


def released_days(places: Iterable[RegionalPlace], run: str) -> dict[str, list[str]]:
    """The days whose statistics a run released, by region. Raises `InputError` for a release that cannot be read."""
    return {place.region: [day for day, by in _releases(place) if by == run] for place in places}


def _releases(place: RegionalPlace) -> Iterator[tuple[str, str]]:
    for path in sorted(place.statistics.glob(RELEASES)):
        try:
            facts = pq.read_schema(path).metadata
            yield facts[b"day"].decode(), facts[b"run"].decode()
        except (OSError, pa.ArrowException, KeyError, TypeError):
            raise InputError(f"release {path} is damaged, or written by another version of douane") from None


def as_data(found: Digest, totals: Totals) -> dict:
    """The digest and the counts that it is made of, as JSON has them."""
    checks = [
        {"title": c.title, "left": c.left, "right": c.right, "checked": len(c.identities), "holding": c.holding}
        for c in found.checks
    ]
    words = ("region", *COUNTS.names[1:-1])
    counts = [{**dict(zip(words, key, strict=True)), "count": n} for key, n in sorted(totals.by(words).items())]
    head = {"format": FORMAT, "reconciles": found.reconciles}
    return {**head, **asdict(found), "checks": checks, "counts": counts}


def _received(totals: Totals) -> list[str]:
    bounds = pc.min_max(totals.table.filter(pc.equal(totals.table["step"], "gate"))["hour"]).as_py()
    return [hour.isoformat(timespec="minutes") for hour in bounds.values() if hour]


def _checks(found: Iterable[Identity]) -> list[Check]:
    by_title: dict[str, list[Identity]] = {}
    for identity in found:
        by_title.setdefault(identity.title, []).append(identity)
    return [Check(title, of) for title, of in by_title.items()]


def _came_in(totals: Totals) -> dict[str, dict[str, int]]:
    found = {step: dict.fromkeys(outcomes, 0) | totals.by("outcome", step=step) for step, outcomes in _CAME_IN.items()}
    gate = totals.by("outcome", step="gate")
    found["telemetry"] |= {outcome: gate[outcome] for outcome in ("duplicates", "too_old", "judged", "late")}
    return found


def _by_region(totals: Totals, regions: Sequence[str], days: Mapping[str, list[str]]) -> dict[str, OfRegion]:
    decoded = totals.by("region", step="telemetry", outcome="decoded")
    gate = totals.by(("region", "outcome"), step="gate")
    stored = totals.by(("region", "dataset"), step="store", outcome="stored")
    statistics = totals.by(("region", "outcome"), step="statistics")
    return {
        region: OfRegion(
            decoded=decoded[region],
            **{outcome: gate[region, outcome] for outcome in ("duplicates", "judged", "opened", "refused")},
            stored=sum(_of(stored, region).values()),
            datasets=_largest_first(_of(stored, region)),
            statistics=_largest_first(_of(statistics, region)),
            days_released=list(days.get(region, ())),
        )
        for region in regions
    }


def _of(counts: Counter, first: str) -> Counter:
    """Of counts by two words those whose first word this is, by the second."""
    return Counter({second: n for (word, second), n in counts.items() if word == first})


def _purposes(totals: Totals, pack: Pack) -> dict[str, OfPurpose]:
    gate = totals.by(("purpose", "outcome"), step="gate")
    reasons = totals.by(("purpose", "reason"), step="gate", outcome="refused")
    store = totals.by(("dataset", "outcome"), step="store")
    counted = totals.by("purpose", step="statistics", outcome="counted")
    return {
        name: OfPurpose(
            title=purpose.title,
            clause=purpose.clause,
            **{outcome: gate[name, outcome] for outcome in ("opened", "refused", "stopped")},
            **{outcome: store[name, outcome] for outcome in ("stored", "erased")},
            counted=counted[name],
            reasons=_reasons(_of(reasons, name)),
        )
        for name, purpose in pack.purposes.items()
    }


def _reasons(counts: Counter) -> list[Reason]:
    return [Reason(why, CLAUSE_OF_REASON.get(why, ""), n) for why, n in _largest_first(counts).items()]


def _identifiers(totals: Totals) -> dict[str, OfIdentifier]:
    fields = totals.by(("reason", "outcome"), step="fields")
    carried = {path for path, outcome in fields if outcome == "carried" and EVENT_FIELD[path].handling in _IDENTIFYING}
    return {path: _identifier(_of(fields, path)) for path in sorted(carried)}


def _identifier(outcomes: Counter) -> OfIdentifier:
    carried, replaced, malformed = (outcomes[outcome] for outcome in ("carried", "sealed", "malformed"))
    return OfIdentifier(carried, replaced, carried - replaced - malformed, malformed)


def _rejected(totals: Totals, step: str) -> list[Rejected]:
    outcomes = totals.by(("reason", "outcome"), step="quarantine", dataset=step)
    rejected = _largest_first(totals.by("reason", step=step, outcome="quarantined"))
    return [
        Rejected(why, CLAUSE_OF_FAULT.get(why, ""), n, _largest_first(_of(outcomes, why)))
        for why, n in rejected.items()
    ]


def _largest_first(counts: Counter) -> dict[str, int]:
    return {word: n for word, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n}
