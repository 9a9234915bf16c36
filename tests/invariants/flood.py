"""Floods: very many lines of telemetry from one device, all alike or each with a word of its own."""

import argparse
import json
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.ingest import main
from tests.invariants.runs import Site

DEVICE, PACKAGE = "f100df100df100df", "com.example.flood"
_TIME = "2021-03-01T12:00:00.000Z"


def write(path: Path, lines: int, kind: str) -> None:
    """Events of one device in one window: `alike`, or in `words` each with a version and a model of its own."""
    line = {
        "event_id": "%032x",
        "event_type": "crash",
        "schema_version": 1,
        "event_time": _TIME,
        "received_time": _TIME,
        "source": "device",
        "service": "browser",
        "residency": {"account_country": "NL"},
        "device": {"android_id": DEVICE, "model": "M-%d" if kind == "words" else "M-1"},
        "app": {"package": PACKAGE, "version": "1.%d" if kind == "words" else "1.0"},
        "crash": {"signal": "SIGSEGV", "exception": "java.lang.IllegalStateException"},
    }
    text = json.dumps(line) + "\n"
    with open(path, "w", encoding="ascii") as file:
        file.writelines(text % ((n, n, n) if kind == "words" else n) for n in range(1, lines + 1))


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


def measured() -> None:
    """Runs one flood and prints its time and memory: `python -m tests.invariants.flood words 1000000`."""
    parser = argparse.ArgumentParser(description=measured.__doc__)
    parser.add_argument("kind", choices=("alike", "words"))
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
