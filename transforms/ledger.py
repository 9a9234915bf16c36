"""The consent ledger in memory: entries reconciled, sorted by subject, and found by subject."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import ABOUT_PURPOSES, FUTURE_LIMIT, PERMISSIONS, SEALED_LEDGER, Kind, SubjectType, Terms
from transforms.columns import tag_blocks

ALWAYS, NEVER = np.iinfo(np.int64).min, np.iinfo(np.int64).max
NO_APP, UNLISTED_APP = -1, -2
MANY = 128  # entries of a subject above which it is worth while to look for those that others make superfluous


def kinds(*members: Kind) -> np.uint32:
    """One bit a kind, so that a single `and` selects several."""
    return np.uint32(sum(1 << kind for kind in members))


_KINDS, _SUBJECT_TYPES = (np.isin(np.arange(256), list(names)) for names in (Kind, SubjectType))  # by any int8
_PERMISSION_KINDS = kinds(*PERMISSIONS)


def is_permission(kind: np.ndarray) -> np.ndarray:
    """True where the kind, as one bit of `kinds`, is a permission."""
    return kind & _PERMISSION_KINDS != 0


@dataclass(frozen=True, repr=False)
class Entries:
    """Ledger entries as numpy columns, one row an entry; times in milliseconds.

    A permission made of several versions has the earliest of each clock in `time` and `received` (what it is later
    than) and the latest in `effective` and `known` (from when it acts), so that each version alone would do.
    """

    subject: np.ndarray  # (rows, 2) uint64
    subject_type: np.ndarray
    kind: np.ndarray  # one bit of `kinds`
    mask: np.ndarray  # the purposes that it is about
    reach: np.ndarray  # of these, the ones for which it can count given whether it names an application
    admitted: np.ndarray  # the purposes for which its policy version is new enough
    app: np.ndarray  # index in the ledger's list of applications, or NO_APP
    guardian: np.ndarray
    time: np.ndarray
    received: np.ndarray
    effective: np.ndarray  # a permission acts on event times from here on
    known: np.ndarray  # receipts from here on know of it
    until: np.ndarray  # receipts from here on no longer count it: an unreadable line that was corrected

    def take(self, rows: np.ndarray) -> Self:
        """These rows. Columns that are one array stay one."""
        columns = [getattr(self, each.name) for each in fields(self)]
        taken = {id(column): column.take(rows, axis=0) for column in {id(each): each for each in columns}.values()}
        return type(self)(*(taken[id(column)] for column in columns))


@dataclass(frozen=True, repr=False)
class Ledger:
    """All entries of the subjects that a worker may meet, for the terms of one region.

    The entries of subject number i are rows `offsets[i]` to `offsets[i + 1]`. The last number stands for a subject
    that has none. `last_*` are clocks of a subject after which no further entry of it takes effect.
    """

    terms: Terms
    entries: Entries
    apps: pa.StringArray
    subjects: np.ndarray  # (subjects + 1, 2) uint64, by bucket
    buckets: np.ndarray  # where the subjects of each hash bucket start
    offsets: np.ndarray
    per_application: np.ndarray  # subjects with an entry that depends on the application
    stopped: np.ndarray  # subjects with a stop
    last_time: np.ndarray  # of permissions and erasures: all that is compared with event times
    last_known: np.ndarray
    last_known_permission: np.ndarray
    # of a subject with many entries: from when on (event time, receipt) another entry does all that this one does
    superseded: tuple[np.ndarray, np.ndarray] | None

    @classmethod
    def build(cls, entries: pa.RecordBatch | pa.Table, terms: Terms) -> Self:
        """Sort sealed entries by subject and reconcile those that share an id (duties 5.1, 9).

        Permissions dated more than five minutes after their receipt are left out. Order and repetition of the input
        make no difference. Raises ValueError if the input is not of schema `SEALED_LEDGER`, has nulls where that
        allows none, or has a kind or a subject type without a name.
        """
        batch = _one_batch(entries)
        apps = pc.unique(batch["app"].dictionary.drop_null())
        read, ids = _read(batch, terms, apps), halves(batch["entry_id"])
        future = is_permission(read.kind) & (read.effective > read.known + FUTURE_LIMIT)
        if future.any():
            kept = np.flatnonzero(~future)
            read, ids = read.take(kept), ids.take(kept, axis=0)
        return cls._sorted(_reconciled(read, ids), terms, apps)

    @classmethod
    def _sorted(cls, entries: Entries, terms: Terms, apps: pa.StringArray) -> Self:
        rows = np.uint64((1 << len(entries.kind).bit_length()) - 1)
        # a hash gives its low bits to the number of its row: sorting takes a third of the time of argsort
        hashes = np.sort(_mix(entries.subject) & ~rows | np.arange(len(entries.kind), dtype=np.uint64))
        entries, hashes = _reaching(entries.take((hashes & rows).view(np.int64)), terms), hashes & ~rows
        new = first_of_runs(entries.subject)
        if (new & ~first_of_runs(hashes)).any():  # two subjects of one hash may lie interleaved
            order = np.lexsort((*entries.subject.T, hashes))
            entries, new = entries.take(order), first_of_runs(entries.subject.take(order, axis=0))
        starts = np.flatnonzero(new)
        edges = (2 << len(starts).bit_length()) + 1
        filled = np.bincount(_bucket(hashes.take(starts), edges), minlength=edges - 1)

        def latest(values: np.ndarray) -> np.ndarray:
            return np.append(np.maximum.reduceat(values, starts) if len(starts) else starts, ALWAYS)

        compared = is_permission(entries.kind) | (entries.kind == kinds(Kind.erase))
        scoped = (entries.app != NO_APP) & (entries.mask & np.uint64(terms.per_application) != 0)
        offsets = np.append(starts, [len(hashes), len(hashes)])
        return cls(
            terms=terms,
            entries=entries,
            apps=apps,
            subjects=np.append(entries.subject.take(starts, axis=0), np.zeros((1, 2), np.uint64), axis=0),
            buckets=np.append(0, np.cumsum(filled)).astype(np.int32),
            offsets=offsets,
            per_application=latest(scoped.astype(np.int64)) == 1,
            stopped=latest((~is_permission(entries.kind)).astype(np.int64)) == 1,
            last_time=latest(np.where(compared, np.maximum(entries.time, entries.effective), ALWAYS)),
            last_known=latest(np.where(entries.until < NEVER, entries.until, entries.known)),
            last_known_permission=latest(np.where(is_permission(entries.kind), entries.known, ALWAYS)),
            superseded=_superseded(entries, offsets),
        )

    def find(self, subjects: pa.Array) -> np.ndarray:
        """The number of each subject, compared on all 16 bytes; null and unknown subjects have the last number."""
        if subjects.null_count:
            present = np.flatnonzero(subjects.is_valid())
            found = np.full(len(subjects), len(self.offsets) - 2)
            found[present] = self._numbers(halves(subjects).take(present, axis=0))
            return found
        return self._numbers(halves(subjects))

    def _numbers(self, words: np.ndarray) -> np.ndarray:
        bucket = _bucket(_mix(words), len(self.buckets))
        place = self.buckets.take(bucket)
        known = _equal(self.subjects.take(place, axis=0), words)
        found = np.where(known, place, len(self.offsets) - 2)
        searching = np.flatnonzero(~known)
        place, end = place.take(searching) + 1, self.buckets.take(bucket.take(searching) + 1)
        while (going := np.flatnonzero(place < end)).size:
            searching, place, end = searching.take(going), place.take(going), end.take(going)
            known = _equal(self.subjects.take(place, axis=0), words.take(searching, axis=0))
            found[searching[known]] = place[known]
            place += 1
        return found

    def later(self, permission: np.ndarray, stop: np.ndarray) -> np.ndarray:
        """True where a permission (row) is later than a stop (row) on both clocks; equal is not later."""
        time, received = self.entries.time, self.entries.received
        return (time[permission] > time[stop]) & (received[permission] > received[stop])


def app_codes(column: pa.Array, apps: pa.StringArray) -> np.ndarray:
    """For each application its index in `apps`, NO_APP for null, or UNLISTED_APP."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    names = coded.dictionary.cast(pa.string())
    codes = pc.fill_null(pc.index_in(names, value_set=apps), UNLISTED_APP)
    codes = pc.if_else(names.is_null(), NO_APP, codes).to_numpy(zero_copy_only=False)
    return np.append(codes, NO_APP).astype(np.int32).take(codes_of(coded))


