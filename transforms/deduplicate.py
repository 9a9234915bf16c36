"""Deduplicate: one record per (region, subject, event id); the earliest received counts."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.columns import tag_words

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd, so multiplying by it loses nothing


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
        new = ~_among(ordered, seen)
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


def _among(marks: np.ndarray, seen: np.ndarray) -> np.ndarray:
    at = np.searchsorted(seen, marks)
    return seen[np.minimum(at, len(seen) - 1)] == marks
