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
    PERMISSIONS,
    Kind,
    SubjectType,
    Terms,
)
from transforms.acts import Act, Entry, reconciled

OPEN, CLOSED = "open", "closed"
REASONS = (  # of several the first is given
    *("no_basis", "no_subject", "restricted", "erased", "closed", "minor"),
    *("withdrawn", "objected", "old_policy_version", "app_not_granted", "no_grant"),
)

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
    places = sorted(place for act in acts for place in act.places)
    ids = tuple(dict.fromkeys(entries[place].entry_id for place in places))
    if reason is None:
        return Decision(OPEN, None, None, ids)
    return Decision(CLOSED, reason, CLAUSE_OF_REASON[reason], ids)


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

    def by_grantor(self, grant: Act) -> bool:
        """Whether a grant is of a subject whose grant counts here."""
        by_account = grant.versions[0].subject_type is SubjectType.account
        return self._among(self._terms.account_grants if by_account else self._terms.device_grants)

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
        yield from self.about_the_subject()
        if not self.by_consent:
            yield from self._objections()  # 6
        elif not self.sufficient:
            yield from self._insufficient()  # 5

    def about_the_subject(self) -> Iterator[tuple[str, list[Act]]]:
        """Of these the reasons that close whatever the basis is, and whatever anybody grants."""
        uncorrected = [line for line in self.of(Kind.unreadable) if not self.corrected(line)]
        yield "restricted", uncorrected + self.standing(Kind.restrict)  # 1
        yield "erased", [stop for stop in self.of(Kind.erase) if stop.time >= self._record.event_time]  # 2
        if self._among(self._terms.needs_account):
            closes = self.of(Kind.close)
            yield "closed", [stop for stop in closes if stop.versions[0].subject_type is SubjectType.account]  # 3
        if self._among(self._terms.minors_excluded):
            yield "minor", self.standing(Kind.minor)  # 4

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
        """Whether it is its giver's to give, and lifts every stop about the purpose."""
        return self.by_grantor(grant) and not self.not_lifted(grant)

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
