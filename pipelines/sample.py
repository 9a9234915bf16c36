"""`douane sample`: realistic telemetry and a consent ledger, made from a seed."""

import argparse
import datetime as dt
import multiprocessing
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.sampling import fleet, ledger, telemetry
from pipelines.sampling.canaries import Canaries
from pipelines.sampling.events import World
from pipelines.sampling.ndjson import content
from pipelines.sampling.snippets import Snippets
from pipelines.sampling.telemetry import Period

_COMPRESSION = {"gz": "gzip", "zst": "zstd"}
_MOST_PROCESSES = 4  # one writes what they make


@dataclass(frozen=True)
class Sample:
    """What to make. The same values always make the same bytes."""

    events: int = 20_000
    devices: int = 4_000
    entries: int = 12_000
    days: int = 4
    start: dt.date = dt.date(2021, 3, 1)
    seed: int = 1
    bad_share: float = 0.005

    @property
    def period(self) -> Period:
        midnight = dt.datetime.combine(self.start, dt.time(), dt.UTC)
        return Period(int(midnight.timestamp()) * 1000, self.days)

    def world(self) -> World:
        """What the events have in common, the same each time."""
        rng = np.random.default_rng([self.seed, 1])
        return World(fleet.build(rng, self.devices), Snippets.draw(rng), Canaries())

    def chunk(self, world: World, number: int) -> pa.BinaryArray:
        """Lines of telemetry."""
        return telemetry.chunk(world, self.period, self.events, self.bad_share, self.seed, number)


def write_sample(
    sample: Sample, out: Path, compress: str | None = None, processes: int = 1
) -> tuple[list[Path], Canaries]:
    """Write events.ndjson and consents.ndjson into the folder `out`; `compress` is gz, zst or None.

    Returns the files, and the identifying values in them that a run over them must never leave anywhere: of telemetry
    where one process makes all of it. Several write the same bytes.
    """
    out.mkdir(parents=True, exist_ok=True)
    world = sample.world()
    suffix = f".{compress}" if compress else ""
    events, consents = out / f"events.ndjson{suffix}", out / f"consents.ndjson{suffix}"
    numbers = telemetry.chunks(sample.events)
    if min(processes, len(numbers)) > 1:
        _write(events, _side_by_side(sample, numbers, processes), compress)
    else:
        _write(events, (content(sample.chunk(world, number)) for number in numbers), compress)
    entries = ledger.chunks(world.fleet, sample.period, sample.entries, sample.seed, world.canaries)
    _write(consents, map(content, entries), compress)
    return [events, consents], world.canaries


def _write(path: Path, chunks: Iterable[bytes | pa.Buffer], compress: str | None) -> None:
    with pa.output_stream(str(path), compression=_COMPRESSION.get(compress or "")) as stream:
        for lines in chunks:
            stream.write(lines)


_made: dict[Sample, World] = {}  # in a process that makes chunks


def _side_by_side(sample: Sample, numbers: Iterable[int], processes: int) -> Iterator[bytes]:
    """The bytes of each chunk in order; of those that are made ahead there are few, which bounds the memory."""
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        ahead: deque[Future[bytes]] = deque()
        for number in numbers:
            ahead.append(pool.submit(_chunk, sample, number))
            if len(ahead) > 2 * processes:
                yield ahead.popleft().result()
        yield from (each.result() for each in ahead)


def _chunk(sample: Sample, number: int) -> bytes:
    if sample not in _made:
        _made[sample] = sample.world()
    return content(sample.chunk(_made[sample], number)).to_pybytes()


def _whole(least: int):
    def parse(text: str) -> int:
        number = int(text)
        if number < least:
            raise argparse.ArgumentTypeError(f"{number} is too few: use {least} or more")
        return number

    return parse


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not a share: use a number from 0 to 1")
    return share


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="douane sample",
        description="Make telemetry (events.ndjson) and a consent ledger (consents.ndjson) that look like a fleet's.",
        epilog="The same arguments always make the same bytes. The ledger names purposes of the shipped pack.",
        allow_abbrev=False,
    )
    default = Sample()
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to write to")
    add("--events", type=_whole(0), default=default.events, metavar="N", help="lines of telemetry (%(default)s)")
    add("--devices", type=_whole(1), default=default.devices, metavar="N", help="devices in the fleet (%(default)s)")
    add("--entries", type=_whole(0), metavar="N", help="entries of the ledger (three a device)")
    add(
        "--days",
        type=_whole(1),
        default=default.days,
        metavar="N",
        help="days over which the events are received (%(default)s)",
    )
    add(
        "--start",
        type=dt.date.fromisoformat,
        default=default.start,
        metavar="DATE",
        help="first of these days (%(default)s)",
    )
    add(
        "--seed",
        type=_whole(0),
        default=default.seed,
        metavar="N",
        help="makes this sample unlike others (%(default)s)",
    )
    add(
        "--bad-share",
        type=_share,
        default=default.bad_share,
        metavar="SHARE",
        help="share of the lines that are bad (%(default)s)",
    )
    add("--canaries", type=Path, metavar="FILE", help="write down which identifying values were planted")
    add("--compress", choices=tuple(_COMPRESSION), help="compress both files")
    return parser


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    given = _parser().parse_args(argv)
    entries = 3 * given.devices if given.entries is None else given.entries
    sample = Sample(given.events, given.devices, entries, given.days, given.start, given.seed, given.bad_share)
    try:
        # What was planted in telemetry is known where one process makes all of it.
        processes = 1 if given.canaries else min(_MOST_PROCESSES, os.cpu_count() or 1)
        files, canaries = write_sample(sample, given.out, given.compress, processes)
        if given.canaries:
            canaries.write(given.canaries)
    except OSError as error:
        print(f"douane sample: cannot write {error.filename or given.out}: {error.strerror}", file=sys.stderr)
        return 2
    counts = (
        f"{sample.events:,} events of {sample.devices:,} devices over {sample.days} days from {sample.start}",
        f"{sample.entries:,} entries of the consent ledger",
    )
    for path, count in zip(files, counts, strict=True):
        print(f"{path}  {path.stat().st_size:,} bytes: {count}")
    if given.canaries:
        print(f"{given.canaries}  {len(canaries):,} planted values that must not be found in what a run leaves")
    return 0


if __name__ == "__main__":
    sys.exit(main())
