"""How fast the main job is, beside the floor: `python -m benchmarks.main_job` (or `make bench`).

A sample is made, or used again; then, run by run, the whole job on FnApiRunner and the floor under it (see
`benchmarks.floor`), each in a process of its own on one core. The run with the median time is shown, step by step
(see `pipelines.profile`), and written down with all others as JSON and as a picture.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from hashlib import blake2b
from pathlib import Path

from benchmarks import report

_HERE = Path(__file__).parent
_SAMPLER = ("pipelines/sample.py", "pipelines/sampling/*.py")
# Read by Arrow, and by polars, when they are loaded.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "ARROW_IO_THREADS": "1", "POLARS_MAX_THREADS": "1"}


def say(message: str) -> None:
    """One line of progress."""
    print(f"{time.strftime('%H:%M:%S')} {message}", file=sys.stderr, flush=True)


def sample(work: Path, events: int, devices: int, entries: int, seed: int = 1) -> tuple[Path, Path]:
    """Telemetry and a ledger of that size without bad lines; made once for each version of the sampler."""
    sources = sorted(path for pattern in _SAMPLER for path in _HERE.parent.glob(pattern))
    version = blake2b(b"".join(path.read_bytes() for path in sources), digest_size=4).hexdigest()
    folder = work / f"sample-{events}-{devices}-{entries}-{version}{f'-{seed}' if seed != 1 else ''}"
    if not folder.exists():
        say(f"making a sample of {events:,} events")
        unfinished = folder.with_suffix(".part")
        size = ["--events", str(events), "--devices", str(devices), "--entries", str(entries)]
        command = ["pipelines", "sample", "--out", str(unfinished), *size, "--bad-share", "0", "--seed", str(seed)]
        subprocess.run([sys.executable, "-m", *command], check=True, stdout=subprocess.DEVNULL)
        unfinished.rename(folder)
    return folder / "events.ndjson", folder / "consents.ndjson"


def fresh(folder: Path) -> Path:
    """An empty folder, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def deployment(folder: Path) -> Path:
    """A deployment of every region of the policy in an empty folder."""
    from schemas.pack_files import DEFAULT_PACK, load_pack

    regions = load_pack(DEFAULT_PACK).where.regions
    places = {name: {"store": f"stores/{name}", "keys": f"local:keys/{name}"} for name in regions}
    path = fresh(folder) / "deployment.yaml"
    path.write_text(json.dumps({"regions": places}))  # JSON is YAML
    return path


def alone(module: str, *arguments: object) -> dict:
    """What a module's command prints as JSON, run in a process of its own on one core. Raises if it fails."""
    return json.loads(Alone([sys.executable, "-m", module, *arguments]).result())


class Alone:
    """A command in a process of its own that keeps to one core: the last, or another by its place from there."""

    def __init__(self, command: Sequence[object], core: int = 0) -> None:
        self._command = list(map(str, command))
        self._process = subprocess.Popen(
            self._command,
            stdout=subprocess.PIPE,
            env={**os.environ, **_ONE_THREAD},
            preexec_fn=partial(_keep_to_core, core) if hasattr(os, "sched_setaffinity") else None,
        )

    def result(self) -> bytes:
        """What it prints. Raises `CalledProcessError` if it fails."""
        out, _ = self._process.communicate()
        if self._process.returncode:
            raise subprocess.CalledProcessError(self._process.returncode, self._command)
        return out


def _keep_to_core(place: int) -> None:
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0), reverse=True)[place]})


def run_once(events: Path, consents: Path, work: Path, profile: Path | None) -> dict:
    """One run of the job and of the floor. Raises RuntimeError if the two have not dealt with the same rows."""
    place = deployment(work / "run")
    job = alone("benchmarks.steps", events, consents, place, *(("--profile", profile) if profile else ()))
    floor = alone("benchmarks.floor", events, place, fresh(work / "floor"))
    if (job["lines"], job["rows"]) != (floor["lines"], floor["rows"]):
        raise RuntimeError("the job and the floor have not read the same lines and written the same rows")
    return {"job": job, "floor": floor}


def measure(given: argparse.Namespace) -> dict:
    """All runs, with what they ran on."""
    events, consents = sample(given.work, given.events, given.devices, given.entries)
    size = events.stat().st_size
    say(f"{size / given.events:,.0f} bytes an event; a ledger of {consents.stat().st_size / 1e6:,.0f} MB")
    runs = []
    for number in range(1, given.runs + 1):
        say(f"run {number} of {given.runs}: the job, then the floor")
        runs.append(run_once(events, consents, given.work, given.profile if number == 1 else None))
    sizes = {"events": given.events, "devices": given.devices, "entries": given.entries}
    return {"sample": {**sizes, "event_bytes": size, "ledger_bytes": consents.stat().st_size}, "runs": runs}


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.main_job", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    for name, default in (("events", 1_000_000), ("devices", 200_000), ("entries", 600_000), ("runs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    parser.add_argument("--profile", type=Path, metavar="FILE", help="profile the first run, which slows it")
    report.folders(parser)
    given = parser.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    measured = measure(given)
    print(report.table(measured))
    for path in report.write(measured, given.out):
        say(f"written: {path}")


if __name__ == "__main__":
    main()
