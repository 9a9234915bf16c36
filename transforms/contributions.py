"""How much each device adds to the statistics of a day, bounded, and what that adds up to (1.1.4-b).

    contributions   judged records -> (device, group, events), each pair once
    merged          those of several batches as one
    bound           at most so many groups a (device, day, table) and so many events a group, as the pack says
    counted         devices and events by group

A group is a day, a table and one word (or none) for each field of the table. Which groups a device keeps is decided by
a keyed hash of (device, group) alone: not by the order of records, by how they were cut into batches, or by what other
devices do. So bounding parts before merging them, or not, comes to the same; and one device more or less changes the
exact counts of a table and day by no more than the pack declares. Devices are sealed here and never leave.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import EVENT_FIELD, EVENT_TYPES
from schemas.layout import Layout, counted_source
from schemas.policy import Pack
from schemas.statistics import DEVICES, EVENT_TYPE, EVENTS, StatisticsTable
from schemas.variants import CODES, Variants
from transforms.cmac import ColumnCmac
from transforms.columns import tag_words
from transforms.generalise import major
from transforms.ipc import from_ipc, to_ipc

DAY_MS = 86_400_000
_LOOKUP = 1 << 21  # codes that a table in the cache can renumber
_SEPARATOR, _NULL = "\x1f", "\x00"  # a label holds no control character


@dataclass(frozen=True, repr=False)
class Contributions:
    """Pairs of a device and a group, each once, ordered by (table, device, group).

    `group` is a row of `groups`, which has the columns id, day, table (its number) and one a field, and is ordered by
    (table, day). `device` is the first word of the sealed device.
    """

    device: np.ndarray
    group: np.ndarray
    events: np.ndarray
    groups: pa.RecordBatch

    def __len__(self) -> int:
        return len(self.group)

    def of_day(self, day: int) -> "Contributions":
        """Those of one day, by its number since the epoch."""
        of_group = self.groups["day"].to_numpy() == day
        row = np.cumsum(of_group) - 1
        at = of_group[self.group]
        groups = self.groups.filter(pa.array(of_group))
        return Contributions(self.device[at], row[self.group[at]], self.events[at], groups)

    def to_bytes(self) -> tuple[bytes, bytes]:
        pairs = {"device": self.device, "group": self.group, "events": self.events}
        return to_ipc(pa.record_batch(pairs)), to_ipc(self.groups)

    @classmethod
    def from_bytes(cls, pairs: bytes, groups: bytes) -> "Contributions":
        return cls(*(column.to_numpy() for column in from_ipc(pairs).columns), from_ipc(groups))


def counted_rows(judged: pa.RecordBatch, pack: Pack) -> np.ndarray:
    """The rows of judged records that are counted: those for which the purpose of statistics is open and stands."""
    name = pack.statistics.purpose
    admitted = np.zeros(128, bool)
    admitted[[EVENT_TYPES.index(event) for event in pack.purposes[name].events]] = True
    opened = judged.column("stands").to_numpy() & np.uint64(1 << list(pack.purposes).index(name)) != 0
    return np.flatnonzero(opened & admitted[judged.column("event_type").to_numpy()])


def contributions(judged: pa.RecordBatch, variants: Variants, plan: Layout, cipher: ColumnCmac) -> Contributions:
    """What the counted records of one region, with a device, add to each table that sees their event type. A record
    counts in no table by a field that either pack of its variant does not let stand, and as coarse as either says."""
    pack = variants.editions[-1]
    rows = counted_rows(judged, pack)
    rows = rows[judged.column("device").is_valid().to_numpy(zero_copy_only=False)[rows]]
    variant = variants.numbers(judged, plan, rows)
    rows, variant = rows[variant >= 0], variant[variant >= 0]
    device = tag_words(judged.column("device"))[rows]
    order = np.argsort(device)
    seen = _Seen(judged, variants, plan, rows[order], device[order], variant[order])
    return _assembled([seen.of_table(number) for number in range(len(pack.statistics.tables))], pack, cipher)


def merged(parts: Sequence[Contributions]) -> Contributions:
    """One out of several, at least one: events of a pair that is in two of them are added up."""
    groups = pa.concat_batches([part.groups for part in parts])
    _, first, number = np.unique(groups["id"].to_numpy(), return_index=True, return_inverse=True)
    groups = groups.take(pa.array(first))
    order = np.lexsort((groups["day"].to_numpy(), groups["table"].to_numpy()))
    row = np.empty(len(order), np.int64)
    row[order] = np.arange(len(order))
    groups = groups.take(pa.array(order))
    offsets = np.cumsum([0, *(part.groups.num_rows for part in parts[:-1])])
    group = np.concatenate([part.group + offset for part, offset in zip(parts, offsets, strict=True)])
    group = row[number[group]]
    device = np.concatenate([part.device for part in parts])
    events = np.concatenate([part.events for part in parts])
    order = np.lexsort((group, device, groups["table"].to_numpy()[group]))
    device, group, events = device[order], group[order], events[order]
    starts = _starts(device, group)
    return Contributions(device[starts], group[starts], np.add.reduceat(events, starts)[: len(starts)], groups)


def bound(whole: Contributions, tables: Sequence[StatisticsTable], cipher: ColumnCmac) -> Contributions:
    """Of each (device, day, table) the `groups_per_device` groups with the smallest keyed hash, and of each group at
    most `events_per_group` events. Groups in which nobody is left go."""
    if not len(whole):
        return whole
    table = whole.groups["table"].to_numpy()
    starts = _starts(whole.device, (whole.groups["day"].to_numpy() * len(tables) + table)[whole.group])
    sizes = np.diff(starts, append=len(whole))
    most = np.array([table.groups_per_device for table in tables])[table[whole.group[starts]]]
    keep = np.ones(len(whole), bool)
    crowded = np.repeat(sizes > most, sizes)
    if crowded.any():
        at = np.flatnonzero(crowded)
        hashes = _hashes(whole.device[at], whole.groups["id"].to_numpy()[whole.group[at]], cipher)
        over = sizes > most
        keep[at] = _among_smallest(hashes, sizes[over], most[over])
    cap = np.array([table.events_per_group or 1 for table in tables])[table]
    group = whole.group[keep]
    return _held(whole.device[keep], group, np.minimum(whole.events[keep], cap[group]), whole.groups)


def _held(device: np.ndarray, group: np.ndarray, events: np.ndarray, groups: pa.RecordBatch) -> Contributions:
    """Without the groups in which no device is left: one device can send as many words as it likes, and they would wait
    for the end of the day."""
    held = np.zeros(groups.num_rows, bool)
    held[group] = True
    if held.all():
        return Contributions(device, group, events, groups)
    row = np.cumsum(held) - 1
    return Contributions(device, row[group], events, groups.filter(pa.array(held)))


def counted(bounded: Contributions, pack: Pack) -> pa.RecordBatch:
    """Exact counts by group: table (its name), a column a field, devices, events; days are not told apart."""
    devices = np.bincount(bounded.group, minlength=bounded.groups.num_rows)
    events = np.bincount(bounded.group, bounded.events, minlength=bounded.groups.num_rows).astype(np.int64)
    some = np.flatnonzero(devices)
    groups = bounded.groups.take(pa.array(some))
    names = pa.array(list(pack.statistics.tables)).take(groups["table"])
    words = [groups[EVENT_FIELD[path].column] for path in pack.statistics.fields]
    return pa.RecordBatch.from_arrays(
        [names, *words, pa.array(devices[some]), pa.array(events[some])],
        names=["table", *(EVENT_FIELD[path].column for path in pack.statistics.fields), DEVICES, EVENTS],
    )


def added(counts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Counts of several shards as one. No device is in two shards, so they add up."""
    whole = pa.Table.from_batches(counts)
    keys = [name for name in whole.column_names if name not in (DEVICES, EVENTS)]
    total = whole.group_by(keys, use_threads=False).aggregate([(DEVICES, "sum"), (EVENTS, "sum")])
    return pa.RecordBatch.from_arrays([c.combine_chunks() for c in total.columns], names=[*keys, DEVICES, EVENTS])


