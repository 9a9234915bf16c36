"""One key's ledger as a stream keeps it: sorted by subject, opened where a window's records need it, and compacted.

What no future record can need is dropped. A future record is received at `horizon` or later and is of an event at
`horizon - oldest_ms` or later; every entry received before `horizon` is *settled*: it is known to all of them. Below,
a stop's time is the smaller of its clocks, and "no earlier" means on both clocks. These settled entries go:

1. A stop beside another of its subject and kind that is no earlier, about all of its purposes, and about its
   application or about all. The other stop is known wherever the first is, counts for whatever it counts for, under the
   same reason, and is lifted by nothing that would not lift the first.
2. A permission (but no `adult`) beside another of its subject, kind and application that is no earlier, about all of
   its purposes, with a guardian if it has one, under no older policy version, and in force for every event that can
   still come. The other does whatever the first would: it lifts every stop that the first lifts.
3. A `grant` or `lift_objection` beside a `withdraw` of its subject that is no earlier, about all of its purposes and
   about all applications. As a grant it opens nothing, for it does not lift that `withdraw`. It lifts nothing either
   that stays lifted because of it: as long as the `withdraw` stands, the purpose is closed for that very reason; and
   what lifts the `withdraw` is later than it, so lifts whatever the permission would, also of another subject.
4. An `unreadable` line with a valid entry of its id: it ended with the receipt of that entry.
5. A permission that is contradicted: a stop has its id, or a version that differs in what it is about. No further
   version can bring it back. An entry about nobody, which only bears an id, goes likewise.

Nothing goes whose id has a version that is not settled. The ids of what went are kept as `spent`, eight bytes each,
unless an entry of that id stays. A later version of a spent id could not have opened anything: beside the entry that
went it would be one permission with it, and that acts only where each would; or contradict it; or be corrected by it.
So it is not taken in, except for a stop, which counts whatever else has its id.

A `restrict` stays though it is lifted, and so does a `minor`: should its lift turn out to be contradicted, it is back.
For the same reason rule 2 may close too much, and never opens: if the permission that stays is contradicted or
restricted by a later version of its own, those that went for it are missing, as if they had been lost.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import ABOUT_PURPOSES, EVERY_PURPOSE, FUTURE_LIMIT, SEALED_LEDGER, STOPS, Kind
from transforms.columns import among, tag_words
from transforms.ledger import NO_APP, codes_of, first_of_runs, halves, is_permission, kinds, pairs, repeated

_CHUNK = 1 << 19  # entries that are looked at together
_BLOCK = 1 << 17  # pairs of entries that are looked at together
_NAMES = 61  # purposes with a bit of their own; a further name is covered by EVERY_PURPOSE alone
_RARE, _STAR, _GUARDIAN = 1 << 61, 1 << 62, 1 << 63

_REPLACES = {kind: kinds(kind) for kind in (*STOPS, Kind.lift_restriction)} | {
    kind: kinds(kind, Kind.withdraw) for kind in (Kind.grant, Kind.lift_objection)
}
_REPLACED_BY = np.array([_REPLACES.get(kind, 0) for kind in range(32)], np.uint32)  # by rules 1 to 3


@dataclass(frozen=True, repr=False)
class HeldLedger:
    """The entries of one (region, shard), without exact repetitions, sorted by the first word of their subject.

    `rows` (schema SEALED_LEDGER) and `spent` (sorted, unique uint64) are all that has to be written down. The rest is
    an index, made once: hold on to the object as long as its rows have not changed. Raises ValueError if the rows are
    not sorted or not of their schema.
    """

    rows: pa.RecordBatch
    spent: np.ndarray
    _words: np.ndarray = field(init=False)  # the first word of each subject, ascending
    _starts: np.ndarray = field(init=False)  # where its rows start
    _shared: np.ndarray = field(init=False)  # rows whose id another row has too

    def __post_init__(self) -> None:
        if not self.rows.schema.equals(SEALED_LEDGER):
            raise ValueError("ledger entries are not of the schema SEALED_LEDGER")
        words = tag_words(self.rows["subject"])
        starts = np.flatnonzero(first_of_runs(words))
        if (words[1:] < words[:-1]).any():
            raise ValueError("ledger entries are not sorted by subject")
        object.__setattr__(self, "_words", words.take(starts))
        object.__setattr__(self, "_starts", np.append(starts, len(words)).astype(np.int32))
        object.__setattr__(self, "_shared", np.flatnonzero(repeated(tag_words(self.rows["entry_id"]))))

    @classmethod
    def empty(cls) -> Self:
        """No entries."""
        return cls(pa.RecordBatch.from_pylist([], SEALED_LEDGER), np.empty(0, np.uint64))

    def merged(self, new: list[pa.RecordBatch]) -> Self:
        """With these entries too, in whatever order they come and however often.

        Permissions and unreadable lines with a spent id are left out, and permissions dated too far ahead.
        """
        batches = [batch.cast(SEALED_LEDGER) for batch in new]
        fresh = [batch.take(pa.array(np.flatnonzero(_admitted(batch, self.spent)))) for batch in batches]
        if not any(batch.num_rows for batch in fresh):
            return self
        fresh = _joined(fresh)
        words = tag_words(fresh["subject"])
        order = np.argsort(words, kind="stable")
        places = self._starts.take(np.searchsorted(self._words, words.take(order)))
        held = self.rows.num_rows
        index = np.insert(np.arange(held), places, held + order)
        merged = type(self)(_joined([self.rows, fresh]).take(pa.array(index)), self.spent)
        again = _exact_repetitions(merged.rows, merged._shared)
        if not len(again):
            return merged
        return type(self)(merged.rows.take(pa.array(np.delete(np.arange(len(index)), again))), self.spent)

    def about(self, device: pa.Array, account: pa.Array, before: int) -> pa.Table:
        """The entries received before `before` that can bear on records of these subjects, and perhaps a few others.

        A ledger built from them decides these records as one built from all entries received before `before`: the
        entries of their subjects are all there, and wherever an id occurs twice, so that contradictions are seen.
        """
        subjects = np.unique(np.concatenate([tag_words(each.drop_null()) for each in (device, account)]))
        place = np.searchsorted(self._words, subjects)
        place = place[np.append(self._words, 0).take(place) == subjects]
        place = place[place < len(self._words)]
        _, found = pairs(self._starts.take(place), self._starts.take(place + 1))
        if len(self._shared):
            found = np.union1d(found, self._shared)
        found = found[self.rows["received_time"].to_numpy().take(found) < before]
        return pa.Table.from_batches([self.rows.take(pa.array(found))])

    def compacted(self, horizon: int, oldest_ms: int) -> Self:
        """Without what no record can need that is received at `horizon` or later and of an event at most `oldest_ms`
        before that (see above). An entry that comes behind that is merged like any other."""
        settled = self.rows["received_time"].to_numpy() < horizon
        ids = tag_words(self.rows["entry_id"])
        alone = np.ones(len(ids), bool)
        alone[self._shared] = False
        gone = (halves(self.rows["subject"]) == 0).all(axis=1) & settled
        rest, gone[self._shared] = _of_shared_ids(self.rows.take(pa.array(self._shared)), settled.take(self._shared))
        may_go = settled & ~gone
        may_go[self._shared] &= rest
        counts = settled & ~gone & (alone | _stops(self.rows["kind"].to_numpy()))
        for start, stop in self._chunks():
            part = start + np.flatnonzero(counts[start:stop])
            compared = _Compared.of(self.rows.take(pa.array(part)), may_go.take(part), horizon - oldest_ms)
            gone[part[compared.replaced()]] = True
        kept = np.flatnonzero(~gone)
        if len(kept) == len(ids):
            return self
        left = np.setdiff1d(ids[gone], ids.take(self._shared)[~gone.take(self._shared)])
        return type(self)(_trimmed(self.rows.take(pa.array(kept))), np.union1d(self.spent, left))

    def _chunks(self) -> list[tuple[int, int]]:
        """Runs of rows that hold whole subjects, of about _CHUNK rows each."""
        edges = self._starts.take(np.searchsorted(self._starts, np.arange(0, self.rows.num_rows, _CHUNK)))
        edges = np.unique(np.append(edges, self.rows.num_rows)).tolist()
        return list(zip(edges[:-1], edges[1:], strict=True))


@dataclass(frozen=True, repr=False)
class _Compared:
    """Settled entries as the first three rules compare them, by subject and then by time; equal clocks in any order."""

    place: np.ndarray  # where each was among the rows
    end: np.ndarray  # where the entries of its subject end
    subject: np.ndarray  # its second word: the first may be that of two subjects
    kind: np.ndarray  # one bit of `kinds`, apart for devices and accounts; none for what replaces nothing
    replaced_by: np.ndarray  # such bits
    received: np.ndarray
    scope: np.ndarray  # application, apart for permissions and stops
    anywhere: np.ndarray  # stops about all applications
    asks: np.ndarray  # purposes, and a guardian, that are also those of what replaces it
    covers: np.ndarray
    version: np.ndarray  # rank of policy version, 0 for none
    passes: np.ndarray  # the highest rank that it can replace

    @classmethod
    def of(cls, rows: pa.RecordBatch, may_go: np.ndarray, oldest: int) -> Self:
        """The rows, of which some may go; a permission replaces none if it is dated after `oldest`."""
        kind, received = rows["kind"].to_numpy(), rows["received_time"].to_numpy()
        stop, account = _stops(kind), rows["subject_type"].to_numpy().astype(np.uint64)
        time = np.where(stop, np.minimum(rows["time"].to_numpy(), received), rows["time"].to_numpy())
        scoped, grant = np.isin(kind, list(ABOUT_PURPOSES)), kind == Kind.grant
        asks, covers = (bits.take(codes_of(rows["purposes"])) for bits in _purposes(rows["purposes"].dictionary))
        guarded = np.where(grant & rows["guardian"].to_numpy(zero_copy_only=False), np.uint64(_GUARDIAN), np.uint64(0))
        app = np.where(scoped, codes_of(rows["app"]), NO_APP)
        version = np.where(grant, _ranks(rows["policy_version"].dictionary)[codes_of(rows["policy_version"])], 0)
        bit, away = np.uint64(1) << kind.astype(np.uint64), account << np.uint64(5)
        words = tag_words(rows["subject"])
        ends = np.append(np.flatnonzero(first_of_runs(words))[1:], len(words))
        subject = np.cumsum(first_of_runs(words)) - 1
        order = np.lexsort((received, time, subject))
        columns = (
            ends.take(subject),
            halves(rows["subject"])[:, 1],
            np.where(stop | (time <= oldest), bit, np.uint64(0)) << away,
            np.where(may_go, _REPLACED_BY.take(kind), np.uint64(0)) << away,
            received,
            app * 2 + stop,
            stop & (app == NO_APP),
            np.where(scoped, asks, np.uint64(0)) | guarded,
            np.where(scoped, covers, ~np.uint64(_GUARDIAN)) | np.where(grant, guarded, np.uint64(_GUARDIAN)),
            version,
            np.where(grant, version, np.iinfo(np.int64).max),
        )
        return cls(order, *(column.take(order) for column in columns))

    def replaced(self) -> np.ndarray:
        """The places of the entries that another one replaces."""
        left = np.flatnonzero(self.replaced_by)
        size = self.end.take(left) - left - 1
        before = np.append(0, np.cumsum(size))
        gone = np.zeros(len(self.place), bool)
        edges = np.searchsorted(before, np.arange(_BLOCK, before[-1], _BLOCK)).tolist()
        for low, high in zip([0, *edges], [*edges, len(left)], strict=True):
            some = left[low:high]
            at, other = pairs(some + 1, self.end.take(some))
            one = some.take(at)
            gone[one[self._replaces(one, other)]] = True
        return self.place[gone]

    def _replaces(self, one: np.ndarray, other: np.ndarray) -> np.ndarray:
        replaces = self.replaced_by.take(one) & self.kind.take(other) != 0
        replaces &= self.asks.take(one) & ~self.covers.take(other) == 0
        replaces &= self.received.take(one) <= self.received.take(other)
        replaces &= (self.scope.take(one) == self.scope.take(other)) | self.anywhere.take(other)
        replaces &= self.version.take(one) <= self.passes.take(other)
        return replaces & (self.subject.take(one) == self.subject.take(other))


def _of_shared_ids(rows: pa.RecordBatch, settled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(all of whose id is settled, what rules 4 and 5 drop), for the rows whose ids are those of others too."""
    ids, kind = halves(rows["entry_id"]), rows["kind"].to_numpy()
    permission, unreadable = is_permission(np.left_shift(np.uint32(1), kind.astype(np.uint32))), kind == Kind.unreadable
    order = np.lexsort((~permission, *ids.T))  # an id's permissions first
    starts = np.flatnonzero(first_of_runs(ids.take(order, axis=0)))
    group = np.empty(len(order), np.int64)
    group[order] = np.cumsum(first_of_runs(ids.take(order, axis=0))) - 1
    first = order.take(starts).take(group)

    def anywhere(flags: np.ndarray) -> np.ndarray:
        return (np.bincount(group, flags, len(starts)) > 0).take(group)

    about = np.column_stack((halves(rows["subject"]).view(np.int64), rows["subject_type"], kind, codes_of(rows["app"])))
    alike = (about == about.take(first, axis=0)).all(axis=1)
    contradicted = anywhere(~unreadable & ~(permission & alike))
    rest = ~anywhere(~settled)
    nobody = (halves(rows["subject"]) == 0).all(axis=1)
    goes = nobody | (permission & contradicted) | (unreadable & anywhere(~unreadable))
    return rest, rest & goes


