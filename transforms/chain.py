"""The chain of ledger entries behind a verdict: which decided, and what became of the others (5.1 to 5.4, 7, 9).

What is told is what the rule makes of each entry, as `transforms.decision` has it; the verdict itself is the gate's.
"""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from schemas.consent import NOBODY, PERMISSIONS, Kind, SubjectType, Terms
from schemas.explanation import Did
from schemas.layout import Layout
from transforms.acts import Act, Entry, contradicts, permission_of, stop_of
from transforms.consent import Verdict
from transforms.decision import OPEN, REASONS, Case, Record

_WHATEVER = ("no_policy", "no_service", "closed_here")  # the outcome is this whatever the ledger holds


def outcomes(verdict: Verdict, purposes: Sequence[str]) -> dict[str, str]:
    """The outcome of each purpose for the one record of a verdict: open, or the reason why it is closed."""
    found = dict.fromkeys(purposes, OPEN)
    for reason, masks in verdict.reasons.items():
        found |= {name: reason for bit, name in enumerate(purposes) if int(masks[0]) >> bit & 1}
    return found


def record_of(batch: pa.RecordBatch, plan: Layout) -> Record:
    """The one record of a sealed batch, as the rule looks at it."""
    names = ("device", "account", "subject_fault", plan.application, "event_time", "received_time")
    return Record(*(batch.column(name)[0].as_py() if name else None for name in names))


def entries_of(sealed: pa.Table) -> list[Entry]:
    """Sealed rows of the ledger one by one."""
    return [_entry(**row) for row in sealed.to_pylist()]


def _entry(subject_type: int, kind: int, purposes: str, **others) -> Entry:
    named = frozenset(purposes.split(","))
    return Entry(subject_type=SubjectType(subject_type), kind=Kind(kind), purposes=named, **others)


def chain_of(
    record: Record, entries: Sequence[Entry], terms: Terms, purpose: str, outcome: str
) -> list[list[Did]] | None:
    """What each of these entries, the oldest receipt first, did for a purpose of a record, by their places. `outcome`
    is the gate's, with all that the ledger holds; None where these entries alone do not come to it."""
    case = Case(record, purpose, entries, terms, "all")
    reason, acts = case.refusal() or (None, [])
    if outcome not in _WHATEVER and reason != (outcome if outcome in REASONS else None):
        return None
    chain = _Chain(case, entries, outcome, acts)
    return [chain.did(place) or [Did("changes nothing")] for place in range(len(entries))]


class _Chain:
    """What each entry did. `closing` are the acts for which the rule keeps the purpose closed; where it opens it and
    `outcome` is another, what keeps it closed is no entry."""

    def __init__(self, case: Case, entries: Sequence[Entry], outcome: str, closing: list[Act]) -> None:
        self._case, self._entries, self._opened = case, entries, outcome == OPEN
        self._act_of = {place: act for act in case.acts for place in act.places}
        self._counting = [act for act in case.acts if case.obstacle(act) is None]
        self._insufficient = [act for act in closing if act.kind is Kind.grant]
        self._sufficient = case.sufficient
        self._closes = max((act.places for act in closing if act.kind not in PERMISSIONS), default=None)
        self._opens = max((act.places for act in self._sufficient), default=None)
        self._close = {act.places for _, acts in case.closing() for act in acts}
        self._overruled = {grant.places: _places(self._overruling(grant)) for grant in case.of(Kind.grant)}
        self._idle = outcome in (*_WHATEVER, "no_basis", "no_subject")

    def did(self, place: int) -> list[Did]:
        entry, act = self._entries[place], self._act_of.get(place)
        lifts = self._corrected_by(place)
        if obstacle := self._case.obstacle(_alone(place, entry)):
            # a bare id is not about anybody: it stands for an entry that acts elsewhere
            found = [Did(obstacle)] if not lifts and entry.subject != NOBODY else []
        elif self._idle:
            found = []
        elif entry.kind not in PERMISSIONS:
            found = self._stop(act)
        elif act in self._counting:
            found, lifts = self._permission(act), lifts + self._lifted_by(act)
        else:
            found = _told("overruled by", self._beside(place))
        return found + _told("lifts", lifts)

    def _stop(self, act: Act) -> list[Did]:
        if act.kind is Kind.unreadable and self._case.corrected(act):
            return _told("corrected by", self._valid(act.versions[0].entry_id))
        if lifting := self._case.lifting(act):
            return _told("lifted by", _places(lifting))
        overruled = {place for grant, stops in self._overruled.items() if act.places[0] in stops for place in grant}
        did = [Did("closes")] if act.places == self._closes else []
        did += _told("overrules", tuple(sorted(overruled)))
        return did or ([Did("closes too")] if act.places in self._close else [])

    def _permission(self, act: Act) -> list[Did]:
        did = []
        if act in self._sufficient and self._opened:
            did.append(Did("opens" if act.places == self._opens else "opens too"))
        elif act in self._insufficient or (act in self._sufficient and not self._close):
            did.append(Did("does not suffice"))
        return did + _told("overruled by", self._overruled.get(act.places, ()))

    def _overruling(self, grant: Act) -> list[Act]:
        """The stops beside which a grant comes to nothing where consent is the basis."""
        case = self._case
        if not case.by_consent or not case.by_grantor(grant):
            return []
        stops = [stop for _, stops in case.about_the_subject() for stop in stops]
        return stops + case.not_lifted(grant) + case.under_age(grant)

    def _lifted_by(self, act: Act) -> tuple[int, ...]:
        return _places(stop for stop in self._counting if act in self._case.lifting(stop))

    # --- several of one id ---

    def _beside(self, place: int) -> tuple[int, ...]:
        """Which others of its id keep a permission from counting: they contradict it, or do not count themselves."""
        entry, act = self._entries[place], self._act_of.get(place)
        if act:
            return tuple(n for n in act.places if self._case.obstacle(_alone(n, self._entries[n])))
        return tuple(n for n in self._valid(entry.entry_id) if contradicts(self._entries[n], entry))

    def _corrected_by(self, place: int) -> tuple[int, ...]:
        """The lines that could not be read and that an entry corrects."""
        lines = [act for act in self._counting if act.kind is Kind.unreadable and self._case.corrected(act)]
        return _places(line for line in lines if place in self._valid(line.versions[0].entry_id))

    def _valid(self, entry_id: bytes) -> tuple[int, ...]:
        entries = enumerate(self._entries)
        return tuple(n for n, each in entries if each.entry_id == entry_id and each.kind is not Kind.unreadable)


def _alone(place: int, entry: Entry) -> Act:
    return permission_of((place,), (entry,)) if entry.kind in PERMISSIONS else stop_of(place, entry)


def _places(acts: Iterable[Act]) -> tuple[int, ...]:
    return tuple(sorted({place for act in acts for place in act.places}))


def _told(what: str, entries: tuple[int, ...]) -> list[Did]:
    return [Did(what, entries)] if entries else []
