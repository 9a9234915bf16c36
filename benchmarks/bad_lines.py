"""What bad lines cost: `python -m benchmarks.bad_lines`, on one core.

A sample without bad lines crosses the border, from bytes to sealed pieces and sealed rejected lines; then the same
sample with a share of its lines spoilt, at random or in bursts, by all kinds of faults in turn; and at random by all
but the one that makes a line too long, which is as many bytes as a hundred good ones. Clean and spoilt alternate in one
process, and what is written down is the median of the ratios of neighbours. The same is done with the whole job, each
run in a process of its own. Floods of worthless lines are told by what a line and a byte of them take.
Seconds at the border are of processor time: other load moves them less.
"""

import argparse
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from itertools import chain, cycle
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
from apache_beam.utils.timestamp import Timestamp

from benchmarks import report
from benchmarks.main_job import alone, deployment, sample, say
from pipelines.quarantine import main as quarantine
from schemas.editions import Editions
from schemas.pack_files import load_pack
from schemas.shape import MAX_LINE_BYTES
from transforms.border import Border, _TelemetryBorder
from transforms.envelope import create_pair
from transforms.keyring import create_keystore
from transforms.quarantine import PUBLIC_KEY
from transforms.seal import Partition

_BLOCK_LINES, _BURST_LINES = 50_000, 100
SHARES = {"0.005 %": (0.00005, 1.1), "1 %": (0.01, 1.4), "5 %": (0.05, 1.6)}  # and at most so many times the clean time

Spoil = Callable[[bytes], bytes]


def _put(pattern: bytes, replacement: bytes) -> Spoil:
    return lambda line: re.sub(pattern, replacement, line, count=1)


def _out_of_range(line: bytes) -> bytes:
    spoilt = re.sub(rb'_ms":\d+', b'_ms":-5', line, count=1)
    return spoilt if spoilt != line else line[:-1] + b',"session":{"events":-5}}'


