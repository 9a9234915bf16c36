"""The entries of a ledger about one event's subjects: found block by block in a large ledger, then told one by one."""

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import SEALED_LEDGER, STOPS, Kind
from schemas.explanation import Did, Entry, Link
from schemas.policy import Pack
from schemas.regions import SIGNALS
from transforms.canonical import canonical
from transforms.decode import DecodedLedger
from transforms.entry_ids import Marks, untold
from transforms.locate import UNLOCATABLE, locate
from transforms.seal_ledger import LedgerSealer

LIMIT = 50  # entries of one person that are looked at one by one
_LEAST_PERMISSIONS = 10  # of these, where stops alone would take all places
_STOPS = np.array(sorted(STOPS))
Subjects = Mapping[str, pa.Scalar]  # canonical values by type, null where there is none
_KIND_OF = {"device": "android_id", "account": "account_id"}


def about(ledger: DecodedLedger, subjects: Subjects) -> DecodedLedger:
    """The entries, and the rejected lines, about these subjects.
    `lost` also counts the entries whose subject is no valid identifier: they may be about these subjects too."""
    named, known = _names(ledger.columns, subjects)
    unreadable = _names(ledger.unreadable, subjects)[0]
    return replace(
        _take(ledger, np.flatnonzero(named)),
        unreadable={name: column.filter(pa.array(unreadable)) for name, column in ledger.unreadable.items()},
        lost=ledger.lost + int(np.count_nonzero(~known)),
    )


def sharing_ids(ledger: DecodedLedger, ids: pa.Array, subjects: Subjects) -> DecodedLedger:
    """The entries and rejected lines with one of these ids that are about somebody else: they may set aside or correct
    those that are not."""
    entries, lines = (
        pc.is_in(columns["entry_id"], value_set=ids).to_numpy(zero_copy_only=False) & ~_names(columns, subjects)[0]
        for columns in (ledger.columns, ledger.unreadable)
    )
    unreadable = {name: column.filter(pa.array(lines)) for name, column in ledger.unreadable.items()}
    return replace(_take(ledger, np.flatnonzero(entries)), unreadable=unreadable, lost=0)


def ids_of(ledger: DecodedLedger) -> pa.Array:
    """Their ids, each once. An empty one is nobody's: two entries do not share it."""
    ids = pa.concat_arrays([ledger.columns["entry_id"], ledger.unreadable["entry_id"]]).unique().drop_null()
    return ids.filter(pc.not_equal(ids, ""))


def joined(parts: list[DecodedLedger]) -> DecodedLedger:
    """The entries of several blocks together, at least one."""
    columns = {name: _concatenated([getattr(part, name) for part in parts]) for name in ("columns", "unreadable")}
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _arrays(parts[0])}
    return replace(parts[0], **columns, **arrays, lost=sum(part.lost for part in parts))


def latest(ledger: DecodedLedger, limit: int) -> tuple[list[DecodedLedger], int]:
    """One by one, and how many more there are: rejected lines, then entries in the order of receipt, at most `limit` of
    each. Stops come before permissions, since an old one still closes; of each the latest. What is repeated to the
    letter is there once."""
    nothing = _take(ledger, np.empty(0, np.int64))
    lines, entries = _distinct(ledger.unreadable), _distinct(ledger.columns)
    rejected = ({name: c.slice(line, 1) for name, c in ledger.unreadable.items()} for line in lines[:limit])
    order = entries[np.argsort(ledger.received_time[entries], kind="stable")]
    chosen = order[_stops_first(np.isin(ledger.kind[order], _STOPS), limit)]
    parts = [replace(nothing, unreadable=line) for line in rejected]
    parts += [_take(ledger, chosen[n : n + 1]) for n in range(len(chosen))]
    return parts, len(lines) + len(entries) - len(parts)


def _distinct(columns: Mapping[str, pa.Array]) -> np.ndarray:
    """The first row of each sort, in order; rows are of one sort if they are equal in all columns."""
    flat = [pc.binary_join(column, "\0") if pa.types.is_list(column.type) else column for column in columns.values()]
    names = [str(at) for at in range(len(flat))]
    rows = pa.table([*flat, pa.array(np.arange(len(flat[0])))], [*names, "row"])
    return np.sort(rows.group_by(names).aggregate([("row", "min")])["row_min"].to_numpy())


def _stops_first(stop: np.ndarray, limit: int) -> np.ndarray:
    """Which of these, the latest last, are looked at, in order."""
    stops, permissions = np.flatnonzero(stop), np.flatnonzero(~stop)
    stops = stops[-(limit - min(len(permissions), _LEAST_PERMISSIONS)) :]
    return np.sort(np.append(stops, permissions[max(0, len(permissions) - limit + len(stops)) :]))


def _take(ledger: DecodedLedger, rows: np.ndarray) -> DecodedLedger:
    """Some of the entries, and none of the rejected lines."""
    index, nothing = pa.array(rows), pa.array([], pa.int64())
    return replace(
        ledger,
        columns={name: column.take(index) for name, column in ledger.columns.items()},
        unreadable={name: column.take(nothing) for name, column in ledger.unreadable.items()},
        **{name: getattr(ledger, name)[rows] for name in _arrays(ledger)},
    )


