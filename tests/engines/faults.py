"""What a storm does to a stream. Each fault leaves the stream as a supervisor would: started again, or going on."""

import os
import random
import shutil
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
        getattr(self, name)()

    def _away(self) -> None:
        time.sleep(self._draw.uniform(0.5, 3))

    def taskmanager(self) -> None:
        self._cluster.task_manager.kill()
        self._away()
        self._cluster.task_manager.restart()

    def worker(self) -> None:
        os.kill(self._draw.choice(self._cluster.workers), signal.SIGKILL)  # Flink asks the pool for another

    def pool(self) -> None:
        self._cluster.pool.kill()
        self._away()
        self._cluster.pool.restart()

    def broker(self) -> None:
        self._broker.kill()
        self._away()
        self._broker.restart()

    def jobmanager(self) -> None:
        self._cluster.job_manager.kill()
        self._stream.ingest.kill()
        self._away()
        self._cluster.restart_job_manager()
        self._stream.start(self._cluster.retained(self._stream.job))

    def savepoint(self) -> None:
        self._stream.start(self._stream.stop())

    def change(self) -> None:
        self.savepoint()  # the storm has put another policy into the stream's hands


def write_changed(policy: Path, folder: Path) -> None:
    """Another policy that leaves the layout of records as it is: a purpose on another basis, and one that asks for no
    version of the policy any more."""
    shutil.copytree(policy, folder)
    file = folder / "purposes.yaml"
    content = yaml.safe_load(file.read_text())
    content["purposes"]["user_experience"]["basis"] = {"default": "legitimate_interest"}
    del content["purposes"]["personalisation"]["minimum_policy_version"]
    file.write_text(yaml.safe_dump(content, sort_keys=False))
