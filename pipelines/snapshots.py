"""Where snapshots of a ledger are kept and how a job finds one: parts in each region, and in the region of arrival a
description of one row that says which parts they are.

    dataset ledger            snapshot-<name>.<making>    a region's entries, if there are any
    dataset ledger_ids        snapshot-<name>.<making>    ids of entries that act nowhere; as below
    dataset ledger_snapshot   snapshot-<name>             what it is; of the region of arrival alone

The description is put in place last, at once, and names the making. So a making that breaks off leaves the snapshot as
it was before, and no job ever sees parts of two.
"""

import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa

from pipelines.deployment import RegionalPlace
from pipelines.errors import ConfigurationError, InputError
from pipelines.manifest import Entry
from pipelines.stores import commit, open_entries, stage, sweep
from schemas.datasets import LEDGER, LEDGER_IDS, LEDGER_SNAPSHOT

FORMAT = 1
Parts = Mapping[tuple[RegionalPlace, str], pa.RecordBatch]  # rows by place and dataset
_DESCRIPTION = pa.schema(
    [
        pa.field("format", pa.int32()),
        pa.field("name", pa.string()),
        pa.field("making", pa.string()),
        pa.field("as_of", pa.timestamp("ms", tz="UTC")),
        pa.field("policy", pa.string()),
        pa.field("terms", pa.string()),
        pa.field("nobody", pa.int64()),
        pa.field("rows", pa.string()),
    ]
)
_PARTS = (LEDGER, LEDGER_IDS)


@dataclass(frozen=True)
class Snapshot:
    """A snapshot as its description has it. It holds no key: whoever reads a part asks the manifest."""

    name: str
    as_of: datetime
    policy: str  # the edition of the policy that it was made under
    terms: str  # what sealing took from that policy
    nobody: int  # lines of the ledger that name nobody who can be read
    making: str
    rows: str  # of each part, as JSON: {"eu/ledger": 12, ...}; an empty part has no file
    format: int = FORMAT

    @property
    def regions(self) -> list[str]:
        """Those that it was made for."""
        return sorted({part.partition("/")[0] for part in json.loads(self.rows)})

    def rows_of(self, place: RegionalPlace, dataset: str) -> int | None:
        """How many rows a part has; None where there is no such part."""
        return json.loads(self.rows).get(f"{place.region}/{dataset}")

    @property
    def logical(self) -> str:
        """The name of its parts."""
        return f"{_logical(self.name)}.{self.making}"

    @property
    def date(self) -> str:
        return self.as_of.date().isoformat()


