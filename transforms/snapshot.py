"""Snapshot: a ledger as it was known at a time, sealed and kept, and from there back into the job.

What is kept is what the border would have sent, before it is spread over shards: how many shards there are is the
job's affair. Nothing is compacted away but exact repetitions. So a job that starts from a snapshot knows the same
entries as one that reads the ledger that it was made of, and may read that ledger as well: what it knows twice counts
once.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.consent import SEALED_LEDGER, STOPS, Kind, SubjectType
from schemas.datasets import LEDGER, LEDGER_IDS
from schemas.editions import Editions
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from schemas.tallies import Counts, Tally
from transforms.block import few_lines
from transforms.border import REGISTER, ledger_pieces
from transforms.columns import tag_blocks
from transforms.decode import decode_ledger
from transforms.discreet import discreet
from transforms.entry_ids import Register
from transforms.exchange import Piece, coalesce, pieces
from transforms.generalise import compact
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.lines import Habits, faults_of, merged
from transforms.locate import locate
from transforms.locks import Locks
from transforms.scrub import Scrubber
from transforms.seal import Partition, Seals
from transforms.seal_ledger import (
    ACCOUNTS,
    NOWHERE,
    REGISTERED,
    STOPPED,
    UNREADABLE,
    LedgerSealer,
    SealedLedger,
    spread,
)
from transforms.tallies import TALLIES, told_apart
from transforms.verdict import Reason

_UNSHARDED = Partition(1, None)
_IDS = pa.schema([pa.field("entry_id", pa.binary(16)), pa.field("received_time", pa.int64())])
_ORDER = {
    LEDGER: ("subject", "entry_id", "received_time", "time", "kind"),
    LEDGER_IDS: ("entry_id", "received_time"),
}
_SCHEMA = {LEDGER: SEALED_LEDGER, LEDGER_IDS: _IDS}
_STOP_CODES = np.array(sorted(STOPS))

Part = tuple[str, int, pa.RecordBatch]  # dataset, region code, rows


def terms(editions: Editions) -> str:
    """Names what sealing a ledger takes from the policy: where entries belong, and which purposes there are. Under
    other terms the same ledger would be sealed to other entries."""
    said = json.dumps([asdict(editions.newest.where), sorted(editions.purposes)], sort_keys=True)
    return blake2b(said.encode(), digest_size=8, person=b"douane terms").hexdigest()


class Snapshotter:
    """Seals a ledger block by block, by the border's own functions, as far as it was received by `as_of_ms`.

    `keys` are keyring URIs by region code, of the regions that are served. What was read is counted in `lines` (by
    outcome) and `faults` (rejected lines by reason). A rejected line's time of receipt is not known: it is taken to be
    known, since it closes.

    The register of ids is not kept as such: it follows from the entries wherever they act. Kept are the ids of those
    that act nowhere, which may contradict or correct others all the same.
    """

    def __init__(self, editions: Editions, keys: Mapping[int, str], arrival: int, as_of_ms: int) -> None:
        seals = Seals({region: open_keyring(uri) for region, uri in keys.items()})
        labels = Labels(Scrubber(LABEL_RECOGNISERS))
        self._sealer = LedgerSealer(seals, _UNSHARDED, tuple(sorted(keys)), arrival, labels, editions.purposes)
        self._where, self._arrival, self._as_of_ms = editions.newest.where, arrival, as_of_ms
        self._habits = Habits()
        self.parts = [*((LEDGER, region) for region in sorted(keys)), (LEDGER_IDS, arrival)]  # all that there can be
        self.lines: Counter = Counter()
        self.faults: Counter = Counter()

    def seal(self, block: bytes) -> Iterator[Part]:
        """What is to be kept of a block of lines, in parts of one dataset and region. It raises for no input."""
        for part in few_lines(block):
            yield from self._seal(part)

    def _seal(self, block: bytes) -> Iterator[Part]:
        ledger = decode_ledger(block, self._habits)
        regions, _ = locate({name: ledger.columns[f"residency.{name}"] for name in SIGNALS}, self._where)
        entries, unreadable = self._sealer.seal(ledger, regions)
        faults = merged(ledger.faults, faults_of(ledger.line[entries.bad_subject], Reason.BAD_SUBJECT))
        self.faults.update(faults.counts())
        self.lines.update(
            lines=ledger.lines,
            blank=ledger.blank,
            rejected=len(faults.line),
            dated_ahead=ledger.dated_ahead,
            entries=len(ledger.time) - len(entries.bad_subject),
            later=int(np.count_nonzero(ledger.received_time > self._as_of_ms)),
            nobody=entries.nobody + unreadable.nobody,
            unlocated=entries.unlocated + unreadable.unlocated,
            unknown_purpose=entries.unknown_purposes + unreadable.unknown_purposes,
        )
        for sealed in (entries, unreadable):
            yield from self._by_region(sealed)

    def _by_region(self, sealed: SealedLedger) -> Iterator[Part]:
        known = sealed.batch.column("received_time").to_numpy() <= self._as_of_ms
        rows, region = sealed.batch.filter(pa.array(known)), sealed.key[known]
        for code, _, own in pieces(rows, region, np.zeros(len(region), np.int64)):
            yield LEDGER, code, own
        register = sealed.register[sealed.register["received"] <= self._as_of_ms]
        if len(lost := register[register["place"] == NOWHERE]):
            blocks = pa.py_buffer(np.ascontiguousarray(lost["id"]))
            ids = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(lost), [None, blocks])
            columns = [ids, pa.array(lost["received"])]
            yield LEDGER_IDS, self._arrival, pa.RecordBatch.from_arrays(columns, schema=_IDS)


def distinct(dataset: str, parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Rows, each once, in an order that says nothing of the ledger's: by what is sealed, which is as good as random.
    Labels hold the words of these rows alone."""
    if not parts:
        return pa.RecordBatch.from_pylist([], _SCHEMA[dataset])
    rows = pa.Table.from_batches([coalesce(parts)])
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    (rows,) = rows.sort_by([(name, "ascending") for name in _ORDER[dataset]]).combine_chunks().to_batches()
    return as_entries(rows) if dataset == LEDGER else rows


