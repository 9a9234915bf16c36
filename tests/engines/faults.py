"""What a storm does to a stream. Each fault leaves the stream as a supervisor would: started again, or going on."""

import os
import random
import signal
import time
from pathlib import Path

import yaml

from tests.engines.broker import Broker
from tests.engines.stream import Stream

FAULTS = ("taskmanager", "worker", "pool", "broker", "jobmanager", "savepoint", "change")


class Faults:
    """The faults by name. `draw` says how long what was killed stays away, and which worker it is."""

    def __init__(self, stream: Stream, broker: Broker, draw: random.Random):
        self._stream, self._cluster, self._broker, self._draw = stream, stream.cluster, broker, draw

    def strike(self, name: str) -> None:
        getattr(self, f"_{name}")()

    def _away(self) -> None:
        time.sleep(self._draw.uniform(0.5, 3))

    def _taskmanager(self) -> None:
        self._cluster.task_manager.kill()
        self._away()
        self._cluster.task_manager.restart()

    def _worker(self) -> None:
        os.kill(self._draw.choice(self._cluster.workers), signal.SIGKILL)  # Flink asks the pool for another

    def _pool(self) -> None:
        self._cluster.pool.kill()
        self._away()
        self._cluster.pool.restart()

    def _broker(self) -> None:
        self._broker.kill()
        self._away()
        self._broker.restart()

    def _jobmanager(self) -> None:
        self._cluster.job_manager.kill()
        self._stream.ingest.kill()
        self._away()
        self._cluster.restart_job_manager()
        self._stream.start(self._cluster.retained(self._stream.job))

    def _savepoint(self) -> None:
        self._stream.start(self._stream.stop())

    def _change(self) -> None:
        savepoint = self._stream.stop()
        self._stream.policy = changed(self._stream.policy)
        self._stream.start(savepoint)


def changed(policy: Path) -> Path:
    """Another policy over the same layout, beside the first."""
