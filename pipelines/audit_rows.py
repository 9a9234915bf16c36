"""What a region's audit holds: rows of counts, sealed like any other dataset, kept and read again. Nothing here needs
Beam, so that who only looks does not wait for it."""

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.deployment import RegionalPlace
from pipelines.errors import InputError
from pipelines.manifest import Entry
from pipelines.stores import commit, open_entries, stage
from schemas.consent import CLAUSE_OF_REASON
from schemas.datasets import AUDIT, RECEIVED_DATE
from schemas.orders import CLAUSE_OF_STOP
from schemas.quarantine import CLAUSE_OF_FAULT
from schemas.tallies import COUNTS, HOUR_MS, Counts, Totals

ACCESS = "access"  # what privileged reads are named after, where a run's counts are named after the run
_ONLY_WINDOW = "0-0"  # of a bounded run, in the names of its files
_CLAUSE = CLAUSE_OF_REASON | CLAUSE_OF_FAULT | CLAUSE_OF_STOP
_NOTHING = dict.fromkeys(("reason", "event_type", "purpose", "clause"), "")
_READ = pa.schema(
    [
        pa.field("region", pa.string()),
        pa.field("run", pa.string()),
        *COUNTS,
        pa.field("clause", pa.string()),
        pa.field(RECEIVED_DATE, pa.string()),
    ]
)


def keep(place: RegionalPlace, received_date: str, logical: str, counted: pa.Table, run: str) -> None:
    """Puts rows of COUNTS, at least one, into a region's audit, each with the clause that its reason follows from."""
    clauses = [_CLAUSE.get(reason, "") for reason in counted["reason"].to_pylist()]
    (rows,) = counted.append_column("clause", pa.array(clauses, pa.string())).combine_chunks().to_batches()
    commit([stage(place, AUDIT, received_date, logical, rows, run)])


def note_access(place: RegionalPlace, outcome: str, reason: str = "", count: int = 1) -> None:
    """Leaves an audit row of a privileged read: `outcome` says what was done, `reason` is a word of ours, never a value
    that was read, `count` (at least 1) is of how many. Called before anything is shown; raises `StoreError` if the row
    cannot be kept."""
    now = datetime.now(UTC)
    counts = Counts()
    counts.add(ACCESS, outcome, count, reason=reason, hour=int(now.timestamp() * 1000) // HOUR_MS * HOUR_MS)
    rows = pa.Table.from_batches(rows for _, rows in counts.tallies())
    keep(place, now.date().isoformat(), f"{ACCESS}-{secrets.token_hex(8)}", rows, run=ACCESS)


@dataclass(frozen=True)
class CountedRun:
    """A run that has left counts, as the manifests name it."""

    name: str
    input_id: str
    regions: tuple[str, ...]
    dates: tuple[str, ...]  # under which its counts lie, in order
    bounded: bool


def counted_runs(places: Iterable[RegionalPlace]) -> list[CountedRun]:
    """Every run that these regions hold counts of, the latest last. Needs no keys."""
    found: dict[str, list[tuple[str, Entry]]] = {}
    for place in places:
        for entry in _entries(place, None):
            if entry.run != ACCESS:
                found.setdefault(entry.run, []).append((place.region, entry))
    runs = [_run(name, held) for name, held in found.items()]
    return sorted(runs, key=lambda run: (run.dates[-1], run.name))


def _run(name: str, held: list[tuple[str, Entry]]) -> CountedRun:
    parts = [entry.logical.partition("-") for _, entry in held]
    return CountedRun(
        name=name,
        input_id=parts[0][0],
        regions=tuple(dict.fromkeys(region for region, _ in held)),
        dates=tuple(sorted({entry.received_date for _, entry in held})),
        bounded=all(rest == _ONLY_WINDOW for *_, rest in parts),
    )


def read_totals(places: Iterable[RegionalPlace], run: str | None = None) -> Totals:
    """The counts of one run, or of all that was ever counted, from the audits of these regions: rows of COUNTS with
    `region`, `run`, `clause` and `received_date`. Raises `KeyUnavailable` for who lacks a region's keys and
    `InputError` for a file that cannot be read."""
    return Totals(pa.concat_tables([_READ.empty_table(), *_tables(places, run)], promote_options="permissive"))


def with_manifests(counted: Totals, places: Iterable[RegionalPlace], run: str, given: Mapping[str, int]) -> Totals:
    """The counts of a run that has just ended and, beside what its steps say, what others know: the rows of it that the
    manifests name (step `manifest`, outcome `rows`), for nothing else will a reader ever find; and how many spans of
    each input were `given` to it (step `plan`).

    Later on the two differ for good reasons: rows are erased, or their time is over.
    """
    places = list(places)
    stored = counted.by(("region", "dataset"), step="store")
    for step in ("quarantine", "orders"):
        stored += counted.by(("region", "dataset"), step=step, outcome="rows")
    held = [_held(place, run, {dataset for region, dataset in stored if region == place.region}) for place in places]
    day = pc.max(counted.table[RECEIVED_DATE]).as_py() or ""
    spans = pa.table({"dataset": pa.array(given.keys(), pa.string()), "count": pa.array(given.values(), pa.int64())})
    held.append(_with(spans, region="", run=run, step="plan", outcome="given", **_NOTHING))
    beside = _with(pa.concat_tables(held), received_date=day)
    return Totals(pa.concat_tables([counted.table, beside], promote_options="permissive"))


def _entries(place: RegionalPlace, run: str | None) -> Iterator[Entry]:
    return (entry for entry in place.manifest.entries(AUDIT) if entry.file and run in (None, entry.run))


def _tables(places: Iterable[RegionalPlace], run: str | None) -> Iterator[pa.Table]:
    for place in places:
        by_run: dict[str, list[Entry]] = {}
        for entry in _entries(place, run):
            by_run.setdefault(entry.run, []).append(entry)
        for name, entries in by_run.items():
            yield _with(_read(place, entries), region=place.region, run=name)


def _read(place: RegionalPlace, entries: list[Entry]) -> pa.Table:
    try:
        return open_entries(place, entries).to_table()
    except (OSError, pa.ArrowException) as error:
        why = "a file that the manifest names is missing, cut short or altered; bring it back"
        raise InputError(f"the audit of region {place.region} cannot be read ({type(error).__name__}): {why}") from None


def _held(place: RegionalPlace, run: str, stored: set[str]) -> pa.Table:
    rows = Counter({dataset: 0 for dataset in stored})
    for dataset in set(place.manifest.datasets()) - {AUDIT}:
        rows[dataset] = sum(entry.rows for entry in place.manifest.entries(dataset) if entry.run == run)
    table = pa.table({"dataset": pa.array(rows.keys(), pa.string()), "count": pa.array(rows.values(), pa.int64())})
    return _with(table, region=place.region, run=run, step="manifest", outcome="rows", **_NOTHING)


def _with(table: pa.Table, **words: str) -> pa.Table:
    for name, word in words.items():
        table = table.append_column(name, pa.repeat(word, len(table)))
    return table
