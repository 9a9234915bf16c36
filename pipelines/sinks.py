"""RegionalStore: the only step that writes records, each into the one region where they may live (clause 6)."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import BytesCoder, Coder, TupleCoder, VarIntCoder, registry
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.utils.timestamp import Timestamp

from pipelines.deployment import RegionalPlace
from pipelines.stores import Staged, commit, stage
from schemas.datasets import purpose_of
from schemas.fields import EVENT_TYPES
from schemas.tallies import Counts, Tally
from transforms.columns import runs
from transforms.discreet import discreet
from transforms.for_purpose import RECEIVED, REGION, ROWS
from transforms.generalise import compact
from transforms.ring import taken
from transforms.tallies import told

_DAY_MS = 86_400_000
FRESHNESS = Metrics.counter("douane", "store_freshness_ms")
FRESHNESS_ROWS = Metrics.counter("douane", "store_freshness_rows")
OLDEST = Metrics.gauge("douane", "store_oldest_ms")
_RING = 4  # windows that can be open at once without sharing a bag
_HELD = TupleCoder([VarIntCoder(), VarIntCoder(), BytesCoder()])  # (window, 1 if it came late, value)


def logical_name(input_id: str, window: int, shard: int) -> str:
    """The name of a lot's rows: a second run over the same input writes the same names, other input other ones."""
    return f"{input_id}-{window}-{shard}"


def by_date(rows: pa.RecordBatch) -> Iterator[tuple[str, pa.RecordBatch]]:
    """Rows sorted by day of receipt, cut at its ends: (YYYY-MM-DD, rows)."""
    day = rows.column(RECEIVED).to_numpy() // _DAY_MS
    for number, start, stop in runs(day):
        yield str(np.datetime64(number, "D")), rows.slice(start, stop - start)


# (start of the window in seconds, what came in time, what came when its own window was out)
Gathered = tuple[int, Iterable, Iterable]


class _Gather(beam.DoFn):
    """Values of a key wait until their window is over and then come out together, each window once. What comes when its
    window is out already belongs to the next that is not. So nothing is dropped, however late it is, a name is written
    by one firing alone, and no state stays behind a window that is over."""

    WAITING = [BagStateSpec(f"waiting_{slot}", _HELD) for slot in range(_RING)]
    UNFIRED = ReadModifyWriteStateSpec("unfired", VarIntCoder())  # the window after the last that is out
    OVER = TimerSpec("gathered", TimeDomain.WATERMARK)  # not `fire`: FnApiRunner mixes up timers of one name in a stage

    def __init__(self, window_ms: int, coder: Coder) -> None:
        self._window_ms, self._coder = window_ms, coder

    @discreet
    def process(
        self,
        element: tuple[Any, Any],
        timestamp=beam.DoFn.TimestampParam,
        waiting0=beam.DoFn.StateParam(WAITING[0]),
        waiting1=beam.DoFn.StateParam(WAITING[1]),
        waiting2=beam.DoFn.StateParam(WAITING[2]),
        waiting3=beam.DoFn.StateParam(WAITING[3]),
        unfired=beam.DoFn.StateParam(UNFIRED),
        over=beam.DoFn.TimerParam(OVER),
    ) -> None:
        # What has no time, as where inputs are files, is all of the first window.
        own, first = max(0, timestamp.micros // 1000 // self._window_ms), unfired.read() or 0
        window = max(own, first)
        held = window, int(own < first), self._coder.encode(element[1])
        (waiting0, waiting1, waiting2, waiting3)[window % _RING].add(held)
        over.set(Timestamp(micros=(window + 1) * self._window_ms * 1000), dynamic_timer_tag=str(window))

    @on_timer(OVER)
    @discreet
    def fire(
        self,
        key=beam.DoFn.KeyParam,
        tag=beam.DoFn.DynamicTimerTagParam,
        waiting0=beam.DoFn.StateParam(WAITING[0]),
        waiting1=beam.DoFn.StateParam(WAITING[1]),
        waiting2=beam.DoFn.StateParam(WAITING[2]),
        waiting3=beam.DoFn.StateParam(WAITING[3]),
        unfired=beam.DoFn.StateParam(UNFIRED),
    ) -> Iterator[tuple[Any, Gathered]]:
        window = int(tag)
        held = taken((waiting0, waiting1, waiting2, waiting3)[window % _RING], window)
        if held:  # a timer that was set again fires again
            unfired.write(max(window + 1, unfired.read() or 0))
            parts: tuple[list, list] = [], []
            for _, late, value in held:
                parts[late].append(self._coder.decode(value))
            yield key, (window * self._window_ms // 1000, *parts)


@dataclass
class ByWindow(beam.PTransform):
    """(key, value) -> (key, `Gathered`), once a key in a bounded run, and once a key and window in a stream. `key` and
    `value` are the types of these."""

    window_ms: int | None
    key: type
    value: type

    def expand(self, keyed):
        values = Iterable[self.value]
        typed = tuple[self.key, tuple[int, values, values]]
        if self.window_ms is None:
            return keyed | "Gather" >> beam.GroupByKey() | "Whole" >> beam.FlatMap(_whole).with_output_types(typed)
        gather = beam.ParDo(_Gather(self.window_ms, registry.get_coder(self.value)))
        return keyed | "Gather" >> gather.with_input_types(tuple[self.key, self.value]).with_output_types(typed)


@discreet
def _whole(element: tuple[Any, Iterable]) -> Iterator[tuple[Any, Gathered]]:
    key, values = element
    yield key, (0, values, ())


def day_of(start: int, started: str) -> str:
    """The date that the file of a window lies under: of a bounded run, and of what has no time, the day when the stream
    or the run was started. An attempt after midnight must find what the one before it wrote."""
    return str(np.datetime64(start, "s"))[:10] if start > 0 else started


def today() -> str:
    return datetime.now(UTC).date().isoformat()


class _Write(beam.DoFn):
    """Writes files as rows come, and names them all in the manifest when the bundle is complete."""

    def __init__(self, places: Mapping[int, RegionalPlace], input_id: str, run: str, fresh: bool) -> None:
        self._places, self._input_id, self._run, self._fresh = dict(places), input_id, run, fresh

    def start_bundle(self) -> None:
        self._staged: list[Staged] = []
        self._received: list[np.ndarray] = []  # of the rows in these

    @discreet
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
                self._received.append(part.column(RECEIVED).to_numpy())
            for event_type, count in _by_event_type(part):
                what = {"event_type": event_type, "purpose": purpose_of(dataset), "dataset": dataset}
                counts.add("store", "erased" if erased else "stored", count, region=place.region, **what)
        yield from told(counts)

    @discreet
    def finish_bundle(self) -> None:
        commit(self._staged)
        if self._fresh and self._received:
            tell_freshness(np.concatenate(self._received), time.time_ns() // 1_000_000)


def tell_freshness(received: np.ndarray, now: int) -> None:
    """How long it took from the receipt of rows to when they can be read, in ms: its sum and the number of rows, since
    not every runner shows a distribution, and that of the oldest row of the worker's last files. A bundle that is tried
    again tells of its rows again, and of the time that was lost."""
    age = now - received
    FRESHNESS.inc(int(age.sum()))
    FRESHNESS_ROWS.inc(len(age))
    OLDEST.set(int(age.max()))


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
    fresh: bool = False  # whether rows are as fresh as the clock tells: in a stream

    def expand(self, rows):
        write = _Write(self.places, self.input_id, self.run, self.fresh)
        write = beam.ParDo(write).with_input_types(ROWS).with_output_types(Tally)
        return rows | "Write" >> write
