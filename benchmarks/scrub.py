"""What scrubbing costs, beside Presidio on the same lines: `python -m benchmarks.scrub` (or `make bench`).

Three columns of texts of 260 bytes, pieces of the traces of tests/scrubbing: clean ones; dirty ones, with a value of
any kind in each; and ones with a candidate for a phone number, which a library has to judge. Times are of the
processor, on one core. Presidio gets an environment of its own, made at the first run; where it cannot be installed
the run says so and goes on without.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random

import pyarrow as pa

from benchmarks import report
from benchmarks.main_job import say
from tests.scrubbing.cases import clean_traces, plain
from tests.scrubbing.values import KINDS
from transforms.scrub import Scrubber

_HERE = Path(__file__).parent
_VARYING = re.compile(r"(?<=:\d\d\.)\d{3}|(?<=:)\d+(?=\))")
BYTES = 260
GOALS = {"clean": 1.2, "dirty": 6.0, "phone": 20.0}  # microseconds a text
GOAL_RATIO = 15
PRESIDIO = "presidio-analyzer==2.2.366"


def lines() -> list[str]:
    """All lines of the clean traces."""
    return [line for trace in clean_traces() for line in trace.text.split("\n") if line]


def varied(line: str, rng: Random) -> str:
    """With other milliseconds and line numbers: of a fleet's lines not many are the same."""
    return _VARYING.sub(lambda found: "".join(rng.choice("123456789") for _ in found[0]), line)


def texts(rng: Random, count: int, line: Callable[[], str] | None = None) -> list[str]:
    """Texts of `BYTES` bytes: random lines of clean traces, and first the line that is drawn, if any."""
    around = lines()
    return [_cut([line()] if line else [], around, rng) for _ in range(count)]


def _cut(start: list[str], around: list[str], rng: Random) -> str:
    while len("\n".join(start).encode()) < BYTES:
        start = [*start, varied(rng.choice(around), rng)]
    return "\n".join(start).encode()[:BYTES].decode(errors="ignore")


def columns(rng: Random, count: int, scrubber: Scrubber) -> dict[str, list[str]]:
    """The three columns. A piece of a trace is clean here if nothing in it is replaced."""
    pieces = texts(rng, count * 2)
    left = scrubber.scrub(pa.array(pieces))[0].to_pylist()
    clean = [before for before, after in zip(pieces, left, strict=True) if before == after][:count]
    kinds = [kind for kind in KINDS if kind != "phone"]
    return {
        "clean": clean,
        "dirty": texts(rng, count, lambda: plain(rng.choice(kinds), rng)),
        "phone": texts(rng, count, partial(plain, "phone", rng)),
    }


def microseconds(scrubber: Scrubber, column: list[str], runs: int) -> float:
    """The least of some runs, a text."""
    array, seconds = pa.array(column), []
    for _ in range(runs):
        started = time.process_time()
        scrubber.scrub(array)
        seconds.append(time.process_time() - started)
    return min(seconds) / len(column) * 1e6


def presidio(work: Path, given: dict[str, list[str]]) -> dict[str, dict[str, float]] | None:
    """Microseconds a text by column, of its patterns and of these and phones; None if it cannot be had."""
    python = work / "presidio" / "bin" / "python"
    try:
        if not (work / "presidio" / ".ready").exists():
            say(f"installing {PRESIDIO} into an environment of its own")
            venv.create(work / "presidio", with_pip=True, clear=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PRESIDIO]
            subprocess.run(pip, check=True, stdout=sys.stderr)
            (work / "presidio" / ".ready").touch()
        script = [python, "-I", _HERE / "presidio.py"]
        done = subprocess.run(script, check=True, input=json.dumps(given), stdout=subprocess.PIPE, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"SKIPPED: Presidio was not measured, its environment cannot be made or used ({type(error).__name__})")
        return None
    took = json.loads(done.stdout)
    return {name: {what: s / len(given[name]) * 1e6 for what, s in each.items()} for name, each in took.items()}


def measured(given: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Microseconds a text, by column."""
    rng, scrubber = Random(given.seed), Scrubber()
    column = columns(rng, given.texts, scrubber)
    figures = {name: {"scrubber": microseconds(scrubber, made, given.runs)} for name, made in column.items()}
    say("Presidio")
    beside = presidio(given.work, {name: made[: given.beside] for name, made in column.items()}) or {}
    for name, each in beside.items():
        figures[name] |= {"Presidio": each["patterns"], "with phones": each["and phones"]}
        figures[name]["times"] = each["patterns"] / figures[name]["scrubber"]
    return {name: {what: round(us, 2) for what, us in each.items()} for name, each in figures.items()}


def table(figures: dict[str, dict[str, float]]) -> Iterator[str]:
    """For a person to read."""
    heads = ("scrubber", "goal", "Presidio", "with phones", "times")
    yield (
        f"{'us a text':10}"
        + "".join(f"{head:>12}" for head in heads)
        + f"   (goal: {GOAL_RATIO}, of its patterns alone)"
    )
    for name, each in figures.items():
        cells = ({"goal": GOALS[name]} | each).get
        yield f"{name:10}" + "".join(f"{cells(head, '-'):>12}" for head in heads)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.scrub", description=__doc__.splitlines()[0], allow_abbrev=False)
    for name, default in (("texts", 20_000), ("runs", 5), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    parser.add_argument("--beside", type=int, default=500, metavar="N", help="texts that Presidio gets (%(default)s)")
    report.folders(parser)
    given = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    figures = measured(given)
    print("\n".join(table(figures)))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "scrub.json").write_text(json.dumps({"presidio": PRESIDIO, "figures": figures}, indent=1) + "\n")


if __name__ == "__main__":
    main()
