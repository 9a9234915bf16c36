"""Whole runs of the main job for the tests of this folder: where they happen, what they were, and what they left."""

import copyreg
import cProfile
import json
import os
import pstats
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pyarrow as pa

from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.ingest import main
from pipelines.stores import open_dataset
from schemas.datasets import ORDERS_SUFFIX, STOPPED_SUFFIX

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / package) + os.sep for package in ("schemas", "transforms", "pipelines"))
REGIONS = ("cn", "in", "ru", "eu", "us", "sg")


LISTS = (ORDERS_SUFFIX, STOPPED_SUFFIX)  # datasets of orders end so: each run keeps its own beside those of others


@dataclass(frozen=True)
class Site:
    """A deployment of all regions of a pack below one folder."""

    folder: Path

    @classmethod
    def new(
        cls, folder: Path, keys_of: "Site | None" = None, regions: Iterable[str] = REGIONS, arrival: str = "eu"
    ) -> "Site":
        """An empty one; with the keys of another, so that both make the same tokens."""
        places = {region: {"store": f"stores/{region}", "keys": f"local:keys/{region}"} for region in regions}
        folder.mkdir(parents=True)
        site = cls(folder)
        site.file.write_text(json.dumps({"arrival": arrival, "regions": places}))  # JSON is YAML
        if keys_of is not None:
            shutil.copytree(keys_of.folder / "keys", folder / "keys", ignore=shutil.ignore_patterns("manifest"))
        return site

    def copy(self, folder: Path) -> "Site":
        """Everything again, elsewhere: a run may go on there."""
        shutil.copytree(self.folder, folder)
        return Site(folder)

    @property
    def file(self) -> Path:
        return self.folder / "deployment.yaml"

    def place(self, region: str) -> RegionalPlace:
        return load_deployment(self.file).place(region)

    def datasets(self) -> dict[tuple[str, str], pa.Table]:
        """All that can be read back, by (region, dataset)."""
        held, deployment = {}, load_deployment(self.file)
        for region in deployment.regions:
            manifest = deployment.place(region).manifest
            for dataset in manifest.datasets():
                if any(entry.file for entry in manifest.entries(dataset)):
                    held[region, dataset] = open_dataset(deployment, region, dataset).to_table()
        return held

    def entries(self, region: str) -> dict[tuple[str, str, str], tuple]:
        """(dataset, date of receipt, logical name) -> (rows, digest) of the files that hold rows."""
        manifest = self.place(region).manifest
        return {
            (entry.dataset, entry.received_date, entry.logical): (entry.rows, entry.digest)
            for dataset in manifest.datasets()
            for entry in manifest.entries(dataset)
            if entry.file
        }

    def files(self) -> list[Path]:
        """Every file below the folder, hidden ones too."""
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Run:
    """One run of `douane ingest` that has ended."""

    site: Site
    status: int
    calls: Counter = field(repr=False)  # of our functions: (file, line, name) -> how often
    pickled: Counter = field(repr=False)  # Arrow objects that were pickled, by type


def ingest(site: Site, events, consents, *flags: str, profiled: bool = False) -> Run:
    """Runs the job in this process, watched: pickled batches are counted, and the calls of our functions if asked."""
    arguments = [f"--events={path}" for path in events] + [f"--consents={path}" for path in consents]
    arguments += [f"--deployment={site.file}", *flags]
    profile = cProfile.Profile()
    with pickling_counted() as pickled:
        status = profile.runcall(main, arguments) if profiled else main(arguments)
    return Run(site, status, calls_of(profile) if profiled else Counter(), pickled)


def calls_of(profile: cProfile.Profile, where: tuple[str, ...] = OURS) -> Counter:
    """How often the functions of some folders were called."""
    calls = Counter()
    for function, (_, count, *_) in pstats.Stats(profile).stats.items():
        if function[0].startswith(where):
            calls[function] += count
    return calls


@contextmanager
def pickling_counted() -> Iterator[Counter]:
    """Counts the Arrow batches and tables that any pickler meets."""
    met: Counter = Counter()

    def reduce(value):
        met[type(value).__name__] += 1
        return value.__reduce_ex__(2)

    with mock.patch.dict(copyreg.dispatch_table, {pa.RecordBatch: reduce, pa.Table: reduce}):
        yield met


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """A command of ours in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