def _exact_repetitions(rows: pa.RecordBatch, shared: np.ndarray) -> np.ndarray:
    """Of these rows the ones that repeat another, in all columns."""
    some = rows.take(pa.array(shared))
    plain = [_plain(column) for column in some.columns]
    columns = [column for each in plain for column in (each.T if each.ndim > 1 else (each,))]
    order = np.lexsort(columns[::-1])
    again = ~np.logical_or.reduce([first_of_runs(column.take(order)) for column in columns])
    return shared.take(order[again])


def _plain(column: pa.Array) -> np.ndarray:
    if pa.types.is_dictionary(column.type):
        return codes_of(column)
    return halves(column) if column.type == pa.binary(16) else column.to_numpy(zero_copy_only=False)


def _admitted(rows: pa.RecordBatch, spent: np.ndarray) -> np.ndarray:
    kind, time = rows["kind"].to_numpy(), rows["time"].to_numpy()
    ahead = ~_stops(kind) & (kind != Kind.unreadable) & (time > rows["received_time"].to_numpy() + FUTURE_LIMIT)
    return ~ahead & (_stops(kind) | ~among(tag_words(rows["entry_id"]), spent))


def _stops(kind: np.ndarray) -> np.ndarray:
    return np.isin(kind, list(STOPS))


