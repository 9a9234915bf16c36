"""Deduplicate and ConsentGate on a stream: sealed pieces wait until all that must be known is known, then are judged.

Pieces of telemetry and of the ledger meet under one key, (region, shard). A piece waits, locked, until the watermark
of both inputs has passed the end of its window of received_time: then no entry that its records must know of can still
be on its way. Nothing but that event-time timer ever opens anything; a ledger that stalls holds telemetry back, and the
metric `gate_held_back_ms` says for how long.

A bounded run is one window that ends with the input, and one firing a key. A stream has a ring of bags, one a window,
so that a firing reads what it judges and no more. Two windows that meet in a bag are told apart by their number.

A row that comes behind the last firing counts as received when the window begins that it is passed on to. If its event
is then older than the policy's limit, it is dropped and counted as `too_old`. So no event that is still to be judged is
older than the limit before the first window that has not fired: that is what lets the ledger be compacted and the days
of fingerprints be dropped. What lies in state, and what may change of it between versions, is in docs/state.md.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.coders import BytesCoder, IterableCoder, TupleCoder, VarIntCoder
from apache_beam.metrics import Metrics
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.userstate import BagStateSpec, ReadModifyWriteStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import GlobalWindow, TimestampedValue

from schemas.consent import NOBODY, SEALED_LEDGER, STOPS
from schemas.editions import Editions
from schemas.layout import layout
from schemas.tallies import Counts, Tally
from transforms.decode import Limits
from transforms.deduplicate import NothingSeen, SeenDays, deduplicate
from transforms.discreet import discreet
from transforms.exchange import (
    LEDGER,
    TELEMETRY,
    Judged,
    Lot,
    Piece,
    coalesce,
    layout_digest,
    ledger_rows,
    telemetry_rows,
)
from transforms.gate import Gate
from transforms.held_ledger import HeldLedger
from transforms.ledger_state import HeldLedgers, LedgerState
from transforms.locks import Locks
from transforms.ring import taken
from transforms.seal import Partition
from transforms.tallies import TALLIES, told, told_apart

_RING = 4  # windows that can be open at once without sharing a bag
_DAY_RING = 8
_DAY_MS = 86_400_000
_NEWS = 64  # pieces of the ledger that may wait for telemetry as they came
_NUMBERED = TupleCoder([VarIntCoder(), BytesCoder()])
_STOPS = pa.array(sorted(STOPS), pa.int8())

STOPPING = "stopping"  # the tag of the stops that a key has been told of: what was stored before them is to go
HELD_BACK = Metrics.gauge("douane", "gate_held_back_ms")


class _ConsentGate(beam.DoFn):
    NEWS = BagStateSpec("news", BytesCoder())  # pieces of the ledger as they came
    HELD = ReadModifyWriteStateSpec("held", BytesCoder())  # streams: the ledger up to the last firing
    GENERATION = ReadModifyWriteStateSpec("generation", VarIntCoder())  # which content `held` has
    WAITING = [BagStateSpec(f"waiting_{slot}", _NUMBERED) for slot in range(_RING)]  # (window, piece)
    SEEN = [BagStateSpec(f"seen_{slot}", _NUMBERED) for slot in range(_DAY_RING)]  # (day, sorted fingerprints)
    UNFIRED = ReadModifyWriteStateSpec("unfired", VarIntCoder())  # the window after the last that fired
    AWAITING = ReadModifyWriteStateSpec("awaiting", IterableCoder(VarIntCoder()))  # windows with records that wait
    NEWEST = ReadModifyWriteStateSpec("newest", VarIntCoder())  # the latest piece of telemetry: its first receipt
    FIRE = TimerSpec("fire", TimeDomain.WATERMARK)

    def __init__(self, editions: Editions, keys: Mapping[int, str], partition: Partition, with_ledger: bool) -> None:
        self._editions, self._pack, self._keys = editions, editions.newest, dict(keys)
        self._partition, self._with_ledger = partition, with_ledger
        self._bounded = partition.window_ms is None

    def setup(self) -> None:
        regions = self._pack.where.regions
        self._gates = [Gate(self._editions, region, self._with_ledger, self._bounded) for region in regions]
        self._locks = Locks(self._keys, self._partition.shards)
        self._ledgers = HeldLedgers(self._locks)
        plan = layout(self._editions.newest, *self._editions.earlier)
        self._digest = layout_digest(plan, self._partition.window_ms)
        self._oldest_ms = Limits.of(self._pack).oldest_ms

    @discreet
    def process(
        self,
        piece: Piece,
        timestamp=beam.DoFn.TimestampParam,
        news=beam.DoFn.StateParam(NEWS),
        waiting0=beam.DoFn.StateParam(WAITING[0]),
        waiting1=beam.DoFn.StateParam(WAITING[1]),
        waiting2=beam.DoFn.StateParam(WAITING[2]),
        waiting3=beam.DoFn.StateParam(WAITING[3]),
        unfired=beam.DoFn.StateParam(UNFIRED),
        awaiting=beam.DoFn.StateParam(AWAITING),
        newest=beam.DoFn.StateParam(NEWEST),
        fire=beam.DoFn.TimerParam(FIRE),
    ):
        key, (kind, window, payload) = piece
        first = unfired.read() or 0
        if kind == LEDGER:
            news.add(payload)
            if not self._bounded:
                number = max(first, self._last_of_day(timestamp.micros // 1000))
                fire.set(self._partition.end(number), dynamic_timer_tag=str(number))
            entries = ledger_rows(self._locks.unlock(key, LEDGER, payload))
            yield from self._known(key, entries)
            yield from self._stops(key, entries, first)
            return
        if window < first:  # behind the last firing: received now, so more is known to it
            yield from self._passed_on(piece)
            window = first
        (waiting0, waiting1, waiting2, waiting3)[window % _RING].add((window, payload))
        fire.set(self._partition.end(window) or GlobalWindow().max_timestamp(), dynamic_timer_tag=str(window))
        if not self._bounded:
            windows = set(awaiting.read() or ())
            if window not in windows:
                awaiting.write(sorted(windows | {window}))
            latest = max(timestamp.micros // 1000, newest.read() or 0)
            newest.write(latest)
            self._tell_held_back(windows | {window}, latest)

    def _known(self, key: int, entries: pa.RecordBatch) -> Iterator:
        """Counts the entries that have come, corrections aside: one that is lost on the way could open something."""
        own = pc.not_equal(entries.column("subject"), pa.scalar(NOBODY, pa.binary(16)))
        counts = Counts()
        counts.add("gate", "known", pc.sum(own).as_py() or 0, region=self._gate(key).region)
        yield from told_apart(counts)

    def _stops(self, key: int, entries: pa.RecordBatch, first: int) -> Iterator:
        """The stops among the entries that have come, by the first window whose records are judged knowing of them."""
        stops = entries.filter(pc.is_in(entries.column("kind"), value_set=_STOPS))
        window = np.maximum(self._partition.windows(stops.column("received_time").to_numpy()), first)
        for number in np.unique(window).tolist():
            yield beam.pvalue.TaggedOutput(STOPPING, (self._lot(key, number), stops.filter(pa.array(window == number))))

    def _passed_on(self, piece: Piece) -> Iterator:
        """Told to the books of the window that these records were decoded in, which may still be open."""
        key, (_, window, payload) = piece
        counts = Counts()
        records = telemetry_rows(self._locks.unlock(key, TELEMETRY, payload), self._digest).num_rows
        counts.add("gate", "passed_on", records, region=self._gate(key).region)
        for tally in told(counts):
            yield beam.pvalue.TaggedOutput(TALLIES, TimestampedValue(tally, self._partition.end(window)))

    def _tell_held_back(self, windows: set[int], newest: int) -> None:
        """How far telemetry has gone on past the end of the oldest window that waits, by the clock of receipt.

        The metric holds what the worker's last key has told. A ledger that stalls holds all keys back, but one that has
        little telemetry tells of little: look at the largest value of a while.
        """
        end = (min(windows) + 1) * self._partition.window_ms if windows else newest
        HELD_BACK.set(max(0, newest - end))

    @on_timer(FIRE)
    @discreet
    def fire(
        self,
        key=beam.DoFn.KeyParam,
        tag=beam.DoFn.DynamicTimerTagParam,
        news=beam.DoFn.StateParam(NEWS),
        held=beam.DoFn.StateParam(HELD),
        generation=beam.DoFn.StateParam(GENERATION),
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
        awaiting=beam.DoFn.StateParam(AWAITING),
        newest=beam.DoFn.StateParam(NEWEST),
    ):
        window, state = int(tag), LedgerState(news, held, generation)
        payloads = _taken((waiting0, waiting1, waiting2, waiting3)[window % _RING], window)
        if not payloads:  # the end of a day, or a timer that was set again and fires again
            if not self._bounded and len(list(news.read())) > _NEWS:
                windows, first = set(awaiting.read() or ()), max(window + 1, unfired.read() or 0)
                unfired.write(first)
                self._keep(key, windows, first, state, self._ledgers.read(key, state)[0])
            return
        # In the order of their content: what comes of them must not depend on the order in which they came.
        contents = sorted(self._locks.unlock(key, TELEMETRY, payload) for payload in payloads)
        batch = coalesce([telemetry_rows(content, self._digest) for content in contents])
        if self._bounded:
            yield from self._release(key, window, batch, self._ledger_of_run(key, news), NothingSeen())
            return
        windows = set(awaiting.read()) - {window}
        first = max(window + 1, unfired.read() or 0)
        awaiting.write(sorted(windows))
        unfired.write(first)
        self._tell_held_back(windows, newest.read())
        ledger, grown = self._ledgers.read(key, state)
        seen = SeenDays((seen0, seen1, seen2, seen3, seen4, seen5, seen6, seen7), self._oldest_ms, self._locks, key)
        yield from self._fire(key, window, batch, ledger, seen)
        if grown:
            self._keep(key, windows, first, state, ledger)

    def _keep(self, key: int, windows: set[int], first: int, state: LedgerState, ledger: HeldLedger) -> None:
        """Writes what is held of the ledger from now on. `windows` wait, and `first` is the first after them."""
        horizon = min(windows | {first}) * self._partition.window_ms  # nothing that was received before is judged
        self._ledgers.keep(key, ledger.compacted(horizon, self._oldest_ms), state)

    def _last_of_day(self, moment: int) -> int:
        """The window in which a day ends: a key that gets no telemetry looks after its ledger once a day."""
        return ((moment // _DAY_MS + 1) * _DAY_MS - 1) // self._partition.window_ms

    def _fire(self, key: int, window: int, batch: pa.RecordBatch, ledger: HeldLedger, seen: SeenDays) -> Iterator:
        """Judges the records of one window of a stream, those that came late as received when it began."""
        start, end = window * self._partition.window_ms, (window + 1) * self._partition.window_ms
        counts, region = Counts(), self._gate(key).region
        counts.add("gate", "late", np.count_nonzero(batch.column("received_time").to_numpy() < start), region=region)
        batch = _received_by(batch, start)
        too_old = batch["event_time"].to_numpy() < batch["received_time"].to_numpy() - self._oldest_ms
        counts.add("gate", "too_old", np.count_nonzero(too_old), region=region)
        yield from told_apart(counts)
        if not too_old.all():
            batch = batch.filter(pa.array(~too_old))
            # What was received later than any of these records must not even correct an entry that they know.
            yield from self._release(key, window, batch, ledger.about(batch["device"], batch["account"], end), seen)

    def _ledger_of_run(self, key: int, news) -> pa.Table:
        """All entries of this key."""
        contents = sorted(self._locks.unlock(key, LEDGER, payload) for payload in news.read())
        if not contents:
            return SEALED_LEDGER.empty_table()
        joined = coalesce([ledger_rows(content) for content in contents])
        return pa.Table.from_batches([pa.RecordBatch.from_arrays(joined.columns, schema=SEALED_LEDGER)])

    def _release(self, key: int, window: int, batch: pa.RecordBatch, entries: pa.Table, seen) -> Iterator:
        gate = self._gate(key)
        kept, marks, repeated = deduplicate(batch, seen.before(batch))
        seen.add(batch, kept, marks)
        judged, verdict = gate.judge(batch.take(pa.array(kept)), entries)
        yield self._lot(key, window), judged
        counts = Counts()
        counts.add("gate", "duplicates", repeated, region=gate.region)
        gate.tally(judged, verdict, counts)
        yield from told_apart(counts)

    def _gate(self, key: int) -> Gate:
        return self._gates[key // self._partition.shards]

    def _lot(self, key: int, window: int) -> Lot:
        return key // self._partition.shards, key % self._partition.shards, window


def _taken(bag, window: int) -> list[bytes]:
    return [payload for _, payload in taken(bag, window)]


def _received_by(batch: pa.RecordBatch, start: int) -> pa.RecordBatch:
    """Rows that came after their own window had fired count as received when this one began."""
    received = np.maximum(batch.column("received_time").to_numpy(), start)
    return batch.set_column(batch.schema.get_field_index("received_time"), "received_time", pa.array(received))


@dataclass
class ConsentGate(beam.PTransform):
    """Sealed pieces of both inputs -> ((region, shard, window), judged records), tallies under `TALLIES`, and the stops
    of the ledger under `STOPPING`: ((region, shard, window), entries), by the first window that knows of them.

    Judged records have the layout's columns and two masks of purposes, `open` and `stands` (see `Gate`). Records are
    without repetitions and ordered by their fingerprint, whatever order they came in. `keys` are keyring URIs by region
    code: what waits in state is locked.
    """

    editions: Editions
    keys: Mapping[int, str]
    partition: Partition
    with_ledger: bool

    def expand(self, pieces):
        judging = beam.ParDo(_ConsentGate(self.editions, self.keys, self.partition, self.with_ledger))
        typed = judging.with_output_types(Judged, **{TALLIES: Tally, STOPPING: Judged})
        return pieces | "Judge" >> typed.with_outputs(TALLIES, STOPPING, main="judged")