class _Seen:
    """The records of one batch that count, ordered by device, and the words that they may be grouped by."""

    def __init__(
        self,
        judged: pa.RecordBatch,
        variants: Variants,
        plan: Layout,
        rows: np.ndarray,
        device: np.ndarray,
        variant: np.ndarray,
    ) -> None:
        self._variants, self._variant, self._statistics = variants, variant, variants.editions[-1].statistics
        first = _starts(device)
        self._devices = device[first]
        self._number = np.repeat(np.arange(len(first)), np.diff(first, append=len(device)))
        self._event_type = judged.column("event_type").to_numpy()[rows].astype(np.int64)
        self._kind = variant * CODES + self._event_type
        self._day = judged.column("event_time").to_numpy()[rows] // DAY_MS
        self._words = {path: self._of_field(path, judged, plan, rows) for path in self._statistics.fields}

    def _of_field(self, path: str, judged: pa.RecordBatch, plan: Layout, rows: np.ndarray) -> tuple:
        """(a code a record, the word of each code); code 0 is no word."""
        if path == EVENT_TYPE:
            return self._event_type + 1, pa.array([None, *EVENT_TYPES])
        column = judged.column(plan.places[counted_source(self._variants.editions[-1], path)])
        index = column.indices.take(pa.array(rows)).fill_null(-1).to_numpy(zero_copy_only=False)
        words, coarse = column.dictionary, np.array([cut.major for cut in self._variants.counted[path]])
        if coarse.all():
            words = major(words)
        elif coarse.any():
            index = index.astype(np.int64)
            index[(index >= 0) & coarse[self._variant]] += len(words)
            words = pa.concat_arrays([words, major(words)])
        distinct = words.dictionary_encode()
        code = np.append(distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False) + 1, 0)  # [-1] is the null's
        return code[index], pa.concat_arrays([pa.nulls(1, pa.string()), distinct.dictionary])

    def of_table(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, pa.RecordBatch]:
        """(device, group, events) of one table, and its groups without their ids."""
        table = list(self._statistics.tables.values())[number]
        inside = self._variants.sees[number].ravel()[self._kind]
        at = slice(None) if inside.all() else np.flatnonzero(inside)
        day = self._day[at]
        earliest = day.min(initial=np.iinfo(np.int64).max)
        parts = [(day - earliest, int(day.max(initial=earliest) - earliest) + 1)]
        parts += [(codes[at], len(words)) for codes, words in (self._words[path] for path in table.by)]
        code, example = _combined(parts)
        packed = np.sort(self._number[at] * max(1, len(example)) + code)
        starts = _starts(packed)
        device, group = np.divmod(packed[starts], max(1, len(example)))
        columns = {
            "day": pa.array(day[example], pa.int32()),
            "table": pa.repeat(pa.scalar(number, pa.int8()), len(example)),
        }
        for path, (codes, words) in self._words.items():
            taken = (
                words.take(pa.array(codes[at][example])) if path in table.by else pa.nulls(len(example), pa.string())
            )
            columns[EVENT_FIELD[path].column] = taken
        return self._devices[device], group, np.diff(starts, append=len(packed)), pa.record_batch(columns)