def as_entries(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a snapshot, as made or as a file has them, in the schema `SEALED_LEDGER`."""
    columns = (_as(rows.column(field.name), field.type) for field in SEALED_LEDGER)
    return pa.RecordBatch.from_arrays(list(columns), schema=SEALED_LEDGER)


def _as(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return compact(column.dictionary_encode()).cast(type_) if pa.types.is_dictionary(type_) else column


def spread_over(rows: pa.RecordBatch, ids: pa.Array, region: int, arrival: bool, shards: int) -> SealedLedger:
    """Entries of one region at every shard where they must be known, as the border would have sent them. `ids` are
    those of the rows as the region of arrival has them; what acts in every region is told to the register by it."""
    account = rows.column("subject_type").to_numpy() == SubjectType.account
    pair, shard = spread(rows.column("subject"), account, shards)
    order = np.argsort(shard, kind="stable")
    pair, key = pair[order], region * shards + shard[order]
    kind = rows.column("kind").to_numpy()[pair]
    stop, unreadable = np.isin(kind, _STOP_CODES), kind == Kind.unreadable
    register = np.empty(len(pair), REGISTERED)
    register["id"] = tag_blocks(ids)[pair]
    register["received"] = rows.column("received_time").to_numpy()[pair]
    places = [STOPPED, UNREADABLE, ACCOUNTS - region]
    register["place"] = np.select([stop, unreadable, account[pair]], places, key)
    register = register[arrival | ~(stop | unreadable)]
    return SealedLedger(rows.take(pa.array(pair)), key, register, 0, np.empty(0, np.int64), 0, 0)


def nowhere(rows: pa.RecordBatch) -> np.ndarray:
    """What the register is told of entries that act nowhere."""
    register = np.empty(len(rows), REGISTERED)
    register["id"] = tag_blocks(rows.column("entry_id"))
    register["received"] = rows.column("received_time").to_numpy()
    register["place"] = NOWHERE
    return register


class _Load(beam.DoFn):
    def __init__(self, snapshot: "FromSnapshot") -> None:
        self._read, self._regions, self._partition = snapshot.read, dict(snapshot.regions), snapshot.partition
        self._keys = dict(snapshot.keys)
        self._name, self._arrival, self._nobody = snapshot.name, snapshot.arrival, snapshot.nobody

    def setup(self) -> None:
        self._seals = Seals({region: open_keyring(uri) for region, uri in self._keys.items()})
        self._locks = Locks(self._keys, self._partition.shards)
        self._register = Register(self._locks, self._arrival, self._partition)

    @discreet
    def process(self, region: int) -> Iterator:
        counts, arrival = Counts(), region == self._arrival
        counts.add("snapshot", "spans", 1)
        if arrival:
            counts.add("snapshot", "nobody", self._nobody)
            for rows in self._read(LEDGER_IDS, region):
                for piece in self._register.pieces(nowhere(rows)):
                    yield beam.pvalue.TaggedOutput(REGISTER, piece)
        for rows in map(as_entries, self._read(LEDGER, region)):
            counts.add("snapshot", "entries", len(rows), region=self._regions[region], reason=self._name)
            ids = self._seals.untag("entry_id", rows.column("entry_id"), region)
            sealed = spread_over(rows, ids, region, arrival, self._partition.shards)
            counts.add("ledger", "sent", len(sealed.key), region=self._regions[region])
            yield from ledger_pieces(sealed, self._locks, self._register)
        yield from told_apart(counts)


@dataclass
class FromSnapshot(beam.PTransform):
    """The beginning -> sealed pieces of the ledger, with tallies under `TALLIES` and what the register is told under
    `REGISTER`, as a border gives them.

    `read` gives what a dataset keeps in a region, in batches of bounded size; `regions` are the names of those that are
    served, and `keys` their keyring URIs, by region code. `nobody` is how many lines of the ledger named nobody who can
    be read: whom they protect is not known here either, and the region of `arrival` is told so.
    """

    name: str
    read: Callable[[str, int], Iterator[pa.RecordBatch]]
    regions: Mapping[int, str]
    keys: Mapping[int, str]
    arrival: int
    nobody: int
    partition: Partition

    def expand(self, pbegin):
        loading = beam.ParDo(_Load(self)).with_output_types(Piece, **{TALLIES: Tally, REGISTER: Piece})
        regions = pbegin | "Regions" >> beam.Create(sorted(self.regions), reshuffle=True).with_output_types(int)
        return regions | "Load" >> loading.with_outputs(TALLIES, REGISTER, main="pieces")
