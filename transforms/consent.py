"""The rule of consent: which purposes are open for a record, given what its subjects said and when.

A purpose is one bit of a uint64 mask, so that one computation answers for all of them. Permissions are compared
with stops pair by pair, because no order of the entries decides what must hold on two clocks at once.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal, Self

import numpy as np
import pyarrow as pa

from schemas.consent import Kind, SubjectType, Terms
from transforms.ledger import MANY, NEVER, NO_APP, Ledger, app_codes, is_permission, kinds, pairs

BLOCK = 1 << 17  # pairs that are looked at together: bounds memory, whatever one subject sends
_CLOCKS = ("event", "received", "decided")

NOTHING, ALL = np.uint64(0), np.uint64(2**64 - 1)


@dataclass(frozen=True, repr=False)
class Records:
    """The columns of telemetry that the rule looks at, one row a record.

    `device` and `account` are sealed subjects, fixed_size_binary(16), null where absent. `subject_fault`, a bool
    mask, is true where a record carries a device identifier without a valid device subject, or an invalid subject
    value. Times are int64 milliseconds without nulls. `app` is a string or dictionary array, null where unknown.
    """

    device: pa.Array
    account: pa.Array
    subject_fault: np.ndarray
    event_time: pa.Int64Array
    received_time: pa.Int64Array
    app: pa.Array


@dataclass(frozen=True, repr=False)
class Verdict:
    """For each record the mask of open purposes, and for each reason the mask of purposes refused for it.

    The masks of a record are disjoint and together hold every purpose. A reason that no record has is left out.
    A purpose that is refused for several reasons has the first of: no_basis no_subject restricted erased closed
    minor withdrawn objected old_policy_version app_not_granted no_grant.
    """

    open: np.ndarray
    reasons: dict[str, np.ndarray]


@dataclass(frozen=True, repr=False)
class _Asked:
    """Records as the ledger sees them: subject numbers, application codes, and clocks."""

    device: np.ndarray
    account: np.ndarray
    app: np.ndarray
    event: np.ndarray
    received: np.ndarray
    decided: np.ndarray  # stops received up to here are known

    def take(self, rows: np.ndarray | slice) -> Self:
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))


@dataclass(frozen=True, repr=False)
class _Found:
    """Pairs of a record and a ledger entry that counts for it, by record; the purposes that the entry is about."""

    record: np.ndarray
    row: np.ndarray
    kind: np.ndarray
    mask: np.ndarray

    def where(self, keep: np.ndarray) -> Self:
        if keep.all():
            return self
        rows = np.flatnonzero(keep)
        return type(self)(*(getattr(self, each.name).take(rows) for each in fields(self)))

    def of(self, *members: Kind) -> Self:
        return self.where(self.kind & kinds(*members) != 0)


def judge(records: Records, ledger: Ledger, terms: Terms, stops_known: Literal["all", "received"]) -> Verdict:
    """Decide every purpose for every record (duties 5.1, 5.2, 5.4, 7, 9; 1.1.2-loc for applications).

    `stops_known` is "all" in a bounded run, where every stop of the ledger counts, and "received" in a stream, where
    those count that were received up to the record's own receipt. A record's verdict depends on that record and on
    the entries about its subjects only. Raises ValueError for nulls in a clock, a ledger built for other terms, or
    another value of `stops_known`.
    """
    if stops_known not in ("all", "received"):
        raise ValueError('stops_known is "all" or "received"')
    if ledger.terms != terms:
        raise ValueError("the ledger was built for other terms")
    bounded = stops_known == "all"
    asked = _asked(records, ledger, bounded)
    settled = _settled(asked, ledger, ledger.last_known_permission if bounded else ledger.last_known)
    rows, verdict_of = _distinct(asked, settled, _intervals(asked, settled, ledger), ledger)
    opened, refused = _decide(asked.take(rows), settled[rows], ledger)

    few, verdict_of = _few({"": opened, **refused}, verdict_of)
    # what a record may open at all goes by which subjects it has: four cases of each verdict
    lacking, has = _without_subject(records, terms)
    case = verdict_of * len(lacking) + has
    allowed = np.uint64(terms.every & ~terms.closed) & ~lacking
    reasons = {
        "no_basis": np.full(len(case), terms.closed, np.uint64),
        "no_subject": (lacking & ~np.uint64(terms.closed)).take(has),
    }
    for reason, column in few.items():
        reasons[reason] = (column[:, None] & allowed).ravel().take(case)
    opened = reasons.pop("")
    return Verdict(opened, {reason: column for reason, column in reasons.items() if column.any()})


def _few(masks: dict[str, np.ndarray], verdict_of: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The masks with equal verdicts only once, so that they lie close together, and which is each record's."""
    mixed = np.zeros(len(masks[""]), np.uint64)
    for column in masks.values():
        mixed = (mixed ^ column) * np.uint64(0x9E3779B97F4A7C15)
    _, first, kind = np.unique(mixed, return_index=True, return_inverse=True)
    few = {reason: column.take(first) for reason, column in masks.items()}
    if not all((few[reason].take(kind) == column).all() for reason, column in masks.items()):
        return masks, verdict_of  # two verdicts of one hash
    return few, kind.take(verdict_of)


