"""Whether a step of the main job suddenly takes twice its share: `python -m benchmarks.guard`, 0 if none does, else 1.

A small sample of one region goes through the job some times in one process. Of each step the least processor time
counts, and of that its share of what all steps take, which is compared with the share written down in guard.json: never
a time, which would be that of a machine. `--write` writes the shares down, for who has made a step slower or faster on
purpose. What is done once a run has no share, neither the plan nor, in so small a run, what Beam takes; nor has what
the file system takes, which follows from the disk: how many files a run puts, and how often it waits for the disk, is
held by tests/pipelines/test_disk.py.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.main_job import deployment, fresh
from benchmarks.steps import measure
from pipelines.profile import DISK, STEPS

SHARES = Path(__file__).with_name("guard.json")
EVENTS = 20_000
RUNS, ROUNDS = 2, 6  # in each round; as long as a step seems to have grown, as on a busy machine, there is one more
TIMES = 1.6  # between noise, of which the least of some runs has little, and what must be seen, which is 2
LEAST = 0.03  # what has less is told by milliseconds, and by chance: it counts as having this
COMPARED = tuple(step for step in STEPS if step not in ("plan", DISK))
_HOME = {"account_country": "NL"}  # where all of the sample lives, and its region


def sample(folder: Path, events: int) -> tuple[Path, Path]:
    """Telemetry and a ledger of one day and one region: of more, most of a small run is the making of small files."""
    size = ["--events", events, "--devices", events // 5, "--entries", events // 5, "--days", 1, "--bad-share", 0]
    command = [sys.executable, "-m", "pipelines", "sample", "--out", fresh(folder), *size]
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    paths = folder / "events.ndjson", folder / "consents.ndjson"
    home = b'"residency":' + json.dumps(_HOME).encode()
    for path in paths:
        path.write_bytes(re.sub(rb'"residency":\{[^}]*\}', home, path.read_bytes()))
    return paths


def run(events: Path, consents: Path, work: Path) -> dict[str, float]:
    """Seconds of the processor that each step takes in one run."""
    job = measure(str(events), str(consents), str(deployment(work)), flags=["--cell", "eu"])
    return {step: job["steps"][step][1] for step in COMPARED}


def shares(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of each step's least time in these runs, its share of all steps' together."""
    least = {step: min(run[step] for run in runs) for step in runs[0]}
    return {step: seconds / sum(least.values()) for step, seconds in least.items()}


def grown(measured: Mapping[str, float], expected: Mapping[str, float]) -> dict[str, float]:
    """The steps that take more than `TIMES` of their share, and how many times. A step that grows makes all other
    shares smaller: what counts is how it has grown beside the step in the middle. Raises KeyError for another set of
    steps."""
    middle = statistics.median(measured[step] / share for step, share in expected.items() if share >= LEAST)
    times = {s: max(measured[s] / middle, LEAST) / max(share, LEAST) for s, share in expected.items()}
    return {step: each for step, each in times.items() if each > TIMES}


def told(found: Mapping[str, float], measured: Mapping[str, float], expected: Mapping[str, float]) -> Iterator[str]:
    """A line for each step that has grown."""
    for step, times in found.items():
        yield (
            f"{step}: {times:.1f} times its share ({measured[step]:.1%} of what the steps take; written down: "
            f"{expected[step]:.1%})"
        )


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.guard", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--write", action="store_true", help="write the shares down as they are now")
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="sample and stores")
    given = parser.parse_args(argv)
    inputs = sample(given.work / "sample", EVENTS)
    expected = None if given.write else json.loads(SHARES.read_text())
    runs: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        runs += [run(*inputs, given.work / "run") for _ in range(RUNS)]
        if expected and not grown(shares(runs), expected):
            break
    if expected is None:
        SHARES.write_text(json.dumps({step: round(share, 4) for step, share in shares(runs).items()}, indent=1) + "\n")
        return 0
    found = grown(shares(runs), expected)
    print("\n".join(told(found, shares(runs), expected)) or "every step takes its share")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
