"""Storms: a stream under load, killed again and again, and what it stored held against the expected answer.

    python -m tests.engines.storm --backend hashmap --events 500000 --faults taskmanager,worker,... [--times 3]

Each fault strikes at a random moment, after the stream has recovered from the one before and stored rows again. When
all is sent and stored, the stream is stopped and swept, and judged. One JSON object a storm is appended to `--results`.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tests.engines.broker import Broker
from tests.engines.flink import ROOT, Cluster
from tests.engines.pack import write_pack
from tests.engines.processes import Ended, Process, Processes
from tests.engines.stream import Stream

FAULTS = ("taskmanager", "worker", "pool", "broker", "jobmanager", "savepoint", "change")
BACKENDS = ("hashmap", "rocksdb")
PARTITIONS = 2
_SECONDS_A_FAULT = 40  # for how long there is load


@dataclass
class Struck:
    """A fault that was injected, and how the stream came back."""

    fault: str
    at_s: float  # since the load began
    in_window_s: float  # since the window began that was open
    rows_before: int
    under_load: bool
    works_s: float = 0  # until a checkpoint was complete again
    stores_s: float = 0  # until more rows were stored


@dataclass
class Storm:
    """One storm, from the start of a broker to the verdict."""

    folder: Path
    processes: Processes
    backend: str
    events: int
    faults: tuple[str, ...]
    seed: int
    window_seconds: int = 5
    struck: list[Struck] = field(default_factory=list)

    def run(self) -> dict:
        """What happened, and the verdict, as one JSON object."""
        self._draw = random.Random(self.seed)
        self._rise()
        self._began = time.time()
        for fault in self.faults:
            self._strike(fault)
        seconds = self._await_all()
        self.stream.stop()
        swept = self.stream.command("sweep", "--older-than", "0")
        return {}

    def _rise(self) -> None:
        self.broker = Broker(self.folder / "broker", self.processes).start()
        self.broker.topic("telemetry", PARTITIONS)
        self.broker.topic("ledger", PARTITIONS, cleanup_policy="compact", min_compaction_lag_ms=86_400_000)
        self.cluster = Cluster(self.folder / "flink", self.processes, self.backend).start()
        closes = time.time_ns() // 1_000_000 + 60_000
        pack = write_pack(self.folder / "pack", closes)
        self.stream = Stream(
            self.folder, self.processes, self.cluster, self.broker.bootstrap, pack, self.window_seconds
        )
        self.stream.start()
        self.load = self._load()
        self._until(lambda: self.stream.rows() > 0, "no rows", 120)