def _without_subject(records: Records, terms: Terms) -> tuple[np.ndarray, np.ndarray]:
    """For each of four cases the purposes whose subject is lacking, and the case of each record; a faulty record
    counts as having no subject."""
    sound = ~records.subject_fault
    device = records.device.is_valid().to_numpy(zero_copy_only=False) & sound
    account = records.account.is_valid().to_numpy(zero_copy_only=False) & sound
    lacking = [terms.needs_device | terms.needs_account, terms.needs_account, terms.needs_device, 0]
    return np.array(lacking, np.uint64), device + 2 * account


def _asked(records: Records, ledger: Ledger, bounded: bool) -> _Asked:
    device, account = ledger.find(records.device), ledger.find(records.account)
    app = np.full(len(device), NO_APP)
    scoped = ledger.per_application.take(device) | ledger.per_application.take(account)
    if scoped.any():
        app = np.where(scoped, app_codes(records.app, ledger.apps), app)
    event, received = records.event_time.to_numpy(), records.received_time.to_numpy()
    return _Asked(device, account, app, event, received, np.full(len(device), NEVER) if bounded else received)


def _settled(asked: _Asked, ledger: Ledger, last_known: np.ndarray) -> np.ndarray:
    """The records that are later than every entry of their subjects: all of these are known to them, and in force."""
    settled = np.ones(len(asked.event), bool)
    for subject in (asked.device, asked.account):
        settled &= (asked.event > ledger.last_time.take(subject)) & (asked.received > last_known.take(subject))
    return settled


def _intervals(asked: _Asked, settled: np.ndarray, ledger: Ledger) -> np.ndarray:
    """A number for the interval between entries in which a record of a subject with many lies: 0 for settled records,
    from 1 on for these, -1 for all others. Records of the same subjects and interval have the same entries."""
    interval = settled.astype(np.int64) - 1
    crowded = np.diff(ledger.offsets) > MANY
    if not crowded.any():
        return interval
    hot = np.flatnonzero(~settled & (crowded.take(asked.device) | crowded.take(asked.account)))
    subjects = np.unique(np.append(asked.device.take(hot), asked.account.take(hot)))
    _, rows = pairs(ledger.offsets.take(subjects), ledger.offsets.take(subjects + 1))
    entries = ledger.entries.take(rows)
    events = np.unique(np.where(entries.kind == kinds(Kind.erase), entries.time + 1, entries.effective))
    receipts = np.unique(np.append(entries.known, entries.until))
    event = np.searchsorted(events, asked.event.take(hot), "right")
    interval[hot] = 1 + event * (len(receipts) + 1) + np.searchsorted(receipts, asked.received.take(hot), "right")
    return interval


