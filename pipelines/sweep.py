"""`douane sweep`: removes files that no manifest names, which workers that were killed have left behind.

Nobody reads such files, and nobody can: their keys were only ever in the worker, or in an entry of a run that was never
published. A job that is running writes files before it names them, so only what is older than a while is taken.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.command import OK, guarded, parser
from pipelines.errors import InputError

if TYPE_CHECKING:
    from pipelines.deployment import RegionalPlace

_DAY = 24 * 60


def main(argv: list[str] | None = None) -> int:
    """Runs the command. It needs no keys, and the manifests of the regions whole."""
    arguments = parser("sweep", "Remove files that no manifest names. It needs no keys.")
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores are")
    arguments.add_argument("--region", help="of one region alone")
    older = "minutes since a file was written; a running job names its files within these (default: %(default)s)"
    arguments.add_argument("--older-than", type=_minutes, default=_DAY, metavar="MINUTES", help=older)
    options = arguments.parse_args(argv)
    return guarded("sweep", lambda: _sweep(options))


def _minutes(text: str) -> float:
    try:
        if (minutes := float(text)) >= 0:
            return minutes
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("write a number of minutes")


def _sweep(options) -> int:
    from pipelines.deployment import load_deployment
    from pipelines.statistics_store import withdraw

    deployment, before = load_deployment(options.deployment), time.time() - options.older_than * 60
    places = [deployment.place(options.region)] if options.region else deployment.regions.values()
    for place in places:
        removed = size = 0
        withdraw(place, before)
        for path in list(unnamed(place, before)):
            size += path.stat().st_size
            path.unlink()
            removed += 1
        print(f"{place.region}: {removed:,} files removed, {size / 1e6:,.1f} MB")
    return OK


def unnamed(place: "RegionalPlace", before: float) -> Iterator[Path]:
    """The files of a region's datasets that were written before a time, in seconds since the epoch, and that its
    manifest does not name. Raises `InputError` where the manifest cannot be read, or is not there, before anything is
    given."""
    from schemas.datasets import RECEIVED_DATE

    files = f"{RECEIVED_DATE}=*/*.parquet"
    # The files first: what is named while this goes on is named when the manifest is read.
    old = [
        (dataset, path)
        for dataset, folder in place.dataset_folders().items()
        for path in folder.glob(files)
        if path.stat().st_mtime < before
    ]
    if old and not place.manifest.datasets():
        raise InputError(
            f"{place.manifest_folder} names no file at all, and {place.store} holds some: nothing is removed; check "
            "that the deployment file names the keys of this store"
        )
    named = {dataset: {entry.file for entry in place.manifest.entries(dataset)} for dataset, _ in old}
    for entry in place.manifest.waiting():  # of a run that goes on
        named.setdefault(entry.dataset, set()).add(entry.file)
    # The time once more: what lost its name after it was listed is as new, for who still reads it.
    yield from (path for dataset, path in old if path.name not in named[dataset] and path.stat().st_mtime < before)


if __name__ == "__main__":
    sys.exit(main())
