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

from schemas.consent import SEALED_LEDGER, SubjectType
from schemas.datasets import LEDGER
from schemas.fields import PURPOSES
from schemas.policy import Pack
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from schemas.tallies import Counts, Tally
from transforms.border import ledger_pieces
from transforms.decode import decode_ledger
from transforms.exchange import Piece, coalesce, pieces
from transforms.generalise import compact
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.lines import Habits, faults_of, merged
from transforms.locate import locate
from transforms.scrub import Scrubber
from transforms.seal import Partition, Seals
from transforms.seal_ledger import LedgerSealer, SealedLedger, spread
from transforms.tallies import TALLIES, told_apart
from transforms.verdict import Reason

_UNSHARDED = Partition(1, None)
_ORDER = ("subject", "entry_id", "received_time", "time", "kind")

Part = tuple[str, int, pa.RecordBatch]  # dataset, region code, rows


def terms(pack: Pack) -> str:
    """Names what sealing a ledger takes from a policy pack: where entries belong, and which purposes there are. Under
    other terms the same ledger would be sealed to other entries."""
    said = json.dumps([asdict(pack.where), sorted(_known(pack))], sort_keys=True)
    return blake2b(said.encode(), digest_size=8, person=b"douane terms").hexdigest()


def _known(pack: Pack) -> frozenset[str]:
    return frozenset(pack.purposes) | PURPOSES


class Snapshotter:
    """Seals a ledger block by block, by the border's own functions, as far as it was received by `as_of_ms`.

    `keys` are keyring URIs by region code, of the regions that are served. What was read is counted in `lines` (by
    outcome) and `faults` (rejected lines by reason). A rejected line's time of receipt is not known: it is taken to be
    known, since it closes.
    """

    def __init__(self, pack: Pack, keys: Mapping[int, str], as_of_ms: int) -> None:
        seals = Seals({region: open_keyring(uri) for region, uri in keys.items()})
        labels = Labels(Scrubber(LABEL_RECOGNISERS))
        self._sealer = LedgerSealer(seals, _UNSHARDED, tuple(sorted(keys)), labels, _known(pack))
        self._where, self._as_of_ms, self._habits = pack.where, as_of_ms, Habits()
        self.lines: Counter = Counter()
        self.faults: Counter = Counter()

    def seal(self, block: bytes) -> Iterator[Part]:
        """What is to be kept of a block of lines, in parts of one dataset and region. It raises for no input."""
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


def distinct(parts: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Entries, each once, in an order that says nothing of the ledger's: by subject, whose form is as good as random.
    Labels hold the words of these rows alone."""
    if not parts:
        return pa.RecordBatch.from_pylist([], SEALED_LEDGER)
    rows = pa.Table.from_batches([coalesce(parts)])
    rows = rows.group_by(rows.column_names, use_threads=False).aggregate([])
    (rows,) = rows.sort_by([(name, "ascending") for name in _ORDER]).combine_chunks().to_batches()
    return as_entries(rows)


def as_entries(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Rows of a snapshot, as made or as a file has them, in the schema `SEALED_LEDGER`."""
    columns = (_as(rows.column(field.name), field.type) for field in SEALED_LEDGER)
    return pa.RecordBatch.from_arrays(list(columns), schema=SEALED_LEDGER)


def _as(column: pa.Array, type_: pa.DataType) -> pa.Array:
    return compact(column.dictionary_encode()).cast(type_) if pa.types.is_dictionary(type_) else column


def spread_over(rows: pa.RecordBatch, region: int, shards: int) -> SealedLedger:
    """Entries of one region at every shard where they must be known, as the border would have sent them."""
    account = rows.column("subject_type").to_numpy() == SubjectType.account
    pair, shard = spread(rows.column("subject"), account, shards)
    order = np.argsort(shard, kind="stable")
    key = region * shards + shard[order]
    return SealedLedger(rows.take(pa.array(pair[order])), key, 0, np.empty(0, np.int64), 0, 0)


class _Load(beam.DoFn):
    def __init__(self, snapshot: "FromSnapshot") -> None:
        self._read, self._regions, self._partition = snapshot.read, dict(snapshot.regions), snapshot.partition
        self._name, self._arrival, self._nobody = snapshot.name, snapshot.arrival, snapshot.nobody

    def process(self, region: int) -> Iterator:
        counts = Counts()
        counts.add("snapshot", "spans", 1)
        if region == self._arrival:
            counts.add("snapshot", "nobody", self._nobody)
        for rows in self._read(region):
            counts.add("snapshot", "entries", len(rows), region=self._regions[region], reason=self._name)
            sealed = spread_over(rows, region, self._partition.shards)
            counts.add("ledger", "sent", len(sealed.key), region=self._regions[region])
            yield from ledger_pieces(sealed)
        yield from told_apart(counts)


@dataclass
class FromSnapshot(beam.PTransform):
    """The beginning -> sealed pieces of the ledger, with tallies under the tag `TALLIES`, as a border gives them.

    `read` gives the kept entries of a region by its code, in batches of bounded size; `regions` are the names of those
    that are served, by theirs. `nobody` is how many lines of the ledger named nobody who can be read: whom they protect
    is not known here either, and the region of `arrival` is told so.
    """

    name: str
    read: Callable[[int], Iterator[pa.RecordBatch]]
    regions: Mapping[int, str]
    arrival: int
    nobody: int
    partition: Partition

    def expand(self, pbegin):
        loading = beam.ParDo(_Load(self)).with_output_types(Piece, **{TALLIES: Tally})
        regions = pbegin | "Regions" >> beam.Create(sorted(self.regions), reshuffle=True).with_output_types(int)
        return regions | "Load" >> loading.with_outputs(TALLIES, main="pieces")
