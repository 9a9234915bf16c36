"""Endurance: a backlog worked off at full speed, and more than the sustained rate for minutes, both measured.

    python -m tests.engines.endurance --backlog 2000000 --rate 6000 --seconds 600 --out benchmarks/results/stream.json

The backlog lies on the topics before the stream starts. Then, in a stream of its own, events come at `--rate` for
`--seconds`; `--sustained` says which rate counts as sustained, and is only told beside it. Of each stream is kept: the
size of its checkpoints and the memory of its processes, second by second; when its files were named; how long each
record took from its receipt until it could be read; and whether the stores are exact.

`python -m tests.engines.plots` draws what was kept.
"""

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from schemas.pack_files import load_pack
from tests.engines.broker import Broker
from tests.engines.expected import Expected, expected, of_topics
from tests.engines.flink import BACKENDS, ROOT, Cluster
from tests.engines.pack import write_pack
from tests.engines.processes import Process, Processes, alone
from tests.engines.stream import Stream
from tests.engines.verdict import judge, missing

_PARTITIONS = 2
_FASTEST = 1_000_000  # events a second: as fast as they can be made
_OPEN_WINDOWS = 4  # whose records may lie in state at once: the gate keeps so many bags
# Of state, for each: a record that waits, an entry in one region, a fingerprint, what a record adds to statistics.
_RECORD_BYTES, _ENTRY_BYTES, _SEEN_BYTES, _COUNTED_BYTES = 400, 400, 16, 100
_FIXED_BYTES = 8 << 20
_SWEEP_SECONDS = 900  # it looks at every file, of which there are tens of thousands
_QUANTILES = np.linspace(0, 1, 201)