def _one_batch(entries: pa.RecordBatch | pa.Table) -> pa.RecordBatch:
    if not entries.schema.equals(SEALED_LEDGER):
        raise ValueError("ledger entries are not of the schema SEALED_LEDGER")
    if any(entries.column(each.name).null_count for each in SEALED_LEDGER if not each.nullable):
        raise ValueError("ledger entries have nulls where the schema SEALED_LEDGER allows none")
    table = pa.table(entries) if isinstance(entries, pa.RecordBatch) else entries
    columns = [column.combine_chunks() for column in table.unify_dictionaries().columns]
    batch = pa.RecordBatch.from_arrays(columns, schema=SEALED_LEDGER)
    if not (_KINDS.take(batch["kind"], mode="wrap") & _SUBJECT_TYPES.take(batch["subject_type"], mode="wrap")).all():
        raise ValueError("ledger entries have a kind or a subject type without a name")
    return batch


def _read(batch: pa.RecordBatch, terms: Terms, apps: pa.StringArray) -> Entries:
    time, received = batch["time"].to_numpy(), batch["received_time"].to_numpy()
    kind = np.left_shift(np.uint32(1), batch["kind"].to_numpy().astype(np.uint32))
    permission = is_permission(kind)
    mask = _of_distinct(batch["purposes"], terms.about)
    return Entries(
        subject=halves(batch["subject"]),
        subject_type=batch["subject_type"].to_numpy(),
        kind=kind,
        mask=mask,
        reach=mask,
        admitted=_of_distinct(batch["policy_version"], terms.admitting),
        app=app_codes(batch["app"], apps),
        guardian=batch["guardian"].to_numpy(zero_copy_only=False),
        time=np.where(permission, time, np.minimum(time, received)),
        received=received,
        effective=np.where(permission, time, ALWAYS),
        known=received,
        until=np.full(len(kind), NEVER),
    )