# By the reason that a line of the sample is rejected for when it is spoilt like this.
FAULTS: dict[str, Spoil] = {
    "not_json": lambda line: line[: len(line) // 2],
    "wrong_type": _put(rb'"source":"[a-z]+"', b'"source":17'),
    "duplicate_key": _put(rb'"service":', rb'"service":"twice","service":'),
    "not_utf8": _put(rb'"service":"', b'"service":"\xff'),
    "bad_time": _put(rb'"event_time":"(\d{4})-\d\d-\d\d', rb'"event_time":"\1-02-30'),
    "out_of_range": _out_of_range,
    "unknown_value": _put(rb'"source":"[a-z]+"', b'"source":"rumour"'),
    "too_long": lambda line: line[:-1] + b',"x":"' + b"x" * MAX_LINE_BYTES + b'"}',
}
# A line that is too long is a hundred good ones to read and to seal, so it is told as well what the others cost alone.
SHORT_FAULTS = {reason: spoil for reason, spoil in FAULTS.items() if reason != "too_long"}
FLOODS = {"{}": b"{}", "x": b"x", "blank": b""}  # each a line, again and again; and all lines spoilt, by all faults


def spoilt(
    draw: np.random.Generator, lines: list[bytes], share: float, burst: int, faults: dict[str, Spoil] = FAULTS
) -> list[bytes]:
    """The lines, of which a share, in runs of `burst` at random places, has one of the faults each, all in turn."""
    count = round(share * len(lines))
    starts = draw.choice(len(lines) // burst, -(-count // burst), replace=False) * burst
    places = chain.from_iterable(range(start, start + burst) for start in starts.tolist())
    lines = list(lines)
    for place, spoil in zip(list(places)[:count], cycle(faults.values()), strict=False):
        lines[place] = spoil(lines[place])
    return lines


def blocks_of(lines: list[bytes]) -> list[bytes]:
    """As a source hands them over: blocks of whole lines."""
    return [b"\n".join(lines[at : at + _BLOCK_LINES]) + b"\n" for at in range(0, len(lines), _BLOCK_LINES)]


class Crossing:
    """The border of telemetry as a worker runs it, with keys of its own in a folder."""

    def __init__(self, folder: Path) -> None:
        pack = load_pack()
        keys = {code: f"local:{folder / name}" for code, name in enumerate(pack.regions)}
        for code, name in enumerate(pack.regions):
            create_keystore(keys[code], name)
            create_pair(folder / name / PUBLIC_KEY, folder / f"{name}.pem")
        self._border = Border(False, _as_blocks, Editions((pack,)), keys, Partition(1, None), 0)

    def worker(self, blocks: list[bytes]) -> Callable[[], float]:
        """Passes the blocks once, which warms a worker up; then each call passes them again and tells the seconds."""
        worker = _TelemetryBorder(self._border)
        worker.setup()

        def passed() -> float:
            started = time.process_time()
            for _ in worker.process(blocks, Timestamp(0)):
                pass
            return time.process_time() - started

        passed()
        return passed


def _as_blocks(blocks: list[bytes]) -> Iterator[tuple[bytes, None]]:
    return ((block, None) for block in blocks)


def shares(draw: np.random.Generator, lines: list[bytes], crossing: Crossing, runs: int) -> list[dict]:
    """For each share of bad lines, at random, so without any that is too long, and in bursts, how many times the clean
    time it takes."""
    clean, figures = crossing.worker(blocks_of(lines)), []
    for name, (share, bar) in SHARES.items():
        burst = max(1, min(_BURST_LINES, round(share * len(lines))))
        for where, run, faults in (
            ("at random", 1, FAULTS),
            ("none too long", 1, SHORT_FAULTS),
            ("in bursts", burst, FAULTS),
        ):
            say(f"{name} bad lines {where}")
            bad = crossing.worker(blocks_of(spoilt(draw, lines, share, run, faults)))
            seconds = [(clean(), bad()) for _ in range(runs)]
            ratio = float(np.median([spoilt_s / clean_s for clean_s, spoilt_s in seconds]))
            clean_us, bad_us = (round(float(np.median(s)) / len(lines) * 1e6, 2) for s in zip(*seconds, strict=True))
            figures.append({"share": name, "where": where, "ratio": round(ratio, 3), "at_most": bar})
            figures[-1] |= {"clean_us_a_line": clean_us, "us_a_line": bad_us}
    return figures


def whole_jobs(draw: np.random.Generator, events: Path, consents: Path, work: Path, runs: int) -> list[dict]:
    """For each share of bad lines at random, how many times the clean time the whole job takes."""
    lines, figures = events.read_bytes().splitlines(), []
    for name, (share, bar) in SHARES.items():
        say(f"{name} bad lines, the whole job")
        bad = work / "bad.ndjson"
        bad.write_bytes(b"\n".join(spoilt(draw, lines, share, 1)) + b"\n")
        seconds = [[_job_seconds(each, consents, work) for each in (events, bad)] for _ in range(runs)]
        ratio = float(np.median([spoilt_s / clean_s for clean_s, spoilt_s in seconds]))
        figures.append({"share": name, "ratio": round(ratio, 3), "at_most": bar})
    return figures


def _job_seconds(events: Path, consents: Path, work: Path) -> float:
    place = deployment(work / "bad-lines")
    with redirect_stdout(io.StringIO()):
        quarantine(["keygen", f"--deployment={place}", f"--out={work / 'bad-lines' / 'private'}"])
    return alone("benchmarks.steps", events, consents, place)["seconds"][1]


def floods(draw: np.random.Generator, lines: list[bytes], crossing: Crossing, runs: int) -> list[dict]:
    """What worthless lines take, a line and a byte, and how many times the time that good telemetry takes a byte."""
    samples = {"good": lines, "all spoilt": spoilt(draw, lines, 1, 1)}
    samples |= {f"only {name}": [line] * (5 * len(lines)) for name, line in FLOODS.items()}
    figures: list[dict] = []
    for name, sample_ in samples.items():
        say(f"flood: {name}")
        blocks = blocks_of(sample_)
        worker = crossing.worker(blocks)
        seconds, size = float(np.median([worker() for _ in range(runs)])), sum(map(len, blocks))
        figures.append({"lines": name, "us_a_line": round(seconds / len(sample_) * 1e6, 2)})
        figures[-1]["ns_a_byte"] = round(seconds / size * 1e9, 1)
        figures[-1]["ratio_a_byte"] = round(figures[-1]["ns_a_byte"] / figures[0]["ns_a_byte"], 2)
    return figures


def measure(given: argparse.Namespace) -> dict:
    """All figures, with what they are of."""
    events, consents = sample(given.work, given.events, given.devices, given.devices)
    lines, draw = events.read_bytes().splitlines(), np.random.default_rng(given.seed)
    with TemporaryDirectory() as folder:
        crossing = Crossing(Path(folder))
        figures = {"lines": len(lines), "bytes_a_line": round(sum(map(len, lines)) / len(lines))}
        figures["shares"] = shares(draw, lines, crossing, given.runs)
        figures["whole job"] = whole_jobs(draw, events, consents, given.work, min(given.runs, 3))
        return figures | {"floods": floods(draw, lines, crossing, given.runs)}


def table(figures: dict) -> str:
    """The figures to read."""
    rows = [f"{'bad lines':22}{'ratio':>7}{'at most':>9}{'us a line':>11}"]
    for each in figures["shares"]:
        name = f"{each['share']} {each['where']}"
        rows.append(f"{name:22}{each['ratio']:7.2f}{each['at_most']:9.1f}{each['us_a_line']:11.2f}")
    rows += [
        f"{each['share'] + ' whole job':22}{each['ratio']:7.2f}{each['at_most']:9.1f}" for each in figures["whole job"]
    ]
    rows += ["", f"{'lines':22}{'us a line':>11}{'ns a byte':>11}{'times a good byte':>19}"]
    for each in figures["floods"]:
        rows.append(f"{each['lines']:22}{each['us_a_line']:11.2f}{each['ns_a_byte']:11.1f}{each['ratio_a_byte']:19.2f}")
    return "\n".join(rows)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.bad_lines", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    for name, default in (("events", 100_000), ("devices", 20_000), ("runs", 5), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    report.folders(parser)
    given = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    given.work.mkdir(parents=True, exist_ok=True)
    figures = measure(given)
    print(table(figures))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "bad_lines.json").write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