class Endurance:
    """One stream over one load. All of it is in `folder`."""

    def __init__(self, folder: Path, processes: Processes, backend: str, window_seconds: int) -> None:
        self._folder, self._processes, self._window = folder, processes, window_seconds
        self.broker = Broker(folder / "broker", processes).start()
        self.broker.topic("telemetry", _PARTITIONS)
        self.broker.topic("ledger", 1, cleanup_policy="compact", min_compaction_lag_ms=86_400_000)
        self.cluster = Cluster(folder / "flink", processes, backend)
        self.stream: Stream | None = None
        self._sent, self._samples = folder / "sent.json", []

    def backlog(self, events: int) -> dict:
        """Everything lies there before the stream starts."""
        load = self._load(events, _FASTEST)
        self._until(lambda: self._sent.exists(), load)
        answer = self._answer()
        return self._measured(load, answer)

    def sustained(self, rate: int, seconds: int) -> dict:
        """Events come while the stream runs."""
        self._start()
        load = self._load(rate * seconds, rate)
        self._until(lambda: self._sent.exists(), load)
        return self._measured(load, None)

    def _measured(self, load: Process, answer: Expected | None) -> dict:
        if answer is None:
            answer = self._answer()
        else:
            self._start()
        self._until(lambda: missing(self.stream.deployment, answer) <= 0, load, every=3)
        time.sleep(3 * self._window)  # until the books of the last window are closed
        self.stream.stop()
        load.end()
        self.stream.command("sweep", "--older-than", "0", seconds=_SWEEP_SECONDS)
        sent = json.loads(self._sent.read_text())
        search = [self.cluster.checkpoints, self.cluster.savepoints, self._processes.folder]
        verdict = judge(self.stream.deployment, answer, sent["ended_ms"], None, sent["canaries"], search)
        named = self._named()
        return {
            "events": sent["events"],
            "load": [sent["started_ms"] / 1000 - self._began, sent["ended_ms"] / 1000 - self._began],
            "window_seconds": self._window,
            "samples": self._samples,
            "rows": [[round(at - self._began, 1), rows] for at, rows in _added(named)],
            "records": self._judged(named, answer),
            "freshness": _freshness(named, answer, self._window * 1000),
            "bound": self._bounds(answer),
            "exact": not verdict.faults,
            "verdict": asdict(verdict),
        }

    # How it is run.

    def _start(self) -> None:
        self.cluster.start()
        properties = self._folder / "kafka.properties"
        properties.write_text(f"bootstrap.servers={self.broker.bootstrap}\n")
        inputs = ["--events", "kafka:telemetry", "--consents", "kafka:ledger", f"--kafka_config_file={properties}"]
        self.stream = Stream(
            self._folder, self._processes, self.cluster, inputs, self._policy(), self._window, "endurance"
        )
        self._began = time.time()
        self.stream.start()

    def _policy(self) -> Path:
        folder = self._folder / "pack"
        return folder if folder.exists() else write_pack(folder, time.time_ns() // 1_000_000 + 90_000)

    def _load(self, events: int, rate: int) -> Process:
        self._policy()  # its day of statistics ends after the first records were received
        options = {"bootstrap": self.broker.bootstrap, "events": events, "rate": rate, "report": self._sent}
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        return self._processes.start("load", [sys.executable, "-m", "tests.engines.load", *words], cwd=ROOT)

    def _answer(self) -> Expected:
        given = of_topics({"bootstrap.servers": self.broker.bootstrap}, "telemetry", "ledger")
        return expected(given, load_pack(str(self._policy())), self._window * 1000)

    def _until(self, done, load: Process, every: float = 1) -> None:
        """Samples until it is so. Raises RuntimeError if what should run does not."""
        looked = 0.0
        while True:
            if time.monotonic() - looked >= every:
                if done():
                    return
                looked = time.monotonic()
            ingest = self.stream.ingest if self.stream else None
            for process in filter(None, (load, ingest)):
                if not process.running:
                    raise RuntimeError(f"{process.name} has ended: {process.text()[-3000:]}")
            if ingest:
                self._samples.append(self._sample())
            time.sleep(1)

    def _sample(self) -> dict:
        """Memory in bytes, and the size of the last checkpoint."""
        try:
            done = self.cluster.get(f"jobs/{self.stream.job}/checkpoints")["latest"]["completed"]
        except OSError:  # it is busy
            done = None
        return {
            "at": round(time.time() - self._began, 1),
            "state": done["state_size"] if done else None,
            "checkpoint_ms": done["end_to_end_duration"] if done else None,
            "workers": [resident(pid) for pid in self.cluster.workers],
            "taskmanager": resident(self.cluster.task_manager.pid),
        }

    # What is made of it.

    def _named(self) -> list[tuple[float, str, str, str, int]]:
        """(when, region, dataset, logical name, rows) of each file of the purposes' datasets, by the entry that names
        it: nobody can read a row before that."""
        found = []
        for region, place in self.stream.deployment.regions.items():
            for path in place.manifest_folder.glob("*/*/*.json"):
                entry = json.loads(path.read_bytes())
                found.append((path.stat().st_mtime, region, entry["dataset"], entry["logical"], entry["rows"]))
        return sorted(found)

    def _judged(self, named: list, answer: Expected) -> list[list[float]]:
        """[seconds, records of which all rows can be read]: how far the stream has come."""
        complete = _complete(named, answer)
        moments, records = np.unique(complete[~np.isnan(complete)], return_counts=True)
        total = np.cumsum(records)
        return [[round(at - self._began, 1), int(n)] for at, n in zip(moments.tolist(), total.tolist(), strict=True)]

    def _bounds(self, answer: Expected) -> dict[str, float]:
        """The most that state may hold at the end, in bytes, and of what."""
        windows = np.unique(answer.received // (self._window * 1000), return_counts=True)[1]
        waiting = int(np.sort(windows)[-_OPEN_WINDOWS:].sum()) * _RECORD_BYTES
        ledger, seen = answer.lines["ledger", "lines"] * _ENTRY_BYTES * 6, len(answer.records) * _SEEN_BYTES
        counted = int(answer.stands[answer.pack.statistics.purpose].sum()) * _COUNTED_BYTES
        return {"waiting": waiting, "ledger": ledger, "seen": seen, "counted": counted, "fixed": _FIXED_BYTES}


def resident(pid: int) -> int:
    """Memory of a process, in bytes; 0 if it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS")), 0)


def _added(named: list) -> list[tuple[float, int]]:
    total, added = 0, []
    for at, *_, rows in named:
        total += rows
        added.append((at, total))
    return added[:: max(1, len(added) // 1000)] + added[-1:]


def _complete(named: list, answer: Expected) -> np.ndarray:
    """By record: when the last file of its region and window was named, NaN where nothing of it was stored."""
    last: dict[tuple[str, int], float] = {}
    for at, region, dataset, logical, _ in named:
        if dataset in answer.datasets:
            last[region, int(logical.split("-")[-2])] = at
    regions = list(answer.pack.regions)
    lot = answer.region * (1 << 40) + answer.received // answer.window_ms
    lots, of = np.unique(lot, return_inverse=True)
    at = [last.get((regions[key >> 40], key & (1 << 40) - 1), np.nan) for key in lots.tolist()]
    return np.array(at)[of]


def _freshness(named: list, answer: Expected, window_ms: int) -> dict[str, list[float]]:
    """Seconds from a record's receipt, and from the end of its window, until all its rows could be read."""
    complete = _complete(named, answer) * 1000
    kept = ~np.isnan(complete)
    received = answer.received[kept]
    since = {"receipt": received, "window": (received // window_ms + 1) * window_ms}
    return {
        name: np.round(np.quantile((complete[kept] - start) / 1000, _QUANTILES), 2).tolist()
        for name, start in since.items()
    }


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--backlog", type=int, default=1_000_000, metavar="N", help="events that lie there; 0 leaves this out")
    add("--rate", type=int, default=3_000, metavar="N", help="events a second; 0 leaves this out")
    add("--seconds", type=int, default=600, metavar="N", help="for how long")
    add("--sustained", type=int, metavar="N", help="the rate that counts as sustained (default: two thirds of --rate)")
    add("--backend", choices=BACKENDS, default="rocksdb")
    add("--window-seconds", type=int, default=5, metavar="N")
    add("--out", type=Path, required=True, metavar="FILE")
    options = arguments.parse_args(argv)
    if not alone():
        arguments.error("engines listen on all interfaces: run it in a network of its own, see the Makefile")
    kept = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "backend": options.backend,
        "rate": options.rate,
        "sustained": options.sustained or options.rate * 2 // 3,
    }
    if options.backlog:
        kept["backlog"] = _run(options, lambda stream: stream.backlog(options.backlog))
        options.out.write_text(json.dumps(kept))
    if options.rate:
        kept["steady"] = _run(options, lambda stream: stream.sustained(options.rate, options.seconds))
        options.out.write_text(json.dumps(kept))
    parts = [kept[name] for name in ("backlog", "steady") if name in kept]
    for part in parts:
        print(json.dumps(part["verdict"]))
    return 0 if all(part["exact"] for part in parts) else 1


def _run(options: argparse.Namespace, measure) -> dict:
    folder = Path(tempfile.mkdtemp(prefix="endurance-"))
    with Processes(folder / "logs") as processes:
        done = measure(Endurance(folder, processes, options.backend, options.window_seconds))
    if done["exact"]:
        shutil.rmtree(folder)
    else:
        print(f"not exact: {folder}", file=sys.stderr)
    return done


if __name__ == "__main__":
    sys.exit(main())
