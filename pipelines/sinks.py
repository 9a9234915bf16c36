"""RegionalStore: the only step that writes records, each into the one region where they may live (clause 6)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.window import BoundedWindow, FixedWindows, GlobalWindow

from pipelines.deployment import RegionalPlace
from pipelines.stores import Staged, commit, stage
from schemas.datasets import purpose_of
from schemas.fields import EVENT_TYPES
from schemas.tallies import Counts, Tally
from transforms.columns import runs
from transforms.for_purpose import RECEIVED, REGION, ROWS
from transforms.generalise import compact
from transforms.tallies import told

_DAY_MS = 86_400_000
_ANY_LATENESS = 200 * 365 * 86_400  # seconds: a ledger's entry may be sent again many years after it was received


def logical_name(input_id: str, window: int, shard: int) -> str:
    """The name of a lot's rows: a second run over the same input writes the same names, other input other ones."""
    return f"{input_id}-{window}-{shard}"


def by_date(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows sorted by day of receipt, cut at its ends: (YYYY-MM-DD, rows)."""
    day = rows.column(RECEIVED).to_numpy() // _DAY_MS
    for number, start, stop in runs(day):
        yield str(np.datetime64(number, "D")), rows.slice(start, stop - start)


@dataclass
class ByWindow(beam.PTransform):
    """(region, batch) -> (region, batches), once in a bounded run, and once a window in a stream. What comes late makes
    a pane of its own: nothing is dropped, and nothing is given twice."""

    window_ms: int | None

    def expand(self, regional):
        if self.window_ms is not None:
            regional |= "Windows" >> beam.WindowInto(
                FixedWindows(self.window_ms / 1000),
                trigger=AfterWatermark(late=AfterCount(1)),
                accumulation_mode=AccumulationMode.DISCARDING,
                allowed_lateness=_ANY_LATENESS,
            )
        return regional | "Gather" >> beam.GroupByKey()


def number_and_day(window: BoundedWindow, started: str) -> tuple[int, str]:
    """How a window is named in its file, and the date that the file lies under: of a bounded run, and of what has no
    time, the day when the job was made. An attempt after midnight must find what the one before it wrote."""
    if isinstance(window, GlobalWindow):
        return 0, started
    number = int(window.start)
    return number, str(np.datetime64(number, "s"))[:10] if number > 0 else started


def today() -> str:
    return datetime.now(UTC).date().isoformat()


class _Write(beam.DoFn):
    """Writes files as rows come, and names them all in the manifest when the bundle is complete."""

    def __init__(self, places: Mapping[int, RegionalPlace], input_id: str, run: str) -> None:
        self._places, self._input_id, self._run = dict(places), input_id, run

    def start_bundle(self) -> None:
        self._staged: list[Staged] = []

    def process(self, element) -> Iterator[Tally]:
        (dataset, (region, shard, window)), rows = element
        place, counts = self._places[region], Counts()
        logical = logical_name(self._input_id, window, shard)
        own = pc.equal(rows.column(REGION), region)
        if foreign := rows.num_rows - (pc.sum(own).as_py() or 0):
            counts.add("store", "foreign", foreign, region=place.region, dataset=dataset)
            rows = rows.filter(own)
        for date, part in by_date(rows):
            erased = place.manifest.erased(dataset, date, logical)
            if not erased:
                self._staged.append(stage(place, dataset, date, logical, _finished(part), self._run))
            for event_type, count in _by_event_type(part):
                what = {"event_type": event_type, "purpose": purpose_of(dataset), "dataset": dataset}
                counts.add("store", "erased" if erased else "stored", count, region=place.region, **what)
        yield from told(counts)

    def finish_bundle(self) -> None:
        commit(self._staged)


def _finished(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The rows in the dataset's own schema, with dictionaries of their own words: those of rows that were refused, or
    that go into another file, must not reach this one."""
    columns = [compact(c) if pa.types.is_dictionary(c.type) else c for c in rows.columns]
    words = pa.DictionaryArray.from_arrays(rows.column("event_type").cast(pa.int32()), pa.array(EVENT_TYPES))
    finished = pa.RecordBatch.from_arrays([words, *columns[1:]], names=rows.schema.names)
    return finished.drop_columns([REGION, RECEIVED])


def _by_event_type(rows: pa.RecordBatch) -> Iterator[tuple[str, int]]:
    counts = np.bincount(rows.column("event_type").to_numpy(), minlength=len(EVENT_TYPES))
    for code in np.flatnonzero(counts):
        yield EVENT_TYPES[code], int(counts[code])


@dataclass
class RegionalStore(beam.PTransform):
    """((dataset, lot), rows) -> tallies of what was stored. `places` are the regions' stores by region code."""

    places: Mapping[int, RegionalPlace]
    input_id: str
    run: str

    def expand(self, rows):
        write = beam.ParDo(_Write(self.places, self.input_id, self.run)).with_input_types(ROWS).with_output_types(Tally)
        return rows | "Write" >> write
