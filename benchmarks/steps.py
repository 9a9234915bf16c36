"""One run of the main job in this process, and where its time goes.

    python -m benchmarks.steps EVENTS CONSENTS DEPLOYMENT [--profile FILE]

prints one JSON object. What runs is `douane ingest` itself, from its arguments to its summary. Clocks are put around
functions at the names by which their callers find them, here and not in the product. A step's time is exclusive: what
runs inside another step counts there alone. It is taken by call, never by row.
"""

import argparse
import contextlib
import cProfile
import importlib
import inspect
import io
import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import wraps

import numpy as np

# Where each step's functions are looked up, as module:name. Importing them before the clock starts is on purpose.
STEPS = {
    "plan": ("pipelines.job:plan",),
    "read": ("pipelines.progress:read_blocks",),
    "decode: parse": ("transforms.decode:parse",),
    "decode: checks": ("transforms.border:decode_events",),
    "ledger input": ("transforms.border:decode_ledger", "transforms.border:LedgerSealer.seal"),
    "locate": ("transforms.border:locate",),
    "seal: ids": ("transforms.seal:canonical", "transforms.seal:Seals.tag", "transforms.seal:Seals.reversibly"),
    "seal: labels": ("transforms.labels:Labels.clean", "transforms.seal:networks"),
    "seal: text": ("transforms.texts:Texts.clean", "transforms.seal:crash_groups"),
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
    "write: put": ("pipelines.sinks:stage", "pipelines.sinks:by_date", "pipelines.sinks:commit"),
    "statistics": (
        "transforms.statistics:Bounding.bounded",
        "transforms.statistics:Bounding.tally",
        "transforms.statistics:counted",
        "pipelines.statistics_store:_Release.process",
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
        "pipelines.audit_rows:read_totals",
        "pipelines.audit_rows:with_manifests",
        "transforms.reconcile:faults",
    ),
}
WHOLE = frozenset({"ledger input", "audit"})  # whatever runs inside them counts as theirs
REST = "Beam and rest"
ROWS = (*STEPS, REST)


def now() -> np.ndarray:
    """Seconds on two clocks: of the wall, and of this process's processor time. Other load moves only the first."""
    return np.array([time.perf_counter(), time.process_time()])


@dataclass
class Clocks:
    """Exclusive seconds by step. FnApiRunner runs every step in the thread that called it, so there is one stack."""

    spent: dict[str, np.ndarray] = field(default_factory=lambda: {step: np.zeros(2) for step in STEPS})
    calls: Counter = field(default_factory=Counter)
    _inner: list[np.ndarray] = field(default_factory=list)  # for each step that is running: what ran inside it
    _whole: bool = False

    @contextlib.contextmanager
    def running(self, step: str) -> Iterator[None]:
        """Counts what its block takes as the step's, but for what other steps take of it."""
        if self._whole:
            yield
            return
        self._inner.append(np.zeros(2))
        self._whole = step in WHOLE
        started = now()
        try:
            yield
        finally:
            took, self._whole = now() - started, False
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

    def install(self) -> None:
        """Puts a clock around every function of `STEPS`, for the rest of this process's life."""
        for step, places in STEPS.items():
            for place in places:
                module, _, name = place.partition(":")
                *owners, name = name.split(".")
                owner = importlib.import_module(module)
                for each in owners:
                    owner = getattr(owner, each)
                setattr(owner, name, self.around(step, getattr(owner, name)))


def measure(events: str, consents: str, deployment: str, profile: str | None) -> dict:
    """Runs the job once. Raises RuntimeError if it does not end well: what failed is not measured."""
    clocks, summary = Clocks(), io.StringIO()
    clocks.install()
    ingest = importlib.import_module("pipelines.ingest")
    profiler = cProfile.Profile() if profile else contextlib.nullcontext()
    arguments = ["--events", events, "--consents", consents, "--deployment", deployment, "--json"]
    started = now()
    with contextlib.redirect_stdout(summary), profiler:
        status = ingest.main(arguments)
    total = now() - started
    if status:
        raise RuntimeError(f"the job ended with status {status}")
    if isinstance(profiler, cProfile.Profile):
        profiler.dump_stats(profile)
    steps = {**clocks.spent, REST: total - sum(clocks.spent.values())}
    counts = json.loads(summary.getvalue())["counts"]
    return {
        "seconds": total.tolist(),
        "steps": {step: seconds.tolist() for step, seconds in steps.items()},
        "calls": dict(clocks.calls),
        "lines": sum(row["count"] for row in counts if (row["step"], row["outcome"]) == ("telemetry", "lines")),
        "rows": _stored(counts),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def _stored(counts: list[dict]) -> dict[str, int]:
    rows: Counter = Counter()
    for row in counts:
        if (row["step"], row["outcome"]) == ("store", "stored"):
            rows[row["dataset"]] += row["count"]
    return dict(sorted(rows.items()))


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.steps", description="One timed run of the main job.")
    for name in ("events", "consents", "deployment"):
        parser.add_argument(name)
    parser.add_argument("--profile", metavar="FILE")
    print(json.dumps(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