def _distinct(
    asked: _Asked, settled: np.ndarray, interval: np.ndarray, ledger: Ledger
) -> tuple[np.ndarray, np.ndarray]:
    """The records to decide, and for each record the place of the one that has its verdict.

    Records have the same verdict if they agree in subjects, application and interval. One of those that share a slot
    of a hash table stands for its equals; whoever differs from it is decided alone. Settled records of subjects
    without a stop come first, for there is least to decide.
    """
    slots = 4 << max(len(ledger.offsets), int(np.count_nonzero(interval > 0))).bit_length()
    subject = np.where(asked.device < len(ledger.offsets) - 2, asked.device, asked.account)
    slot = (subject + asked.app * 0x9E3779B1 + interval * 0xD6E8FEB87) & (slots - 1)
    alike = interval >= 0
    example = np.full(slots, -1)
    example[slot[alike]] = np.flatnonzero(alike)
    chosen = example.take(slot)
    for column in (asked.device, asked.account, asked.app, interval):
        alike &= column == column.take(chosen)
    taken, alone = np.flatnonzero(example >= 0), np.flatnonzero(~alike)
    rows = np.append(example.take(taken), alone)
    stopped = ledger.stopped.take(asked.device.take(rows)) | ledger.stopped.take(asked.account.take(rows))
    order = np.argsort(stopped | ~settled.take(rows), kind="stable")
    place = np.empty(len(rows), np.intp)
    place[order] = np.arange(len(rows))
    verdict = np.zeros(slots, np.intp)
    verdict[taken] = place[: len(taken)]
    verdict_of = verdict.take(slot)
    verdict_of[alone] = place[len(taken) :]
    return rows.take(order), verdict_of


