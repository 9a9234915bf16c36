"""Seal, for the consent ledger: entries by sealed subject, at every place where they must be known.

A permission acts in the region where it was given; a stop acts wherever the subject may be, so it goes to every region
that this job serves. Within a region a device's entry goes to the device's shard, an account's to all shards, since
an account's devices may be in any of them. Lines that were rejected, but whose subject could be read, act as
`unreadable` everywhere (section 6 of the design: a lost entry must not open anything).
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import EVERY_PURPOSE, NOBODY, SEALED_LEDGER, STOPS, Kind, SubjectType
from schemas.fields import SUBJECT_TYPES
from transforms.canonical import canonical
from transforms.columns import scattered, tag_words
from transforms.decode import DecodedLedger
from transforms.labels import Labels
from transforms.locate import UNLOCATABLE
from transforms.seal import Partition, Seals

_KIND_OF = {"device": "android_id", "account": "account_id"}
_STRANGE = "?"  # in place of any name that is not known: no other word goes on, nor can it pass for several
_STOP_CODES = np.array(sorted(STOPS))


@dataclass(repr=False)
class SealedLedger:
    """Entries in the schema `SEALED_LEDGER`, sorted by `key` (region code * shards + shard)."""

    batch: pa.RecordBatch
    key: np.ndarray
    nobody: int  # entries without a valid subject: a bounded run must not end well with one
    bad_subject: np.ndarray  # the rows of those among the entries that were read
    unlocated: int  # permissions without a usable region, which act nowhere (those of another cell act there)
    unknown_purposes: int  # entries that name a purpose nobody knows


class LedgerSealer:
    """Seals decoded ledger entries. One a worker: it holds the keys and the labels seen."""

    def __init__(
        self, seals: Seals, partition: Partition, served: tuple[int, ...], labels: Labels, purposes: frozenset[str]
    ) -> None:
        self._seals, self._shards, self._served = seals, partition.shards, np.array(served)
        self._labels, self._purposes = labels, purposes

    def seal(self, ledger: DecodedLedger, regions: np.ndarray) -> list[SealedLedger]:
        """The entries that were read, and those that were not. `regions` holds -1 where an entry has no region."""
        return [self._entries(ledger, regions), self._unreadable(ledger)]

    def _entries(self, ledger: DecodedLedger, regions: np.ndarray) -> SealedLedger:
        columns = ledger.columns
        stop = np.isin(ledger.kind, _STOP_CODES)
        subject, is_account = _subjects(columns["subject.type"], columns["subject.value"])
        known = subject.is_valid().to_numpy(zero_copy_only=False)
        place, region = self._places(known & stop, known & ~stop, regions)
        purposes, unknown = _purposes(columns["purposes"], stop, self._purposes)
        plain = {
            "kind": pa.array(ledger.kind),
            "purposes": purposes,
            "app": self._application(columns["app"]),
            "policy_version": _editions(columns["policy_version"]),
            "guardian": _named(columns["guardian"]),
            "time": pa.array(ledger.time),
            "received_time": pa.array(ledger.received_time),
        }
        ids = _not_empty(columns["entry_id"])
        unlocated = int(np.count_nonzero(known & ~stop & (regions == UNLOCATABLE)))
        nobody = np.flatnonzero(~known)
        counts = len(nobody), nobody, unlocated, unknown
        return self._sealed("nameless_entry", plain, subject, is_account, ids, place, region, *counts)

    def _unreadable(self, ledger: DecodedLedger) -> SealedLedger:
        lines = ledger.unreadable
        rows = len(lines["entry_id"])
        subject, is_account = _subjects(lines["subject.type"], lines["subject.value"])
        known = subject.is_valid().to_numpy(zero_copy_only=False)
        place, region = self._places(known, np.zeros(rows, bool), np.full(rows, -1))
        nothing = pa.nulls(rows, pa.string())
        always = pa.array(np.zeros(rows, np.int64))  # as old as can be: known to every record
        plain = {
            "kind": pa.array(np.full(rows, Kind.unreadable, np.int8)),
            "purposes": pc.fill_null(nothing, EVERY_PURPOSE),
            "app": nothing,
            "policy_version": nothing,
            "guardian": pa.array(np.zeros(rows, bool)),
            "time": always,
            "received_time": always,
        }
        ids = _not_empty(lines["entry_id"])
        nobody, none_read = int((~known).sum()) + ledger.lost, np.empty(0, np.int64)
        return self._sealed("nameless_line", plain, subject, is_account, ids, place, region, nobody, none_read, 0, 0)

    def ids(self, entry_ids: pa.StringArray, region: int) -> pa.FixedSizeBinaryArray:
        """Entry ids sealed under one region's key, to compare them across regions. Null for one that is empty."""
        return self._seals.tag("entry_id", _not_empty(entry_ids), np.full(len(entry_ids), region))

    def corrections(self, ledger: DecodedLedger, regions: np.ndarray, entries: np.ndarray) -> SealedLedger:
        """For each of these entries one that does nothing but bear its id, at every place where it is not itself: an
        unreadable line of that id ends there too (section 6: it acts in every region until it is corrected)."""
        stop = np.isin(ledger.kind[entries], _STOP_CODES)
        columns = {name: column.take(pa.array(entries)) for name, column in ledger.columns.items()}
        subject, is_account = _subjects(columns["subject.type"], columns["subject.value"])
        known = subject.is_valid().to_numpy(zero_copy_only=False)
        place, region = self._places(known & stop, known & ~stop, regions[entries])
        tags = self._subject_tags(subject.take(pa.array(place)), is_account[place], region)
        pair, shard = spread(tags, is_account[place], self._shards)
        keys = (self._served[:, None] * self._shards + np.arange(self._shards)).ravel().astype(np.int64)
        own = place[pair] * (keys[-1] + 1) + region[pair] * self._shards + shard
        elsewhere = np.arange(len(entries))[:, None] * (keys[-1] + 1) + keys
        row, at = np.nonzero(~np.isin(elsewhere, own) & known[:, None])
        order = np.argsort(keys[at], kind="stable")
        row, key = pa.array(row[order]), keys[at][order]
        columns = {
            "entry_id": self._seals.tag("entry_id", columns["entry_id"].take(row), key // self._shards),
            "subject": _constant(NOBODY, len(key), pa.binary(16)),
            "subject_type": _constant(SubjectType.device, len(key), pa.int8()),
            "kind": _constant(Kind.lift_restriction, len(key), pa.int8()),
            "purposes": _constant("", len(key), pa.string()),
            "app": pa.nulls(len(key), pa.string()),
            "policy_version": pa.nulls(len(key), pa.string()),
            "guardian": _constant(False, len(key), pa.bool_()),
            "time": pa.array(ledger.time[entries]).take(row),
            "received_time": pa.array(ledger.received_time[entries]).take(row),
        }
        return SealedLedger(_ledger_batch(columns), key, 0, np.empty(0, np.int64), 0, 0)

    def _places(self, stop: np.ndarray, permission: np.ndarray, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(entry, region) pairs, sorted by region."""
        stops, permissions = np.flatnonzero(stop), np.flatnonzero(permission & np.isin(regions, self._served))
        entry = np.concatenate([np.tile(stops, len(self._served)), permissions])
        region = np.concatenate([np.repeat(self._served, len(stops)), regions[permissions]]).astype(np.int64)
        order = np.argsort(region, kind="stable")
        return entry[order], region[order]

    def _sealed(self, nameless: str, plain, subject, is_account, ids, place, region, *counts) -> SealedLedger:
        account = is_account[place]
        tags = self._subject_tags(subject.take(pa.array(place)), account, region)
        entry = self._seals.tag("entry_id", ids.take(pa.array(place)), region)
        # Without a usable id an entry is its subject's own: no other person's may pass for its correction.
        entry = pc.if_else(entry.is_valid(), entry, self._seals.tag(nameless, tags, region))
        pair, shard = spread(tags, account, self._shards)
        key = region[pair] * self._shards + shard
        order = np.argsort(key, kind="stable")
        pair = pair[order]
        rows = pa.array(place[pair])
        columns = {name: column.take(rows) for name, column in plain.items()}
        columns["subject"] = tags.take(pa.array(pair))
        columns["subject_type"] = pa.array(account[pair].astype(np.int8) * SubjectType.account)
        columns["entry_id"] = entry.take(pa.array(pair))
        return SealedLedger(_ledger_batch(columns), key[order], *counts)

    def _subject_tags(self, subjects: pa.Array, account: np.ndarray, region: np.ndarray) -> pa.FixedSizeBinaryArray:
        parts = []
        for places, type_ in ((np.flatnonzero(~account), "device"), (np.flatnonzero(account), "account")):
            values = subjects.take(pa.array(places))
            parts.append((places, self._seals.tag(_KIND_OF[type_], values, region[places])))
        return scattered(parts, len(subjects))

    def _application(self, values: pa.StringArray) -> pa.StringArray:
        """Applications as telemetry has them. Of one that had to be scrubbed nobody knows any more which it is."""
        codes, words, _ = self._labels.clean(values)
        cleaned = words.take(pa.array(codes, mask=codes < 0))
        return pc.if_else(pc.equal(cleaned, values), cleaned, pa.scalar(None, pa.string()))


def spread(tags: pa.FixedSizeBinaryArray, account: np.ndarray, shards: int) -> tuple[np.ndarray, np.ndarray]:
    """(row, shard) pairs of sealed subjects: a device's row goes to its shard, an account's to each."""
    devices, accounts = np.flatnonzero(~account), np.flatnonzero(account)
    own = (tag_words(tags)[devices] % np.uint64(shards)).astype(np.int64)
    every = np.tile(np.arange(shards), len(accounts))
    return np.concatenate([devices, np.repeat(accounts, shards)]), np.concatenate([own, every])


def _subjects(types: pa.StringArray, values: pa.StringArray) -> tuple[pa.BinaryArray, np.ndarray]:
    """Canonical subjects (null where there is no valid one), and which of them are accounts."""
    is_account = pc.fill_null(pc.equal(types, SUBJECT_TYPES[1]), False).to_numpy(zero_copy_only=False)
    parts = []
    for places, kind in ((np.flatnonzero(~is_account), "android_id"), (np.flatnonzero(is_account), "account_id")):
        parts.append((places, canonical(kind, values.take(pa.array(places)))[0].cast(pa.binary())))
    return scattered(parts, len(values)), is_account


def _purposes(lists: pa.ListArray, stop: np.ndarray, known: frozenset[str]) -> tuple[pa.StringArray, int]:
    """Each entry's purposes in one spelling, and how many entries name one that is not known.

    No other word goes on. A stop that names none, or an unknown one, is about all of them: it may be misspelt. Of a
    permission what is not known is left out.
    """
    words = lists.values
    expected = pc.is_in(words, value_set=pa.array(sorted(known | {EVERY_PURPOSE, ""})))
    lists = pa.ListArray.from_arrays(lists.offsets, pc.if_else(expected, words, _STRANGE))
    joined = pc.fill_null(pc.binary_join(lists, ","), "").dictionary_encode()
    named = [{name for name in word.split(",") if name} for word in joined.dictionary.to_pylist()]  # few combinations
    strange = pa.array([not names <= known | {EVERY_PURPOSE} for names in named], pa.bool_()).take(joined.indices)
    spelt = pa.array([_spelling(names, known) for names in named], pa.string()).take(joined.indices)
    everything = pc.and_(pa.array(stop), pc.or_(strange, pc.equal(spelt, "")))
    return pc.if_else(everything, EVERY_PURPOSE, spelt), pc.sum(strange).as_py() or 0


def _spelling(names: set[str], known: frozenset[str]) -> str:
    return EVERY_PURPOSE if EVERY_PURPOSE in names else ",".join(sorted(names & known))


def _editions(versions: pa.StringArray) -> pa.StringArray:
    """Policy versions that are dates, or null: versions are compared as text, where anything else could pass as new."""
    return pc.if_else(
        pc.match_substring_regex(versions, r"^\d{4}-\d{2}-\d{2}$"), versions, pa.scalar(None, pa.string())
    )


def _not_empty(ids: pa.StringArray) -> pa.StringArray:
    """Entry ids as they are, since they have no form of their own."""
    return pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)


def _named(guardians: pa.StringArray) -> pa.BooleanArray:
    """Where somebody is named as guardian; a word that says no names nobody."""
    denied = pc.is_in(pc.utf8_lower(guardians), value_set=pa.array(["", "false", "0", "no", "none", "null"]))
    return pc.and_(guardians.is_valid(), pc.invert(denied))


def _constant(value, rows: int, type_: pa.DataType) -> pa.Array:
    return pa.repeat(pa.scalar(value, type_), rows)


def _ledger_batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    arrays = [_as(columns[field.name], field.type) for field in SEALED_LEDGER]
    return pa.RecordBatch.from_arrays(arrays, schema=SEALED_LEDGER)


def _as(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return column.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else column
