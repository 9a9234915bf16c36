"""Statistics: of judged records, what may be released of each region and day, bounded and summed, once the day is over.

A day of event time is over `grace_hours` after its end, by the edge's clock. In a stream that is the watermark: what a
day's records add waits, bounded, under (region, shard, day) until an event-time timer fires. A bounded run is over with
its input: it releases the days from the first receipt of their region to those whose grace had passed at the greatest,
or up to the day that it is told. What belongs to a day that cannot be released is counted, as `late` or `incomplete`,
and is gone.

What comes out is exact, but for the bounds; noise is added where the release is made (`transforms.release`).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import chain

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import BytesCoder, TupleCoder, VarIntCoder
from apache_beam.transforms.timeutil import TimeDomain
from apache_beam.transforms.trigger import AccumulationMode, AfterCount, AfterWatermark
from apache_beam.transforms.userstate import BagStateSpec, TimerSpec, on_timer
from apache_beam.transforms.window import FixedWindows, GlobalWindows
from apache_beam.utils.timestamp import Duration, Timestamp

from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import layout
from schemas.policy import Pack
from schemas.statistics import Statistics as Rules
from schemas.tallies import HOUR_MS, Counts, Tally
from transforms.cmac import ColumnCmac
from transforms.contributions import DAY_MS, Contributions, added, bound, contributions, counted, counted_rows, merged
from transforms.discreet import discreet
from transforms.exchange import GROUPS, PAIRS, Judged
from transforms.keyring import BORDER, open_keyring
from transforms.locks import Locks
from transforms.seal import Partition
from transforms.tallies import TALLIES, told_apart

DAYS = "days"  # the name of the step's first output
Day = tuple[tuple[int, int], tuple[int, pa.RecordBatch]]  # (region code, day) -> (records, counts by group)
# region code -> (first and greatest receipt, (day, records, counts by group) of each day)
_OfShard = tuple[int, tuple[tuple[int, int], list[tuple[int, int, pa.RecordBatch]]]]
# (region code, shard, day) -> (records, pairs, groups), the two of them locked
_Waiting = tuple[tuple[int, int, int], tuple[int, bytes, bytes]]
_HELD = TupleCoder([VarIntCoder(), BytesCoder(), BytesCoder()])
_NEVER_DROPPED = Duration(seconds=10 * 365 * 86_400)


def over(day: int, statistics: Rules) -> int:
    """When nothing more is awaited of a day, in milliseconds since the epoch."""
    return (day + 1) * DAY_MS + round(statistics.grace_hours * HOUR_MS)


class Bounding:
    """Counts and bounds the records of one lot. One a worker: it holds the keys by which groups are chosen."""

    def __init__(self, editions: Editions, keys: Mapping[int, str]) -> None:
        self._pack, self._keys = editions.newest, keys
        self._plan = layout(self._pack, *editions.earlier)
        self._variants = [editions.of(region) for region in self._pack.where.regions]
        self._tables = tuple(self._pack.statistics.tables.values())
        self._ciphers: dict[int, ColumnCmac] = {}

    def bounded(self, judged: pa.RecordBatch, region: int) -> tuple[Contributions, dict[int, int]]:
        """What the records add, bounded; and by day how many records that is."""
        cipher = self._cipher(region)
        day = judged["event_time"].to_numpy()[counted_rows(judged, self._pack)] // DAY_MS
        numbers, records = np.unique(day, return_counts=True)
        whole = bound(contributions(judged, self._variants[region], self._plan, cipher), self._tables, cipher)
        return whole, dict(zip(numbers.tolist(), records.tolist(), strict=True))

    def together(self, parts: list[Contributions], region: int) -> Contributions:
        """What the lots of one shard add up to, bounded as one."""
        return bound(merged(parts), self._tables, self._cipher(region))

    def tally(self, judged: pa.RecordBatch, region: int, counts: Counts) -> None:
        """Counts the records that are counted, by hour of receipt and event type."""
        rows = counted_rows(judged, self._pack)
        hour, event_type = judged["received_time"].to_numpy()[rows] // HOUR_MS, judged["event_type"].to_numpy()[rows]
        words = {"region": self._pack.where.regions[region], "purpose": self._pack.statistics.purpose}
        for code in np.unique(event_type).tolist():
            hours, records = np.unique(hour[event_type == code], return_counts=True)
            event = EVENT_TYPES[code]
            counts.add_hours("statistics", "counted", records, hours * HOUR_MS, event_type=event, **words)

    def _cipher(self, region: int) -> ColumnCmac:
        if region not in self._ciphers:
            self._ciphers[region] = ColumnCmac(open_keyring(self._keys[region]).secret("statistics/bound", BORDER))
        return self._ciphers[region]


class _Contribute(beam.DoFn):
    """Judged records -> what they add. A bounded run judges all records of a shard at once, and so counts them here; in
    a stream they wait for the rest of their day."""

    def __init__(self, editions: Editions, keys: Mapping[int, str], partition: Partition) -> None:
        self._editions, self._pack, self._keys, self._partition = editions, editions.newest, dict(keys), partition

    def setup(self) -> None:
        self._bounding = Bounding(self._editions, self._keys)
        self._locks = Locks(self._keys, self._partition.shards)

    @discreet
    def process(self, element: Judged):
        (region, shard, window), judged = element
        if not judged.num_rows:
            return
        counts = Counts()
        self._bounding.tally(judged, region, counts)
        whole, records = self._bounding.bounded(judged, region)
        if self._partition.window_ms is None:
            received = judged["received_time"].to_numpy()
            span = int(received.min()), int(received.max())
            yield region, (span, [(day, n, counted(whole.of_day(day), self._pack)) for day, n in records.items()])
        else:
            received = (window + 1) * self._partition.window_ms
            yield from self._of_window(region, shard, received, whole, records, counts)
        yield from told_apart(counts)

    def _of_window(self, region: int, shard: int, received: int, whole: Contributions, records: dict, counts: Counts):
        """`received` is the end of the window. It decides what is late, and not how far the stream has come."""
        statistics, name = self._pack.statistics, self._pack.where.regions[region]
        key = region * self._partition.shards + shard
        for day, n in records.items():
            if received <= over(day, statistics):
                pairs, groups = whole.of_day(day).to_bytes()
                locked = self._locks.lock(key, PAIRS, pairs), self._locks.lock(key, GROUPS, groups)
                yield (region, shard, day), (n, *locked)
            else:
                counts.add("statistics", "late", n, region=name, purpose=statistics.purpose)


class _CompleteInRun(beam.DoFn):
    """The days of one region -> those that are over. The others are counted and go no further."""

    def __init__(self, pack: Pack, complete_through: date | None) -> None:
        self._pack, self._through = pack, complete_through

    @discreet
    def process(self, element: tuple[int, Iterable]):
        region, shards = element[0], list(element[1])
        first, latest = min(span[0] for span, _ in shards), max(span[1] for span, _ in shards)
        parts: dict[int, list] = {}
        for day, *part in chain.from_iterable(days for _, days in shards):
            parts.setdefault(day, []).append(part)
        counts, statistics = Counts(), self._pack.statistics
        for day in sorted(parts):
            records, total = _sum(parts[day])
            if self._is_whole(day, first, latest):
                yield (region, day), (records, total)
            else:
                name = self._pack.where.regions[region]
                counts.add("statistics", "incomplete", records, region=name, purpose=statistics.purpose)
        yield from told_apart(counts)

    def _is_whole(self, day: int, first: int, latest: int) -> bool:
        """Days before the first receipt are another input's: here are but those of their records that came late, and a
        release of these few would stand for good."""
        if self._through is not None:
            return day <= (self._through - date(1970, 1, 1)).days
        return first // DAY_MS <= day and over(day, self._pack.statistics) <= latest


class _AwaitDay(beam.DoFn):
    """What the windows of one shard add to one day -> exact counts, once the watermark says that the day is over."""

    WAITING = BagStateSpec("waiting", _HELD)
    OVER = TimerSpec("over", TimeDomain.WATERMARK)

    def __init__(self, editions: Editions, keys: Mapping[int, str], partition: Partition) -> None:
        self._editions, self._pack, self._keys = editions, editions.newest, dict(keys)
        self._partition = partition

    def setup(self) -> None:
        self._bounding = Bounding(self._editions, self._keys)
        self._locks = Locks(self._keys, self._partition.shards)

    @discreet
    def process(self, element: _Waiting, waiting=beam.DoFn.StateParam(WAITING), timer=beam.DoFn.TimerParam(OVER)):
        (_, _, day), held = element
        waiting.add(held)
        # Strictly later: the window that ends at that very moment still belongs to the day.
        timer.set(Timestamp(micros=(over(day, self._pack.statistics) + 1) * 1000))

    @on_timer(OVER)
    @discreet
    def fire(self, key=beam.DoFn.KeyParam, waiting=beam.DoFn.StateParam(WAITING)):
        held = list(waiting.read())
        waiting.clear()
        if held:  # a timer that was set again fires again
            region, shard, day = key
            of_shard = region * self._partition.shards + shard
            parts = [
                Contributions.from_bytes(
                    self._locks.unlock(of_shard, PAIRS, pairs), self._locks.unlock(of_shard, GROUPS, groups)
                )
                for _, pairs, groups in held
            ]
            records = sum(n for n, _, _ in held)
            yield (region, day), (records, counted(self._bounding.together(parts, region), self._pack))


def _sum(parts: Iterable[tuple[int, pa.RecordBatch]]) -> tuple[int, pa.RecordBatch]:
    parts = list(parts)
    return sum(records for records, _ in parts), added([counts for _, counts in parts])


@dataclass
class Statistics(beam.PTransform):
    """(lot, judged records) -> a dict of two: `days`, ((region code, day), (records, exact counts by group)) once for
    each day that is over; and tallies under `TALLIES`. `keys` are keyring URIs by region code.

    `complete_through` is the last day that a bounded run takes for over; without it the greatest receipt decides.
    """

    editions: Editions
    keys: Mapping[int, str]
    partition: Partition
    complete_through: date | None = None

    def expand(self, judged):
        bounded = self.partition.window_ms is None
        contribute = beam.ParDo(_Contribute(self.editions, self.keys, self.partition)).with_input_types(Judged)
        typed = contribute.with_output_types(_OfShard if bounded else _Waiting, **{TALLIES: Tally})
        found = judged | "Contribute" >> typed.with_outputs(TALLIES, main="found")
        if not bounded:
            return {DAYS: self._of_stream(found.found), TALLIES: found[TALLIES]}
        complete = beam.ParDo(_CompleteInRun(self.editions.newest, self.complete_through))
        complete = complete.with_output_types(Day, **{TALLIES: Tally}).with_outputs(TALLIES, main=DAYS)
        days = found.found | "Region" >> beam.GroupByKey() | "Complete" >> complete
        return {DAYS: days.days, TALLIES: (found[TALLIES], days[TALLIES]) | "Tallies" >> beam.Flatten()}

    def _of_stream(self, waiting):
        # The shards' timers of a day fire at one moment: a window around it gathers them. What came after it, if a
        # runner let it, would go on as well, and be told apart where a day that is released already is.
        moment = beam.WindowInto(
            FixedWindows(1),
            trigger=AfterWatermark(late=AfterCount(1)),
            accumulation_mode=AccumulationMode.DISCARDING,
            allowed_lateness=_NEVER_DROPPED,
        )
        return (
            waiting
            | "AwaitDay" >> beam.ParDo(_AwaitDay(self.editions, self.keys, self.partition)).with_output_types(Day)
            | "Moment" >> moment
            | "Shards" >> beam.GroupByKey()
            | "Sum" >> beam.FlatMap(_summed).with_output_types(Day)
            | "AllTime" >> beam.WindowInto(GlobalWindows())
        )


@discreet
def _summed(
    shards: tuple[tuple[int, int], Iterable],
) -> Iterator[Day]:  # for FlatMap: Beam pickles Map by value
    key, parts = shards
    yield key, _sum(parts)