def _of_distinct(column: pa.DictionaryArray, meaning: Callable[[str | None], int]) -> np.ndarray:
    """The mask of each row, worked out once for each distinct value."""
    masks = [meaning(value) for value in column.dictionary.to_pylist()]
    of_null = meaning(None) if column.null_count else 0
    return np.array([*masks, of_null], np.uint64).take(codes_of(column))


def codes_of(column: pa.DictionaryArray) -> np.ndarray:
    """The place of each value in the dictionary, -1 for null."""
    return column.indices.fill_null(-1).to_numpy()


def halves(values: pa.Array) -> np.ndarray:
    """The 16-byte values as (rows, 2) uint64, without a copy; what lies under a null is arbitrary."""
    if values.type != pa.binary(16):
        raise ValueError("subjects and entry ids are fixed_size_binary(16)")
    return tag_blocks(values)


def _equal(words: np.ndarray, others: np.ndarray) -> np.ndarray:
    same = words == others
    return same[:, 0] & same[:, 1]


def _mix(words: np.ndarray) -> np.ndarray:
    """A hash that spreads and no more: sealed values are random already, and every match is checked on all bytes."""
    return (words[:, 0] ^ words[:, 1] * np.uint64(0x9E3779B97F4A7C15)) * np.uint64(0xD6E8FEB86659FD93)


def _bucket(hashes: np.ndarray, edges: int) -> np.ndarray:
    """The hash bucket of each value, for a number of buckets that is a power of two, and so one more edges."""
    return (hashes >> np.uint64(65 - edges.bit_length())).view(np.int64)


def first_of_runs(values: np.ndarray) -> np.ndarray:
    """True on each row that differs from the row before it."""
    same = _equal(values[1:], values[:-1]) if values.ndim > 1 else values[1:] == values[:-1]
    return np.append(True, ~same)[: len(values)]


def repeated(words: np.ndarray) -> np.ndarray:
    """True on the values that occur more than once."""
    ascending = np.sort(words)  # a third of the time of argsort, and all that is needed where nothing is repeated
    shared = np.zeros(len(words), bool)
    if (ascending[1:] == ascending[:-1]).any():
        order = np.argsort(words)
        again = ~first_of_runs(words.take(order))
        shared[order] = again | np.append(again[1:], False)
    return shared


def _reconciled(entries: Entries, ids: np.ndarray) -> Entries:
    """The entries, with the more restrictive content in force wherever several share an id.

    All stops of an id stay. A permission beside a stop, or one whose versions differ in subject, kind or
    application, goes; other versions become one permission, which acts only where each of them alone would. An
    unreadable line ends with the first receipt of a valid entry.
    """
    shared = repeated(ids[:, 0])  # perhaps a few more than share all of it
    if not shared.any():
        return entries
    alone, several = np.flatnonzero(~shared), np.flatnonzero(shared)
    alone, several = entries.take(alone), _one_permission_an_id(entries.take(several), ids.take(several, axis=0))
    columns = ((getattr(alone, each.name), getattr(several, each.name)) for each in fields(Entries))
    return Entries(*(np.concatenate(pair) for pair in columns))


