"""What the steps count: one row a (hour, step, outcome, ...), for the audit and for what must add up.

step         outcomes (and which other columns say more)
telemetry    spans lines blank quarantined(reason) unlocatable foreign decoded conflicting ahead
             input_unreadable
ledger       spans lines blank quarantined(reason) entries sent dated_ahead nobody unlocated
             unlocatable conflicting unknown_purpose input_unreadable
snapshot     spans entries(reason: its name) nobody: what a ledger that was kept adds to `ledger`
fields       carried sealed malformed (reason: the field's path) unknown (reason: its path as told; dataset: the input)
text         scrubbed (reason: the recogniser; event_type)
quarantine   kept no_key sampled repeated foreign (reason; dataset: the input) rows (that are stored)
gate         known duplicates late too_old passed_on judged(event_type) opened(event_type, purpose)
             refused(event_type, purpose, reason)
             stopped(event_type, purpose): opened, but not served, for a stop that came before the window was judged
store        stored erased foreign (event_type, purpose, dataset)
orders       ordered held (reason: the kind of stop; purpose, dataset) rows (of its lists)
audit        policy (reason: the edition) unreconciled (reason: the identity)
statistics   counted(event_type, purpose) released incomplete late already_released
access       explained opened: somebody was shown what the pipeline itself never shows
"""

from collections import Counter
from collections.abc import Iterator
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

HOUR_MS = 3_600_000
HOUR = pa.timestamp("ms", tz="UTC")

# A place that does not apply holds the empty string; an hour (of receipt) that is not known is null.
COUNTS = pa.schema(
    [
        pa.field("hour", HOUR),
        *(pa.field(n, pa.string()) for n in ("step", "outcome", "reason", "event_type", "purpose", "dataset")),
        pa.field("count", pa.int64()),
    ]
)

# (region, rows of COUNTS). What has no region ("") is accounted for where it arrived.
Tally = tuple[str, pa.RecordBatch]


_WORDS = tuple(COUNTS.names[1:-1])


class Counts:
    """Gathers counts, and gives them as one batch a region."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter] = {}
        self._hourly: dict[str, list[tuple[tuple[str, ...], np.ndarray, np.ndarray]]] = {}

    def add(
        self, step: str, outcome: str, count: int, *, region: str = "", hour: int | None = None, **words: str
    ) -> None:
        """Counts so many of one thing; `hour` is in milliseconds since the epoch, `words` are the other columns."""
        if count:
            key = (hour, *_named(step, outcome, words))
            self._counts.setdefault(region, Counter())[key] += int(count)

    def add_hours(
        self, step: str, outcome: str, count: np.ndarray, hour: np.ndarray, *, region: str = "", **words: str
    ) -> None:
        """Counts so many of one thing in each of several hours, at most once each. Zeros are left out."""
        if not count.all():
            count, hour = count[count != 0], hour[count != 0]
        if len(count):
            self._hourly.setdefault(region, []).append((_named(step, outcome, words), count, hour))

    def totals(self) -> Counter:
        """How many by (step, outcome), whatever else the counts say."""
        total: Counter = Counter()
        for counts in self._counts.values():
            for (_, step, outcome, *_), count in counts.items():
                total[step, outcome] += count
        for parts in self._hourly.values():
            for (step, outcome, *_), count, _ in parts:
                total[step, outcome] += int(count.sum())
        return total

    def tallies(self) -> Iterator[Tally]:
        """All that was counted, one batch a region."""
        for region in self._counts.keys() | self._hourly.keys():
            yield region, pa.concat_batches([*self._by_hour(region), *self._single(region)])

    def _by_hour(self, region: str) -> Iterator[pa.RecordBatch]:
        if parts := self._hourly.get(region):
            words, counts, hours = zip(*parts, strict=True)
            row = pa.array(np.repeat(np.arange(len(parts)), [len(count) for count in counts]))
            columns = [pa.array(column).take(row) for column in zip(*words, strict=True)]
            hour = pa.array(np.concatenate(hours)).cast(HOUR)
            yield pa.RecordBatch.from_arrays([hour, *columns, pa.array(np.concatenate(counts))], schema=COUNTS)

    def _single(self, region: str) -> Iterator[pa.RecordBatch]:
        if counts := self._counts.get(region):
            columns = [*zip(*counts, strict=True), list(counts.values())]
            arrays = [pa.array(column, field.type) for column, field in zip(columns, COUNTS, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=COUNTS)


def _named(step: str, outcome: str, words: dict[str, str]) -> tuple[str, ...]:
    if unknown := words.keys() - set(_WORDS):
        raise TypeError(f"a count has no column {', '.join(sorted(unknown))}")
    return step, outcome, *(words.get(name, "") for name in _WORDS[2:])


def summed(tallies: pa.Table) -> pa.Table:
    """Equal rows made one, in the order of their words: the same whatever order they came in."""
    keys = [name for name in tallies.column_names if name != "count"]
    total = tallies.group_by(keys, use_threads=False).aggregate([("count", "sum")]).rename_columns([*keys, "count"])
    return total.sort_by([(key, "ascending") for key in keys])


class Totals:
    """Counts that were gathered: rows of COUNTS with a column `region`, and whatever else their reader put there."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table

    def sum(self, **where: str) -> int:
        """How many, over all rows whose columns have these words."""
        return pc.sum(self._rows(where, ["count"])["count"]).as_py() or 0

    def by(self, columns: str | tuple[str, ...], **where: str) -> Counter:
        """How many by the words of one column, or of several as a tuple."""
        names = [columns] if isinstance(columns, str) else list(columns)
        rows = self._rows(where, [*names, "count"])
        rows = rows.group_by(names, use_threads=False).aggregate([("count", "sum")])
        *words, counts = (column.to_pylist() for column in rows.select([*names, "count_sum"]).columns)
        keys = words[0] if isinstance(columns, str) else zip(*words, strict=True)
        return Counter(dict(zip(keys, counts, strict=True)))

    def _rows(self, where: dict[str, str], columns: list[str]) -> pa.Table:
        rows = self.table.select(columns)
        masks = [pc.equal(self.table[column], word) for column, word in where.items()]
        return rows.filter(reduce(pc.and_, masks)) if masks else rows
