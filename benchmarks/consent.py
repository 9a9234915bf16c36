"""What consent costs: `python -m benchmarks.consent`, on one core.

A sealed ledger and sealed records are drawn at random; then the bounded gate, a stream's firing on a ledger that is
held open, the upkeep of that ledger, and a subject with very many entries and records are timed, and written down as
JSON. Seconds are of processor time, medians of some runs: other load moves them less than those of the wall.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.main_job import say
from schemas.consent import SEALED_LEDGER, Kind, SubjectType
from schemas.pack_files import DEFAULT_PACK, load_pack
from transforms.consent import Records, judge
from transforms.held_ledger import HeldLedger
from transforms.ipc import from_ipc, to_ipc
from transforms.ledger import Ledger

_HERE = Path(__file__).parent
DAY_MS = 86_400_000
NOW = 1_614_556_800_000  # 2021-03-01
ENTRIES_A_DEVICE = 3
# How often each kind, set of purposes and application is drawn: most entries are grants, of few purposes each.
KINDS = {"grant": 900, "withdraw": 40, "object": 15, "restrict": 5, "lift_objection": 10, "lift_restriction": 4}
KINDS |= {"minor": 12, "adult": 4, "erase": 5, "close": 5}
PURPOSES = {"location_services": 30, "push": 13, "find_device": 9, "promotion": 9, "user_experience": 8, "research": 5}
PURPOSES |= {"device_performance,operations,statistics,user_experience": 9, "personalisation,personalised_ads": 5}
PURPOSES |= {"security": 3, "*": 9}
APPS = ("com.example.map", "com.example.mail", "com.example.chat", "com.example.notes", "com.example.play")

PACK = load_pack(DEFAULT_PACK)
TERMS, OLDEST_MS = PACK.terms("eu", True), PACK.limits.oldest_days * DAY_MS


def tags(draw: np.random.Generator, count: int) -> np.ndarray:
    """Sealed values, (count, 2) words."""
    return draw.integers(0, 2**64, (count, 2), np.uint64)


def binary(words: np.ndarray, nulls: np.ndarray | None = None) -> pa.Array:
    bits = None if nulls is None else pa.array(~nulls).buffers()[1]
    return pa.Array.from_buffers(pa.binary(16), len(words), [bits, pa.py_buffer(np.ascontiguousarray(words))])


def coded(codes: np.ndarray, words) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=codes < 0), pa.array(words))


def ledger_of(draw: np.random.Generator, subjects: np.ndarray, days: tuple[float, float]) -> pa.RecordBatch:
    """One sealed entry for each of these subjects, in the order of their receipt between two days before NOW."""
    rows = len(subjects)
    kinds, often = np.array([Kind[name] for name in KINDS], np.int8), np.array(list(KINDS.values()))
    kind = draw.choice(kinds, rows, p=often / often.sum())
    purposes = draw.choice(len(PURPOSES), rows, p=np.array(list(PURPOSES.values())) / sum(PURPOSES.values()))
    scoped = (kind == Kind.grant) & (purposes == 0)
    received = np.sort(NOW - (draw.uniform(*days, rows) * DAY_MS).astype(np.int64))
    columns = [
        binary(tags(draw, rows)),
        binary(subjects),
        pa.array(np.full(rows, SubjectType.device, np.int8)),
        pa.array(kind),
        coded(purposes, list(PURPOSES)),
        coded(np.where(scoped, draw.integers(0, len(APPS), rows), -1), APPS),
        coded(draw.integers(0, 2, rows), ["2020-03-01", "2021-01-15"]),
        pa.array(draw.random(rows) < 0.01),
        pa.array(received - draw.integers(0, 60_000, rows)),
        pa.array(received),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SEALED_LEDGER)


def records_of(draw: np.random.Generator, subjects: np.ndarray, span_ms: int, delay_ms: int = 3_600_000) -> Records:
    """One record for each of these devices, a quarter with an account without entries, received after NOW."""
    rows = len(subjects)
    received = NOW + draw.integers(0, span_ms, rows)
    return Records(
        device=binary(subjects),
        account=binary(tags(draw, rows), draw.random(rows) < 0.75),
        subject_fault=np.zeros(rows, bool),
        event_time=pa.array(received - draw.integers(0, delay_ms, rows)),
        received_time=pa.array(received),
        app=coded(draw.integers(-1, len(APPS), rows), APPS),
    )


def timed(function: Callable, runs: int) -> tuple[float, object]:
    """(median seconds of processor time, last result)"""
    seconds = []
    for _ in range(runs):
        started = time.process_time()
        result = function()
        seconds.append(time.process_time() - started)
    return float(np.median(seconds)), result


def bounded(draw: np.random.Generator, records: int, entries: int, runs: int) -> dict:
    """The gate of a bounded run: all records of a shard against all of its entries."""
    devices = tags(draw, entries // ENTRIES_A_DEVICE)
    ledger = ledger_of(draw, devices[draw.integers(0, len(devices), entries)], (-2, 360))
    asked = records_of(draw, devices[draw.integers(0, len(devices), records)], 4 * DAY_MS)
    build, held = timed(lambda: Ledger.build(ledger, TERMS), runs)
    decide, _ = timed(lambda: judge(asked, held, TERMS, "all"), runs)
    figures = {"build": build, "judge": decide, "both": build + decide}
    return {f"{name}_ns_a_record": round(seconds / records * 1e9) for name, seconds in figures.items()}


def streamed(draw: np.random.Generator, entries: int, windows: tuple[int, ...], runs: int) -> dict:
    """A stream's firing on a ledger of that many entries, and what it takes to keep that."""
    devices = tags(draw, entries // ENTRIES_A_DEVICE)
    whole = ledger_of(draw, devices[draw.integers(0, len(devices), entries)], (0, 360))
    held = HeldLedger.empty().merged([whole])
    written = to_ipc(held.rows)
    opened, held = timed(lambda: HeldLedger(from_ipc(written), np.empty(0, np.uint64)), runs)
    millions = entries / 1e6
    figures = {
        "open_s": opened,
        "state_mb_a_million": len(written) / 1e6 / millions,
        "resident_mb_a_million": sum(part.nbytes for part in vars(held).values()) / 1e6 / millions,
    }
    arriving = ledger_of(draw, devices[draw.integers(0, len(devices), 1_000)], (-0.01, 0))
    figures["merge_1000_s"], held = timed(lambda: held.merged([arriving]), 1)
    figures |= _firings(draw, held, devices, windows, runs)
    figures["compact_s"], compact = timed(lambda: held.compacted(NOW, OLDEST_MS), 1)
    figures["compact_again_s"], _ = timed(lambda: compact.compacted(NOW + 600_000, OLDEST_MS), 1)
    figures["entries_left"] = compact.rows.num_rows / held.rows.num_rows
    figures["compacted_mb_a_million"] = (len(to_ipc(compact.rows)) + compact.spent.nbytes) / 1e6 / millions
    return {name: round(value, 4) for name, value in figures.items()}


def _firings(draw: np.random.Generator, held: HeldLedger, devices: np.ndarray, windows, runs: int) -> dict:
    figures, before = {}, NOW + 600_000
    for records in windows:
        asked = records_of(draw, devices[draw.integers(0, len(devices), records)], 600_000)
        about, entries = timed(lambda asked=asked: held.about(asked.device, asked.account, before), runs)
        build, ledger = timed(lambda entries=entries: Ledger.build(entries, TERMS), runs)
        decide, _ = timed(lambda asked=asked, ledger=ledger: judge(asked, ledger, TERMS, "received"), runs)
        figures |= {f"about_{records}_s": about, f"build_{records}_s": build, f"judge_{records}_s": decide}
        figures[f"firing_{records}_s"] = about + build + decide
    return figures


def hot(draw: np.random.Generator, records: int, entries: int) -> dict:
    """One subject: its entries lie among its records, or all before them; and these compacted."""
    device = tags(draw, 1)
    asked = records_of(draw, device[np.zeros(records, int)], DAY_MS, delay_ms=10_000)
    figures = {}
    for name, days in (("among", (-1, 0)), ("before", (0, 30))):
        held = HeldLedger.empty().merged([ledger_of(draw, device[np.zeros(entries, int)], days)])
        ledger = Ledger.build(held.rows, TERMS)
        for mode in ("all", "received"):
            figures[f"{name}_{mode}_s"], _ = timed(lambda at=ledger, mode=mode: judge(asked, at, TERMS, mode), 1)
    figures["compact_s"], held = timed(lambda: held.compacted(NOW, OLDEST_MS), 1)
    ledger = Ledger.build(held.rows, TERMS)
    figures["compacted_s"], _ = timed(lambda: judge(asked, ledger, TERMS, "received"), 1)
    figures["entries_left"] = held.rows.num_rows
    return {name: round(value, 4) for name, value in figures.items()}


def measure(given: argparse.Namespace) -> dict:
    """All figures, by what they are of."""
    draw = np.random.default_rng(given.seed)
    say(f"bounded: {given.records:,} records, {given.entries[0]:,} entries")
    figures = {"bounded": bounded(draw, given.records, given.entries[0], given.runs)}
    for entries in given.entries:
        say(f"stream: {entries:,} entries")
        figures[f"stream of {entries} entries"] = streamed(draw, entries, tuple(given.windows), given.runs)
    say(f"one subject: {given.records:,} records, {given.hot:,} entries")
    figures["hot subject"] = hot(draw, given.records, given.hot)
    return figures


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="benchmarks.consent", description=__doc__.splitlines()[0], allow_abbrev=False)
    for name, default in (("records", 1_000_000), ("hot", 10_000), ("runs", 5), ("seed", 1)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help="(%(default)s)")
    parser.add_argument("--entries", type=int, nargs="+", default=[600_000, 6_000_000], metavar="N")
    parser.add_argument("--windows", type=int, nargs="+", default=[10_000, 100_000], metavar="N", help="records")
    parser.add_argument("--out", type=Path, default=_HERE / "results", metavar="DIR", help="results (%(default)s)")
    given = parser.parse_args(argv)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    pa.set_cpu_count(1)
    figures = measure(given)
    text = json.dumps(figures, indent=1)
    print(text)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "consent.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
