"""Border: from the bytes of an input to sealed pieces, in one step.

Decode, Locate and Seal are functions of their own, but they run in one DoFn: what lies between them is raw, and an
element between two DoFns may be written down by a runner. So the first thing that a runner ever sees is sealed.

What an input brings is not lost silently: every line is counted as blank, quarantined, unlocatable, foreign or decoded,
and what is wrong in form comes out sealed for who can mend it.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, starmap
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import layout
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from schemas.tallies import HOUR_MS, Counts, Tally
from transforms.block import MOST_LINES, few_lines, line_at
from transforms.columns import runs
from transforms.decode import Limits, Received, decode_events, decode_ledger
from transforms.discreet import discreet
from transforms.entry_ids import Register
from transforms.exchange import LEDGER, TELEMETRY, Piece, layout_digest, locked_telemetry, pieces
from transforms.ipc import to_buffer
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.lines import Faults, Habits, faults_of, merged
from transforms.locate import locate
from transforms.locks import Locks
from transforms.quarantine import REJECTED, Quarantine, Rejected
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Sealed, Seals
from transforms.seal_ledger import LedgerSealer, SealedLedger
from transforms.tallies import TALLIES, told, told_apart
from transforms.texts import Texts
from transforms.verdict import Reason

_KEPT_ROWS = 1_000  # rejected lines of a block that are kept whatever its size
_LEAST_BYTES = 512  # shorter lines are not more for it: sealed, each takes a few hundred bytes

REGISTER = "register"  # the tag of what the register of entry ids is told

# What an element holds: blocks of whole lines, each with when its lines were received (as `decode_events` takes it).
Read = Callable[[Any], Iterator[tuple[bytes, Received]]]


class _Border(beam.DoFn):
    """What both inputs have in common: opening the keys, reading, and locating."""

    step: str

    def __init__(self, border: "Border") -> None:
        self._read, self._pack, self._keys, self._partition = (
            border.read,
            border.editions.newest,
            dict(border.keys),
            border.partition,
        )
        self._arrival, self._editions = border.arrival, border.editions

    def setup(self) -> None:
        self._seals = Seals({region: open_keyring(uri) for region, uri in self._keys.items()})
        self._locks = Locks(self._keys, self._partition.shards)
        self._labels = Labels(Scrubber(LABEL_RECOGNISERS))
        self._habits = Habits()
        self._quarantine = Quarantine(self.step, self._pack.where, self._keys, self._arrival)
        self._limits = Limits.of(self._pack)

    @discreet
    def process(self, element: Any, timestamp=beam.DoFn.TimestampParam) -> Iterator:
        self._since = max(0, timestamp.micros // 1000)  # nothing in it was received before
        counts = Counts()
        counts.add(self.step, "spans", 1)
        for block, received in chain.from_iterable(starmap(_few_lines, self._blocks(element, counts))):
            if isinstance(received, np.ndarray):
                yield from self._by_window(block, received)
            else:
                yield from self._cross(block, received, counts)
        yield from told_apart(counts)

    def _by_window(self, block: bytes, received: np.ndarray) -> Iterator:
        """A block that a broker's messages were gathered to. Another attempt gathers them otherwise: so what is counted
        or rejected of a line belongs to the window of its own receipt, whatever stands in a block with it."""
        for part, times in _parts(block, received, self._partition.windows(received)):
            counts, at = Counts(), Timestamp(micros=int(times.min()) * 1000)
            for out in chain(self._cross(part, times, counts), told_apart(counts)):
                timed = isinstance(getattr(out, "value", None), TimestampedValue) or isinstance(out, TimestampedValue)
                yield out if timed else beam.pvalue.TaggedOutput(out.tag, TimestampedValue(out.value, at))

    def _blocks(self, element: Any, counts: Counts) -> Iterator[tuple[bytes, Received]]:
        """The blocks of an input. One that breaks off ends the run: of a ledger it is not known what it would have
        stopped."""
        return iter(self._read(element))

    def _cross(self, block: bytes, received: Received, counts: Counts) -> Iterator:
        raise NotImplementedError

    def _located(self, columns: Mapping, counts: Counts) -> np.ndarray:
        """Region codes; -1 for no usable signal, -2 for a region that this cell does not serve."""
        regions, conflict = locate({name: columns[f"residency.{name}"] for name in SIGNALS}, self._pack.where)
        counts.add(self.step, "conflicting", conflict.sum())
        counts.add(self.step, "unlocatable", (regions == -1).sum())
        served = np.append(np.isin(np.arange(len(self._pack.regions)), list(self._keys)), True)
        return np.where(served[regions], regions, -2).astype(np.int8)

    def _lines(self, decoded, counts: Counts) -> None:
        counts.add(self.step, "lines", decoded.lines)
        counts.add(self.step, "blank", decoded.blank)
        for path, count in decoded.unknown.items():
            counts.add("fields", "unknown", count, reason=path, dataset=self.step)

    def _rejected(
        self, block: bytes, ends: np.ndarray, faults: Faults, counts: Counts, again: bool = False
    ) -> Iterator:
        for reason, count in faults.counts().items():
            counts.add(self.step, "quarantined", count, reason=reason)
        if len(faults.line):
            share = min(len(ends), len(block) // _LEAST_BYTES) * self._pack.limits.quarantine_percent // 100
            keep = len(ends) if again else max(_KEPT_ROWS, share)  # of a replay all: they were kept before
            lines = line_at(block, ends, faults.line)
            for rejected in self._quarantine.seal(lines, faults.reason, keep, counts):
                yield beam.pvalue.TaggedOutput(REJECTED, rejected)


class _TelemetryBorder(_Border):
    step = "telemetry"

    def setup(self) -> None:
        super().setup()
        plan = layout(self._pack, *self._editions.earlier)
        limits = self._pack.limits
        self._sealer = EventSealer(self._seals, plan, self._partition, limits, Texts(limits), self._labels)
        self._digest = layout_digest(plan, self._partition.window_ms)

    def _blocks(self, element: Any, counts: Counts) -> Iterator[tuple[bytes, Received]]:
        """What was read before telemetry breaks off stays good; the count and the exit status tell that it did. Only
        reading is forgiven: what goes wrong with a block that was read fails the bundle."""
        blocks = super()._blocks(element, counts)
        while True:
            try:
                block = next(blocks, None)
            except OSError as error:
                logging.error("%s", error)
                counts.add(self.step, "input_unreadable", 1)
                return
            if block is None:
                return
            yield block

    def _cross(self, block: bytes, received: Received, counts: Counts) -> Iterator[TimestampedValue]:
        events = decode_events(block, self._limits, self._habits, received)
        again = isinstance(received, int)
        self._lines(events, counts)
        counts.add(self.step, "ahead", events.ahead)
        if not len(events.event_time):
            yield from self._rejected(block, events.ends, events.faults, counts, again)
            return
        regions = self._located(events.columns, counts)
        counts.add(self.step, "foreign", (regions == -2).sum())
        sealed = self._sealer.seal(events, regions)
        bad_ids = faults_of(events.line[sealed.bad_event_id], Reason.BAD_EVENT_ID)
        yield from self._rejected(block, events.ends, merged(events.faults, bad_ids), counts, again)
        self._tell(sealed, counts)
        yield from self._decoded(sealed)
        times = sealed.batch.column("received_time").to_numpy()
        start = 0
        for key, window, rows in pieces(sealed.batch, sealed.key, sealed.window):
            earliest = int(times[start : start + rows.num_rows].min())
            start += rows.num_rows
            piece = key, (TELEMETRY, window, locked_telemetry(self._locks, key, rows, self._digest))
            yield TimestampedValue(piece, Timestamp(micros=earliest * 1000))

    def _tell(self, sealed: Sealed, counts: Counts) -> None:
        for outcome in ("carried", "sealed", "malformed"):
            for path, count in getattr(sealed, outcome).items():
                counts.add("fields", outcome, count, reason=path)
        for (event_type, recogniser), count in sealed.scrubbed.items():
            counts.add("text", "scrubbed", count, reason=recogniser, event_type=event_type)

    def _decoded(self, sealed: Sealed) -> Iterator:
        """How many records go on, by region, hour and event type: in a stream at the end of the window that judges
        them, where the gate's own counts will stand beside these."""
        rows = pa.table(
            {
                "window": sealed.window,
                "region": sealed.batch.column("region"),
                "hour": sealed.batch.column("received_time").to_numpy() // HOUR_MS,
                "event_type": sealed.batch.column("event_type"),
            }
        )
        found = rows.group_by(rows.column_names, use_threads=False).aggregate([([], "count_all")])
        keys = ("window", "region", "event_type", "hour")
        found = found.sort_by([(key, "ascending") for key in keys]).combine_chunks()
        window, region, event_type, hour, count = (found[name].to_numpy() for name in (*keys, "count_all"))
        by_window: dict[int, Counts] = {}
        many = len(self._pack.regions) * len(EVENT_TYPES)
        for _, start, stop in runs(window * many + region * len(EVENT_TYPES) + event_type):
            words = {"region": self._pack.where.regions[region[start]], "event_type": EVENT_TYPES[event_type[start]]}
            counts = by_window.setdefault(int(window[start]), Counts())
            counts.add_hours("telemetry", "decoded", count[start:stop], hour[start:stop] * HOUR_MS, **words)
        for number, counts in by_window.items():
            end = self._partition.end(number)
            for tally in told(counts):
                yield beam.pvalue.TaggedOutput(TALLIES, TimestampedValue(tally, end) if end else tally)


