"""Storms: a stream under load, killed again and again, and what it stored held against the expected answer.

    python -m tests.engines.storm --events 500000 --backends hashmap,rocksdb --faults taskmanager,worker --times 3

Each fault strikes at a random moment, once the stream has recovered from the one before and has stored rows again, and
while there is load. When all is sent and stored the stream is stopped, swept and judged. Of each storm one JSON object
is appended to --results.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from schemas.pack_files import load_pack
from tests.engines.broker import Broker
from tests.engines.expected import Expected, expected, of_topics
from tests.engines.faults import FAULTS, Faults, write_changed
from tests.engines.flink import BACKENDS, ROOT, Cluster
from tests.engines.pack import write_pack
from tests.engines.processes import Ended, Process, Processes, alone
from tests.engines.stream import Stream
from tests.engines.verdict import Verdict, judge, leaked, missing, released

_PARTITIONS = 2  # of the telemetry; as many as the job has slots
_SECONDS_A_FAULT = 80  # for how long there is load
_MEMORY = Path("/dev/shm")


@dataclass
class Struck:
    """A fault that was injected, and how the stream came back. Seconds; `at` is since the load began."""

    fault: str
    at: float
    in_window: float  # since the window began that was open
    rows_before: int
    under_load: bool
    works: float = 0  # until a checkpoint was complete that began after the fault
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
    window_seconds: int = 10
    struck: list[Struck] = field(default_factory=list)
    policies: list[tuple[float, Path]] = field(default_factory=list)  # since which receipt, in ms, which one judges
    releases: dict[str, str] = field(default_factory=dict)  # of statistics, as they were first seen

    def run(self) -> dict:
        """What happened, as one JSON object. Raises `Ended` if the stream does not come back."""
        self._rise()
        draw = random.Random(self.seed)
        for name in self.faults:
            time.sleep(draw.uniform(0, self.window_seconds))
            if self.report.exists():
                say(f"all is sent: {name} is left out, a stream without work would show nothing")
                continue
            self._strike(name, draw)
            self.releases |= released(self.stream.deployment) | self.releases
        self._await(self.report.exists, "not all was sent", self.seconds + 300)
        sent = json.loads(self.report.read_text())
        verdict = self._settle(sent)
        return {
            "backend": self.backend,
            "events": sent["events"],
            "seed": self.seed,
            "window_seconds": self.window_seconds,
            "parallelism": self.cluster.slots,
            "faults": [asdict(each) for each in self.struck],
            "exact": not verdict.faults,
            "verdict": asdict(verdict),
        }

    @property
    def seconds(self) -> int:
        """For how long the load is sent."""
        return _SECONDS_A_FAULT * max(1, len(self.faults))

    # How it begins.

    def _rise(self) -> None:
        """Broker, cluster, job and load. Returns when the first rows are stored."""
        self.broker = Broker(self.folder / "broker", self.processes).start()
        self.broker.topic("telemetry", _PARTITIONS)
        self.broker.topic("ledger", 1, cleanup_policy="compact", min_compaction_lag_ms=86_400_000)
        self.cluster = Cluster(self.folder / "flink", self.processes, self.backend).start()
        properties = self.folder / "kafka.properties"
        properties.write_text(f"bootstrap.servers={self.broker.bootstrap}\n")
        inputs = ["--events", "kafka:telemetry", "--consents", "kafka:ledger", f"--kafka_config_file={properties}"]
        pack = write_pack(self.folder / "pack", time.time_ns() // 1_000_000 + 60_000)
        self.policies.append((0, pack))
        self.stream = Stream(self.folder, self.processes, self.cluster, inputs, pack, self.window_seconds)
        self.stream.start()
        self.report = self.folder / "sent.json"
        self.load = self._load()
        self.began = time.time()
        self._await(lambda: self.stream.rows() > 0, "no rows", 300, step=1)

    def _load(self) -> Process:
        options = {
            "bootstrap": self.broker.bootstrap,
            "events": self.events,
            "rate": max(1, self.events // self.seconds),
            "seed": self.seed,
            "report": self.report,
        }
        words = [str(word) for name, value in options.items() for word in (f"--{name}", value)]
        return self.processes.start("load", [sys.executable, "-m", "tests.engines.load", *words], cwd=ROOT)

    # A fault.

    def _strike(self, name: str, draw: random.Random) -> None:
        if name == "change":
            self._pause()
        rows = self.stream.rows()
        now, entries = time.time(), self.stream.entries()
        in_window = round(now % self.window_seconds, 1)
        struck = Struck(name, round(now - self.began, 1), in_window, rows, not self.report.exists())
        say(f"{name} at {struck.at} s, {rows} rows are stored")
        Faults(self.stream, self.broker, draw).strike(name)
        if name == "change":
            self.load.resume()
        self._await(lambda: self.cluster.checkpointed_since(self.stream.job, now), f"no checkpoint after {name}", 300)
        struck.works = round(time.time() - now, 1)
        self._await(lambda: self.stream.entries() > entries, f"no rows after {name}", 300)
        struck.stores = round(time.time() - now, 1)
        self.struck.append(struck)
        say(f"{name}: works after {struck.works} s, stores after {struck.stores} s")

    def _pause(self) -> None:
        """Holds the load within a window, and waits until all windows before it are stored. So it is known of each
        record which of two policies judges it."""
        window_ms = self.window_seconds * 1000
        time.sleep(-(time.time() - 0.6 * self.window_seconds) % self.window_seconds)
        self.load.pause()
        switch = time.time() * 1000 // window_ms * window_ms
        before = up_to(switch, self._answer())
        self._await(lambda: missing(self.stream.deployment, before) <= 0, "a pause, and not all is stored", 300, step=2)
        self.policies.append((switch, self.folder / "changed"))
        write_changed(self.stream.policy, self.folder / "changed")
        self.stream.policy = self.folder / "changed"

    # How it ends.

    def _settle(self, sent: dict) -> Verdict:
        """Waits until all is stored that will be, stops the stream, sweeps, and judges."""
        answer, deployment = self._answer(), self.stream.deployment
        say(f"all is sent; {answer.total} rows are expected")
        self._await(lambda: missing(deployment, answer) <= 0, "rows are missing", 300, "go on", 2)
        self._await(lambda: not self._open(answer, sent), "not all is accounted for", 90, "go on", 2)
        state = [self.cluster.checkpoints, self.cluster.savepoints, self.cluster.scratch]
        in_state = leaked(sent["canaries"], state)  # as long as the job runs: RocksDB's files go with it
        self.stream.stop()
        self.load.end()
        self.stream.command("sweep", "--older-than", "0")
        search = [*state, self.processes.folder]
        verdict = judge(deployment, answer, sent["ended_ms"], self.releases, sent["canaries"], search)
        verdict.leaked += in_state
        return verdict

    def _open(self, answer: Expected, sent: dict) -> list:
        """What is not yet as it is to be in the end; files that nothing names are swept later."""
        faults = judge(self.stream.deployment, answer, sent["ended_ms"], self.releases).faults
        return [name for name in faults if name != "unnamed"]

    def _answer(self) -> Expected:
        """What was to be stored of all that lies on the topics now."""
        given = of_topics({"bootstrap.servers": self.broker.bootstrap}, "telemetry", "ledger")
        window_ms = self.window_seconds * 1000
        since, policy = self.policies[0]
        answer = expected(given, load_pack(str(policy)), window_ms)
        for since, policy in self.policies[1:]:
            answer = joined(answer, expected(given, load_pack(str(policy)), window_ms), since)
        return answer

    def _await(
        self, look: Callable[[], object], missing: str, seconds: float, or_else: str = "raise", step: float = 0.2
    ) -> None:
        until = time.monotonic() + seconds
        while not look():
            for process in (self.load, self.stream.ingest):
                if not process.running:
                    raise Ended(f"{missing}: {process.name} has ended: {process.text()[-3000:]}")
            if time.monotonic() > until:
                if or_else == "raise":
                    raise Ended(f"{missing} after {seconds} s; see {self.folder}")
                return say(f"{missing} after {seconds} s")
            time.sleep(step)


def up_to(moment: float, answer: Expected) -> Expected:
    """The part of an answer that is about records received before a moment."""
    nothing = {name: np.zeros_like(of) for name, of in answer.stands.items()}
    return joined(answer, replace(answer, opened=nothing, stands=nothing), moment)


def joined(first: Expected, then: Expected, since: float) -> Expected:
    """One answer for records received before a moment, another from it on."""
    before = first.received < since

    def of(name: str) -> dict[str, np.ndarray]:
        earlier, later = getattr(first, name), getattr(then, name)
        return {purpose: np.where(before, earlier[purpose], later[purpose]) for purpose in earlier}

    return replace(then, opened=of("opened"), stands=of("stands"), gates=of("gates"))


def say(message: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


def storm(backend: str, events: int, faults: tuple[str, ...], seed: int) -> dict:
    """Runs one storm and ends whatever it started. Its folder stays where the stream was not exact.

    The folder is in memory: what dies here are processes, never the machine, so nothing is shown by waiting for a disk.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="storm-", dir=_MEMORY if _MEMORY.is_dir() else None))
    say(f"{backend}, {events} events, seed {seed}: {', '.join(faults)}; {folder}")
    with Processes(folder / "logs") as processes:
        done = Storm(folder, processes, backend, events, faults, seed).run()
    done["seconds"] = round(time.monotonic() - began)
    if done["exact"]:
        shutil.rmtree(folder)
    say(f"{'exact' if done['exact'] else 'NOT EXACT'} after {done['seconds']} s: {_told(done['verdict'])}")
    return done


