"""The verdict on a stream: what its stores hold beside what they must hold, row by row.

    python -m tests.engines.verdict --deployment F --policy DIR --window-seconds N --bootstrap HOST:PORT \\
        --telemetry T --ledger T --report FILE --search DIR ...

Run it when the job has stopped and after `douane sweep`. Exit status 1 if there is any fault. What is read are all rows
of the files that a manifest names, those too that readers leave out.
"""

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from functools import cache
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.audit_rows import read_totals
from pipelines.deployment import Deployment, RegionalPlace, load_deployment
from pipelines.errors import InputError
from pipelines.manifest import Entry
from pipelines.stores import open_entries
from schemas.datasets import RECEIVED_DATE, purpose_of
from schemas.fields import EVENT_TYPES
from schemas.pack_files import load_pack
from schemas.statistics import RELEASE, RELEASES
from schemas.tallies import Totals
from tests.engines.expected import Expected, expected, of_files, of_topics
from tests.engines.load import DAY_MS
from tests.engines.pack import NUMBERED
from tests.invariants.needles import Needles
from transforms.canonical import canonical
from transforms.keyring import open_keyring
from transforms.pseudonymise import Tokens, epoch_of
from transforms.reconcile import NAMED, READ, RELEASED, alarms, identities
from transforms.seal import Seals

_CHUNK, _OVERLAP = 1 << 26, 1 << 10


@dataclass
class Verdict:
    """What was found. Each number is 0 and each list empty if a stream was exact."""

    expected: int = 0  # rows that the rule wants, of all datasets
    stored: int = 0  # rows that the manifests name and that can be read
    lost: int = 0  # of the wanted rows, those that are nowhere in their dataset
    duplicated: int = 0  # rows beyond the first of a record in a dataset
    against_consent: int = 0  # rows of records for which the rule closes the purpose
    foreign: int = 0  # rows of records of another region
    unknown: int = 0  # rows that no record explains
    unreadable: list[str] = field(default_factory=list)  # files that a manifest names and that do not open
    unnamed: list[str] = field(default_factory=list)  # files that nothing names
    statistics: list[str] = field(default_factory=list)  # what is wrong with the releases
    audit: list[str] = field(default_factory=list)  # what does not add up, or is not what the rule counts
    leaked: list[str] = field(default_factory=list)  # files in which a value that identifies was found

    @property
    def faults(self) -> dict[str, object]:
        return {name: found for name, found in asdict(self).items() if name not in ("expected", "stored") and found}


def judge(
    deployment: Deployment,
    answer: Expected,
    watermark: int | None = None,
    releases: dict[str, str] | None = None,
    canaries: Iterable[str] = (),
    search: Iterable[Path] = (),
) -> Verdict:
    """Holds the stores against the answer.

    `watermark` is a time of receipt that the stream has surely passed: releases of days that ended before are due.
    `releases` is what `released` gave at an earlier moment: none of it may have changed. `canaries` are searched for in
    the stores and in `search`, files and folders.
    """
    verdict = Verdict(expected=answer.total)
    keys = _Keys(deployment, answer)
    for region, place in deployment.regions.items():
        for dataset in answer.datasets:
            _compare(verdict, place, keys, region, dataset)
        verdict.unnamed += _unnamed(place)
    totals = read_totals(deployment.regions.values())
    verdict.audit = miscounted(totals, answer)
    verdict.statistics += _statistics(deployment, totals, answer, watermark, releases or {})
    folders = {folder for place in deployment.regions.values() for folder in place.folders}
    verdict.leaked += leaked(canaries, [*folders, *search])
    return verdict


def missing(deployment: Deployment, answer: Expected) -> int:
    """How many of the wanted rows the manifests do not name yet: 0 once a stream has caught up. It opens no file."""
    named = sum(
        entry.rows
        for place in deployment.regions.values()
        for dataset in answer.datasets
        for entry in place.manifest.entries(dataset)
    )
    return answer.total - named


# --- rows


def _compare(verdict: Verdict, place: RegionalPlace, keys: "_Keys", region: str, dataset: str) -> None:
    found, unreadable = _found(place, dataset)
    wanted = keys.of(region, dataset, keys.answer.rows(region, dataset))
    held, copies = np.unique(found, return_counts=True)
    strange = held[~np.isin(held, wanted)]
    verdict.stored += len(found)
    verdict.duplicated += int((copies - 1).sum())
    verdict.lost += int((~np.isin(wanted, held)).sum())
    verdict.unreadable += unreadable
    if len(strange):
        closed = np.isin(strange, keys.of(region, dataset, keys.received_by(region, dataset)))
        foreign = np.isin(strange, keys.elsewhere(region, dataset)) & ~closed
        verdict.against_consent += int(closed.sum())
        verdict.foreign += int(foreign.sum())
        verdict.unknown += int((~closed & ~foreign).sum())


