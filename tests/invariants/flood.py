"""Floods: very many lines of telemetry from one device, all alike or each with a word or a field of its own."""

import argparse
import json
import resource
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

import pyarrow as pa

from pipelines.ingest import main
from tests.invariants.runs import Site

DEVICE, PACKAGE = "f100df100df100df", "com.example.flood"
KINDS = ("alike", "words", "fields", "devices")
_TIME = "2021-03-01T12:00:00.000Z"


def write(path: Path, lines: int, kind: str) -> None:
    """Events of one device in one window."""
    with open(path, "wb") as file:
        file.writelines(lines_of(range(1, lines + 1), kind, _TIME))


def lines_of(numbers: Iterable[int], kind: str, received: str) -> Iterator[bytes]:
    """Events of one device, received at once: `alike`, or in `words` each with a version and a model of its own, in
    `fields` each with an unknown field of its own name. Those of `devices` are each of another one, for comparison."""
    line = {
        "event_id": "%032x",
        "event_type": "crash",
        "schema_version": 1,
        "event_time": received,
        "received_time": received,
        "source": "device",
        "service": "browser",
        "residency": {"account_country": "NL"},
        "device": {
            "android_id": "%016x" if kind == "devices" else DEVICE,
            "model": "M-%d" if kind == "words" else "M-1",
        },
        "app": {"package": PACKAGE, "version": "1.%d" if kind == "words" else "1.0"},
        "crash": {"signal": "SIGSEGV", "exception": "java.lang.IllegalStateException"},
    }
    if kind == "fields":
        line["x%d"] = 1
    text = json.dumps(line) + "\n"
    return ((text % ((number,) * text.count("%"))).encode() for number in numbers)


def grant(path: Path) -> None:
    """All purposes, for the device of the flood."""
    made = {
        "entry_id": "flood",
        "time": "2021-02-01T00:00:00.000Z",
        "received_time": "2021-02-01T00:00:00.000Z",
        "kind": "grant",
        "subject": {"type": "device", "value": DEVICE},
        "purposes": ["*"],
        "policy_version": "2021-01-15",
        "residency": {"account_country": "NL"},
    }
    path.write_text(json.dumps(made) + "\n", encoding="ascii")


class Peak:
    """The most bytes that Arrow, and beside it Python and numpy, held at once within its block, that were not there
    before."""

    _pools: ClassVar[list[pa.MemoryPool]] = []  # what was allocated from one may outlive the block

    def __enter__(self) -> "Peak":
        self._usual = pa.default_memory_pool()
        self._pools.append(pa.proxy_memory_pool(self._usual))
        pa.set_memory_pool(self._pools[-1])
        tracemalloc.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = tracemalloc.get_traced_memory()[1] + self._pools[-1].max_memory()
        tracemalloc.stop()
        pa.set_memory_pool(self._usual)


def measured() -> None:
    """Runs one flood and prints its time and memory: `python -m tests.invariants.flood words 1000000`."""
    parser = argparse.ArgumentParser(description=measured.__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("lines", type=int)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        events, consents = Path(folder, "e.ndjson"), Path(folder, "c.ndjson")
        write(events, options.lines, options.kind)
        grant(consents)
        site, began = Site.new(Path(folder, "site")), time.perf_counter()
        status = main([f"--events={events}", f"--consents={consents}", f"--deployment={site.file}"])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{options.kind} {options.lines:,}: status {status}, {time.perf_counter() - began:.0f} s, {peak:,.0f} MB")


if __name__ == "__main__":
    measured()
