"""Where the time of a run goes, step by step: `douane ingest --profile`.

Clocks are put around functions at the names by which their callers find them, while a profile is taken and not
otherwise. A step's time is exclusive: what runs inside another step counts there alone. It is taken by call, which is
by batch or file, never by row. What the clocks see is seconds and how often; no argument and no result is kept.
"""

import contextlib
import importlib
import inspect
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from unittest.mock import patch

import numpy as np

from pipelines.errors import ConfigurationError
from pipelines.runners import LOCAL_RUNNER, told

# Where each step's functions are looked up, as module:name, in the order in which a record meets the steps.
STEPS = {
    "plan": ("pipelines.job:plan",),
    "read": ("pipelines.progress:read_blocks",),
    "decode: parse": ("transforms.decode:parse",),
    "decode: checks": ("transforms.border:decode_events",),
    "ledger input": ("transforms.border:decode_ledger", "transforms.border:LedgerSealer.seal"),
    "locate": ("transforms.border:locate",),
    "seal: ids": ("transforms.seal:canonical", "transforms.seal:Seals.tag", "transforms.seal:Seals.reversibly"),
    "seal: labels": ("transforms.labels:Labels.clean", "transforms.seal:networks"),
    "seal: text": (
        "transforms.texts:Texts.clean",
        "transforms.sealed_rows:crash_groups",
        "transforms.seal:bare_groups",
    ),
    "seal: slots": ("transforms.seal:EventSealer.seal",),
    "exchange": (
        "transforms.border:pieces",
        "transforms.border:to_buffer",
        "transforms.exchange:to_buffer",
        "transforms.exchange:from_ipc",
        "transforms.exchange:RecordBatchCoder.encode",
        "transforms.exchange:RecordBatchCoder.decode",
    ),
    "locks": ("transforms.locks:Locks.lock", "transforms.locks:Locks.unlock"),
    "coalesce": ("transforms.consent_gate:coalesce",),
    "deduplicate": ("transforms.consent_gate:deduplicate",),
    "ledger build": ("transforms.gate:Ledger.build",),
    "gate": (
        "transforms.gate:Gate.judge",
        "transforms.consent_gate:_ConsentGate._release",
    ),
    "for_purpose": ("transforms.for_purpose:for_purpose",),
    "pseudonymise": ("transforms.pseudonymise:pseudonymise",),
    "write: parquet": ("pyarrow.parquet:write_table",),  # encoded and encrypted in one pass
    "write: stage": ("pipelines.sinks:stage", "pipelines.sinks:by_date", "pipelines.sinks:_finished"),
    "statistics": (
        "transforms.statistics:Bounding.bounded",
        "transforms.statistics:Bounding.tally",
        "transforms.statistics:counted",
        "pipelines.statistics_store:_Release.process",
    ),
    "orders": (
        "transforms.orders:_Lock.process",
        "transforms.orders:_Orders.process",
        "pipelines.order_store:stage",
        "pipelines.order_store:queued",
        "pipelines.order_store:_count",
    ),
    "quarantine": ("transforms.border:_Border._rejected", "pipelines.quarantine_store:gathered"),
    "audit": (
        "transforms.border:_Border._lines",
        "transforms.border:_TelemetryBorder._tell",
        "transforms.border:_TelemetryBorder._decoded",
        "transforms.gate:Gate.tally",
        "schemas.tallies:Counts.tallies",
        "transforms.tallies:_raise_metrics",
        "pipelines.audit_store:summed",
        "pipelines.audit_store:keep",
        "pipelines.whole:read_totals",
        "pipelines.whole:with_manifests",
        "pipelines.whole:identities",
        "transforms.reconcile:faults",
    ),
    "disk": (
        "transforms.keyring:create_once",
        "transforms.keyring:Keyring.make",
        "pipelines.stores:put_down",
        "pipelines.stores:commit",
        "pipelines.sinks:commit",
        "pipelines.order_store:commit",
        "pipelines.audit_rows:commit",
        "pipelines.quarantine_store:commit",
        "pipelines.whole:retire",
        "pipelines.whole:_publish",
    ),
}
DISK = "disk"  # what the file system takes: how long that is follows from the disk, and counts apart wherever it runs
WHOLE = frozenset({"ledger input", "orders", "audit", DISK})  # what else runs inside them counts as theirs
REST = "Beam and rest"
ROWS = (*STEPS, REST)


def now() -> np.ndarray:
    """Seconds on two clocks: of the wall, and of this process's processor time. Other load moves only the first."""
    return np.array([time.perf_counter(), time.process_time()])


