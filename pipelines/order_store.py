"""OrderStore: the two lists of a dataset, `D_orders` for the erasure role and `D_stopped` for D's readers.

Only here all shards of a region come together, so only here an order that several lots know is told once for each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import get_args

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.deployment import RegionalPlace
from pipelines.sinks import ByWindow, Gathered, day_of, logical_name
from pipelines.stores import Staged, commit, stage
from schemas.consent import STOPS, Kind, SubjectType
from schemas.datasets import ORDERS_SUFFIX, STOPPED_SUFFIX, purpose_of
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.orders import CLAUSE_OF_STOP, ERASE, HOLD, QUEUE, STOPPED
from schemas.tallies import Counts, Tally
from transforms.discreet import discreet
from transforms.exchange import ORDERED
from transforms.ipc import from_ipc
from transforms.locks import Locks
from transforms.orders import ORDERS, Known, LockStops, Ordered, Orders, Stops
from transforms.seal import Partition
from transforms.tallies import told

_ONE = [name for name in ORDERS.names if name != "window"]
_SORTED = ("order", "token", "shard", "by", "app", "event_type", "until", "hold")
_KINDS = [Kind(code).name if code in STOPS else "" for code in range(max(STOPS) + 1)]


@dataclass
class OrderStore(beam.PTransform):
    """((region, shard, window), stops) -> tallies. Two files a dataset that gets any orders, in a stream two a window:
    the stops of a region wait, locked, until theirs is over, and each dataset is asked about all of them at once."""

    editions: Editions
    places: Mapping[int, RegionalPlace]
    input_id: str
    run: str
    started: str  # the date of what has no time
    partition: Partition

    def expand(self, stops):
        keys = {region: place.keys for region, place in self.places.items()}
        known = stops | "Stops" >> LockStops(keys, self.partition)
        known |= "ByWindow" >> ByWindow(self.partition.window_ms, *get_args(Stops))
        known |= "Known" >> beam.FlatMap(_known).with_output_types(Known)
        made = known | "Orders" >> Orders(self.editions, keys, self.partition)
        return made | "Write" >> beam.ParDo(_Write(self)).with_output_types(Tally)


@discreet
def _known(element: tuple[int, Gathered]) -> Iterator[Known]:
    region, (start, in_time, late) = element
    yield (region, start), [*in_time, *late]


class _Write(beam.DoFn):
    def __init__(self, store: OrderStore) -> None:
        self._places, self._input_id, self._run = dict(store.places), store.input_id, store.run
        self._shards, self._started = store.partition.shards, store.started

    def setup(self) -> None:
        self._locks = Locks({region: place.keys for region, place in self._places.items()}, self._shards)

    def start_bundle(self) -> None:
        self._staged: list[Staged] = []

    @discreet
    def process(self, element: Ordered) -> Iterator[Tally]:
        (region, dataset, start), ordered = element
        place = self._places[region]
        queue = queued(from_ipc(self._locks.unlock(region * self._shards, ORDERED, ordered)))
        day = day_of(start, self._started)
        logical = logical_name(listed_under(self._input_id, self._run), start, 0)
        lists = {dataset + ORDERS_SUFFIX: queue, dataset + STOPPED_SUFFIX: queue.select(STOPPED.names)}
        self._staged += [stage(place, name, day, logical, rows, self._run) for name, rows in lists.items()]
        counts = Counts()
        for name in lists:
            counts.add("orders", "rows", queue.num_rows, region=place.region, dataset=name)
        _count(queue, dataset, place.region, counts)
        yield from told(counts)

    @discreet
    def finish_bundle(self) -> None:
        commit(self._staged)


def listed_under(input_id: str, run: str) -> str:
    """What stands in a list's name for the input: a run over the same input replaces no list of another run, for what
    that one knew touches rows of other inputs too."""
    return f"{input_id}.{run}"


def queued(ordered: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of ORDERS -> rows of QUEUE: each order and token once a shard, by the first window that knew it. In which
    order the rows come does not show."""
    rows = pa.Table.from_batches([ordered])
    rows = rows.group_by(_ONE, use_threads=False).aggregate([("window", "min")]).rename_columns([*_ONE, "window"])
    rows = rows.sort_by([(name, "ascending") for name in _SORTED]).combine_chunks()
    kind = rows["kind"].combine_chunks()
    columns = {name: rows[name].combine_chunks() for name in ("order", "token", "until", "window", "shard")}
    columns |= {
        "by": _words(rows["by"].combine_chunks(), [type_.name for type_ in SubjectType]),
        "app": rows["app"].combine_chunks().dictionary_encode(),
        "event_type": _words(rows["event_type"].combine_chunks(), list(EVENT_TYPES)),
        "epoch": rows["epoch"].combine_chunks().dictionary_encode(),
        "action": _words(rows["hold"].combine_chunks().cast(pa.int8()), [ERASE, HOLD]),
        "kind": _words(kind, _KINDS),
        "clause": _words(kind, [CLAUSE_OF_STOP.get(word, "") for word in _KINDS]),
    }
    return pa.record_batch({name: columns[name] for name in QUEUE.names})


def _words(codes: pa.Array, words: list[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(codes.cast(pa.int32()), pa.array(words))


def _count(queue: pa.RecordBatch, dataset: str, region: str, counts: Counts) -> None:
    """How many stops it is that ask something, whatever the number of their tokens and shards."""
    table = pa.table({name: queue.column(name) for name in ("order", "action", "kind")})
    first = table.set_column(1, "action", pc.cast(table["action"], pa.string()))
    first = first.set_column(2, "kind", pc.cast(first["kind"], pa.string()))
    found = first.group_by(["action", "kind"], use_threads=False).aggregate([("order", "count_distinct")])
    outcome = {ERASE: "ordered", HOLD: "held"}
    words = (found[name].to_pylist() for name in ("action", "kind", "order_count_distinct"))
    for action, kind, number in zip(*words, strict=True):
        what = {"reason": kind, "dataset": dataset, "purpose": purpose_of(dataset)}
        counts.add("orders", outcome[action], number, region=region, **what)
