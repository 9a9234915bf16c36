"""The rule of consent for one record and one purpose: what is decided, why, under which clause, and by which entries.

The gate decides for many records at once, with masks (`transforms.consent`). This is the same rule a second time,
without any of that code, to be read and to be asked. A permission *lifts* a stop if it is later on both clocks and not
dated after the event. A purpose is closed for a record if one of these holds, else open:

1. a `restrict` is not lifted by a `lift_restriction`, or a line that could not be read was not corrected;
2. an `erase` is dated at or after the event;
3. it needs the account, and the account has a `close`;
4. it excludes minors, and a `minor` is not lifted by an `adult`;
5. consent is its basis, and no `grant` suffices;
6. it has another basis, and a `withdraw` or `object` is not lifted by a `grant` or `lift_objection`.

Before these it is closed if the law of the region has no basis for it, or the record lacks the subject that it needs.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

from schemas.consent import (
    ABOUT_PURPOSES,
    CLAUSE_OF_REASON,
    EVERY_PURPOSE,
    FUTURE_LIMIT,
    PERMISSIONS,
    Kind,
    SubjectType,
    Terms,
)

OPEN, CLOSED = "open", "closed"

_LIFTS = {
    Kind.restrict: (Kind.lift_restriction,),
    Kind.minor: (Kind.adult,),
    Kind.withdraw: (Kind.grant, Kind.lift_objection),
    Kind.object: (Kind.grant, Kind.lift_objection),
}
_OTHER_APPLICATION, _NO_APPLICATION = "other application", "names no application"


@dataclass(frozen=True, repr=False, slots=True)
class Record:
    """What the rule looks at of a record. Subjects are None where absent; `fault` is true where an identifier of a
    device came without a valid device subject, or a subject is no valid value. Times are in milliseconds."""

    device: Hashable | None
    account: Hashable | None
    fault: bool
    app: str | None
    event_time: int
    received_time: int


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
class Decision:
    """`reason` and `clause` are None for what is open. `entries` are the ids of the entries that decide, each once, in
    the order in which the entries were given:

    open: the permissions that lift a stop by which it would be closed, and where consent is the basis the grants that
    suffice, with each `adult` by which their giver is of age;
    closed: what closes it for that reason: the stops that are not lifted; for old_policy_version and app_not_granted
    the grants that fail in this alone; for a minor's own consent these grants and the `minor`s.
    no_basis, no_subject and no_grant rest on what is not there, and have none.

    With these alone the decision would be the same.
    """

    outcome: str
    reason: str | None
    clause: str | None
    entries: tuple[Hashable, ...]


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


def decide(
    record: Record, purpose: str, entries: Sequence[Entry], terms: Terms, stops_known: Literal["all", "received"]
) -> Decision:
    """Decide one purpose for one record (duties 5.1, 5.2, 5.4, 7, 9; 1.1.2-loc for applications).

    `stops_known` is "all" where every stop counts, "received" where those do that were received up to the record's own
    receipt. Entries about others may be among them: they make no difference, save that they share an id. Raises
    ValueError for a purpose that the terms do not list and for another value of `stops_known`.
    """
    case = Case(record, purpose, entries, terms, stops_known)
    reason, acts = case.refusal() or (None, case.opening())
    ids = tuple(
        dict.fromkeys(entries[place].entry_id for place in sorted(place for act in acts for place in act.places))
    )
    if reason is None:
        return Decision(OPEN, None, None, ids)
    return Decision(CLOSED, reason, CLAUSE_OF_REASON[reason], ids)


# --- what counts ---


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


class Case:
    """One record and one purpose before a ledger: what of the ledger counts, and what follows from it."""

    def __init__(self, record: Record, purpose: str, entries: Iterable[Entry], terms: Terms, stops_known: str) -> None:
        if stops_known not in ("all", "received"):
            raise ValueError('stops_known is "all" or "received"')
        self._record, self._purpose, self._terms = record, purpose, terms
        self._bit = 1 << terms.purposes.index(purpose)
        self._subjects = {(SubjectType.device, record.device), (SubjectType.account, record.account)}
        self._decided = inf if stops_known == "all" else record.received_time  # stops received up to here are known
        self.acts = tuple(reconciled(entries))
        self._elsewhere: list[Act] = []  # what does not count because of its application alone
        self._counting: dict[Kind, list[Act]] = {}
        for act in self.acts:
            obstacle = self.obstacle(act)
            if obstacle is None:
                self._counting.setdefault(act.kind, []).append(act)
            elif obstacle in (_OTHER_APPLICATION, _NO_APPLICATION):
                self._elsewhere.append(act)
        self.sufficient = self._sufficient() if self.by_consent else []

    @property
    def by_consent(self) -> bool:
        """Whether consent is the basis."""
        return self._among(self._terms.consent)

    def obstacle(self, act: Act) -> str | None:
        """Why an act does not count for this record and purpose at all, in a few words; None if it does."""
        entry, permission = act.versions[0], act.kind in PERMISSIONS
        if entry.subject is None or (entry.subject_type, entry.subject) not in self._subjects:
            return "about somebody else"
        if act.kind in ABOUT_PURPOSES and not all({self._purpose, EVERY_PURPOSE} & v.purposes for v in act.versions):
            return "other purpose"
        if act.known > (self._record.received_time if permission else self._decided):
            return "not yet known"
        if act.begins > self._record.event_time:
            return "given after the event"
        return self._obstacle_of_application(act)

    def _obstacle_of_application(self, act: Act) -> str | None:
        if not self._among(self._terms.per_application) or act.kind not in ABOUT_PURPOSES:
            return None
        named, its_own = act.versions[0].app, self._record.app
        if act.kind in PERMISSIONS:
            return _NO_APPLICATION if named is None else _OTHER_APPLICATION if named != its_own else None
        return None if named is None or its_own is None or named == its_own else _OTHER_APPLICATION

    def of(self, *kinds: Kind) -> list[Act]:
        """The acts of these kinds that count."""
        return [act for kind in kinds for act in self._counting.get(kind, ())]

    # --- the rule ---

    def refusal(self) -> tuple[str, list[Act]] | None:
        """The reason why the purpose is closed, and what closes it; of several the first."""
        if self._among(self._terms.closed):
            return "no_basis", []
        if self._lacks_a_subject():
            return "no_subject", []
        if found := next(((reason, acts) for reason, acts in self.closing() if acts), None):
            return found
        return ("no_grant", []) if self.by_consent and not self.sufficient else None

    def closing(self) -> Iterator[tuple[str, list[Act]]]:
        """The reasons for which an act can close, in order of precedence, each with the acts that do."""
        uncorrected = [line for line in self.of(Kind.unreadable) if not self.corrected(line)]
        yield "restricted", uncorrected + self.standing(Kind.restrict)  # 1
        yield "erased", [stop for stop in self.of(Kind.erase) if stop.time >= self._record.event_time]  # 2
        if self._among(self._terms.needs_account):
            closes = self.of(Kind.close)
            yield "closed", [stop for stop in closes if stop.versions[0].subject_type is SubjectType.account]  # 3
        if self._among(self._terms.minors_excluded):
            yield "minor", self.standing(Kind.minor)  # 4
        if not self.by_consent:
            yield from self._objections()  # 6
        elif not self.sufficient:
            yield from self._insufficient()  # 5

    def _objections(self) -> Iterator[tuple[str, list[Act]]]:
        yield "withdrawn", self.standing(Kind.withdraw)
        yield "objected", self.standing(Kind.object)

    def _insufficient(self) -> Iterator[tuple[str, list[Act]]]:
        """Why there is no grant that suffices: the nearer one came to it, the sooner it is named."""
        own = [grant for grant in self.of(Kind.grant) if self._accepted(grant)]
        by_minors = [grant for grant in own if self._current(grant)]
        minors = {minor.places: minor for grant in by_minors for minor in self.under_age(grant)}
        yield "minor", by_minors + list(minors.values())
        yield from self._objections()
        yield "old_policy_version", own
        of_others = (grant for grant in self._elsewhere if grant.kind is Kind.grant)
        yield "app_not_granted", [grant for grant in of_others if self._accepted(grant)]

    def opening(self) -> list[Act]:
        """What an open purpose owes to permissions."""
        lifted = [Kind.restrict]
        if self._among(self._terms.minors_excluded):
            lifted.append(Kind.minor)
        if not self.by_consent:
            lifted += [Kind.withdraw, Kind.object]
        acts = [lift for stop in self.of(*lifted) for lift in self.lifting(stop)]
        for grant in self.sufficient:
            acts.append(grant)
            if not _with_guardian(grant):
                acts += [adult for minor in self.of(Kind.minor) for adult in self._of_age(grant, minor)]
        return list({act.places: act for act in acts}.values())

    def _sufficient(self) -> list[Act]:
        """The grants of condition 5."""
        accepted = [grant for grant in self.of(Kind.grant) if self._accepted(grant) and self._current(grant)]
        return [grant for grant in accepted if not self.under_age(grant)]

    def _accepted(self, grant: Act) -> bool:
        """Whether it is of a subject whose grant counts here, and lifts every stop about the purpose."""
        by_account = grant.versions[0].subject_type is SubjectType.account
        grantors = self._terms.account_grants if by_account else self._terms.device_grants
        return self._among(grantors) and not self.not_lifted(grant)

    def _current(self, grant: Act) -> bool:
        """Whether it was given under at least the policy version that the purpose demands (clause 9)."""
        least = self._terms.minimum_versions.get(self._purpose)
        versions = [each.policy_version for each in grant.versions]
        return least is None or all(version is not None and version >= least for version in versions)

    def _lacks_a_subject(self) -> bool:
        """A record with a fault has no subject."""
        record, terms = self._record, self._terms
        without_device = record.fault or record.device is None
        without_account = record.fault or record.account is None
        return (without_device and self._among(terms.needs_device)) or (
            without_account and self._among(terms.needs_account)
        )

    def _among(self, mask: int) -> bool:
        return bool(mask & self._bit)

    # --- what lifts what ---

    def lifting(self, stop: Act) -> list[Act]:
        """The permissions that lift a stop where it is not for one grant to lift them all."""
        return [permission for permission in self.of(*_LIFTS.get(stop.kind, ())) if permission.later(stop)]

    def standing(self, kind: Kind) -> list[Act]:
        """The stops of a kind that nothing lifts."""
        return [stop for stop in self.of(kind) if not self.lifting(stop)]

    def corrected(self, line: Act) -> bool:
        """Whether an unreadable line has ended: a valid entry of its id is known."""
        return line.corrected < inf and line.corrected <= self._decided

    def not_lifted(self, grant: Act) -> list[Act]:
        """The stops about the purpose that a grant would have to lift, and does not."""
        return [stop for stop in self.of(Kind.withdraw, Kind.object, Kind.erase) if not grant.later(stop)]

    def under_age(self, grant: Act) -> list[Act]:
        """Each `minor` for which a grant is a minor's own: no guardian is named, and no `adult` before it lifts that
        (clause 7)."""
        if _with_guardian(grant):
            return []
        return [minor for minor in self.of(Kind.minor) if not self._of_age(grant, minor)]

    def _of_age(self, grant: Act, minor: Act) -> list[Act]:
        """Each `adult` that lifts a `minor` and in all its versions came before the grant on both clocks."""
        return [adult for adult in self.lifting(minor) if grant.time > adult.begins and grant.received > adult.known]


def _with_guardian(grant: Act) -> bool:
    return all(each.guardian for each in grant.versions)