def new_making() -> str:
    """Names one making of a snapshot. A later one sorts behind it."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(4)}"


def _logical(name: str) -> str:
    return f"snapshot-{name}"  # no input id begins like this, so no run takes it for what an earlier run left


def counted(parts: Parts) -> str:
    """The `rows` of a snapshot of these parts."""
    return json.dumps({f"{place.region}/{dataset}": len(rows) for (place, dataset), rows in parts.items()})


def put(snapshot: Snapshot, arrival: RegionalPlace, parts: Parts) -> list[str]:
    """Keeps a snapshot in place of an older one of its name. Returns the regions that the older one was for as well and
    this one is not. Raises `ConfigurationError` where the name was erased."""
    older = _described(arrival, snapshot.name)
    held = [(place, dataset, rows) for (place, dataset), rows in parts.items() if len(rows)]
    commit([stage(place, name, snapshot.date, snapshot.logical, rows, snapshot.making) for place, name, rows in held])
    (row,) = pa.Table.from_pylist([asdict(snapshot)], _DESCRIPTION).to_batches()
    commit([stage(arrival, LEDGER_SNAPSHOT, snapshot.date, _logical(snapshot.name), row, snapshot.making)])
    if arrival.manifest.erased(LEDGER_SNAPSHOT, snapshot.date, _logical(snapshot.name)):
        raise ConfigurationError(f"a snapshot {snapshot.name} of that day was erased: give another --name")
    for place in {place.region: place for place, _ in parts}.values():
        _retire(place, snapshot)
    return sorted(set(older.regions) - set(snapshot.regions)) if older else []


def _retire(place: RegionalPlace, snapshot: Snapshot) -> None:
    """Empties what other makings of that name left in a region, whether they were completed or not."""
    own = _logical(snapshot.name)
    left = [(LEDGER_SNAPSHOT, own), *((dataset, f"{own}.*") for dataset in _PARTS)]
    entries = (entry for dataset, logical in left for entry in place.manifest.of(dataset, logical))
    nothing = pa.record_batch([], pa.schema([]))
    commit(
        stage(place, entry.dataset, entry.received_date, entry.logical, nothing, snapshot.making)
        for entry in entries
        if entry.file and entry.run != snapshot.making
    )
    sweep(place, f"{own}.")


def find(name: str, arrival: RegionalPlace, places: Sequence[RegionalPlace], terms: str) -> Snapshot:
    """A snapshot that a job of these places can start from. Raises `ConfigurationError` where there is none, or one
    made for another job, and `InputError` where it is damaged."""
    found = _described(arrival, name)
    if found is None:
        raise ConfigurationError(_missing(name, arrival, places))
    if found.format != FORMAT:
        raise ConfigurationError(f"snapshot {name} was written by another version of douane: make it again")
    if found.terms != terms:
        raise ConfigurationError(
            f"snapshot {name} was made under policy {found.policy}, whose regions or purposes are not this one's: "
            "make one under this policy"
        )
    for place in places:
        _part(place, LEDGER, found)
    _part(arrival, LEDGER_IDS, found)
    return found


def _missing(name: str, arrival: RegionalPlace, places: Sequence[RegionalPlace]) -> str:
    if any(arrival.manifest.of(LEDGER_SNAPSHOT, _logical(name))):
        return f"snapshot {name} was erased, or replaced by one for other regions"
    elsewhere = [place.region for place in places if place is not arrival and _described(place, name)]
    if elsewhere:
        made = f"snapshot {name} was made with {elsewhere[0]} as the region of arrival, this job has {arrival.region}"
        return f"{made}: make one with the same --cell and deployment"
    names = sorted(entry.logical.partition("-")[2] for entry in arrival.manifest.entries(LEDGER_SNAPSHOT) if entry.file)
    held = ", ".join(names) or "none"
    return f"region {arrival.region} has no snapshot {name}; it has {held}: `douane ledger snapshot` makes one"


def _described(arrival: RegionalPlace, name: str) -> Snapshot | None:
    """The latest making that was completed. Of two dates one was left by a making that could not clear it away."""
    entries = [entry for entry in arrival.manifest.of(LEDGER_SNAPSHOT, _logical(name)) if entry.file]
    if not entries:
        return None
    (row,) = (row for rows in _rows(arrival, max(entries, key=lambda entry: entry.run)) for row in rows.to_pylist())
    try:
        return Snapshot(**{column: row[column] for column in _DESCRIPTION.names})
    except KeyError:
        raise ConfigurationError(f"snapshot {name} was written by another version of douane: make it again") from None


def read(place: RegionalPlace, dataset: str, snapshot: Snapshot) -> Iterator[pa.RecordBatch]:
    """The rows of a region's part, in batches of bounded size. Raises `ConfigurationError` where it is no longer there
    and `InputError` where it is damaged."""
    entry = _part(place, dataset, snapshot)
    if entry:
        yield from _rows(place, entry)


def _part(place: RegionalPlace, dataset: str, snapshot: Snapshot) -> Entry | None:
    """None for a part that is empty."""
    rows = snapshot.rows_of(place, dataset)
    if rows == 0:
        return None
    found = next(place.manifest.of(dataset, snapshot.logical), None)
    if found is None or found.rows != rows:
        what = "was erased" if found is not None and found.erased else "is not there"
        advice = f"make it again for all regions of this job (it was made for {', '.join(snapshot.regions)})"
        raise ConfigurationError(f"the part of snapshot {snapshot.name} in region {place.region} {what}: {advice}")
    return found


def _rows(place: RegionalPlace, entry: Entry) -> Iterator[pa.RecordBatch]:
    try:
        yield from open_entries(place, [entry]).to_batches()
    except (OSError, pa.ArrowException) as error:
        which = f"{entry.dataset} {entry.logical} of region {place.region}"
        why = "its file is missing, cut short or altered"
        raise InputError(f"{which} cannot be read ({type(error).__name__}): {why}; make the snapshot again") from None