def _decide(asked: _Asked, settled: np.ndarray, ledger: Ledger) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Open purposes and refusals by what the ledger says."""
    opened = np.zeros(len(asked.event), np.uint64)
    refused: dict[str, np.ndarray] = {}
    for places, rows in _blocks(asked, settled, ledger):
        block = asked.take(places)
        found = _found(block, rows, settled[places].all(), ledger)
        opened[places], reasons = _rule(block, found, ledger)
        for reason, masks in reasons.items():
            refused.setdefault(reason, np.zeros(len(opened), np.uint64))[places] = masks
    return opened, refused


def _blocks(asked: _Asked, settled: np.ndarray, ledger: Ledger) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """The places of records with about BLOCK entries together, and the rows that count for any of them if not all."""
    entries = np.diff(ledger.offsets)
    size = 1 + entries.take(asked.device) + entries.take(asked.account)
    crowded = ~settled & (size > MANY + 1)
    places = np.flatnonzero(~crowded)
    total = np.cumsum(size.take(places))
    edges = np.searchsorted(total, np.arange(BLOCK, total[-1] if len(total) else 0, BLOCK))
    yield from ((block, None) for block in np.split(places, edges) if len(block))
    if crowded.any():
        places = np.flatnonzero(crowded)
        subjects = np.unique(np.append(asked.device.take(places), asked.account.take(places)))
        _, rows = pairs(ledger.offsets.take(subjects), ledger.offsets.take(subjects + 1))
        yield from _nearby(asked, places, rows, ledger)


def _nearby(
    asked: _Asked, places: np.ndarray, rows: np.ndarray, ledger: Ledger
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cuts records in halves by one clock or the other until few entries count for any of a block's records."""
    some = asked.take(places)
    last = replace(some, **{clock: getattr(some, clock).max(keepdims=True) for clock in _CLOCKS})
    first = replace(some, **{clock: getattr(some, clock).min(keepdims=True) for clock in _CLOCKS})
    one = np.zeros(len(rows), np.intp)
    rows = rows[_counting(last, one, rows, ledger) & ~_superseded(first, one, rows, ledger)]
    if len(places) * len(rows) <= BLOCK or len(places) == 1:
        yield places, rows
        return
    clock = some.event if np.ptp(some.event) > np.ptp(some.received) else some.received
    order = np.argpartition(clock, len(places) // 2)
    for half in np.array_split(order, 2):
        yield from _nearby(asked, np.sort(places.take(half)), rows, ledger)


def _found(asked: _Asked, rows: np.ndarray | None, settled: bool, ledger: Ledger) -> _Found:
    """The known entries of each record's subjects (among `rows`, if given), and permissions only from their own time
    on."""
    subject = np.column_stack((asked.device, asked.account)).ravel()
    starts, ends = ledger.offsets.take(subject), ledger.offsets.take(subject + 1)
    if rows is None:
        span, row = pairs(starts, ends)
    else:
        span, place = pairs(np.searchsorted(rows, starts), np.searchsorted(rows, ends))
        row = rows.take(place)
    record, entries = span >> 1, ledger.entries
    counts = entries.subject_type.take(row) == (span & 1)
    if not settled:
        counts &= _counting(asked, record, row, ledger)
    if ledger.superseded is not None:
        counts &= ~_superseded(asked, record, row, ledger)
    found = _Found(record, row, entries.kind.take(row), entries.reach.take(row)).where(counts)
    return replace(found, mask=found.mask & ~_of_another_app(found, asked, ledger))


def _counting(asked: _Asked, record: np.ndarray, row: np.ndarray, ledger: Ledger) -> np.ndarray:
    """True where the record knows of the entry, and it is in force."""
    known = ledger.entries.known.take(row) <= _moment(asked, record, row, ledger)
    return known & (ledger.entries.effective.take(row) <= asked.event.take(record))


def _superseded(asked: _Asked, record: np.ndarray, row: np.ndarray, ledger: Ledger) -> np.ndarray:
    """True where another entry counts for the record that does all that this one does."""
    effective, known = (column.take(row) for column in ledger.superseded)
    return (effective <= asked.event.take(record)) & (known <= _moment(asked, record, row, ledger))


def _moment(asked: _Asked, record: np.ndarray, row: np.ndarray, ledger: Ledger) -> np.ndarray:
    """Up to when the record knows of what was received."""
    permission = is_permission(ledger.entries.kind.take(row))
    return np.where(permission, asked.received.take(record), asked.decided.take(record))


def _of_another_app(found: _Found, asked: _Asked, ledger: Ledger) -> np.ndarray:
    """The purposes for which an entry does not count, because it names another application than the record's."""
    scope = ledger.entries.app.take(found.row)
    scoped = np.flatnonzero(scope != NO_APP)
    app = asked.app.take(found.record.take(scoped))
    # where the record has no application, a stop counts and a permission does not
    elsewhere = (scope.take(scoped) != app) & ((app != NO_APP) | is_permission(found.kind.take(scoped)))
    excluded = np.zeros(len(scope), np.uint64)
    excluded[scoped[elsewhere]] = ledger.terms.per_application
    return excluded


def _rule(asked: _Asked, found: _Found, ledger: Ledger) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The six conditions of the rule, each a mask of the purposes that it closes for a record."""
    terms, entries, records = ledger.terms, ledger.entries, len(asked.event)
    permissions, stops = found.where(is_permission(found.kind)), found.where(~is_permission(found.kind))

    def unlifted(pairs: _Found, *lifts: Kind) -> np.ndarray:
        return _or_by(pairs.record, _unlifted(pairs, permissions.of(*lifts), ledger), records)

    def closing(pairs: _Found, counts: np.ndarray) -> np.ndarray:
        return _or_by(pairs.record, np.where(counts, pairs.mask, NOTHING), records)

    unreadable, erases, closes = stops.of(Kind.unreadable), stops.of(Kind.erase), stops.of(Kind.close)
    until = entries.until.take(unreadable.row)
    uncorrected = (until == NEVER) | (asked.decided.take(unreadable.record) < until)
    erased = entries.time.take(erases.row) >= asked.event.take(erases.record)
    of_account = entries.subject_type.take(closes.row) == SubjectType.account

    granted, *nearly = _granted(permissions, stops, ledger, records)
    refused = np.uint64(terms.consent) & ~granted
    by_minor, by_version, by_app = (refused & masks for masks in nearly)
    opposable = refused | np.uint64(terms.every & ~terms.consent)
    causes = {  # in the order of precedence, which is not quite that of the conditions
        "restricted": unlifted(stops.of(Kind.restrict), Kind.lift_restriction) | closing(unreadable, uncorrected),
        "erased": closing(erases, erased),
        "closed": closing(closes, of_account) & np.uint64(terms.needs_account),
        "minor": by_minor | unlifted(stops.of(Kind.minor), Kind.adult) & np.uint64(terms.minors_excluded),
        "withdrawn": opposable & unlifted(stops.of(Kind.withdraw), Kind.grant, Kind.lift_objection),
        "objected": opposable & unlifted(stops.of(Kind.object), Kind.grant, Kind.lift_objection),
        "old_policy_version": by_version,
        "app_not_granted": by_app,
        "no_grant": refused,
    }
    opened = np.full(records, terms.every, np.uint64)
    reasons = {}
    for reason, masks in causes.items():
        reasons[reason] = opened & masks
        opened &= ~masks
    return opened, reasons


def _granted(permissions: _Found, stops: _Found, ledger: Ledger, records: int) -> np.ndarray:
    """The purposes that a grant opens for each record where consent is the basis.

    Then those that one would open but for who was a minor, also but for its policy version, also but for its
    application.
    """
    terms, entries, grants = ledger.terms, ledger.entries, permissions.of(Kind.grant)
    by_account = entries.subject_type.take(grants.row) == SubjectType.account
    accepted = np.where(by_account, np.uint64(terms.account_grants), np.uint64(terms.device_grants))
    accepted &= ~_not_lifted_by(grants, stops.of(Kind.withdraw, Kind.object, Kind.erase), ledger)
    in_app = accepted & grants.mask
    current = in_app & entries.admitted.take(grants.row)
    of_age = current & ~_as_a_minor(grants, stops.of(Kind.minor), permissions.of(Kind.adult), ledger)
    in_any_app = accepted & entries.mask.take(grants.row)
    return _or_by(grants.record, np.stack((of_age, current, in_app, in_any_app)), records)


def _unlifted(stops: _Found, lifts: _Found, ledger: Ledger) -> np.ndarray:
    """The purposes of each stop for which no permission lifts it."""

    def lifted(stop: np.ndarray, lift: np.ndarray) -> np.ndarray:
        return np.where(ledger.later(lifts.row[lift], stops.row[stop]), lifts.mask[lift], NOTHING)

    return stops.mask & ~_or_over(stops.record, lifts.record, lifted)


def _not_lifted_by(grants: _Found, stops: _Found, ledger: Ledger) -> np.ndarray:
    """The purposes of each grant about which there is a stop that this grant does not lift."""

    def standing(grant: np.ndarray, stop: np.ndarray) -> np.ndarray:
        return np.where(ledger.later(grants.row[grant], stops.row[stop]), NOTHING, stops.mask[stop])

    return _or_over(grants.record, stops.record, standing)


def _as_a_minor(grants: _Found, minors: _Found, adults: _Found, ledger: Ledger) -> np.ndarray:
    """All purposes for each grant that a minor gave without a guardian (duty 7).

    Of age is who has, for every `minor`, an `adult` that lifts it and that the grant is later than on both clocks.
    """
    entries = ledger.entries

    def under_age(grant: np.ndarray, minor: np.ndarray) -> np.ndarray:
        def of_age(pair: np.ndarray, adult: np.ndarray) -> np.ndarray:
            given, coming_of_age = grants.row[grant[pair]], adults.row[adult]
            since = entries.time[given] > entries.effective[coming_of_age]
            since &= entries.received[given] > entries.known[coming_of_age]
            return np.where(since & ledger.later(coming_of_age, minors.row[minor[pair]]), ALL, NOTHING)

        return ~_or_over(grants.record[grant], adults.record, of_age)

    alone = ~entries.guardian.take(grants.row)
    return np.where(alone, _or_over(grants.record, minors.record, under_age), NOTHING)


def _or_by(record: np.ndarray, masks: np.ndarray, records: int) -> np.ndarray:
    """The OR of the masks of each record, along the last axis; `record` ascends."""
    result = np.zeros((*masks.shape[:-1], records), np.uint64)
    if len(record):
        starts = np.flatnonzero(np.append(True, record[1:] != record[:-1]))
        result[..., record[starts]] = np.bitwise_or.reduceat(masks, starts, axis=-1)
    return result


def _or_over(left: np.ndarray, right: np.ndarray, masks: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """For each place in `left` the OR of `masks` over the places in `right` with the same record; both ascend.

    `masks` gets two arrays of places, at most BLOCK at a time.
    """
    result = np.zeros(len(left), np.uint64)
    if not len(left) or not len(right):
        return result
    size = np.bincount(right, minlength=left[-1] + 1)
    paired = np.flatnonzero(size.take(left))  # few records have stops
    record = left.take(paired)
    ends = np.cumsum(size).take(record)
    starts = ends - size.take(record)
    before = np.append(0, np.cumsum(ends - starts))
    for low in range(0, before[-1], BLOCK):
        high = min(low + BLOCK, before[-1])
        first, last = np.searchsorted(before, low, "right") - 1, np.searchsorted(before, high)
        some = slice(first, last)
        place, other = pairs(
            starts[some] + np.maximum(low - before[some], 0),
            ends[some] - np.maximum(before[first + 1 : last + 1] - high, 0),
        )
        result[paired[some]] |= _or_by(place, masks(paired[some].take(place), other), last - first)
    return result