def _one_permission_an_id(entries: Entries, ids: np.ndarray) -> Entries:
    # an id's permissions come before its stops; equal entries come together
    order = np.lexsort((entries.time, entries.known, ~is_permission(entries.kind), *ids.T))
    entries, ids = entries.take(order), ids.take(order, axis=0)
    starts = np.flatnonzero(first_of_runs(ids))
    size = np.diff(np.append(starts, len(entries.kind)))
    first = np.repeat(starts, size)
    permission, unreadable = is_permission(entries.kind), entries.kind == kinds(Kind.unreadable)

    def fold(function: np.ufunc, values: np.ndarray) -> np.ndarray:
        return np.repeat(function.reduceat(values, starts), size)

    def of_permissions(function: np.ufunc, values: np.ndarray) -> np.ndarray:
        # the first row stands in for what is no permission: it is one itself wherever the result is used
        return np.where(permission, fold(function, np.where(permission, values, values[first])), values)

    alike = _equal(entries.subject, entries.subject[first])
    for column in (entries.subject_type, entries.kind, entries.app):
        alike &= column == column[first]
    contradicted = fold(np.logical_or, ~unreadable & ~(permission & alike))
    columns = (ids, *(getattr(entries, each.name) for each in fields(entries)))
    repeated = ~np.logical_or.reduce([first_of_runs(column) for column in columns])
    keep = np.where(permission, ~contradicted & (first == np.arange(len(first))), ~repeated)
    merged = replace(
        entries,
        mask=of_permissions(np.bitwise_and, entries.mask),
        admitted=of_permissions(np.bitwise_and, entries.admitted),
        guardian=of_permissions(np.logical_and, entries.guardian),
        time=of_permissions(np.minimum, entries.time),
        received=of_permissions(np.minimum, entries.received),
        effective=of_permissions(np.maximum, entries.effective),
        known=of_permissions(np.maximum, entries.known),
        until=np.where(unreadable, fold(np.minimum, np.where(unreadable, NEVER, entries.known)), NEVER),
    )
    return merged.take(np.flatnonzero(keep))


def _reaching(entries: Entries, terms: Terms) -> Entries:
    """The entries with what they are about in force: all of the subject, or one application, as their kind has it."""
    about_purposes = entries.kind & kinds(*ABOUT_PURPOSES) != 0
    mask = np.where(about_purposes, entries.mask, np.uint64(terms.every))
    app = np.where(about_purposes, entries.app, NO_APP)
    permits = about_purposes & is_permission(entries.kind) & (app == NO_APP)
    reach = np.where(permits, mask & ~np.uint64(terms.per_application), mask)
    return replace(entries, mask=mask, reach=reach, app=app)


def _superseded(entries: Entries, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """For each entry from when on another one does all that it does; None if no subject has many entries.

    Of two that agree in all but their clocks the later one does, wherever it counts: a stop is lifted by nothing that
    would not lift the earlier one, a permission lifts all that the earlier one lifts. An `adult` is another matter,
    for a grant must be later than it, and so is an unreadable line, for it ends.
    """
    crowded = np.flatnonzero(np.diff(offsets) > MANY)
    if not len(crowded):
        return None
    subject, rows = pairs(offsets.take(crowded), offsets.take(crowded + 1))
    some = entries.take(rows)
    alike = (some.subject_type, some.kind, some.mask, some.admitted, some.app, some.guardian)
    order = np.lexsort((some.received, some.time, *alike, subject))
    one, other = order[:-1], order[1:]
    supersedes = some.received.take(one) <= some.received.take(other)
    supersedes &= some.kind.take(one) & ~kinds(Kind.adult, Kind.unreadable) != 0
    for column in (*alike, subject):
        supersedes &= column.take(one) == column.take(other)
    one, other = rows.take(one[supersedes]), rows.take(other[supersedes])
    effective, known = (np.full(len(entries.kind), NEVER) for _ in range(2))
    effective[one], known[one] = entries.effective.take(other), entries.known.take(other)
    return effective, known


def pairs(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (i, j) with starts[i] <= j < ends[i], in order."""
    size = ends - starts
    left = np.repeat(np.arange(len(size)), size)
    return left, np.arange(len(left)) + np.repeat(starts - np.cumsum(size) + size, size)
