"""Deduplicate: one record per (region, subject, event id); the earliest received counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.columns import among, tag_words
from transforms.exchange import SEEN
from transforms.locks import Locks

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplying by it loses nothing
_DAY_MS = 86_400_000
_MOST_RUNS = 8  # of a day: more become one when they are read


def fingerprints(batch: pa.RecordBatch) -> np.ndarray:
    """Eight bytes for each record's (subject, event id).

    Both are tags of a block cipher under secret keys, so nobody can choose two that collide; among 10**9 records the
    chance that any two do is 3 %, and then one record is lost.
    """
    device, account = batch.column("device"), batch.column("account")
    subject = np.where(
        device.is_valid().to_numpy(zero_copy_only=False),
        tag_words(device),
        np.where(account.is_valid().to_numpy(zero_copy_only=False), tag_words(account), np.uint64(0)),
    )
    return tag_words(batch.column("event_id")) ^ (subject * _SPREAD)


def deduplicate(batch: pa.RecordBatch, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(rows to keep, their fingerprints, how many repeat another): the first received of each record, unless it was
    `seen` before.

    The rows come ordered by fingerprint, and records of one id received in the same millisecond are told apart by
    their content: what is kept, and in which order, does not depend on the order in which it came. `seen` is sorted.
    """
    marks = fingerprints(batch)
    order = np.argsort(marks, kind="stable")
    ordered = marks[order]
    repeats = np.append(False, ordered[1:] == ordered[:-1])
    repeated = int(np.count_nonzero(repeats))  # counted where it is found: what is lost later on is no repetition
    if repeated:
        crowded = repeats | np.append(repeats[1:], False)  # every row that shares its mark
        rows = order[crowded]
        order = order[~repeats]  # the place of the first of each is right; who stands there is settled next
        order[crowded[~repeats]] = _first_received(batch, marks, rows)
        ordered = marks[order]
    if len(seen):
        new = ~among(ordered, seen)
        repeated += int(np.count_nonzero(~new))
        order, ordered = order[new], ordered[new]
    return order, ordered, repeated


def _first_received(batch: pa.RecordBatch, marks: np.ndarray, rows: np.ndarray) -> np.ndarray:
    columns = {
        name: _plain(column.take(pa.array(rows)))
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    table = pa.table({"mark": pa.array(marks[rows]), "first": columns["received_time"], **columns})
    order = pc.sort_indices(table, [(name, "ascending") for name in table.column_names]).to_numpy()
    ordered = marks[rows][order]
    return rows[order[np.append(True, ordered[1:] != ordered[:-1])]]


def _plain(column: pa.Array) -> pa.Array:
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


class SeenDays:
    """Fingerprints that a stream has seen under one key, by the day of their event, in locked runs: one a firing, until
    there are several. A firing reads the runs of its batch's days alone.

    An id that comes again under another day is not recognised. A day that no record can lie in any more is dropped:
    records older than `oldest_ms` at their receipt must not come here.
    """

    def __init__(self, bags: tuple, oldest_ms: int, locks: Locks, key: int) -> None:
        self._bags, self._oldest_ms, self._locks, self._key = bags, oldest_ms, locks, key

    def before(self, batch: pa.RecordBatch) -> np.ndarray:
        """What was seen on the days of these records, sorted."""
        days = set(np.unique(batch.column("event_time").to_numpy() // _DAY_MS).tolist())
        oldest = (int(batch.column("received_time").to_numpy().min()) - self._oldest_ms) // _DAY_MS
        slots = sorted({day % len(self._bags) for day in days})
        seen = [run for slot in slots for run in self._of_slot(self._bags[slot], days, oldest)]
        return np.sort(np.concatenate(seen)) if seen else np.empty(0, np.uint64)

    def add(self, batch: pa.RecordBatch, kept: np.ndarray, marks: np.ndarray) -> None:
        """Remembers the marks of the rows that were kept."""
        day = batch.column("event_time").to_numpy()[kept] // _DAY_MS
        for number in np.unique(day).tolist():
            self._put(self._bags[number % len(self._bags)], number, marks[day == number])

    def _of_slot(self, bag, days: set[int], oldest: int) -> list[np.ndarray]:
        """The runs of these days in one bag, which loses what is too old and gets long rows of runs as one."""
        held = list(bag.read())
        current = [(day, locked) for day, locked in held if day >= oldest]
        runs: dict[int, list[np.ndarray]] = {}
        for day, locked in current:
            if day in days:
                runs.setdefault(day, []).append(np.frombuffer(self._locks.unlock(self._key, SEEN, locked), np.uint64))
        merged = {day: np.sort(np.concatenate(of_day)) for day, of_day in runs.items() if len(of_day) > _MOST_RUNS}
        if merged or len(current) < len(held):
            bag.clear()
            for day, locked in current:
                if day not in merged:
                    bag.add((day, locked))
            for day, marks in merged.items():
                self._put(bag, day, marks)
        return [run for of_day in runs.values() for run in of_day]

    def _put(self, bag, day: int, marks: np.ndarray) -> None:
        bag.add((day, self._locks.lock(self._key, SEEN, marks)))


class NothingSeen:
    """A bounded run judges all records of a key at once: nothing was seen before."""

    def before(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.empty(0, np.uint64)

    def add(self, batch: pa.RecordBatch, kept: np.ndarray, marks: np.ndarray) -> None:
        pass
