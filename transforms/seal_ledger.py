"""Seal, for the consent ledger: entries by sealed subject, at every place where they must be known.

A permission acts in the region where it was given; a stop acts wherever the subject may be, so it goes to every region
that this job serves. Within a region a device's entry goes to the device's shard, an account's to all shards, since
an account's devices may be in any of them. Lines that were rejected, but whose subject could be read, act as
`unreadable` everywhere (section 6 of the design: a lost entry must not open anything).

An entry's id is sealed twice: under the key of the region where the ledger arrives, then under that of each region
where the entry acts. So who holds both keys can say there that an id was used elsewhere, and needs no raw id for it.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import EVERY_PURPOSE, SEALED_LEDGER, STOPS, Kind, SubjectType
from schemas.fields import SUBJECT_TYPES
from transforms.canonical import canonical
from transforms.columns import scattered, tag_blocks, tag_words
from transforms.decode import DecodedLedger
from transforms.labels import Labels
from transforms.locate import UNLOCATABLE
from transforms.seal import Partition, Seals

_KIND_OF = {"device": "android_id", "account": "account_id"}
_STRANGE = "?"  # in place of any name that is not known: no other word goes on, nor can it pass for several
_STOP_CODES = np.array(sorted(STOPS))

# What the register of ids holds of an entry. A place is the key (region code * shards + shard) of a device's
# permission, or one of the codes below; entries of one place meet each other. The codes live in state.
REGISTERED = np.dtype([("id", np.uint64, 2), ("received", np.int64), ("place", np.int32)])
STOPPED, UNREADABLE, NOWHERE, ACCOUNTS = -1, -2, -3, -4  # an account's permission in region r is at ACCOUNTS - r


@dataclass(repr=False)
class SealedLedger:
    """Entries in the schema `SEALED_LEDGER`, sorted by `key` (region code * shards + shard), and a row of `REGISTERED`
    for each that has an id."""

    batch: pa.RecordBatch
    key: np.ndarray
    register: np.ndarray
    nobody: int  # entries without a valid subject: a bounded run must not end well with one
    bad_subject: np.ndarray  # the rows of those among the entries that were read
    unlocated: int  # permissions without a usable region, which act nowhere (those of another cell act there)
    unknown_purposes: int  # entries that name a purpose nobody knows


class LedgerSealer:
    """Seals decoded ledger entries. One a worker: it holds the keys and the labels seen."""

    def __init__(
        self,
        seals: Seals,
        partition: Partition,
        served: tuple[int, ...],
        arrival: int,
        labels: Labels,
        purposes: frozenset[str],
    ) -> None:
        self._seals, self._shards, self._served, self._arrival = seals, partition.shards, np.array(served), arrival
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
        ids = self._ids(columns["entry_id"])
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
        since = lines["since"]  # as old as can be: known to every record that it can have come before
        plain = {
            "kind": pa.array(np.full(rows, Kind.unreadable, np.int8)),
            "purposes": pc.fill_null(nothing, EVERY_PURPOSE),
            "app": nothing,
            "policy_version": nothing,
            "guardian": pa.array(np.zeros(rows, bool)),
            "time": since,
            "received_time": since,
        }
        ids = self._ids(lines["entry_id"])
        nobody, none_read = int((~known).sum()) + ledger.lost, np.empty(0, np.int64)
        return self._sealed("nameless_line", plain, subject, is_account, ids, place, region, nobody, none_read, 0, 0)

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
        home = np.full(len(ids), NOWHERE)
        home[place[pair]] = np.where(account[pair], ACCOUNTS - region[pair], key)
        register = _register(ids, subject, plain["kind"].to_numpy(), plain["received_time"].to_numpy(), home)
        order = np.argsort(key, kind="stable")
        pair = pair[order]
        rows = pa.array(place[pair])
        columns = {name: column.take(rows) for name, column in plain.items()}
        columns["subject"] = tags.take(pa.array(pair))
        columns["subject_type"] = pa.array(account[pair].astype(np.int8) * SubjectType.account)
        columns["entry_id"] = entry.take(pa.array(pair))
        return SealedLedger(ledger_batch(columns), key[order], register, *counts)

    def _ids(self, ids: pa.StringArray) -> pa.FixedSizeBinaryArray:
        """Entry ids as they are, since they have no form of their own, under the key of the arrival; null if empty."""
        named = pc.if_else(pc.equal(ids, ""), pa.scalar(None, pa.string()), ids)
        return self._seals.tag("entry_id", named, np.full(len(ids), self._arrival))

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


def _register(ids: pa.Array, subject: pa.Array, kind: np.ndarray, received: np.ndarray, home: np.ndarray) -> np.ndarray:
    """The rows of the register; `home` is where a permission lies."""
    rows = np.flatnonzero(pc.and_(ids.is_valid(), subject.is_valid()).to_numpy(zero_copy_only=False))
    register = np.empty(len(rows), REGISTERED)
    register["id"] = tag_blocks(ids).take(rows, axis=0)
    register["received"] = received.take(rows)
    place = np.where(np.isin(kind, _STOP_CODES), STOPPED, home)
    register["place"] = np.where(kind == Kind.unreadable, UNREADABLE, place).take(rows)
    return register


def _named(guardians: pa.StringArray) -> pa.BooleanArray:
    """Where somebody is named as guardian; a word that says no names nobody."""
    denied = pc.is_in(pc.utf8_lower(guardians), value_set=pa.array(["", "false", "0", "no", "none", "null"]))
    return pc.and_(guardians.is_valid(), pc.invert(denied))


def ledger_batch(columns: dict[str, pa.Array]) -> pa.RecordBatch:
    """These columns in the schema `SEALED_LEDGER`."""
    arrays = [_as(columns[field.name], field.type) for field in SEALED_LEDGER]
    return pa.RecordBatch.from_arrays(arrays, schema=SEALED_LEDGER)


def _as(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return column.dictionary_encode().cast(type_) if pa.types.is_dictionary(type_) else column