def _found(place: RegionalPlace, dataset: str) -> tuple[np.ndarray, list[str]]:
    """What tells each row's record, of all files that open, and the files that do not."""
    entries = [entry for entry in place.manifest.entries(dataset) if entry.file]
    if not entries:
        return np.empty(0, np.uint64), []
    try:
        return _marks(place, dataset, entries), []
    except (OSError, pa.ArrowException):
        pass
    parts, unreadable = [np.empty(0, np.uint64)], []
    for entry in entries:
        try:
            parts.append(_marks(place, dataset, [entry]))
        except (OSError, pa.ArrowException):
            unreadable.append(str(path_of(place, entry)))
    return np.concatenate(parts), unreadable


def _marks(place: RegionalPlace, dataset: str, entries: list[Entry]) -> np.ndarray:
    """The first eight bytes of the event's token, or the record's number: see `tests.engines.pack`."""
    paths = [path.replace(".", "_") for path in NUMBERED.get(purpose_of(dataset), {}).values()]
    table = open_entries(place, entries).to_table(columns=paths or ["event_id"])
    if paths:
        return pc.coalesce(*table.columns, pa.scalar(0, pa.int64())).to_numpy().astype(np.uint64)
    return _words(table["event_id"].combine_chunks())


def _words(tokens: pa.Array) -> np.ndarray:
    if isinstance(tokens, pa.ChunkedArray):
        tokens = pa.concat_arrays(tokens.chunks)
    width = tokens.type.byte_width // 8
    return np.frombuffer(tokens.buffers()[1], np.uint64)[width * tokens.offset :][: width * len(tokens) : width]


class _Keys:
    """By which the rows of records are found in the datasets of a region."""

    def __init__(self, deployment: Deployment, answer: Expected) -> None:
        self.answer, self._pack, where = answer, answer.pack, answer.pack.where
        uris = {where.code(name): place.keys for name, place in deployment.regions.items()}
        self._tokens = Tokens(self._pack, uris)
        self._seals = Seals({code: open_keyring(uri) for code, uri in uris.items()})
        self._ids = canonical("event_id", pa.array([record.event_id for record in answer.records], pa.string()))[0]
        self._numbers = np.array([record.number for record in answer.records], np.uint64)
        self._sealed = cache(self._seal)

    def _seal(self, region: str) -> pa.Array:
        """All ids under one region's key, whichever region they are of."""
        code = self._pack.where.code(region)
        return self._seals.tag("event_id", self._ids, np.full(len(self._ids), code, np.int8))

    def of(self, region: str, dataset: str, rows: np.ndarray) -> np.ndarray:
        """The marks that these records would have in a region's dataset."""
        purpose = purpose_of(dataset)
        if purpose in NUMBERED:
            return self._numbers[rows]
        received = self.answer.received[rows]
        marks = np.zeros(len(rows), np.uint64)
        for day in np.unique(received // DAY_MS).tolist():
            of_day = np.flatnonzero(received // DAY_MS == day)
            epoch = epoch_of(day * DAY_MS, self._pack.purposes[purpose].token_epoch)
            cipher = self._tokens.cipher(self._pack.where.code(region), purpose, "event_id", epoch)
            marks[of_day] = _words(cipher.tag(self._sealed(region).take(pa.array(rows[of_day]))))
        return marks

    def received_by(self, region: str, dataset: str) -> np.ndarray:
        """The records of a region that a dataset would receive, were everything open."""
        purpose = self._pack.purposes[purpose_of(dataset)]
        own = self.answer.region == list(self._pack.regions).index(region)
        admitted = np.isin(self.answer.event_type, [EVENT_TYPES.index(name) for name in purpose.events])
        return np.flatnonzero(own & admitted)

    def elsewhere(self, region: str, dataset: str) -> np.ndarray:
        """The marks of other regions' records: as they would be here, and as they are there."""
        others = [other for other in self._pack.regions if other != region]
        rows = {other: self.received_by(other, dataset) for other in others}
        here = [self.of(region, dataset, rows[other]) for other in others]
        return np.concatenate([*here, *(self.of(other, dataset, rows[other]) for other in others)])


# --- files


def path_of(place: RegionalPlace, entry: Entry) -> Path:
    return place.folder(entry.dataset) / f"{RECEIVED_DATE}={entry.received_date}" / entry.file


def _unnamed(place: RegionalPlace) -> list[str]:
    """Files of a region's folders that no manifest names and that are no release."""
    named = {
        path_of(place, entry)
        for dataset in place.manifest.datasets()
        for entry in place.manifest.entries(dataset)
        if entry.file
    }
    named |= set(place.statistics.glob(RELEASES))
    lying = {path for folder in (place.store, place.quarantine, place.statistics) for path in files_of(folder)}
    lying |= {path for path in files_of(place.manifest_folder) if path.name.endswith(".part")}
    return sorted(str(path) for path in lying - named if "replays" not in path.parts)


def files_of(path: Path) -> Iterator[Path]:
    """Every file at or below a path, hidden ones too."""
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder) / name for name in names)


def leaked(canaries: Iterable[str], search: Iterable[Path]) -> list[str]:
    """The files below some paths in which one of the values stands, in any spelling."""
    needles = Needles(value.encode() for value in canaries)
    files = {path for each in search for path in files_of(each)} if len(needles) else set()
    return sorted(str(path) for path in files if any(needles.found(part) for part in _parts(path)))