def _told(verdict: dict) -> dict:
    """The numbers of a verdict, and of each list its first words."""
    return {name: found[:3] if isinstance(found, list) else found for name, found in verdict.items() if found}


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--events", type=int, default=500_000, metavar="N")
    add("--backends", default=",".join(BACKENDS), metavar="NAME,...")
    add("--faults", default=",".join(FAULTS), metavar="NAME,...", help="in an order that the seed makes")
    add("--times", type=int, default=1, metavar="N", help="storms over each backend")
    add("--seed", type=int, default=None, metavar="N", help="of the first storm (default: another each time)")
    add("--results", type=Path, metavar="FILE", help="where what happened is appended, a line a storm")
    options = arguments.parse_args(argv)
    if not alone():
        arguments.error("engines listen on all interfaces: run it in a network of its own, see the Makefile")
    seed = random.randrange(1 << 30) if options.seed is None else options.seed
    results = []
    for number in range(options.times):
        for backend in options.backends.split(","):
            faults = options.faults.split(",")
            random.Random(seed + number).shuffle(faults)
            results.append(storm(backend, options.events, tuple(faults), seed + number))
            if options.results:
                with options.results.open("a") as file:
                    file.write(json.dumps(results[-1]) + "\n")
    return 0 if all(each["exact"] for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
