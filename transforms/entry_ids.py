"""EntryIds: entries that share an id, though they lie in different regions or shards, are made known to each other.

The gate reconciles the entries of one id that meet under its key: the more restrictive content counts, and a valid
entry ends a rejected line (section 6). A permission lies in its own region and shard alone, so what it contradicts or
corrects, and what contradicts it, may lie elsewhere. The register knows the sealed id, the place and the receipt of
every entry. Once an id is known at two places, each of its valid entries leaves a *mark* under every key but its own:
an entry about nobody that permits nothing and bears the id. It contradicts permissions and ends rejected lines there,
from the receipt of the entry that it stands for on.

Marks leave at once, with the timestamp of what brought the news, and no timer is waited for: so they are at the gate
before it judges the window in which the second of two contents was received.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.coders import BytesCoder
from apache_beam.transforms.trigger import TimestampCombiner
from apache_beam.transforms.userstate import BagStateSpec
from apache_beam.transforms.window import GlobalWindows, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.consent import NOBODY, Kind, SubjectType
from transforms.columns import runs
from transforms.discreet import discreet
from transforms.exchange import IDS, LEDGER, Piece
from transforms.ipc import to_buffer
from transforms.keyring import open_keyring
from transforms.ledger import first_of_runs, repeated
from transforms.locks import Locks
from transforms.seal import Partition, Seals
from transforms.seal_ledger import ACCOUNTS, REGISTERED, UNREADABLE, ledger_batch

_BUCKETS, _BUCKETS_OF_A_RUN = 256, 16  # a stream reads a whole bucket for each piece; in a run each is read once
_RUNS = 16  # what a bucket holds is put together when it lies in more pieces than this
_NOTHING = np.empty(0, REGISTERED)


class Register:
    """Pieces of the register, locked under the key of the region where the ledger arrives. One a worker."""

    def __init__(self, locks: Locks, arrival: int, partition: Partition) -> None:
        self._locks, self._key = locks, arrival * partition.shards
        self._buckets = np.uint64(_BUCKETS if partition.window_ms else _BUCKETS_OF_A_RUN)

    def pieces(self, rows: np.ndarray) -> Iterator[TimestampedValue]:
        """Rows of `REGISTERED` -> pieces by bucket of their ids, each stamped with its earliest receipt."""
        bucket = (rows["id"][:, 0] % self._buckets).astype(np.uint8)
        order = np.argsort(bucket, kind="stable")
        rows = rows[order]
        for number, start, stop in runs(bucket[order]):
            earliest = int(rows["received"][start:stop].min())
            piece = number, (IDS, 0, self.lock(rows[start:stop]))
            yield TimestampedValue(piece, Timestamp(micros=earliest * 1000))

    def lock(self, rows: np.ndarray) -> bytes:
        """Rows as they lie on the exchange and in state."""
        return self._locks.lock(self._key, IDS, rows.view(np.uint8))

    def unlock(self, payloads: Iterable[bytes]) -> np.ndarray:
        """The rows of several payloads."""
        contents = b"".join(self._locks.unlock(self._key, IDS, payload) for payload in payloads)
        return np.frombuffer(contents, REGISTERED)


def untold(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The rows of valid entries whose ids are known of several places, now that `new` is known beside `known`, and
    that were not returned when `known` came to be known.

    Of one id and place the earliest receipt is told, since it counts from there on; a still earlier one is told again.
    """
    again = repeated(np.concatenate([known["id"][:, 0], new["id"][:, 0]]))
    if not again.any():
        return _NOTHING
    rows, is_new, of_id, of_place = _by_place(known[again[: len(known)]], new[again[len(known) :]])
    place_known = np.logical_or.reduceat(~is_new, np.flatnonzero(of_place))
    rows, is_new, ids = rows[of_place], is_new[of_place], np.flatnonzero(of_id[of_place])
    places = np.diff(np.append(ids, len(rows)))
    known_before = np.add.reduceat(place_known.astype(np.int64), ids)
    several, told = np.repeat(places > 1, places), np.repeat(known_before > 1, places) & ~is_new
    return rows[several & ~told & (rows["place"] != UNREADABLE)]


