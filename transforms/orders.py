"""Orders: what a stop asks of rows that are stored already, for each dataset apart (5.2-erase, 5.2-restrict, 5.3).

An order is a function of the ledger entry alone, whether or not rows exist. The stops of a region wait, locked, until
their window is over, and are made into orders together. No sealed subject leaves that step: an order names tokens of
one purpose, and its id is a keyed tag under a secret of its dataset, so nobody can tell that two queues speak of the
same stop.

Purposes without a subject hold nobody's token: nothing of theirs can be found, and no order is made.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import MIN_TIMESTAMP, Timestamp

from schemas.consent import ABOUT_PURPOSES, EVERY_PURPOSE, STOPS, SubjectType
from schemas.datasets import ORDERS_SUFFIX, SUBJECT_FIELD, Dataset, datasets
from schemas.editions import Editions, midnight
from schemas.fields import EVENT_TYPES
from schemas.orders import HOLD, admitting, effect, scoped, serving
from schemas.policy import Pack
from transforms.cmac import ColumnCmac
from transforms.discreet import discreet
from transforms.exchange import ORDERED, WAITING, Judged, coalesce, ledger_rows
from transforms.generalise import MILLISECONDS
from transforms.ipc import to_buffer
from transforms.keyring import open_keyring
from transforms.locks import Locks
from transforms.pseudonymise import Tokens, epoch_of
from transforms.seal import Partition

_DAY_MS = 86_400_000
_KINDS = (max(STOPS) + 1, len(SubjectType))  # a table with a place for each (kind, subject type)
_AT_ONCE = 1 << 20  # stops in a batch: the names of all of a region may be more than an Arrow array can hold
_OF_PURPOSES = np.isin(np.arange(_KINDS[0]), sorted(ABOUT_PURPOSES))

# What leaves this step: the columns of the lists, with codes for words.
ORDERS = pa.schema(
    [
        pa.field("order", pa.binary(16)),
        pa.field("token", pa.binary(16)),
        pa.field("by", pa.int8()),  # SubjectType
        pa.field("app", pa.string()),
        pa.field("event_type", pa.int8()),
        pa.field("until", pa.int64()),
        pa.field("epoch", pa.string()),
        pa.field("hold", pa.bool_()),
        pa.field("kind", pa.int8()),  # Kind
        pa.field("window", pa.int64()),
        pa.field("shard", pa.int32()),
    ]
)
Stops = tuple[int, tuple[int, int, bytes]]  # (region code, (shard, window, rows of SEALED_LEDGER, locked))
Known = tuple[tuple[int, int], Iterable[tuple[int, int, bytes]]]  # ((region code, start), of each the rest of Stops)
Ordered = tuple[tuple[int, str, int], bytes]  # ((region code, dataset, start), rows of ORDERS, locked)
Ciphers = Mapping[str, ColumnCmac]  # by epoch


@dataclass(frozen=True, eq=False)
class Owner:
    """A dataset as one edition has it, its pack as overlays leave it, and the last time (ms) of which rows were stored
    under it; None for the newest."""

    dataset: Dataset
    pack: Pack
    last: int | None
    # What was asked of it: a worker makes this step anew again and again, and nothing of it may outlive it.
    asked: dict[tuple[str, str], "_Asked"] = field(default_factory=dict, init=False, repr=False)


@dataclass(frozen=True)
class _Asked:
    """What stops that are about one purpose ask of rows, by kind of stop and type of subject."""

    anything: np.ndarray
    hold: np.ndarray
    bounded: np.ndarray  # of rows up to the stop alone
    by_app: np.ndarray


def _asked(owner: Owner, name: str, region: str) -> _Asked:
    if (name, region) not in owner.asked:
        owner.asked[name, region] = _table(owner, name, region)
    return owner.asked[name, region]


def _table(owner: Owner, name: str, region: str) -> _Asked:
    purpose, basis = owner.pack.purposes[name], owner.pack.basis(name, region)
    asked = _Asked(*(np.zeros(_KINDS, bool) for _ in range(4)))
    for kind, subject in product(STOPS, SubjectType):
        if found := effect(kind, subject, purpose, basis):
            at = kind, subject
            asked.anything[at], asked.hold[at], asked.bounded[at] = True, found[0] == HOLD, found[1]
            asked.by_app[at] = scoped(kind, purpose)
    return asked


def legible(stops: pa.RecordBatch) -> pa.RecordBatch:
    """Entries as this step asks about them: `name`, which an order's id is the tag of, `when` they took effect, and
    their `subject`, `subject_type`, `kind`, `purposes` and `app`.

    The name is the entry's own id, and what it says. So an entry is one order however often and wherever it is read,
    and two contents under one id are two.
    """
    own = {name: stops.column(name) for name in ("subject", "subject_type", "kind", "purposes")}
    app = stops.column("app").cast(pa.string())
    # It may have been late, or dated ahead.
    when = pa.array(np.minimum(stops.column("time").to_numpy(), stops.column("received_time").to_numpy()))
    words = [stops.column("entry_id"), own["subject"], when.view(pa.binary(8))]
    words += [own[name].view(pa.binary(1)) for name in ("subject_type", "kind")]
    words = [column.cast(pa.binary()) for column in words]
    nothing = pa.scalar(b"", pa.binary())
    name = pc.binary_join_element_wise(*words, pc.fill_null(app, "").cast(pa.binary()), nothing)
    return pa.record_batch({"name": name, "when": when, "app": app} | own)


def touching(stops: pa.RecordBatch, owner: Owner, region: str) -> pa.RecordBatch:
    """The stops, as `legible` gives them, that touch a dataset, and what each asks: `row` (its place in `stops`),
    `app`, `event_type`, `until`, `hold`.

    A stop that is about a purpose that a column waits for (a gate) takes the whole row; one about a purpose by which
    rows of an event type are collected takes those. Stored times are cut to a
    unit, and all of the unit in which an erasure lies goes. What a stop asks of rows of an earlier edition reaches as
    far as its time does (clause 9).
    """
    parts = [_about(stops, owner, name, region) for name in serving(owner.dataset)]
    for name, event_type in dict.fromkeys(admitting(owner.dataset, owner.pack, region)):
        parts.append(_beside(parts, _about(stops, owner, name, region, event_type)))
    return parts[0] if len(parts) == 1 else pa.concat_batches(parts)


def _beside(parts: list[pa.RecordBatch], more: pa.RecordBatch) -> pa.RecordBatch:
    """What asks for rows of one event type, without the stops that ask for all rows already."""
    whole = [part.filter(pc.and_(pc.is_null(part["until"]), pc.is_null(part["app"]))) for part in parts]
    taken = pa.concat_arrays([part["row"].filter(pc.is_null(part["event_type"])) for part in whole])
    return more.filter(pc.invert(pc.is_in(more["row"], value_set=taken)))


def _about(
    stops: pa.RecordBatch, owner: Owner, name: str, region: str, event_type: str | None = None
) -> pa.RecordBatch:
    asked = _asked(owner, name, region)
    kind, subject = stops.column("kind").to_numpy(), stops.column("subject_type").to_numpy()
    about = ~_OF_PURPOSES[kind] | _naming(stops.column("purposes"), name)
    row = np.flatnonzero(asked.anything[kind, subject] & about)
    at = kind[row], subject[row]
    unit, bounded = MILLISECONDS[owner.pack.purposes[owner.dataset.purpose].event_time], asked.bounded[at]
    until = (stops.column("when").to_numpy()[row] // unit + 1) * unit - 1
    if owner.last is not None:
        until, bounded = np.where(bounded, np.minimum(until, owner.last), owner.last), np.ones(len(row), bool)
    columns = {
        "row": pa.array(row),
        "app": stops.column("app").take(pa.array(row, mask=~asked.by_app[at])),
        "event_type": pa.repeat(_code(event_type), len(row)),
        "until": pa.array(until, mask=~bounded),
        "hold": pa.array(asked.hold[at]),
    }
    return pa.record_batch(columns)


def _code(event_type: str | None) -> pa.Scalar:
    return pa.scalar(None if event_type is None else EVENT_TYPES.index(event_type), pa.int8())


def _naming(purposes: pa.DictionaryArray, name: str) -> np.ndarray:
    naming = [words == EVERY_PURPOSE or name in words.split(",") for words in purposes.dictionary.to_pylist()]
    return np.array(naming, bool)[purposes.indices.to_numpy()]


def orders(
    stops: pa.RecordBatch, found: pa.RecordBatch, id_of: ColumnCmac, ciphers: Mapping[SubjectType, Ciphers], window: int
) -> pa.RecordBatch:
    """The orders of a window, rows of ORDERS: one for each token that the subject of a stop may have, by the epochs
    that `ciphers` has for its type. Where it has none, a row without a token says that the lot knew.

    `stops` are as `legible` gives them, with their `shard`; `found` is what `touching` gives of them, one at least.
    """
    touched = stops.take(found.column("row"))
    types, subjects = touched.column("subject_type").to_numpy(), touched.column("subject")
    at, epochs, tokens = [], [], []
    for type_ in np.unique(types).tolist():
        own = np.flatnonzero(types == type_)
        subject = subjects.take(pa.array(own))
        for epoch, cipher in (ciphers[type_] or {None: None}).items():
            at.append(own)
            epochs.append(pa.repeat(pa.scalar(epoch, pa.string()), len(own)))
            tokens.append(cipher.tag(subject) if cipher else pa.nulls(len(own), subjects.type))
    rows = pa.array(np.concatenate(at))
    ids = id_of.tag(touched.column("name")).take(rows)
    touched, found = touched.take(rows), found.take(rows)
    columns = {
        "order": ids,
        "token": pa.concat_arrays(tokens),
        "by": touched.column("subject_type"),
        "app": found.column("app"),
        "event_type": found.column("event_type"),
        "until": found.column("until"),
        "epoch": pa.concat_arrays(epochs),
        "hold": found.column("hold"),
        "kind": touched.column("kind"),
        "window": pa.array(np.full(len(rows), window)),
        "shard": touched.column("shard"),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=ORDERS)


def owners(editions: Editions, region: str) -> dict[str, list[Owner]]:
    """Every dataset that an edition has, also one that the newest gave up, of a purpose that needs a subject there. A
    row does not say of which service it is: where the overlay of one asks for more, it is asked of all rows."""
    ends = [midnight(following.effective) - 1 for following in editions.packs[1:]]
    found: dict[str, list[Owner]] = {}
    for pack, last in reversed(list(zip(editions.packs, [*ends, None], strict=True))):
        here = [pack.effective_for(service, region) for service in (None, *pack.by_service)]
        for name, dataset in datasets(pack).items():
            if pack.purposes[dataset.purpose].subject:
                of = found.setdefault(name, [])
                of += (
                    Owner(dataset, each, last) for each in here if each is here[0] or _differ(each, here[0], dataset)
                )
    return found


def _differ(one: Pack, other: Pack, dataset: Dataset) -> bool:
    return any(one.purposes[name] != other.purposes[name] for name in serving(dataset))


def by_owners(stops: pa.RecordBatch, of: list[Owner], region: str) -> pa.RecordBatch:
    """What stops ask of a dataset, as `touching` gives it, by each of its owners."""
    parts = [touching(stops, owner, region) for owner in of]
    if len(parts) == 1:
        return parts[0]
    table = pa.Table.from_batches(parts)
    table = table.group_by(table.column_names, use_threads=False).aggregate([]).combine_chunks()
    return pa.RecordBatch.from_arrays([column.combine_chunks() for column in table.columns], schema=parts[0].schema)


class _Lock(beam.DoFn):
    def __init__(self, keys: Mapping[int, str], partition: Partition) -> None:
        self._keys, self._partition = dict(keys), partition

    def setup(self) -> None:
        self._locks = Locks(self._keys, self._partition.shards)

    @discreet
    def process(self, element: Judged, timestamp=beam.DoFn.TimestampParam) -> Iterator:
        (region, shard, window), stops = element
        payload = self._locks.lock(region * self._partition.shards + shard, WAITING, to_buffer(stops))
        since = _month_before(window, self._partition.window_ms)
        yield TimestampedValue((region, (shard, window, payload)), max(timestamp, since))


def _month_before(window: int, window_ms: int | None) -> Timestamp:
    """When the month began that holds the day before a window. No epoch is shorter than a month: once all rows from
    before it are stored, each token that a stop of the window must name has a key, or is of an epoch that
    `_Orders._ciphers` adds. A block of the ledger may hold years, and bears the time of its first entry."""
    if window_ms is None:
        return MIN_TIMESTAMP
    month = np.datetime64(max(0, window * window_ms - _DAY_MS), "ms").astype("datetime64[M]")
    return Timestamp(micros=int(month.astype("datetime64[us]").astype(np.int64)))


@dataclass
class LockStops(beam.PTransform):
    """((region, shard, window), stops) -> `Stops`: how stops wait for the others of their region, at the time from
    which on they may be asked about. `keys` are keyring URIs by region."""

    keys: Mapping[int, str]
    partition: Partition

    def expand(self, stops):
        lock = beam.ParDo(_Lock(self.keys, self.partition))
        return stops | "Lock" >> lock.with_input_types(Judged).with_output_types(Stops)


def _together(stops: list[pa.RecordBatch], shards: list[np.ndarray]) -> pa.RecordBatch:
    return legible(coalesce(stops)).append_column("shard", pa.array(np.concatenate(shards)))


def _id_secret(dataset: str) -> tuple[str, str]:
    """The name of the key of a dataset's order ids, and what wraps it."""
    return f"orders/{dataset}", f"dataset-{dataset}{ORDERS_SUFFIX}"


