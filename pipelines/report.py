"""`douane report`: what a run did, on one page of HTML for a privacy officer to show."""

import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError
from schemas.shipped import DEFAULT_PACK

if TYPE_CHECKING:
    from pipelines.audit_rows import CountedRun
    from pipelines.deployment import RegionalPlace

_KNOWN = 5  # so many runs are named to who asks for one that there is not


def main(argv: list[str] | None = None) -> int:
    """Runs the command. The page needs no network and no script; its path is the last line that is printed."""
    arguments = parser("report", "Put what a run did on one page of HTML. It needs the keys of each region's audit.")
    arguments.add_argument("run", nargs="?", metavar="RUN", help="as ingest prints it (default: the latest)")
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    arguments.add_argument(
        "--policy", default=DEFAULT_PACK, metavar="NAME|DIR", help="the run's policy pack (default: %(default)s)"
    )
    arguments.add_argument("--out", metavar="FILE", help="where the page goes (default: report-RUN.html)")
    options = arguments.parse_args(argv)
    return guarded("report", lambda: _report(options))


def _report(options) -> int:
    from pipelines.audit_rows import counted_runs, read_totals
    from pipelines.deployment import load_deployment
    from pipelines.digest import digest, released_days
    from pipelines.page import render
    from schemas.pack_files import load_pack

    pack, deployment = load_pack(options.policy), load_deployment(options.deployment)
    places = [deployment.regions[name] for name in pack.where.regions if name in deployment.regions]
    places = places or list(deployment.regions.values())  # none is the pack's: so its runs will be of another
    runs = sorted(counted_runs(places), key=lambda run: (run.dates[-1], _stored_at(run, places)))
    run = _chosen(runs, options.run)
    places = [place for place in places if place.region in run.regions]
    totals = read_totals(places, run.name)
    if strange := sorted(totals.by("purpose").keys() - pack.purposes.keys() - {""}):
        about = f"--policy {options.policy}: it has no purpose {strange[0]!r}, about which run {run.name} has decided"
        raise ConfigurationError(f"{about}; name the policy pack of that run")
    edition = max(totals.by("reason", step="audit", outcome="policy"), default=pack.version)
    if edition != pack.version:  # a stream goes on under newer editions: its purposes are those of the newest
        about = f"--policy {options.policy} is edition {pack.version}, but run {run.name} decided under {edition}"
        raise ConfigurationError(f"{about}; name the policy pack of that run")
    regions = tuple(place.region for place in places)
    found = digest(totals, pack, replace(run, regions=regions), released_days(places, run.name), ended=run.bounded)
    out = Path(options.out or f"report-{run.name}.html")
    _put_private(out, render(found, run.dates).encode())
    print(out)
    return OK


def _put_private(path: Path, content: bytes) -> None:
    """Puts the page in place at once, for its owner alone to read: counts of few records are personal data."""
    from pipelines.whole_files import writing

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, attempt = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)  # mode 0600
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            os.replace(attempt, path)
        finally:
            Path(attempt).unlink(missing_ok=True)


def _chosen(runs: Sequence["CountedRun"], name: str | None) -> "CountedRun":
    if not runs:
        raise ConfigurationError("no run has left counts in this deployment; `douane ingest` makes one")
    chosen = next((run for run in runs if run.name == name), None) if name else runs[-1]
    if chosen is None:
        latest = ", ".join(run.name for run in runs[-_KNOWN:])
        raise ConfigurationError(f"no run {name} has left counts in this deployment; the latest are {latest}")
    return chosen


def _stored_at(run: "CountedRun", places: Sequence["RegionalPlace"]) -> float:
    """When its last counts were stored. Manifests tell days only; files tell which of a day's runs was the latest."""
    from schemas.datasets import AUDIT, RECEIVED_DATE

    files = f"{RECEIVED_DATE}={run.dates[-1]}/{run.input_id}-*"
    return max((path.stat().st_mtime for place in places for path in place.folder(AUDIT).glob(files)), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
