"""Processes that a test starts, and ends: each with its log in a file, none left running.

The engines' tests run in a PID namespace of their own (`make flink-test`), so that even a harness that is killed takes
everything with it. This module's part is the order within: ended in reverse, with whatever they started themselves.
"""

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

_STEP = 0.05  # seconds between two looks


class Ended(Exception):
    """A process ended, or did not do in time what was awaited of it; the message holds the end of its log."""


class Process:
    """One process and those it starts itself: a process group, its output in `log`."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | None):
        self.name, self.log = name, log
        self._command, self._env, self._cwd = [str(word) for word in command], dict(env), cwd
        self._start()

    def _start(self) -> None:
        with self.log.open("ab") as log:
            self._from = log.tell()  # what this start writes
            self._process = subprocess.Popen(
                self._command,
                env=self._env,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def children(self) -> list[int]:
        """Processes that it started itself and that live, oldest first."""
        tasks = Path(f"/proc/{self.pid}/task")
        found = {int(pid) for task in tasks.glob("*/children") for pid in task.read_text().split()}
        return sorted(pid for pid in found if not ended(pid))

    def text(self) -> str:
        """What was written since it was last started."""
        with self.log.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace")

    def wait_for(self, pattern: str, seconds: float = 60) -> str:
        """The first line since the start that `pattern` is found in, once it is there. Raises `Ended`."""
        seen = re.compile(pattern)

        def line() -> str:
            return next((line for line in self.text().splitlines() if seen.search(line)), "")

        return self._until(line, f"no line {pattern!r}", seconds)

    def wait_for_port(self, port: int, seconds: float = 60) -> None:
        """Returns once something listens at the port of the loopback. Raises `Ended`."""
        self._until(lambda: _listens(port), f"nothing listens at port {port}", seconds)

    def wait(self, seconds: float = 60) -> int:
        """Its exit status, once it has ended by itself. Raises `Ended` if it does not."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Ended(self._told(f"still runs after {seconds} s")) from None

    def kill(self) -> None:
        """kill -9, of what it started too: as when a container dies."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def restart(self) -> None:
        """Started again with the same command. Whatever of it still runs is killed before."""
        self.kill()
        self._start()

    def end(self, seconds: float = 10) -> None:
        """Asks it to end, and kills what does not within the time. Safe to call again."""
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        self.kill()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)  # the group outlives its leader, and its number is not given away until then

    def _until(self, look: Callable[[], object], missing: str, seconds: float):
        until = time.monotonic() + seconds
        while not (found := look()):
            if not self.running:
                raise Ended(self._told(f"ended with status {self._process.returncode}: {missing}"))
            if time.monotonic() > until:
                raise Ended(self._told(f"{missing} after {seconds} s"))
            time.sleep(_STEP)
        return found

    def _told(self, what: str) -> str:
        return f"{self.name} {what}; the end of {self.log}:\n{self.text()[-3000:]}"


class Processes:
    """The processes of one test. As a context it ends them all, the last one first."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._started: list[Process] = []

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> Process:
        """Starts a command, its log in `NAME.log` of the folder, appended to. `env` is added to this process's own."""
        process = Process(name, command, self.folder / f"{name}.log", os.environ | dict(env or {}), cwd)
        self._started.append(process)
        return process

    def end(self) -> None:
        while self._started:
            self._started.pop().end()

    def __iter__(self) -> Iterator[Process]:
        return iter(list(self._started))

    def __enter__(self) -> "Processes":
        return self

    def __exit__(self, *_) -> None:
        self.end()


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet buried by who started it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def free_port() -> int:
    """A port of the loopback that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def alone() -> bool:
    """Whether this process has a network of its own, with nothing but the loopback: what engines listen at is then
    within nobody's reach."""
    lines = Path("/proc/net/dev").read_text().splitlines()[2:]
    return [line.split(":")[0].strip() for line in lines] == ["lo"]