class _Orders(beam.DoFn):
    def __init__(self, editions: Editions, keys: Mapping[int, str], partition: Partition) -> None:
        self._editions, self._keys, self._partition = editions, dict(keys), partition

    def setup(self) -> None:
        self._regions = self._editions.newest.where.regions
        self._tokens = Tokens(self._editions.newest, self._keys)
        self._locks = Locks(self._keys, self._partition.shards)
        self._owners = [owners(self._editions, region) for region in self._regions]
        self._ids: dict[tuple[int, str], ColumnCmac] = {}

    @discreet
    def process(self, element: Known) -> Iterator[Ordered]:
        (region, start), parts = element
        lots = list(self._by_window(region, parts))
        held = self._tokens.epochs(region)  # looked up once for all datasets
        if lots:
            open_keyring(self._keys[region]).make(dict(map(_id_secret, self._owners[region])))
        for name, of in self._owners[region].items():
            made = [rows for window, stops in lots for rows in self._of_dataset(name, of, region, window, stops, held)]
            if made:
                rows = to_buffer(pa.concat_batches(made))
                yield (region, name, start), self._locks.lock(region * self._partition.shards, ORDERED, rows)

    def _by_window(self, region: int, parts: Iterable[tuple[int, int, bytes]]) -> Iterator[tuple[int, pa.RecordBatch]]:
        """The stops that each window is the first to know, as `legible` gives them; many in several batches."""
        found: dict[int, list[tuple[int, bytes]]] = {}
        for shard, window, payload in parts:
            found.setdefault(window, []).append((shard, payload))
        for window, lots in sorted(found.items()):
            stops, shards = [], []
            for shard, payload in lots:
                key = region * self._partition.shards + shard
                stops.append(ledger_rows(self._locks.unlock(key, WAITING, payload)))
                shards.append(np.full(stops[-1].num_rows, shard, np.int32))
                if sum(map(len, shards)) >= _AT_ONCE:
                    yield window, _together(stops, shards)
                    stops, shards = [], []
            if stops:
                yield window, _together(stops, shards)

    def _of_dataset(
        self, name: str, of: list[Owner], region: int, window: int, stops: pa.RecordBatch, held: Mapping
    ) -> Iterator[pa.RecordBatch]:
        found = by_owners(stops, of, self._regions[region])
        if found.num_rows:
            purpose = of[0].dataset.purpose
            length = of[0].pack.purposes[purpose].token_epoch  # as the latest that has it says
            ciphers = {type_: self._ciphers(region, purpose, length, type_, window, held) for type_ in SubjectType}
            yield orders(stops, found, self._id_of(region, name), ciphers, window)

    def _id_of(self, region: int, dataset: str) -> ColumnCmac:
        if (region, dataset) not in self._ids:
            self._ids[region, dataset] = ColumnCmac(open_keyring(self._keys[region]).secret(*_id_secret(dataset)))
        return self._ids[region, dataset]

    def _ciphers(
        self, region: int, purpose: str, length: str, type_: SubjectType, window: int, held: Mapping
    ) -> Ciphers:
        """Of every epoch that has a key. In a stream also of the window's own, and of the day before: rows of windows
        before it may still be waiting for their first key, and an order is made once."""
        kind, window_ms = SUBJECT_FIELD[type_.name].kind, self._partition.window_ms
        epochs = set(held.get((purpose, kind), ()))
        if window_ms is not None:
            epochs |= {epoch_of(window * window_ms - before, length) for before in (0, _DAY_MS)}
        return {epoch: self._tokens.cipher(region, purpose, kind, epoch) for epoch in sorted(epochs)}


@dataclass
class Orders(beam.PTransform):
    """((region, start), [(shard, window, stops locked)]) -> ((region, dataset, start), rows of ORDERS as Arrow IPC,
    locked): the tokens of one stop in all purposes leave this step one beside the other. `keys` are keyring URIs by
    region; `start` says when what came together began."""

    editions: Editions
    keys: Mapping[int, str]
    partition: Partition

    def expand(self, stops):
        make = beam.ParDo(_Orders(self.editions, self.keys, self.partition))
        return stops | "Make" >> make.with_input_types(Known).with_output_types(Ordered)
