"""Storms: a stream under load, killed again and again, and what it stored held against the expected answer.

    python -m tests.engines.storm --backend hashmap --events 500000 --faults taskmanager,worker [--times 3]

Each fault strikes at a random moment, once the stream has recovered from the one before and has stored rows again. When
all is sent and stored the stream is stopped, swept and judged. Of each storm one JSON object is appended to --results.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.engines.broker import Broker
from tests.engines.faults import FAULTS, Faults
from tests.engines.flink import BACKENDS, ROOT, Cluster
from tests.engines.pack import write_pack
from tests.engines.processes import Ended, Processes, alone
from tests.engines.stream import Stream

_PARTITIONS = 2
_SECONDS_A_FAULT = 40  # for how long there is load


@dataclass
class Struck:
    """A fault that was injected, and how the stream came back. Seconds; `at` since the load began."""

    fault: str
    at: float = 0
    in_window: float = 0  # since the window began that was open
    rows_before: int = 0
    under_load: bool = True
    works: float = 0  # until a checkpoint was complete again that began after the fault
    stores: float = 0  # until more rows were stored


@dataclass
class Storm:
    """One storm, from the start of the broker to the verdict. All of it is in `folder`."""

    folder: Path
    processes: Processes
    backend: str = "hashmap"
    events: int = 500_000
    faults: tuple[str, ...] = FAULTS
    seed: int = 1
    window_seconds: int = 5
    struck: list[Struck] = field(default_factory=list)

    def run(self) -> dict:
        """What happened, as one JSON object. Raises `Ended` if the stream does not come back."""
        self._rise()
        draw = random.Random(self.seed)
        for name in self.faults:
            time.sleep(draw.uniform(0, 2 * self.window_seconds))
            self._strike(name)
        self._await(lambda: self.report.exists(), "not all was sent", self.seconds + 300)
        return self._settle()

    @property
    def seconds(self) -> int:
        """For how long the load is sent."""
        return _SECONDS_A_FAULT * max(1, len(self.faults))

    def _rise(self) -> None:
        """Broker, cluster, job and load; returns when rows are stored."""
        self.broker = Broker(self.folder / "broker", self.processes).start()
        self.broker.topic("telemetry", _PARTITIONS)
        self.broker.topic("ledger", 1, cleanup_policy="compact", min_compaction_lag_ms=86_400_000)
        self.cluster = Cluster(self.folder / "flink", self.processes, self.backend).start()
        properties = self.folder / "kafka.properties"
        properties.write_text(f"bootstrap.servers={self.broker.bootstrap}\n")
        inputs = ["--events", "kafka:telemetry", "--consents", "kafka:ledger", f"--kafka_config_file={properties}"]
        pack = write_pack(self.folder / "pack", time.time_ns() // 1_000_000 + 60_000)
        self.stream = Stream(self.folder, self.processes, self.cluster, inputs, pack, self.window_seconds)
        self.stream.start()
        self.report = self.folder / "sent.json"
        self.load = self._load()
        self.began = time.time()
        self._await(lambda: self.stream.rows() > 0, "no rows", 180)

    def _load(self):
        options = {
            "bootstrap": self.broker.bootstrap,
            "events": self.events,
            "rate": max(1, self.events // self.seconds),
            "seed": self.seed,
            "report": self.report,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        return self.processes.start("load", [sys.executable, "-m", "tests.engines.load", *words], cwd=ROOT)

    def _strike(self, name: str) -> None:
        now, rows = time.time(), self.stream.rows()
        under_load = not self.report.exists()
        struck = Struck(name, now - self.began, now % self.window_seconds, rows, under_load)
        print(f"{struck.at:6.1f} s: {name}, {rows} rows", flush=True)
        Faults(self.stream, self.broker, random.Random(f"{self.seed} {len(self.struck)}")).strike(name)
        self._await(lambda: self.cluster.checkpointed_since(self.stream.job, now), f"no checkpoint after {name}", 300)
        struck.works = round(time.time() - now, 1)
        self._await(lambda: self.stream.rows() > rows, f"no rows after {name}", 300)
        struck.stores = round(time.time() - now, 1)
        self.struck.append(struck)
        print(f"{time.time() - self.began:6.1f} s: {struck}", flush=True)

    def _settle(self) -> dict:
        """Waits until all is stored that will be, and stops the stream."""
        return {}

    def _await(self, look: Callable[[], object], missing: str, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not look():
            for process in (self.load, self.stream.ingest):
                if not process.running:
                    raise Ended(f"{missing}: {process.name} has ended: {process.text()[-3000:]}")
            if time.monotonic() > until:
                raise Ended(f"{missing} after {seconds} s; see {self.folder}")
            time.sleep(0.2)