class _LedgerBorder(_Border):
    step = "ledger"

    def setup(self) -> None:
        super().setup()
        served = tuple(sorted(self._keys))
        purposes = self._editions.purposes
        self._sealer = LedgerSealer(self._seals, self._partition, served, self._arrival, self._labels, purposes)
        self._register = Register(self._locks, self._arrival, self._partition)

    def _cross(self, block: bytes, received: Received, counts: Counts) -> Iterator[TimestampedValue]:
        """An entry's own `received_time` counts, whatever brought it. Of a line that does not read it is known how far
        the ledger had been promised where it stands: it was not received before. So which windows know of it follows
        from the input alone, and not from how fast it was read."""
        ledger = decode_ledger(block, self._habits, self._since if received is None else received)
        self._lines(ledger, counts)
        counts.add("ledger", "dated_ahead", ledger.dated_ahead)
        entries, unreadable = self._sealer.seal(ledger, self._located(ledger.columns, counts))
        counts.add("ledger", "entries", len(ledger.time) - len(entries.bad_subject))
        nobodys = faults_of(ledger.line[entries.bad_subject], Reason.BAD_SUBJECT)
        yield from self._rejected(block, ledger.ends, merged(ledger.faults, nobodys), counts)
        for sealed in (entries, unreadable):
            counts.add("ledger", "nobody", sealed.nobody)
            counts.add("ledger", "unlocated", sealed.unlocated)
            counts.add("ledger", "unknown_purpose", sealed.unknown_purposes)
            for region, start, stop in runs(sealed.key // self._partition.shards):
                counts.add("ledger", "sent", stop - start, region=self._pack.where.regions[region])
            yield from ledger_pieces(sealed, self._locks, self._register)


def ledger_pieces(sealed: SealedLedger, locks: Locks, register: Register) -> Iterator:
    """Sealed entries as pieces for the exchange, each stamped with the earliest receipt in it, and what the register is
    told of them under `REGISTER`."""
    for key, _, rows in pieces(sealed.batch, sealed.key, np.zeros(len(sealed.key), np.int64)):
        earliest = rows.column("received_time").to_numpy().min()
        piece = key, (LEDGER, 0, locks.lock(key, LEDGER, to_buffer(rows)))
        yield TimestampedValue(piece, Timestamp(micros=int(earliest) * 1000))
    for piece in register.pieces(sealed.register):
        yield beam.pvalue.TaggedOutput(REGISTER, piece)


def _few_lines(block: bytes, received: Received) -> Iterator[tuple[bytes, Received]]:
    """A block in parts, each with when its lines were received: a flood of short lines must not fill the memory."""
    for number, part in enumerate(few_lines(block)):
        lines = slice(number * MOST_LINES, (number + 1) * MOST_LINES)
        yield part, received[lines] if isinstance(received, np.ndarray) else received


def _parts(block: bytes, received: np.ndarray, window: np.ndarray) -> Iterator[tuple[bytes, np.ndarray]]:
    """The lines of each window, in their order, and when they were received."""
    if (window == window[0]).all():
        yield block, received
        return
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")) + 1
    edges = np.append(0, ends if block.endswith(b"\n") else np.append(ends, len(block))).tolist()
    parts: dict[int, list[bytes]] = {}
    for number, start, stop in runs(window):
        parts.setdefault(number, []).append(block[edges[start] : edges[stop]])
    for number, lines in sorted(parts.items()):
        yield b"".join(lines), received[window == number]


@dataclass
class Border(beam.PTransform):
    """Whatever `read` can turn into blocks of lines -> sealed pieces, with tallies under the tag `TALLIES`, rejected
    lines, sealed, under `REJECTED`, and of a ledger the ids of its entries under `REGISTER`.

    `keys` are keyring URIs by region code; a region without keys is not served here. `arrival` is the code of the
    region that rejected lines without one go to, and under whose key entry ids are sealed first."""

    ledger: bool
    read: Read
    editions: Editions
    keys: Mapping[int, str]
    partition: Partition
    arrival: int

    def expand(self, inputs):
        border = _LedgerBorder if self.ledger else _TelemetryBorder
        # The hints first: those given to tagged outputs are lost without a word.
        typed = beam.ParDo(border(self)).with_output_types(
            Piece, **{TALLIES: Tally, REJECTED: Rejected, REGISTER: Piece}
        )
        return inputs | "Seal" >> typed.with_outputs(TALLIES, REJECTED, REGISTER, main="pieces")