def _parts(path: Path) -> Iterator[bytes]:
    """A file in parts that overlap by more than the longest spelling. One that goes in the meantime is empty."""
    try:
        with path.open("rb") as file:
            tail = b""
            while part := file.read(_CHUNK):
                yield tail + part
                tail = part[-_OVERLAP:]
    except OSError:
        return


# --- counts and releases


def miscounted(totals: Totals, answer: Expected) -> list[str]:
    """Identities that do not hold, alarms, and counts that are not the rule's."""
    beyond = {READ, NAMED, RELEASED}  # of runs that have ended
    faults = [str(one) for one in identities(totals, answer.pack) if one.title not in beyond and not one.holds]
    faults += alarms(totals)
    return faults + [fault for what, own in answer.counts().items() for fault in _unlike(totals, *what, own)]


def _unlike(totals: Totals, step: str, outcome: str, wanted: Counter) -> Iterator[str]:
    """Where one count of the audit is not the rule's. What the rule counts as a whole is compared so."""
    if set(wanted) == {()}:
        held = Counter({(): totals.sum(step=step, outcome=outcome)})
    else:
        named = "dataset" if step == "store" else "purpose"
        held = totals.by(("region", "event_type", named), step=step, outcome=outcome)
    for place in sorted(held.keys() | wanted.keys()):
        if held[place] != wanted[place]:
            words = " ".join((step, outcome, *filter(None, place)))
            yield f"{words}: {held[place]:,} counted, {wanted[place]:,} by the rule"


def released(deployment: Deployment) -> dict[str, str]:
    """The releases that are there, by path, each with a digest of its bytes."""
    return {
        str(path): blake2b(path.read_bytes(), digest_size=16).hexdigest()
        for place in deployment.regions.values()
        for path in place.statistics.glob(RELEASES)
    }


def _statistics(
    deployment: Deployment, totals: Totals, answer: Expected, watermark: int | None, before: dict[str, str]
) -> list[str]:
    now = released(deployment)
    faults = [f"{path} was made, and has changed or gone" for path in before if now.get(path) != before[path]]
    if answer.window_ms is None:
        return faults
    for region, place in deployment.regions.items():
        made = {day for day in days_of(place)}
        may = {day for of, day in answer.days if of == region}
        due = {day for day in may if watermark is not None and answer.over(day) < watermark}
        faults += [f"{region} has no release of {_date(day)}, which is due" for day in sorted(due - made)]
        faults += [f"{region} has a release of {_date(day)}, of which nothing counts" for day in sorted(made - may)]
        counted = {
            "released": sum(answer.days[region, day] for day in made),
            "late": sum(n for (of, _), n in answer.late.items() if of == region),
            "already_released": 0,
        }
        for outcome, wanted in counted.items():
            held = totals.sum(step="statistics", outcome=outcome, region=region)
            if held != wanted:
                faults.append(f"{region}: {held:,} records {outcome}, {wanted:,} by the rule")
    return faults


def days_of(place: RegionalPlace) -> Iterator[int]:
    for path in place.statistics.glob(RELEASES):
        name = path.parent.name.removeprefix(RELEASE.partition("{")[0])
        yield int(np.datetime64(name, "D").astype(int))
        pq.read_schema(path)  # it opens


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))


# --- the command


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--deployment", required=True, metavar="FILE")
    add("--policy", required=True, metavar="DIR", help="what tests.engines.pack wrote")
    add("--window-seconds", type=float, metavar="N", help="of the stream; without it a run over files")
    add("--bootstrap", metavar="HOST:PORT", help="the broker of both topics")
    add("--telemetry", required=True, metavar="TOPIC|DIR", help="a topic, or the folder of its files")
    add("--ledger", required=True, metavar="TOPIC|DIR")
    add("--report", metavar="FILE", help="what tests.engines.load has told: its values are searched for")
    add("--watermark-ms", type=int, help="a time of receipt that the stream has passed (default: the load's end)")
    add("--search", nargs="*", type=Path, default=[], metavar="PATH", help="checkpoints, savepoints, logs")
    options = arguments.parse_args(argv)
    told = json.loads(Path(options.report).read_text()) if options.report else {}
    if options.bootstrap:
        given = of_topics({"bootstrap.servers": options.bootstrap}, options.telemetry, options.ledger)
    else:
        given = of_files(*(sorted(Path(of).glob("*.ndjson")) for of in (options.telemetry, options.ledger)))
    window_ms = options.window_seconds and round(options.window_seconds * 1000)
    answer = expected(given, load_pack(options.policy), window_ms)
    watermark = options.watermark_ms or told.get("ended_ms")
    try:
        deployment = load_deployment(options.deployment)
        verdict = judge(deployment, answer, watermark, canaries=told.get("canaries", ()), search=options.search)
    except InputError as error:  # an audit or a manifest that cannot be read
        print(f"no verdict: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(verdict) | {"exact": not verdict.faults}, indent=1))
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