@dataclass(repr=False)
class Clocks:
    """Exclusive seconds by step, of one thread."""

    spent: dict[str, np.ndarray] = field(default_factory=lambda: {step: np.zeros(2) for step in STEPS})
    calls: Counter = field(default_factory=Counter)
    _inner: list[np.ndarray] = field(default_factory=list)  # for each step that is running: what ran inside it
    _whole: str = ""  # the step of `WHOLE` that is running

    @contextlib.contextmanager
    def running(self, step: str) -> Iterator[None]:
        """Counts what its block takes as the step's, but for what other steps take of it."""
        if self._whole and (step != DISK or self._whole == DISK):
            yield
            return
        self._inner.append(np.zeros(2))
        outer, self._whole = self._whole, step if step in WHOLE else ""
        started = now()
        try:
            yield
        finally:
            took, self._whole = now() - started, outer
            self.spent[step] += took - self._inner.pop()
            self.calls[step] += 1
            if self._inner:
                self._inner[-1] += took

    def around(self, step: str, function: Callable) -> Callable:
        """The function, timed. Of a generator only what it does itself is counted, not what is done between."""
        if not inspect.isgeneratorfunction(function):

            @wraps(function)
            def timed(*args, **kwargs):
                with self.running(step):
                    return function(*args, **kwargs)

            return timed

        @wraps(function)
        def timed_generator(*args, **kwargs):
            items, end = function(*args, **kwargs), object()
            while True:
                with self.running(step):
                    item = next(items, end)
                if item is end:
                    return
                yield item

        return timed_generator


class Profile:
    """Takes the time of what its block does on this thread; of a block that fails there is no profile.

    `seconds` are (of the wall, of the processor), of the whole block; `steps` say how much of that each of `ROWS` took,
    and add up to it; `calls` say how often a step was entered, under its name.
    """

    def __init__(self) -> None:
        self._clocks = Clocks()

    def __enter__(self) -> "Profile":
        with contextlib.ExitStack() as replaced:
            for step, places in STEPS.items():
                for place in places:
                    replaced.enter_context(self._clocked(step, place))
            self._replaced = replaced.pop_all()
        self._started = now()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = now() - self._started
        self._replaced.close()
        spent = self._clocks.spent
        self.steps = {**spent, REST: self.seconds - sum(spent.values())}
        self.calls = dict(self._clocks.calls)

    def _clocked(self, step: str, place: str) -> contextlib.AbstractContextManager:
        """Replaces a function by itself with a clock around it, and puts it back."""
        module, _, name = place.partition(":")
        *owners, name = name.split(".")
        owner: Any = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        return patch.object(owner, name, self._clocks.around(step, getattr(owner, name)))


def check(flags: Sequence[str]) -> None:
    """Raises `ConfigurationError` where steps run elsewhere or side by side, out of sight of the clocks. `flags` are
    Beam's."""
    given = told(flags)
    if given.get("runner", LOCAL_RUNNER) != LOCAL_RUNNER:
        raise ConfigurationError(f"--profile sees nothing of --runner={given['runner']}: use {LOCAL_RUNNER}")
    for option, alone in (("direct_running_mode", "in_memory"), ("direct_num_workers", "1")):
        if given.get(option, alone) != alone:
            raise ConfigurationError(f"--profile takes the time of one thread: leave --{option} at {alone}")


def as_data(profile: Profile, lines: int) -> dict:
    """The profile as JSON has it: seconds of (the wall, the processor), and lines of telemetry."""
    steps = {
        step: {"seconds": took.tolist(), "calls": profile.calls.get(step, 0)} for step, took in profile.steps.items()
    }
    return {"lines": lines, "seconds": profile.seconds.tolist(), "steps": steps}


def as_text(profile: Profile, lines: int) -> list[str]:
    """The profile as a terminal shows it; shares are of the processor's time, which other load moves less."""
    whole = profile.seconds[1]
    rows = [f"  {'':16} {'seconds':>10} {'processor':>10} {'share':>8} {'calls':>10}"]
    for step, (wall, processor) in profile.steps.items():
        calls = f"{profile.calls[step]:,}" if step in profile.calls else ""
        rows.append(f"  {step:16} {wall:10.2f} {processor:10.2f} {processor / whole:8.1%} {calls:>10}".rstrip())
    each = f"; {whole / lines * 1e6:,.1f} us of the processor a line of telemetry" if lines else ""
    return [*rows, f"  {'the whole run':16} {profile.seconds[0]:10.2f} {whole:10.2f}{each}"]