def _combined(parts: list[tuple[np.ndarray, int]]) -> tuple[np.ndarray, np.ndarray]:
    """One code for several, ordered as they are: (codes without gaps, a row that has each). A part is its codes, and
    how many there can be."""
    code, room = parts[0]
    for codes, size in parts[1:]:
        if room * size > _LOOKUP:
            code, example = _dense(code, room)
            room = len(example)
        code, room = code * size + codes, room * size
    return _dense(code, room)


def _dense(code: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    if room > _LOOKUP:
        _, example, dense = np.unique(code, return_index=True, return_inverse=True)
        return dense, example
    row = np.full(room, -1, np.int64)
    row[code] = np.arange(len(code))
    present = np.flatnonzero(row >= 0)
    number = np.zeros(room, np.int64)
    number[present] = np.arange(len(present))
    return number[code], row[present]


def _assembled(of_tables: list[tuple], pack: Pack, cipher: ColumnCmac) -> Contributions:
    device, group, events, groups = zip(*of_tables, strict=True)
    offsets = np.cumsum([0, *(each.num_rows for each in groups[:-1])])
    group = [each + offset for each, offset in zip(group, offsets, strict=True)]
    joined = pa.concat_batches(groups)
    texts = [column.cast(pa.string()) for column in joined.columns]
    named = pc.binary_join_element_wise(*texts, _SEPARATOR, null_handling="replace", null_replacement=_NULL)
    table = joined.add_column(0, "id", pa.array(tag_words(cipher.tag(named)), pa.uint64()))
    return Contributions(*(np.concatenate(each) for each in (device, group, events)), table)


def _starts(*keys: np.ndarray) -> np.ndarray:
    """Where a run of equal keys starts."""
    change = np.ones(len(keys[0]), bool)
    if len(change):
        change[1:] = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.flatnonzero(change)


def _hashes(device: np.ndarray, group: np.ndarray, cipher: ColumnCmac) -> np.ndarray:
    blocks = np.stack([device, group], axis=1)
    return tag_words(
        cipher.tag(pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(device), [None, pa.py_buffer(blocks)]))
    )


def _among_smallest(hashes: np.ndarray, sizes: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Runs of those sizes stand one behind another: which values are among the smallest of their run."""
    run = np.repeat(np.arange(len(sizes)), sizes)
    order = np.lexsort((hashes, run))
    rank = np.arange(len(hashes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = np.empty(len(hashes), bool)
    kept[order] = rank < most[run]
    return kept
