"""Ten times as many events in one run, as ten parts of its input: `python -m benchmarks.scale` (or `make bench-scale`).

Each part is a fleet of its own with its ledger, so that what is known grows with what is read. The time an event is set
beside that of a run over the first part alone, and how long it takes to make all of the sample beside two minutes. A
run holds what waits between its stages in memory: of ten million events that is ten times what one million needs.
"""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import report
from benchmarks.main_job import sample, say
from benchmarks.ratios import job, told

PARTS = 10
AT_MOST, SECONDS = 1.15, 120.0  # times the time an event; to make ten million events


def run(folders: Sequence[Path], work: Path) -> dict:
    """One run of the job over all of these parts."""
    more = [f"--{flag}={folder / f'{flag}.ndjson'}" for folder in folders[1:] for flag in ("events", "consents")]
    ran = told(job(folders[0], work / "scale", *more))
    us = [round(seconds / ran["lines"] * 1e6, 3) for seconds in ran["seconds"]]
    return {"events": ran["lines"], "us_an_event": us, "peak_mb": round(ran["peak_bytes"] / 1e6)}


def measure(given: argparse.Namespace) -> dict:
    """Microseconds an event of (the wall, the processor) of a part and of all, and seconds for each million made."""
    size, started = given.events // PARTS, time.perf_counter()
    there = {path for path in given.work.glob("sample-*")}
    folders = [sample(given.work, size, size // 5, size * 3 // 5, seed)[0].parent for seed in range(1, PARTS + 1)]
    made = [folder for folder in folders if folder not in there]
    seconds = (time.perf_counter() - started) / len(made) / size * 1e6 if made else None
    say(f"{size:,} events")
    one = run(folders[:1], given.work)
    say(f"{size * PARTS:,} events in {PARTS} parts")
    return {"sample_s_a_million": seconds and round(seconds, 1), "one": one, "all": run(folders, given.work)}


def table(figures: dict) -> str:
    """For a person to read."""
    one, all_ = figures["one"], figures["all"]
    wall, processor = (more / less for less, more in zip(one["us_an_event"], all_["us_an_event"], strict=True))
    rows = [f"{'events':>12}{'us an event':>14}{'cpu':>8}{'MB at most':>12}"]
    for each in (one, all_):
        us = each["us_an_event"]
        rows.append(f"{each['events']:12,}{us[0]:14.2f}{us[1]:8.2f}{each['peak_mb']:12,}")
    rows.append(f"{'ratio':12}{wall:14.2f}{processor:8.2f}   (goal: {AT_MOST} at most)")
    if figures["sample_s_a_million"]:
        rows.append(
            f"making ten million events: {figures['sample_s_a_million'] * 10:.0f} s (goal: {SECONDS:.0f} at most)"
        )
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.scale", description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--events", type=int, default=10_000_000, metavar="N", help="in all (%(default)s)")
    report.folders(parser)
    given = parser.parse_args(argv)
    given.work.mkdir(parents=True, exist_ok=True)
    given.out.mkdir(parents=True, exist_ok=True)
    figures = measure(given)
    print(table(figures))
    told_ = figures | {"versions": report.versions(), "machine": report.machine()}
    (given.out / "scale.json").write_text(json.dumps(told_, indent=1) + "\n")


if __name__ == "__main__":
    main()