def _arrays(ledger: DecodedLedger) -> list[str]:
    return [field.name for field in fields(ledger) if isinstance(getattr(ledger, field.name), np.ndarray)]


def _concatenated(parts: list[Mapping[str, pa.Array]]) -> dict[str, pa.Array]:
    return {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}


def _names(columns: Mapping[str, pa.Array], subjects: Subjects) -> tuple[np.ndarray, np.ndarray]:
    """Where an entry's subject is one of these, however it is written, and where it is a valid one at all."""
    named, known = np.zeros((2, len(columns["subject.type"])), bool)
    for type_, kind in _KIND_OF.items():
        of_type = pc.equal(columns["subject.type"], type_)
        found = canonical(kind, columns["subject.value"])[0]
        known |= pc.and_(of_type, found.is_valid()).fill_null(False).to_numpy(zero_copy_only=False)
        if subjects[type_].is_valid:
            same = pc.and_(of_type, pc.equal(found, subjects[type_]))
            named |= same.fill_null(False).to_numpy(zero_copy_only=False)
    return named, known


class Entries:
    """The entries of a ledger about an event's subjects: all of them sealed, and some of them one by one."""

    def __init__(
        self, ledger: DecodedLedger, subjects: Subjects, sealer: LedgerSealer, marks: Marks, pack: Pack
    ) -> None:
        self._sealer, self._marks, self._pack = sealer, marks, pack
        sealed, register, _ = self._sealed(ledger)
        told = untold(register[:0], register)
        self.all = pa.Table.from_batches([*sealed, *self._elsewhere(told)])
        self.facts: list[Entry] = []
        self._numbers: list[int] = []
        foreign, acting = [], [SEALED_LEDGER.empty_table()]
        parts, self.further = latest(ledger, LIMIT)
        for number, part in enumerate(parts, 1):
            sealed, register, acts_in = self._sealed(part)
            rows = pa.Table.from_batches(sealed)
            if not rows.num_rows:  # its mark, if it leaves one
                own = register[np.isin(register["id"][:, 0], told["id"][:, 0])]
                rows = pa.Table.from_batches(self._elsewhere(own), SEALED_LEDGER)
            self.facts.append(_facts(number, part, rows, acts_in))
            if rows.num_rows:
                acting.append(rows)
                self._numbers.append(number)
                foreign.append(not _size(about(part, subjects)))
        self.foreign = np.array(foreign, bool)
        self.acting = pa.concat_tables(acting).unify_dictionaries().combine_chunks()

    def links(self, chain: list[list[Did]]) -> tuple[Link, ...]:
        """A chain under the numbers that the entries are shown by."""
        named = [tuple(Did(d.what, tuple(self._numbers[n] for n in d.entries)) for d in did) for did in chain]
        return tuple(Link(number, did) for number, did in zip(self._numbers, named, strict=True))

    def _sealed(self, ledger: DecodedLedger) -> tuple[list[pa.RecordBatch], np.ndarray, str | None]:
        """What reaches the gate of the event's region, and the register of ids; and the region of the last entry."""
        signals = {name: ledger.columns[f"residency.{name}"] for name in SIGNALS}
        regions, _ = locate(signals, self._pack.where)
        sealed = self._sealer.seal(ledger, regions)
        usable = len(regions) and regions[-1] != UNLOCATABLE
        region = self._pack.where.regions[regions[-1]] if usable else None
        return [each.batch for each in sealed], np.concatenate([each.register for each in sealed]), region

    def _elsewhere(self, register: np.ndarray) -> list[pa.RecordBatch]:
        return [marks for _, marks in self._marks.of(register)]


def _size(ledger: DecodedLedger) -> int:
    return len(ledger.time) + len(ledger.unreadable["entry_id"])


def _facts(number: int, ledger: DecodedLedger, rows: pa.Table, region: str | None) -> Entry:
    """One entry as it is in the ledger, and as the gate reads it where it acts."""
    entry = next(iter(ledger.kind.tolist()), None)
    source = ledger.unreadable if entry is None else ledger.columns
    kind = Kind.unreadable if entry is None else Kind(entry)
    read = rows.to_pylist()[0] if rows.num_rows else {}
    return Entry(
        number=number,
        entry_id=source["entry_id"][0].as_py(),
        kind=kind.name,
        subject=source["subject.type"][0].as_py(),
        time=None if entry is None else moment(ledger.time[0]),
        received_time=None if entry is None else moment(ledger.received_time[0]),
        region="everywhere" if kind in STOPS | {Kind.unreadable} else region,
        **{name: read.get(name) for name in ("purposes", "app", "policy_version")},
        guardian=read.get("guardian", False),
    )


def moment(milliseconds: int) -> str:
    """A time as the lines write it."""
    return f"{np.datetime64(int(milliseconds), 'ms')}Z"
