"""StatisticsStore: one release a region and day, in plain Parquet, created once and never replaced (1.1.4-b, 3.1.4).

    <statistics>/day=YYYY-MM-DD/release.parquet

Its schema metadata say under which policy, clause and budget it was made. Noise is drawn only where there is no release
yet. Of attempts that are made at once the first to be complete counts; what others drew leaves no file behind, since
two draws of one day together would tell more than the budget allows. What a bounded run draws lies apart until the run
is published, and goes with it if it fails.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.deployment import RegionalPlace
from pipelines.errors import InputError
from pipelines.manifest import PENDING
from pipelines.whole_files import alone, put_new, writing
from schemas.policy import Pack
from schemas.statistics import RELEASE, RELEASES, Statistics
from schemas.tallies import Counts, Tally
from transforms.discreet import discreet
from transforms.keyring import make_durable
from transforms.release import release
from transforms.statistics import Day
from transforms.tallies import told


class _Release(beam.DoFn):
    def __init__(self, places: Mapping[int, RegionalPlace], pack: Pack, run: str) -> None:
        self._places, self._pack, self._run = dict(places), pack, run

    @discreet
    def process(self, element: Day) -> Iterator[Tally]:
        (region, number), (records, exact) = element
        place, statistics, day = self._places[region], self._pack.statistics, str(np.datetime64(number, "D"))
        path = place.statistics / RELEASE.format(day=day)
        if not path.exists():
            path = place.releases / RELEASE.format(day=day)
        if not path.exists():
            facts = {**_facts(statistics), "policy": self._pack.version, "region": place.region, "day": day}
            noisy = release(exact, statistics).replace_schema_metadata({**facts, "run": self._run})
            _put_once(path, noisy)
        # A bundle that is tried again finds the release that it made: the records went into it all the same.
        mine = _made_by(path) == self._run
        counts = Counts()
        outcome = "released" if mine else "already_released"
        counts.add("statistics", outcome, records, region=place.region, purpose=statistics.purpose)
        yield from told(counts)


def _made_by(path: Path) -> str:
    try:
        return pq.read_schema(path).metadata[b"run"].decode()
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise InputError(f"release {path} is damaged ({type(error).__name__}): bring it back from a copy") from None


def _facts(statistics: Statistics) -> dict[str, str]:
    """What a reader must know to judge the numbers: the whole budget, and by table its parts and bounds."""
    tables = {}
    for name, table in statistics.tables.items():
        budget = statistics.budget(table)
        tables[name] = table.model_dump(mode="json", exclude_none=True) | {
            "epsilon": {"groups": budget.selection_epsilon} | dict.fromkeys(table.measures, budget.measure_epsilon),
            "delta": {"groups": budget.selection_delta},
        }
    return {
        "clause": statistics.clause,
        "epsilon": f"{statistics.epsilon:g}",
        "delta": f"{statistics.delta:g}",
        "unit": "one device, one region, one day of event time",
        "least_devices": str(statistics.least_devices),
        "tables": json.dumps(tables),
    }


def place_releases(place: RegionalPlace, attempt: str) -> None:
    """Puts the releases of an attempt that is published in their places. A day that has one by now keeps it. Raises
    `StoreError`."""
    apart = replace(place, attempt=attempt).releases
    for path in sorted(apart.glob(RELEASES)):
        target = place.statistics / path.relative_to(apart)
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                os.link(path, target)
            make_durable(target.parent)
    shutil.rmtree(apart, ignore_errors=True)


def withdraw(place: RegionalPlace, before: float, prefix: str = "") -> None:
    """Takes back the attempts of a name that begins so and that put nothing since `before`, in seconds since the epoch:
    their entries, and what they drew."""
    waiting = place.manifest.withdraw(prefix, before)
    for path in (place.statistics / PENDING).glob(f"{prefix}*"):
        if path.name not in waiting and path.stat().st_mtime < before:
            shutil.rmtree(path)


def _put_once(path: Path, content: pa.Table) -> None:
    """Puts a file in place whole and for good, unless there is one: then that one stays, and nothing of this."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.parent):
            _put_alone(path, content)


def _put_alone(path: Path, content: pa.Table) -> None:
    for left in path.parent.glob(f".{path.name}.*.part"):  # what a killed worker drew: two draws tell too much
        left.unlink()
    put_new(path, lambda attempt: pq.write_table(content, attempt))


@dataclass
class StatisticsStore(beam.PTransform):
    """((region code, day), (records, exact counts)) -> tallies of what was released. `places` are by region code."""

    places: Mapping[int, RegionalPlace]
    pack: Pack
    run: str

    def expand(self, days):
        return days | "Release" >> beam.ParDo(_Release(self.places, self.pack, self.run)).with_input_types(
            Day
        ).with_output_types(Tally)
