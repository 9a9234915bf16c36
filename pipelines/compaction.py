"""Compaction: the small files of a day and dataset become a few of a good size (ADR 20).

The rows of several logical files lie together in one physical file with a key of its own, in the order that each of
them had: by the token of the event. Every logical file keeps its entry, which names the file and the part of it. The
entries change over one by one, each at one moment and only if it is still what was read, so that whenever this is
killed readers find every row once, and whoever writes a logical file again takes its rows back from the shared one.
"""

import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.deployment import RegionalPlace
from pipelines.errors import InputError
from pipelines.manifest import Entry
from pipelines.rows_by_part import Rows, labels_of, schema_of
from pipelines.shared_files import PART, PART_TYPE, File, files_of
from pipelines.stopped import lot
from pipelines.stores import ROW_GROUP, how_written, locked, on_disk, unlocked
from pipelines.whole_files import writing
from schemas.datasets import AUDIT, LEDGER, LEDGER_IDS, LEDGER_SNAPSHOT, QUARANTINE
from transforms.keyring import side_by_side

FULL = 256 << 20  # bytes of a file that is large enough; one of half of it is left as it is
MOST = 256  # logical files in one: so many files are open at once
_OTHERS = {AUDIT, QUARANTINE, LEDGER, LEDGER_IDS, LEDGER_SNAPSHOT}


def compactable(place: RegionalPlace) -> list[str]:
    """The datasets of records that a region holds, and their lists of orders. What else there is has few rows, or
    commands that tell it by its files."""
    return [name for name in place.manifest.datasets() if name not in _OTHERS]


def plan(files: Sequence[File], full: int = FULL, most: int = MOST) -> list[list[File]]:
    """Which files become one: those of less than half of `full`, and those with rows that no entry names any more,
    beside their neighbours by lineage, shard and window. Each file once at most; in a pack fewer than `most` logical
    files beside those of its first, and less than `full` bytes beside those of its last.

    A pack is worth it: it has two files, or one with rows to be rid of. So there are fewer of these after each round,
    and at last none.
    """
    packs: list[list[File]] = [[]]
    for file in sorted(files, key=lambda file: lot(file.entries[0])):
        if file.whole and file.bytes * 2 >= full:
            continue
        pack = packs[-1]
        size, held = sum(each.bytes for each in pack), sum(len(each.entries) for each in pack)
        if pack and (size >= full or held + len(file.entries) > most):
            packs.append(pack := [])
        pack.append(file)
    return [pack for pack in packs if len(pack) > 1 or any(not file.whole for file in pack)]


@dataclass
class Compacted:
    """How many files were put together, and how many there are instead."""

    before: int = 0
    after: int = 0


def compact(place: RegionalPlace, dataset: str, before: date, full: int = FULL) -> Compacted:
    """Compacts the days of a dataset before a date of receipt. What was replaced stays for who reads it, as new as if
    it were written now, until `douane sweep`. Raises `KeyUnavailable`, `StoreError`, and `InputError` for a file that
    cannot be read; what was to be put together with it is as it was."""
    done = Compacted()
    for files in _by_day_and_schema(place, dataset, before, full):
        for pack in plan(files, full):
            if _merge(place, pack):
                done.before, done.after = done.before + len(pack), done.after + 1
    return done


def _by_day_and_schema(place: RegionalPlace, dataset: str, before: date, full: int) -> Iterator[list[File]]:
    """Files that may be put together. Those of another edition of the policy have other columns, and where one lacks
    what orders look for it must not seem to have it."""
    days: dict[str, list[File]] = {}
    for file in files_of(place.manifest.entries(dataset)):
        if file.entries[0].received_date < before.isoformat():
            days.setdefault(file.entries[0].received_date, []).append(file)
    for day in sorted(days):
        if plan(days[day], full):  # without a look at any file
            alike: dict[pa.Schema, list[File]] = {}
            for file in days[day]:
                with _reading(file):
                    alike.setdefault(schema_of(*unlocked(place, file)), []).append(file)
            yield from alike.values()


def _merge(place: RegionalPlace, pack: list[File]) -> bool:
    """Puts files together. False where all of it was written anew, or erased, meanwhile: then nothing of this stays."""
    entries = [entry for file in pack for entry in file.entries]
    shared, path = _write(place, pack, entries)
    on_disk(path)
    on_disk(path.parent)
    for file in pack:  # before it loses its name: a sweep goes by the time of writing
        with writing(path), suppress(FileNotFoundError):
            os.utime(unlocked(place, file)[0])
    named = side_by_side(place.manifest.exchange, entries, shared)
    if not any(named):
        path.unlink()
    return any(named)


def _write(place: RegionalPlace, pack: list[File], entries: list[Entry]) -> tuple[list[Entry], Path]:
    """The shared file, and the entries that name it."""
    one = entries[0]
    name = f"shared.{secrets.token_hex(8)}.parquet"
    path, bound_to, key, wrapped = locked(place, one.dataset, one.received_date, name)
    rows, number = [], 0
    for file in pack:
        with _reading(file):
            rows.append(Rows(*unlocked(place, file), file, number, ROW_GROUP // len(pack)))
        number += len(file.entries)
    total = sum(entry.rows for entry in entries)
    try:
        with writing(path):
            schema = rows[0].schema.append(pa.field(PART, PART_TYPE))
            labels = {PART, *(label for each in rows for label in labels_of(each))}
            with pq.ParquetWriter(path, schema, **how_written(schema, labels, key, bound_to)) as writer:
                for table in _in_order(rows, pack):
                    writer.write_table(table.cast(schema), row_group_size=ROW_GROUP)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    size = path.stat().st_size
    new = {"file": name, "wrapped_key": wrapped, "bytes": size, "among": total}
    return [replace(entry, part=part, **new) for part, entry in enumerate(entries)], path


def _in_order(rows: Sequence[Rows], pack: Sequence[File]) -> Iterator[pa.Table]:
    """All rows by their keys, a row group at a time. Each file's are in order, so it is known which file each row comes
    from before any but the keys is read."""
    keys = []
    for each, file in zip(rows, pack, strict=True):
        with _reading(file):
            keys.append(each.keys())
    source = np.repeat(np.arange(len(rows), dtype=np.int16), [len(each) for each in keys])
    source = source[np.argsort(np.concatenate(keys), kind="stable")]
    del keys
    for start in range(0, len(source), ROW_GROUP):
        own = source[start : start + ROW_GROUP]
        counts = np.bincount(own, minlength=len(rows)).tolist()
        tables = []
        for each, file, count in zip(rows, pack, counts, strict=True):
            with _reading(file):
                tables.append(each.take(count))
        place = np.empty(len(own), np.int64)
        place[np.argsort(own, kind="stable")] = np.arange(len(own))
        yield pa.concat_tables(tables).combine_chunks().take(pa.array(place))


@contextmanager
def _reading(file: File) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (OSError, pa.ArrowException) as error:
        why = "it is missing, cut short or altered; bring it back"
        raise InputError(f"file {file.name} cannot be read ({type(error).__name__}): {why}") from None


@contextmanager
def compacting(place: RegionalPlace) -> Iterator[bool]:
    """Whether this is the only one that compacts the region, as long as it lasts. The region has a manifest."""
    held = os.open(place.manifest_folder, os.O_RDONLY)
    try:
        yield _taken(held)
    finally:
        os.close(held)


def _taken(held: int) -> bool:
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
