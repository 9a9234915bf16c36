"""Border: from the bytes of an input to sealed pieces, in one step.

Decode, Locate and Seal are functions of their own, but they run in one DoFn: what lies between them is raw, and an
element between two DoFns may be written down by a runner. So the first thing that a runner ever sees is sealed.

What an input brings is not lost silently: every line is counted as blank, quarantined, unlocatable, foreign or decoded.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.fields import PURPOSES
from schemas.layout import layout
from schemas.policy import Pack
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from transforms.decode import Limits, decode_events, decode_ledger
from transforms.exchange import LEDGER, TALLIES, TELEMETRY, Piece, Tally, pieces
from transforms.ipc import to_ipc
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.lines import Habits
from transforms.locate import locate
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Sealed, Seals
from transforms.seal_ledger import LedgerSealer

Read = Callable[[Any], Iterator[bytes]]


class _Border(beam.DoFn):
    """What both inputs have in common: opening the keys, reading, and locating."""

    step: str

    def __init__(self, read: Read, pack: Pack, keys: Mapping[int, str], partition: Partition) -> None:
        self._read, self._pack, self._keys, self._partition = read, pack, dict(keys), partition

    def setup(self) -> None:
        self._seals = Seals({region: open_keyring(uri) for region, uri in self._keys.items()})
        self._labels = Labels(Scrubber(LABEL_RECOGNISERS))
        self._habits = Habits()
        limits = self._pack.limits
        self._limits = Limits(future_ms=limits.future_minutes * 60_000, oldest_ms=limits.oldest_days * 86_400_000)

    def process(self, element: Any) -> Iterator:
        counts: Counter = Counter()
        for block in self._blocks(element, counts):
            yield from self._cross(block, counts)
        for tally in (+counts).items():
            yield beam.pvalue.TaggedOutput(TALLIES, tally)

    def _blocks(self, element: Any, counts: Counter) -> Iterator[bytes]:
        """The blocks of an input. One that breaks off ends the run: of a ledger it is not known what it would have
        stopped."""
        return iter(self._read(element))

    def _cross(self, block: bytes, counts: Counter) -> Iterator:
        raise NotImplementedError

    def _located(self, columns: Mapping, counts: Counter) -> np.ndarray:
        """Region codes; -1 for no usable signal, -2 for a region that this cell does not serve."""
        regions, conflict = locate({name: columns[f"residency.{name}"] for name in SIGNALS}, self._pack.where)
        counts["", self.step, "", "", "signals_conflict"] += int(conflict.sum())
        counts["", self.step, "", "", "unlocatable"] += int((regions == -1).sum())
        served = np.append(np.isin(np.arange(len(self._pack.regions)), list(self._keys)), True)
        return np.where(served[regions], regions, -2).astype(np.int8)

    def _lines(self, decoded, counts: Counter) -> None:
        counts["", self.step, "", "", "lines"] += decoded.lines
        counts["", self.step, "", "", "blank"] += decoded.blank
        for reason, count in decoded.faults.counts().items():
            counts["", "quarantine", "", self.step, reason] += count
        for parent, count in decoded.unknown.items():
            counts["", "unknown_fields", "", self.step, parent] += count


class _TelemetryBorder(_Border):
    step = "telemetry"

    def setup(self) -> None:
        super().setup()
        plan = layout(self._pack)
        scrub = Scrubber(max_bytes=self._pack.limits.text_bytes).scrub
        self._sealer = EventSealer(self._seals, plan, self._partition, self._pack.limits, scrub, self._labels)

    def _blocks(self, element: Any, counts: Counter) -> Iterator[bytes]:
        """What was read before telemetry breaks off stays good; the count and the exit status tell that it did. Only
        reading is forgiven: what goes wrong with a block that was read fails the bundle."""
        blocks = super()._blocks(element, counts)
        while True:
            try:
                block = next(blocks, None)
            except OSError as error:
                logging.error("%s", error)
                counts["", self.step, "", "", "input_unreadable"] += 1
                return
            if block is None:
                return
            yield block

    def _cross(self, block: bytes, counts: Counter) -> Iterator[TimestampedValue]:
        events = decode_events(block, self._limits, self._habits)
        self._lines(events, counts)
        if not len(events.event_time):
            return
        regions = self._located(events.columns, counts)
        counts["", self.step, "", "", "foreign"] += int((regions == -2).sum())
        sealed = self._sealer.seal(events, regions)
        self._tell(sealed, counts)
        received = sealed.batch.column("received_time").to_numpy()
        start = 0
        for key, window, rows in pieces(sealed.batch, sealed.key, sealed.window):
            earliest = int(received[start : start + rows.num_rows].min())
            start += rows.num_rows
            piece = key, (TELEMETRY, window, to_ipc(rows))
            yield TimestampedValue(piece, Timestamp(micros=earliest * 1000))

    def _tell(self, sealed: Sealed, counts: Counter) -> None:
        counts["", "quarantine", "", self.step, "bad_event_id"] += sealed.bad_event_id
        codes = sealed.batch.column("region").to_numpy()
        for code, count in enumerate(np.bincount(codes, minlength=len(self._pack.regions)).tolist()):
            counts[self._pack.where.regions[code], self.step, "", "", "decoded"] += count
        for step in ("carried", "sealed", "malformed", "scrubbed"):
            for what, count in getattr(sealed, step).items():
                counts["", step, "", "", what] += count


class _LedgerBorder(_Border):
    step = "ledger"

    def setup(self) -> None:
        super().setup()
        served = tuple(sorted(self._keys))
        known = frozenset(self._pack.purposes) | PURPOSES
        self._sealer = LedgerSealer(self._seals, self._partition, served, self._labels, known)

    def _cross(self, block: bytes, counts: Counter) -> Iterator[TimestampedValue]:
        ledger = decode_ledger(block, self._habits)
        self._lines(ledger, counts)
        counts["", self.step, "", "", "entries"] += len(ledger.time)
        counts["", self.step, "", "", "dated_ahead"] += ledger.dated_ahead
        for sealed in self._sealer.seal(ledger, self._located(ledger.columns, counts)):
            counts["", self.step, "", "", "nobody"] += sealed.nobody
            counts["", self.step, "", "", "unlocated_permission"] += sealed.unlocated
            counts["", self.step, "", "", "unknown_purpose"] += sealed.unknown_purposes
            everything = np.zeros(len(sealed.key), np.int64)
            for key, _, rows in pieces(sealed.batch, sealed.key, everything):
                earliest = rows.column("received_time").to_numpy().min()
                yield TimestampedValue((key, (LEDGER, 0, to_ipc(rows))), Timestamp(micros=int(earliest) * 1000))


@dataclass
class Border(beam.PTransform):
    """Whatever `read` can turn into blocks of lines -> sealed pieces, with tallies under the tag `TALLIES`.

    `keys` are keyring URIs by region code; a region without keys is not served here.
    """

    ledger: bool
    read: Read
    pack: Pack
    keys: Mapping[int, str]
    partition: Partition

    def expand(self, inputs):
        border = _LedgerBorder if self.ledger else _TelemetryBorder
        sealing = beam.ParDo(border(self.read, self.pack, self.keys, self.partition))
        # The hints first: those given to tagged outputs are lost without a word.
        typed = sealing.with_output_types(Piece, **{TALLIES: Tally})
        return inputs | "Seal" >> typed.with_outputs(TALLIES, main="pieces")
