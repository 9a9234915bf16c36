"""Deduplicate and ConsentGate on a stream: sealed pieces wait until all that must be known is known, then are judged.

Pieces of telemetry and of the ledger meet under one key, (region, shard). A piece waits, undecoded, until the watermark
of both inputs has passed the end of its window of received_time: then no entry that its records must know of can still
be on its way. Nothing but that event-time timer ever opens anything; a ledger that stalls holds telemetry back.

A bounded run is one window that ends with the input, and one firing a key. A stream has a ring of bags, one a window,
so that a firing reads what it judges and no more. Two windows that meet in a bag are told apart by their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, TimestampedValue

from schemas.consent import NOBODY, SEALED_LEDGER, STOPS
from schemas.editions import Editions
from schemas.tallies import Counts, Tally
from transforms.deduplicate import deduplicate
from transforms.exchange import LEDGER, Judged, Piece, coalesce
from transforms.gate import Gate
from transforms.ipc import from_ipc, to_ipc
from transforms.seal import Partition
from transforms.tallies import TALLIES, told, told_apart

_DAY_MS = 86_400_000
_RING = 4  # windows that can be open at once without sharing a bag
_DAY_RING = 8
_NUMBERED = TupleCoder([VarIntCoder(), BytesCoder()])
_STOPS = pa.array(sorted(STOPS), pa.int8())

STOPPING = "stopping"  # the tag of the stops that a key has been told of: what was stored before them is to go


class _ConsentGate(beam.DoFn):
    LEDGER = BagStateSpec("ledger", BytesCoder())
    WAITING = [BagStateSpec(f"waiting_{slot}", _NUMBERED) for slot in range(_RING)]  # (window, piece)
    SEEN = [BagStateSpec(f"seen_{slot}", _NUMBERED) for slot in range(_DAY_RING)]  # (day, sorted fingerprints)
    UNFIRED = ReadModifyWriteStateSpec("unfired", VarIntCoder())  # the first window that has not fired
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def __init__(self, editions: Editions, partition: Partition, with_ledger: bool) -> None:
        self._editions, self._pack = editions, editions.newest
        self._partition, self._with_ledger = partition, with_ledger
        self._bounded = partition.window_ms is None

    def setup(self) -> None:
        regions = self._pack.where.regions
        self._gates = [Gate(self._editions, region, self._with_ledger, self._bounded) for region in regions]

    def process(
        self,
        piece: Piece,
        ledger=beam.DoFn.StateParam(LEDGER),
        waiting0=beam.DoFn.StateParam(WAITING[0]),
        waiting1=beam.DoFn.StateParam(WAITING[1]),
        waiting2=beam.DoFn.StateParam(WAITING[2]),
        waiting3=beam.DoFn.StateParam(WAITING[3]),
        unfired=beam.DoFn.StateParam(UNFIRED),
        fire=beam.DoFn.TimerParam(FIRE),
    ):
        _, (kind, window, payload) = piece
        first = unfired.read() or 0
        if kind == LEDGER:
            ledger.add(payload)
            yield from self._known(piece)
            yield from self._stops(piece, first)
            return
        if window < first:  # behind the last firing: received now, so more is known to it
            yield from self._passed_on(piece)
            window = first
        (waiting0, waiting1, waiting2, waiting3)[window % _RING].add((window, payload))
        fire.set(self._partition.end(window) or GlobalWindow().max_timestamp(), dynamic_timer_tag=str(window))

    def _known(self, piece: Piece) -> Iterator:
        """Counts the entries that have come, corrections aside: one that is lost on the way could open something."""
        key, (_, _, payload) = piece
        own = pc.not_equal(from_ipc(payload).column("subject"), pa.scalar(NOBODY, pa.binary(16)))
        counts = Counts()
        counts.add("gate", "known", pc.sum(own).as_py() or 0, region=self._gates[key // self._partition.shards].region)
        yield from told_apart(counts)

    def _stops(self, piece: Piece, first: int) -> Iterator:
        """The stops among the entries that have come, by the first window whose records are judged knowing of them."""
        key, (_, _, payload) = piece
        stops = from_ipc(payload).filter(pc.is_in(from_ipc(payload).column("kind"), value_set=_STOPS))
        window = np.maximum(self._partition.windows(stops.column("received_time").to_numpy()), first)
        for number in np.unique(window).tolist():
            lot = (key // self._partition.shards, key % self._partition.shards, number)
            yield beam.pvalue.TaggedOutput(STOPPING, (lot, stops.filter(pa.array(window == number))))

    def _passed_on(self, piece: Piece) -> Iterator:
        """Told to the books of the window that these records were decoded in, which may still be open."""
        key, (_, window, payload) = piece
        counts = Counts()
        region = self._gates[key // self._partition.shards].region
        counts.add("gate", "passed_on", from_ipc(payload).num_rows, region=region)
        for tally in told(counts):
            yield beam.pvalue.TaggedOutput(TALLIES, TimestampedValue(tally, self._partition.end(window)))

    @on_timer(FIRE)
    def fire(
        self,
        key=beam.DoFn.KeyParam,
        tag=beam.DoFn.DynamicTimerTagParam,
        ledger=beam.DoFn.StateParam(LEDGER),
        waiting0=beam.DoFn.StateParam(WAITING[0]),
        waiting1=beam.DoFn.StateParam(WAITING[1]),
        waiting2=beam.DoFn.StateParam(WAITING[2]),
        waiting3=beam.DoFn.StateParam(WAITING[3]),
        seen0=beam.DoFn.StateParam(SEEN[0]),
        seen1=beam.DoFn.StateParam(SEEN[1]),
        seen2=beam.DoFn.StateParam(SEEN[2]),
        seen3=beam.DoFn.StateParam(SEEN[3]),
        seen4=beam.DoFn.StateParam(SEEN[4]),
        seen5=beam.DoFn.StateParam(SEEN[5]),
        seen6=beam.DoFn.StateParam(SEEN[6]),
        seen7=beam.DoFn.StateParam(SEEN[7]),
        unfired=beam.DoFn.StateParam(UNFIRED),
    ):
        window = int(tag)
        payloads = _taken((waiting0, waiting1, waiting2, waiting3)[window % _RING], window)
        if not payloads:
            return  # a timer that was set again fires again
        batch = coalesce([from_ipc(payload) for payload in payloads])
        if self._bounded:
            yield from self._release(key, window, batch, self._entries(ledger), _NOTHING_SEEN)
            return
        unfired.write(max(window + 1, unfired.read() or 0))
        start, end = window * self._partition.window_ms, (window + 1) * self._partition.window_ms
        late = int(np.count_nonzero(batch.column("received_time").to_numpy() < start))
        batch = _received_by(batch, start)
        days = _Days((seen0, seen1, seen2, seen3, seen4, seen5, seen6, seen7), self._pack.limits.oldest_days)
        entries = self._entries(ledger)
        # What was received later than any of these records must not even correct an entry that they know.
        known = entries.filter(pc.less(entries["received_time"], end))
        yield from self._release(key, window, batch, known, days, late)

    def _entries(self, ledger) -> pa.Table:
        """The entries of this key; a stream writes what came in since the last firing together with what was there."""
        payloads = list(ledger.read())
        batches = [from_ipc(payload) for payload in payloads]
        if not batches:
            return SEALED_LEDGER.empty_table()
        merged = pa.RecordBatch.from_arrays(coalesce(batches).columns, schema=SEALED_LEDGER)
        if not self._bounded and len(payloads) > 1:
            ledger.clear()
            ledger.add(to_ipc(merged))
        return pa.Table.from_batches([merged])

    def _release(
        self, key: int, window: int, batch: pa.RecordBatch, entries: pa.Table, seen, late: int = 0
    ) -> Iterator:
        gate = self._gates[key // self._partition.shards]
        kept, marks, repeated = deduplicate(batch, seen.before(batch))
        seen.add(batch, kept, marks)
        judged, verdict = gate.judge(batch.take(pa.array(kept)), entries)
        lot = (key // self._partition.shards, key % self._partition.shards, window)
        yield lot, judged
        counts = Counts()
        counts.add("gate", "duplicates", repeated, region=gate.region)
        counts.add("gate", "late", late, region=gate.region)
        gate.tally(judged, verdict, counts)
        yield from told_apart(counts)


def _taken(bag, window: int) -> list[bytes]:
    """Takes the pieces of one window out of a bag; those of a window that shares it go back."""
    held = list(bag.read())
    bag.clear()
    for number, payload in held:
        if number != window:
            bag.add((number, payload))
    # In the order of their bytes: what comes of them must not depend on the order in which they came.
    return sorted(payload for number, payload in held if number == window)


def _received_by(batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
    """Rows that came after their own window had fired count as received when this one began."""
    received = np.maximum(batch.column("received_time").to_numpy(), start)
    return batch.set_column(batch.schema.get_field_index("received_time"), "received_time", pa.array(received))


class _Days:
    """Fingerprints seen by the day of their event, in runs that are read for the days of a batch alone.

    An id that comes again under another day is not recognised; a day that no record can lie in any more is dropped.
    """

    def __init__(self, bags: tuple, oldest_days: int) -> None:
        self._bags, self._oldest_days = bags, oldest_days

    def before(self, batch: pa.RecordBatch) -> np.ndarray:
        days = set(np.unique(batch.column("event_time").to_numpy() // _DAY_MS).tolist())
        oldest = int(batch.column("received_time").to_numpy().min()) // _DAY_MS - self._oldest_days - 1
        seen = []
        for slot in {day % len(self._bags) for day in days}:
            runs_of_slot = list(self._bags[slot].read())
            current = [(day, run) for day, run in runs_of_slot if day >= oldest]
            if len(current) < len(runs_of_slot):
                self._bags[slot].clear()
                for run in current:
                    self._bags[slot].add(run)
            seen += [np.frombuffer(run, np.uint64) for day, run in current if day in days]
        return np.sort(np.concatenate(seen)) if seen else np.empty(0, np.uint64)

    def add(self, batch: pa.RecordBatch, kept: np.ndarray, marks: np.ndarray) -> None:
        day = batch.column("event_time").to_numpy()[kept] // _DAY_MS
        for number in np.unique(day).tolist():
            self._bags[number % len(self._bags)].add((number, marks[day == number].tobytes()))


class _NothingSeen:
    """A bounded run judges all records of a key at once: nothing was seen before."""

    def before(self, batch: pa.RecordBatch) -> np.ndarray:
        return np.empty(0, np.uint64)

    def add(self, batch: pa.RecordBatch, kept: np.ndarray, marks: np.ndarray) -> None:
        pass


_NOTHING_SEEN = _NothingSeen()


@dataclass
class ConsentGate(beam.PTransform):
    """Sealed pieces of both inputs -> ((region, shard, window), judged records), tallies under `TALLIES`, and the stops
    of the ledger under `STOPPING`: ((region, shard, window), entries), by the first window that knows of them.

    Judged records have the layout's columns and two masks of purposes, `open` and `stands` (see `Gate`). Records are
    without repetitions and ordered by their fingerprint, whatever order they came in.
    """

    editions: Editions
    partition: Partition
    with_ledger: bool

    def expand(self, pieces):
        judging = beam.ParDo(_ConsentGate(self.editions, self.partition, self.with_ledger))
        typed = judging.with_output_types(Judged, **{TALLIES: Tally, STOPPING: Judged})
        return pieces | "Judge" >> typed.with_outputs(TALLIES, STOPPING, main="judged")
