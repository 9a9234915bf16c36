"""How many bytes a record leaves on the exchange and in the stores: `python -m benchmarks.volume`.

One run of `douane ingest` in this process over a sample. What is locked for the exchange is counted where it is locked;
stores are counted as they lie there at the end.
"""

import argparse
import contextlib
import io
import json
from collections import Counter
from functools import wraps
from pathlib import Path

from benchmarks import report
from benchmarks.main_job import deployment, sample, say
from pipelines import ingest
from pipelines.deployment import load_deployment
from schemas.datasets import AUDIT, ORDERS_SUFFIX, QUARANTINE, STOPPED_SUFFIX
from transforms import exchange
from transforms.locks import Locks

_KINDS = {
    exchange.TELEMETRY: "telemetry",
    exchange.LEDGER: "ledger",
    exchange.PAIRS: "statistics",
    exchange.GROUPS: "statistics",
}


def measure(events: Path, consents: Path, place: Path) -> dict[str, Counter]:
    """Bytes by what they are: locked ones, and those of files, of which the numbers are told too."""
    locked: Counter = Counter()
    plain = Locks.lock

    @wraps(plain)
    def counted(self, key, kind, content):
        made = plain(self, key, kind, content)
        locked[_KINDS.get(kind, "other")] += len(made)
        return made

    Locks.lock = counted
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            status = ingest.main([f"--events={events}", f"--consents={consents}", f"--deployment={place}"])
    finally:
        Locks.lock = plain
    if status:
        raise RuntimeError(f"the job ended with status {status}")
    return {"locked": locked, **_stored(place)}


def _stored(place: Path) -> dict[str, Counter]:
    found: dict[str, Counter] = {name: Counter() for name in ("bytes", "files", "rows")}
    for region in load_deployment(place).regions.values():
        for dataset in region.manifest.datasets():
            what = "lists" if dataset.endswith((ORDERS_SUFFIX, STOPPED_SUFFIX)) else "records"
            what = "others" if dataset in (AUDIT, QUARANTINE) else what
            for entry in region.manifest.entries(dataset):
                found["bytes"][what] += entry.bytes
                found["files"][what] += 1
                found["rows"][what] += entry.rows
    return found


def main(argv: list[str] | None = None) -> None:
    """The command."""
    arguments = argparse.ArgumentParser(prog="benchmarks.volume", description=__doc__.splitlines()[0])
    arguments.add_argument("--events", type=int, default=200_000, metavar="N", help="(%(default)s)")
    report.folders(arguments)
    given = arguments.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    devices, entries = given.events // 5, given.events * 3 // 5
    paths = sample(given.work, given.events, devices, entries)
    found = measure(*paths, deployment(given.work / "volume"))
    size = {"events": given.events, "devices": devices, "entries": entries, "event_bytes": paths[0].stat().st_size}
    given.out.mkdir(parents=True, exist_ok=True)
    out = given.out / "volume.json"
    out.write_text(json.dumps({**size, **found}, indent=1) + "\n")
    say(f"written: {out}")


if __name__ == "__main__":
    main()
