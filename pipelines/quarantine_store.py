"""QuarantineStore: rejected lines, sealed as the borders sealed them, in the quarantine of their region.

Only here all blocks come together, so here it is counted what became of each line: kept; not kept, since there were too
many (sampled) or the region has no key (no_key); or repeated.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.deployment import RegionalPlace
from pipelines.sinks import ByWindow, Gathered, day_of, logical_name
from pipelines.stores import commit, stage
from schemas.datasets import QUARANTINE
from schemas.quarantine import REPEATED
from schemas.tallies import Counts, Tally
from transforms.discreet import discreet
from transforms.tallies import told

_LABELS = ("input", "stage", "reason", "clause", "state", "key_id", "sealed_key")  # few values among many rows


@dataclass
class QuarantineStore(beam.PTransform):
    """(region code, rows of schemas.quarantine) -> tallies. One file a region, in a stream one a region and window."""

    places: Mapping[int, RegionalPlace]
    input_id: str
    run: str
    started: str  # the date of what has no time
    window_ms: int | None

    def expand(self, rejected):
        write = beam.ParDo(_Write(self.places, self.input_id, self.run, self.started)).with_output_types(Tally)
        return rejected | "ByWindow" >> ByWindow(self.window_ms, int, pa.RecordBatch) | "Write" >> write


class _Write(beam.DoFn):
    def __init__(self, places: Mapping[int, RegionalPlace], input_id: str, run: str, started: str) -> None:
        self._places, self._input_id, self._run, self._started = dict(places), input_id, run, started

    @discreet
    def process(self, element: tuple[int, Gathered]) -> Iterator[Tally]:
        region, (start, parts, late) = element
        place, counts = self._places[region], Counts()
        rows = gathered([*parts, *late], place.region, counts)
        logical = logical_name(self._input_id, start, 0)
        commit([stage(place, QUARANTINE, day_of(start, self._started), logical, rows, self._run)])
        counts.add("quarantine", "rows", rows.num_rows, region=place.region, dataset=QUARANTINE)
        yield from told(counts)


def gathered(parts: Iterable[pa.RecordBatch], region: str, counts: Counts) -> pa.RecordBatch:
    """What the blocks sealed as one batch: by row id, each once, then one row for all lines of a kind that were not
    kept. The order of the parts does not show. Counts what became of every line."""
    rows = pa.Table.from_batches(parts)
    kept = pc.is_valid(rows["row_id"])
    once, others = _once(rows.filter(kept), region, counts), _summed(rows.filter(pc.invert(kept)))
    _count(others, others["state"], others["lines"], region, counts)
    table = pa.concat_tables([once, others])
    for name in _LABELS:
        table = _with(table, name, table[name].dictionary_encode())
    (batch,) = table.combine_chunks().to_batches()
    return batch


def _once(rows: pa.Table, region: str, counts: Counts) -> pa.Table:
    """One row for each row id; its `lines` are those of all rows that had it, which beyond the first are repeated."""
    rows = rows.sort_by([("row_id", "ascending"), ("reason", "ascending")])
    ids, lines = rows["row_id"].to_numpy(), rows["lines"].to_numpy()
    first = np.append(True, ids[1:] != ids[:-1])[: len(ids)]
    _count(rows, rows["state"], pa.array(first.astype(np.int64)), region, counts)
    _count(rows, pa.repeat(REPEATED, len(rows)), pa.array(lines - first), region, counts)
    places = np.flatnonzero(first)
    total = np.add.reduceat(lines, places) if len(places) else lines
    return _with(rows.take(pa.array(places)), "lines", pa.array(total))


def _summed(rows: pa.Table) -> pa.Table:
    """One row for all that differ in nothing but how many lines they stand for."""
    names = [name for name in rows.column_names if name != "lines"]
    summed = rows.group_by(names, use_threads=False).aggregate([("lines", "sum")])
    keys = [("input", "ascending"), ("reason", "ascending"), ("hour", "ascending")]
    return summed.rename_columns([*names, "lines"]).select(rows.column_names).sort_by(keys)


def _count(rows: pa.Table, outcome, lines, region: str, counts: Counts) -> None:
    what = {name: rows[name] for name in ("reason", "input", "hour")}
    found = pa.table({"outcome": outcome, **what, "lines": lines})
    found = found.group_by(["outcome", *what], use_threads=False).aggregate([("lines", "sum")])
    hours = found["hour"].cast(pa.int64()).to_pylist()
    words = (found[name].to_pylist() for name in ("outcome", "reason", "input", "lines_sum"))
    for outcome, reason, input_, number, hour in zip(*words, hours, strict=True):
        counts.add("quarantine", outcome, number, region=region, reason=reason, dataset=input_, hour=hour)


def _with(table: pa.Table, name: str, column) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, column)