def _ranks(words: pa.StringArray) -> np.ndarray:
    """The rank of each word from 1 on, in alphabetical order; 0, for none, comes last."""
    return np.append(pc.rank(words).to_numpy(), 0).astype(np.int64)


def _purposes(spelt: pa.StringArray) -> tuple[np.ndarray, np.ndarray]:
    """For each spelling (SEALED_LEDGER) its purposes as bits: those that it asks for, and those that it covers."""
    lists = [names.split(",") for names in spelt.to_pylist()]  # few combinations
    names = sorted({name for each in lists for name in each})[:_NAMES]
    bits = {name: 1 << place for place, name in enumerate(names)}
    asks, covers = [], []
    for spelling in lists:
        every = spelling == [EVERY_PURPOSE]
        asks.append(_STAR if every else sum({bits.get(name, _RARE) for name in spelling}))
        covers.append(_GUARDIAN - 1 if every else asks[-1] & ~_RARE)
    return np.array(asks, np.uint64), np.array(covers, np.uint64)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """One batch, with one dictionary a column."""
    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()[0]


def _trimmed(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows, with no word in a dictionary that none of them uses."""
    columns = []
    for column in rows.columns:
        if pa.types.is_dictionary(column.type):
            used = pc.unique(column.indices.drop_null())
            indices = pc.index_in(column.indices, value_set=used)
            column = pa.DictionaryArray.from_arrays(indices, column.dictionary.take(used))
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)
