"""How the job stands beside its peers, and what its parts cost: `python -m benchmarks.ratios` (or `make bench`).

All of it in one run, each process on one core: polars, DuckDB and row-by-row Beam do the work of the job (see
`benchmarks.peers`), and their output is compared with the job's: if it differs, this fails. Then two jobs at once
beside one, and the job without encryption and without statistics, in turns. What has to be reached is set beside what
is.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.main_job import Alone, alone, deployment, fresh, sample, say
from benchmarks.peers.given import given as given_to_peers
from benchmarks.peers.outputs import Outputs
from schemas.pack_files import DEFAULT_PACK, SHIPPED

_HERE = Path(__file__).parent
_SMALL = 25_000  # row-by-row Beam is measured between a run of so many events and one of 100,000 more
Seconds = list[float]  # of the wall, of the processor


@dataclass(frozen=True)
class Peer:
    """Who does the same work, how many times as fast the job should be, and what the peer lacks beside `NO_PEER`."""

    name: str
    script: str
    goal: float
    lacks: str


NO_PEER = "state, encryption, quarantine, audit, statistics, lists of what is to be erased, a scrubber worth the name"
_IN_MEMORY = "no stream: holds all lines at once, and a wrong one ends it"
POLARS = Peer("polars", "polars_script.py", 1.5, _IN_MEMORY)
DUCKDB = Peer("DuckDB", "duckdb_script.py", 1.3, _IN_MEMORY)
BEAM = Peer("row-by-row Beam", "rowwise_beam.py", 12, "no stream: its ledger is a side input")


@dataclass(frozen=True)
class Ratio:
    """What was asked for and what was reached, by the wall's clock and the processor's."""

    what: str
    asked: str
    wall: float | None
    processor: float | None


def environment(work: Path) -> Path | None:
    """The Python of an environment with what the scripts need, made when it is first needed; None if it cannot be."""
    folder, needed = work / "peers", _HERE / "peers" / "requirements.txt"
    made_of, python = folder / "requirements.txt", folder / "bin" / "python"
    try:
        if not made_of.exists() or made_of.read_bytes() != needed.read_bytes():
            say("installing polars and DuckDB into an environment of their own")
            venv.create(folder, with_pip=True, clear=True)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
            subprocess.run([*pip, "--require-hashes", "--requirement", needed], check=True, stdout=sys.stderr)
            shutil.copy(needed, made_of)
    except (OSError, subprocess.CalledProcessError) as error:
        say(f"SKIPPED: polars and DuckDB, their environment cannot be made ({type(error).__name__})")
        return None
    return python


def of_size(work: Path, events: int) -> tuple[Path, Path]:
    """The sample of so many events, in the proportions of the main job's."""
    return sample(work, events, events // 5, events * 3 // 5)


def job(folder: Path, work: Path, *flags: object, core: int = 0) -> Alone:
    """A run of the job over a folder with events.ndjson and consents.ndjson, that goes on."""
    inputs = folder / "events.ndjson", folder / "consents.ndjson"
    return Alone([sys.executable, "-m", "benchmarks.steps", *inputs, deployment(work), *flags], core)


def told(running: Alone) -> dict:
    return json.loads(running.result())


def beside_scripts(work: Path, events: int, runs: int) -> dict[str, list[Seconds]]:
    """Seconds of the job and of the scripts, in turns, over the same sample."""
    python, folder = environment(work), given_to_peers(*of_size(work, events))
    scripts = [POLARS, DUCKDB] if python else []
    found: dict[str, list[Seconds]] = {name: [] for name in ("job", *(peer.name for peer in scripts))}
    for number in range(runs):
        say(f"{events:,} events: the job, beside {' and '.join(peer.name for peer in scripts) or 'nobody'}")
        ran = told(job(folder, work / "peers-job"))
        found["job"].append(ran["seconds"])
        for peer in scripts:
            out = fresh(work / f"out-{peer.name}")
            done = json.loads(Alone([python, "-I", _HERE / "peers" / peer.script, folder, out]).result())
            found[peer.name].append(done["seconds"])
        if not number:
            compare(scripts, folder, work / "peers-job", work, ran["rows"])
    return found


def compare(peers: Sequence[Peer], folder: Path, place: Path, outs: Path, rows: dict[str, int]) -> None:
    """Raises RuntimeError if one of the peers has written other rows than the job, or the job none at all: then all
    have done the same work, which is none."""
    if not sum(rows.values()):
        raise RuntimeError("the job has stored nothing: the comparison is void")
    outputs = Outputs(folder / "events.ndjson", place / "deployment.yaml")
    for peer in peers:
        say(f"comparing the rows of {peer.name}")
        if differing := outputs.differing(outs / f"out-{peer.name}", rows):
            raise RuntimeError(f"{peer.name} has written other rows than the job: {differing}")


def beside_beam(work: Path, runs: int) -> list[list[Seconds]]:
    """Seconds of row-by-row Beam over a small and a larger sample, in turns."""
    found = []
    folders = [given_to_peers(*of_size(work, _SMALL + more)) for more in (0, 100_000)]
    for number in range(runs):
        say("row-by-row Beam")
        out = work / f"out-{BEAM.name}"
        found.append([alone("benchmarks.peers.rowwise_beam", folder, fresh(out))["seconds"] for folder in folders])
        if not number:
            place = work / "beam-job"  # of its own: a process keeps the keys of a place that it has opened
            compare([BEAM], folders[-1], place, work, told(job(folders[-1], place))["rows"])
    return found


def two_at_once(work: Path, events: int, runs: int) -> list[list[float]]:
    """Seconds of the wall of one job alone, and of the slower of two at once, each over an input of its own."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        say("SKIPPED: two jobs at once, for want of two cores")
        return []
    folder, found = of_size(work, events)[0].parent, []
    for _ in range(runs):
        say("one job, then two at once")
        one = told(job(folder, work / "one"))["seconds"][0]
        two = [job(folder, work / f"of-two-{core}", core=core) for core in (0, 1)]
        found.append([one, max(told(each)["seconds"][0] for each in two)])
    return found


def parts(work: Path, events: int, runs: int) -> dict[str, list[Seconds]]:
    """Seconds of the job as it is, without encryption of what it stores, and without statistics, in turns."""
    pack = fresh(work / "pack-without-statistics")
    shutil.copytree(SHIPPED / DEFAULT_PACK, pack, dirs_exist_ok=True)
    (pack / "statistics.yaml").unlink()
    flags = {"whole": (), "unencrypted": ("--plain",), "no statistics": ("--policy", pack)}
    folder, found = of_size(work, events)[0].parent, {name: [] for name in flags}
    for _ in range(runs):
        say("the job, without encryption, without statistics")
        for name, given in flags.items():
            found[name].append(told(job(folder, work / "parts", *given))["seconds"])
    return found


def ratios(figures: dict) -> list[Ratio]:
    """What is asked for and what is reached, by all that was measured."""
    job_us = _median(figures["peers"]["job"], figures["events"])
    found = []
    for peer in (POLARS, DUCKDB):
        of_peer = figures["peers"].get(peer.name)
        both = _over(_median(of_peer, figures["events"]), job_us) if of_peer else (None, None)
        found.append(Ratio(f"{peer.name} / job", f">= {peer.goal:g}", *both))
    marginal = [[large[at] - small[at] for at in (0, 1)] for small, large in figures["beam"]]
    found.append(Ratio(f"{BEAM.name} / job", f">= {BEAM.goal:g}", *_over(_median(marginal, 100_000), job_us)))
    two = [2 * one / both for one, both in figures["two at once"]]
    found.append(Ratio("two jobs at once / one", ">= 1.8", round(statistics.median(two), 2) if two else None, None))
    for name, asked in (("unencrypted", 1.10), ("no statistics", 1.15)):
        pairs = zip(figures["parts"]["whole"], figures["parts"][name], strict=True)
        each = [[whole[at] / less[at] for at in (0, 1)] for whole, less in pairs]
        wall, processor = (round(statistics.median(ratio[at] for ratio in each), 3) for at in (0, 1))
        found.append(Ratio(f"job / {name}", f"<= {asked:.2f}", wall, processor))
    return found


def _median(seconds: Sequence[Seconds], events: int) -> Seconds:
    """Microseconds an event."""
    return [statistics.median(each[at] for each in seconds) / events * 1e6 for at in (0, 1)]


def _over(one: Seconds, other: Seconds) -> tuple[float, float]:
    return round(one[0] / other[0], 2), round(one[1] / other[1], 2)


def microseconds(figures: dict) -> dict[str, float]:
    """Of the wall, an event, of the job and of its peers."""
    found = {name: _median(seconds, figures["events"])[0] for name, seconds in figures["peers"].items()}
    marginal = [[large[at] - small[at] for at in (0, 1)] for small, large in figures["beam"]]
    return {name: round(us, 2) for name, us in (found | {BEAM.name: _median(marginal, 100_000)[0]}).items()}


def table(figures: dict) -> str:
    """For a person to read."""
    rows = [f"{'ratio':26}{'asked':>10}{'reached':>10}{'cpu':>8}"]
    for each in ratios(figures):
        wall, processor = (f"{number:.2f}" if number else "-" for number in (each.wall, each.processor))
        rows.append(f"{each.what:26}{each.asked:>10}{wall:>10}{processor:>8}")
    rows += ["", *(f"{name:26}{us:10.1f} us an event" for name, us in microseconds(figures).items())]
    rows += [
        "",
        f"what none of them does: {NO_PEER}",
        *(f"{each.name}: {each.lacks}" for each in (POLARS, DUCKDB, BEAM)),
    ]
    return "\n".join(rows)


def picture(found: dict[str, float]) -> str:
    """An SVG: a bar for the job and for each peer."""
    scale = 560 / max(found.values())
    title = '<text x="0" y="16">microseconds an event, one core: the same rows by the job and by its peers</text>'
    rows = []
    for place, (name, us) in enumerate(found.items()):
        y = 30 + place * 34
        colour = "#4477aa" if name == "job" else "#bbbbbb"
        rows.append(f'<text x="0" y="{y + 17}">{name}</text>')
        rows.append(f'<rect x="130" y="{y}" width="{us * scale:.1f}" height="26" fill="{colour}"/>')
        rows.append(f'<text x="{136 + us * scale:.0f}" y="{y + 17}">{us:.1f}</text>')
    height = 30 + len(found) * 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 {height}" width="760" height="{height}">'
        f"<style>{report.STYLE}</style>\n" + "\n".join([title, *rows]) + "\n</svg>\n"
    )


def measure(given: argparse.Namespace) -> dict:
    """All that was measured, with what it was measured of."""
    return {
        "events": given.events,
        "peers": beside_scripts(given.work, given.events, given.runs),
        "beam": beside_beam(given.work, given.runs),
        "two at once": two_at_once(given.work, given.part_events, given.runs),
        "parts": parts(given.work, given.part_events, given.part_runs),
        "versions": report.versions() | _versions_of_peers(),
        "machine": report.machine(),
    }


def _versions_of_peers() -> dict[str, str]:
    lines = (_HERE / "peers" / "requirements.txt").read_text().splitlines()
    pinned = (line.split()[0].split("==") for line in lines if "==" in line)
    return dict(pinned)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.ratios", description=__doc__.splitlines()[0], allow_abbrev=False)
    sizes = (("events", 1_000_000), ("runs", 1), ("part-events", 200_000), ("part-runs", 3))
    for name, default in sizes:
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    report.folders(parser)
    given = parser.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    figures = measure(given)
    print(table(figures))
    told_ = {"ratios": [vars(each) for each in ratios(figures)], "microseconds": microseconds(figures), **figures}
    (given.out / "ratios.json").write_text(json.dumps(told_, indent=1) + "\n")
    (given.out / "peers.svg").write_text(picture(microseconds(figures)))


if __name__ == "__main__":
    main()