def _by_place(known: np.ndarray, new: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All rows by id, place and receipt, of equal ones the known first; which are new; the first of each id; the first
    of each id and place."""
    rows, is_new = np.concatenate([known, new]), np.arange(len(known) + len(new)) >= len(known)
    order = np.lexsort((rows["received"], rows["place"], rows["id"][:, 1], rows["id"][:, 0]))
    rows = rows[order]
    of_id = first_of_runs(rows["id"])
    of_place = of_id | first_of_runs(rows["place"])
    return rows, is_new[order], of_id, of_place


class Marks:
    """Makes the entries that stand for others where these do not lie. It holds keys: one a worker."""

    def __init__(self, seals: Seals, partition: Partition, served: Iterable[int]) -> None:
        self._seals, self._shards, self._served = seals, partition.shards, sorted(served)

    def of(self, rows: np.ndarray) -> Iterator[tuple[int, pa.RecordBatch]]:
        """(key, marks in the schema `SEALED_LEDGER`), for each key but where a row's own entry lies."""
        for region in self._served:
            for key in range(region * self._shards, (region + 1) * self._shards):
                elsewhere = rows[(rows["place"] != key) & (rows["place"] != ACCOUNTS - region)]
                if len(elsewhere):
                    yield key, self._at(region, elsewhere)

    def _at(self, region: int, rows: np.ndarray) -> pa.RecordBatch:
        ids = pa.py_buffer(np.ascontiguousarray(rows["id"]))
        arrival = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(rows), [None, ids])
        columns = {
            "entry_id": self._seals.tag("entry_id", arrival, np.full(len(rows), region)),
            "time": pa.array(rows["received"]),
            "received_time": pa.array(rows["received"]),
        }
        for name, value, type_ in _OF_A_MARK:
            columns[name] = pa.repeat(pa.scalar(value, type_), len(rows))
        return ledger_batch(columns)


# Of all kinds this one does least: a permission that is about nobody and no purpose.
_OF_A_MARK = (
    ("subject", NOBODY, pa.binary(16)),
    ("subject_type", SubjectType.device, pa.int8()),
    ("kind", Kind.lift_restriction, pa.int8()),
    ("purposes", "", pa.string()),
    ("app", None, pa.string()),
    ("policy_version", None, pa.string()),
    ("guardian", False, pa.bool_()),
)


class _Tell(beam.DoFn):
    """A bounded run: all of a bucket is there at once."""

    def __init__(self, keys: Mapping[int, str], arrival: int, partition: Partition) -> None:
        self._keys, self._arrival, self._partition = dict(keys), arrival, partition

    def setup(self) -> None:
        seals = Seals({region: open_keyring(uri) for region, uri in self._keys.items()})
        self._marks = Marks(seals, self._partition, self._keys)
        self._locks = Locks(self._keys, self._partition.shards)
        self._register = Register(self._locks, self._arrival, self._partition)

    @discreet
    def process(self, bucket: tuple[int, Iterable[tuple[int, int, bytes]]]) -> Iterator[Piece]:
        _, told = bucket
        yield from self._tell(untold(_NOTHING, self._register.unlock(payload for _, _, payload in told)))

    def _tell(self, rows: np.ndarray) -> Iterator[Piece]:
        for key, marks in self._marks.of(rows):
            yield key, (LEDGER, 0, self._locks.lock(key, LEDGER, to_buffer(marks)))


class _Remember(_Tell):
    """A stream: a bucket's rows are kept, each once."""

    KNOWN = BagStateSpec("known", BytesCoder())

    @discreet
    def process(self, piece: Piece, held=beam.DoFn.StateParam(KNOWN)) -> Iterator[Piece]:
        _, (_, _, payload) = piece
        payloads, new = list(held.read()), self._register.unlock([payload])
        known = self._register.unlock(payloads)
        alike = _perhaps_among(known, new)
        news = _unknown(alike, new)
        if not len(news):
            return
        if len(payloads) < _RUNS:
            held.add(self._register.lock(news))
        else:
            held.clear()
            held.add(self._register.lock(np.concatenate([known, news])))
        yield from self._tell(untold(alike, news))


def _perhaps_among(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """The known rows with the id of a new one, and a few others: a look at 16 bits of each, which are not the
    bucket's."""
    table = np.zeros(1 << 16, bool)
    table[new["id"][:, 0] >> np.uint64(48)] = True
    return known[table[known["id"][:, 0] >> np.uint64(48)]]


def _unknown(known: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Of the new rows the earliest of each id and place, unless one as early is known."""
    rows, is_new, _, of_place = _by_place(known, new)
    return rows[of_place & is_new]


@dataclass
class EntryIds(beam.PTransform):
    """What a ledger's border tells its `REGISTER` -> pieces of the ledger with marks, for the gate.

    `keys` are keyring URIs by region code, `arrival` is the code of the region where the ledger arrives, whose key
    locks the register. A row of state takes 28 bytes, one for each id and place.
    """

    keys: Mapping[int, str]
    arrival: int
    partition: Partition

    def expand(self, told):
        if self.partition.window_ms:
            telling = beam.ParDo(_Remember(self.keys, self.arrival, self.partition))
            return told | "Remember" >> telling.with_output_types(Piece)
        # The bucket must not seem to come at the end of time, when the gate opens.
        early = beam.WindowInto(GlobalWindows(), timestamp_combiner=TimestampCombiner.OUTPUT_AT_EARLIEST)
        telling = beam.ParDo(_Tell(self.keys, self.arrival, self.partition))
        return told | early | beam.GroupByKey() | "Tell" >> telling.with_output_types(Piece)
