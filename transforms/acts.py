"""What the entries of a ledger come to, one by one in plain Python: several may share an id, and some are none."""

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from math import inf

from schemas.consent import FUTURE_LIMIT, PERMISSIONS, Kind, SubjectType


@dataclass(frozen=True, repr=False, slots=True)
class Entry:
    """One row of the ledger, as `SEALED_LEDGER` has it; `purposes` are names, or EVERY_PURPOSE."""

    entry_id: Hashable
    subject_type: SubjectType
    subject: Hashable
    kind: Kind
    purposes: frozenset[str]
    app: str | None
    policy_version: str | None
    guardian: bool
    time: int
    received_time: int


@dataclass(frozen=True, repr=False, slots=True)
class Act:
    """What the entries of one id come to: a stop, a line that could not be read, or a permission in all its versions.

    A permission is as early as its earliest version where it has to be later than something, and begins as late as the
    latest; `corrected` is when a valid entry of the id of an unreadable line was received.
    """

    versions: tuple[Entry, ...]
    places: tuple[int, ...]  # of the versions among the entries given
    kind: Kind
    time: int
    received: int
    begins: float
    known: int
    corrected: float = inf

    def later(self, stop: "Act") -> bool:
        """Equal is not later."""
        return self.time > stop.time and self.received > stop.received


def reconciled(entries: Iterable[Entry]) -> Iterator[Act]:
    """The acts of a ledger. A permission dated too far ahead of its receipt is none; where several contents share an
    id, the more restrictive counts: every stop, and a permission only if all versions agree in what they permit to
    whom."""
    of_id: dict[Hashable, list[tuple[int, Entry]]] = {}
    for place, entry in enumerate(entries):
        if entry.kind not in PERMISSIONS or entry.time <= entry.received_time + FUTURE_LIMIT:
            of_id.setdefault(entry.entry_id, []).append((place, entry))
    for same in of_id.values():
        valid = [(place, entry) for place, entry in same if entry.kind is not Kind.unreadable]
        corrected = min((entry.received_time for _, entry in valid), default=inf)
        for place, entry in same:
            if entry.kind not in PERMISSIONS:
                yield stop_of(place, entry, corrected)
        first = valid[0][1] if valid else None
        if first and all(not contradicts(entry, first) for _, entry in valid):
            places, versions = zip(*valid, strict=True)
            yield permission_of(places, versions)


def contradicts(entry: Entry, permission: Entry) -> bool:
    """Whether an entry of the same id undoes a permission: a stop, or a permission of other content in the main."""
    return entry.kind not in PERMISSIONS or _main(entry) != _main(permission)


def _main(entry: Entry) -> tuple:
    return entry.subject_type, entry.subject, entry.kind, entry.app


def stop_of(place: int, entry: Entry, corrected: float = inf) -> Act:
    """A stop's time is the smaller of its clocks."""
    time, received = min(entry.time, entry.received_time), entry.received_time
    return Act((entry,), (place,), entry.kind, time, received, -inf, received, corrected)


def permission_of(places: tuple[int, ...], versions: tuple[Entry, ...]) -> Act:
    times, receipts = [each.time for each in versions], [each.received_time for each in versions]
    return Act(versions, places, versions[0].kind, min(times), min(receipts), max(times), max(receipts))
