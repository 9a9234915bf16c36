"""A Flink cluster on this machine: JobManager, TaskManager, worker pool and Beam's job server, as processes of a test.

Everything is bound to the loopback as far as it can be; what listens elsewhere does so in the network namespace that
the test runs in. The cluster's folder holds checkpoints and savepoints too.
"""

import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tests.engines import fetch
from tests.engines.processes import Ended, Process, Processes, free_port

BACKENDS = ("hashmap", "rocksdb")  # where state lies: on the heap, or on disk
ROOT = Path(__file__).resolve().parents[2]
_STEP = 0.1  # seconds between two looks

# What Flink needs of the JDK's inside from Java 17 on, from its own configuration.
_OPENED = """
java.base/sun.net.util java.base/java.lang java.base/java.net java.base/java.io java.base/java.nio
java.base/sun.nio.ch java.base/java.lang.reflect java.base/java.text java.base/java.time java.base/java.util
java.base/java.util.concurrent java.base/java.util.concurrent.atomic java.base/java.util.concurrent.locks
"""
_FRUGAL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")  # short lives: what a second compiler gains comes too late
_LOG4J = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""


class Cluster:
    """One TaskManager with `slots` slots, whose state is on the heap (`hashmap`) or in RocksDB.

    `start` brings all four up. Each of them can be killed: `task_manager`, `pool`, `job_manager` are processes, and
    `workers` are the pids of the Python workers. A supervisor would start again what dies; here the test does.
    """

    def __init__(self, folder: Path, processes: Processes, backend: str = "hashmap", slots: int = 2):
        self.folder, self._processes, self.backend, self.slots = folder, processes, backend, slots
        self.checkpoints, self.savepoints = folder / "checkpoints", folder / "savepoints"
        self.scratch = folder / "scratch"  # where RocksDB works
        self.rest_port, self.pool_port, self.job_port = free_port(), free_port(), free_port()
        self._rpc_port, self._artifact_port = free_port(), free_port()
        self._conf = folder / "conf"
        self.job_manager: Process
        self.task_manager: Process
        self.pool: Process
        self.job_server: Process

    def start(self) -> "Cluster":
        """Returns when jobs can be submitted."""
        self._configure()
        self.job_manager = self._java(
            "jobmanager", 512, "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        )
        self.task_manager = self._java(
            "taskmanager",
            1024,
            "org.apache.flink.runtime.taskexecutor.TaskManagerRunner",
            "-XX:MaxDirectMemorySize=512m",
        )
        self.pool = self._processes.start(
            "pool",
            [sys.executable, "-m", "tests.engines.pool", str(self.pool_port)],
            env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
        )
        self.job_server = self._processes.start("jobserver", self._job_server())
        self.job_manager.wait_for_port(self.rest_port)
        self.job_server.wait_for_port(self.job_port)
        self.pool.wait_for_port(self.pool_port)
        self.wait_for_slots()
        return self

    @property
    def arguments(self) -> list[str]:
        """What a user tells `ingest` of this cluster."""
        return [
            "--runner=PortableRunner",
            f"--job_endpoint=127.0.0.1:{self.job_port}",
            f"--artifact_endpoint=127.0.0.1:{self._artifact_port}",
            "--environment_type=EXTERNAL",
            f"--environment_config=127.0.0.1:{self.pool_port}",
            f"--parallelism={self.slots}",
        ]

    @property
    def workers(self) -> list[int]:
        """Pids of the Python workers that live."""
        return self.pool.children

    def wait_for_slots(self, seconds: float = 180) -> None:
        """Returns once the TaskManager has told the JobManager of its slots."""
        self._until(lambda: self.get("overview")["slots-total"] >= self.slots, "no slots", seconds)

    def restart_job_manager(self) -> None:
        """A new JobManager, which knows of no job: who runs the cluster submits again, from a checkpoint that was kept.
        The job server waits for the job that was and is begun anew too."""
        self.job_manager.restart()
        self.job_server.restart()
        self.job_manager.wait_for_port(self.rest_port)
        self.job_server.wait_for_port(self.job_port)
        self.wait_for_slots()

    # What a job does, by Flink's REST interface.

    def get(self, path: str) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.rest_port}/{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: dict) -> dict:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.rest_port}/{path}",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def jobs(self) -> list[dict]:
        """All jobs that this JobManager knows, the newest first."""
        return sorted(self.get("jobs/overview")["jobs"], key=lambda job: -job["start-time"])

    def wait_for_job(self, seconds: float = 300, submitting: Process | None = None) -> str:
        """The id of the job that runs, once all its tasks do. Raises `Ended` if what submits it has ended before."""

        def job() -> str:
            if submitting and not submitting.running:
                raise Ended(f"{submitting.name} has ended: {submitting.text()[-3000:]}")
            running = [job for job in self.jobs() if job["state"] == "RUNNING"]
            return running[0]["jid"] if running and self.all_run(running[0]["jid"]) else ""

        return self._until(job, "no job runs", seconds)

    def all_run(self, job: str) -> bool:
        return all(vertex["status"] == "RUNNING" for vertex in self.get(f"jobs/{job}")["vertices"])

    def restarts(self, job: str) -> int:
        """How often the job was started again since it was submitted."""
        found = self.get(f"jobs/{job}/metrics?get=numRestarts,fullRestarts")
        return max((int(float(each["value"])) for each in found), default=0)

    def checkpointed_since(self, job: str, moment: float) -> bool:
        """Whether a checkpoint is complete that began after the moment, in seconds since the epoch."""
        latest = self._asked(lambda: self.get(f"jobs/{job}/checkpoints")["latest"]["completed"])
        return bool(latest) and latest["trigger_timestamp"] > moment * 1000

    def retained(self, job: str) -> str:
        """The newest checkpoint of a job that is whole on disk, whether or not its JobManager lives."""
        whole = [each.parent for each in (self.checkpoints / job).glob("chk-*/_metadata")]
        return str(max(whole, key=lambda folder: int(folder.name.removeprefix("chk-"))))

    def stop(self, job: str, seconds: float = 300) -> str:
        """Stops a job with a savepoint, without draining it; the savepoint's folder."""
        asked = self.post(f"jobs/{job}/stop", {"drain": False, "targetDirectory": self.savepoints.as_uri()})
        path = f"jobs/{job}/savepoints/{asked['request-id']}"

        def done() -> dict:
            answer = self.get(path)
            return answer if answer["status"]["id"] == "COMPLETED" else {}

        operation = self._until(done, "no savepoint", seconds)["operation"]
        if "location" not in operation:
            raise Ended(f"the job was not stopped: {str(operation)[:600]}")
        return operation["location"].removeprefix("file:")

    def _asked(self, look):
        """What `look` finds; None while the JobManager is just coming up, or the job changes its state."""
        try:
            return look()
        except (urllib.error.URLError, ConnectionError, TimeoutError, KeyError):
            return None

    def _until(self, look, missing: str, seconds: float):
        until = time.monotonic() + seconds
        while True:
            if found := self._asked(look):
                return found
            if time.monotonic() > until:
                raise Ended(f"{missing} after {seconds} s; logs: {self._processes.folder}")
            time.sleep(_STEP)

    # How the processes are started.

    def _java(self, name: str, heap: int, main: str, *flags: str) -> Process:
        opened = [f"--add-opens={each}=ALL-UNNAMED" for each in _OPENED.split()]
        command = ["java", f"-Xmx{heap}m", *_FRUGAL, *flags, *opened]
        command += [f"-Dlog4j.configurationFile={self._conf / 'log4j.properties'}"]
        command += ["-cp", f"{fetch.flink_jars()}/*", main, "--configDir", str(self._conf)]
        return self._processes.start(name, command)

    def _job_server(self) -> list[str]:
        command = ["java", "-Xmx512m", *_FRUGAL, "-jar", str(fetch.job_server())]
        command += [f"--flink-master=127.0.0.1:{self.rest_port}", "--job-host=127.0.0.1", f"--job-port={self.job_port}"]
        command += [f"--artifact-port={self._artifact_port}", "--expansion-port=0"]
        return command + [f"--artifacts-dir={self.folder / 'artifacts'}"]

    def _configure(self) -> None:
        for folder in (self._conf, self.checkpoints, self.savepoints, self.scratch):
            folder.mkdir(parents=True, exist_ok=True)
        (self._conf / "log4j.properties").write_text(_LOG4J)
        options = _MEMORY | {
            "jobmanager.rpc.address": "127.0.0.1",
            "jobmanager.rpc.port": self._rpc_port,
            "jobmanager.bind-host": "127.0.0.1",
            "rest.address": "127.0.0.1",
            "rest.bind-address": "127.0.0.1",
            "rest.port": self.rest_port,
            "taskmanager.host": "127.0.0.1",
            "taskmanager.bind-host": "127.0.0.1",
            "taskmanager.numberOfTaskSlots": self.slots,
            "io.tmp.dirs": str(self.scratch),
            "blob.storage.directory": str(self.folder / "blobs"),
            "state.backend.type": self.backend,
            "state.checkpoints.dir": self.checkpoints.as_uri(),
            "state.savepoints.dir": self.savepoints.as_uri(),
            "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
            "restart-strategy.type": "fixed-delay",
            "restart-strategy.fixed-delay.attempts": 100,
            "restart-strategy.fixed-delay.delay": "1 s",
            "heartbeat.interval": 1000,
            "heartbeat.timeout": 5000,
        }
        lines = [f"{name}: {json.dumps(value)}\n" for name, value in options.items()]
        (self._conf / "config.yaml").write_text("".join(lines))


# What Flink's shell scripts would work out. The sizes are those of a test.
_MEMORY = {
    "taskmanager.cpu.cores": 2.0,
    "taskmanager.memory.framework.heap.size": "128m",
    "taskmanager.memory.framework.off-heap.size": "128m",
    "taskmanager.memory.task.heap.size": "896m",
    "taskmanager.memory.task.off-heap.size": "128m",
    "taskmanager.memory.network.min": "128m",
    "taskmanager.memory.network.max": "128m",
    "taskmanager.memory.managed.size": "256m",
    "taskmanager.memory.jvm-metaspace.size": "256m",
    "taskmanager.memory.jvm-overhead.min": "192m",
    "taskmanager.memory.jvm-overhead.max": "192m",
}
