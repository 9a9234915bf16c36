"""What a fleet needs, worked out from what was measured: `python -m benchmarks.cost` writes it into docs/scaling.md.

Every figure stands in one place: in `benchmarks/results/`, in docs/reliability.md, or, where nothing was measured,
below as an assumption. A test tells when the page is no longer what these say.
"""

import json
import re
from pathlib import Path

_ROOT = Path(__file__).parent.parent
RESULTS, PAGE = _ROOT / "benchmarks" / "results", _ROOT / "docs" / "scaling.md"
_BEGIN, _END = "<!-- begin: python -m benchmarks.cost -->\n", "<!-- end -->\n"

# Assumed.
DEVICES, EVENTS_A_DAY, ENTRIES_A_SUBJECT = 100_000_000, 50, 3
PEAK = 3  # times the mean rate: what the busiest hour brings, and room to work a backlog off
SHARD_MB = 64  # of ledger in a shard: what one firing holds in memory many times over

# Decided elsewhere: the pack's oldest event in days, a fingerprint's bytes, seconds of a window, windows that wait as a
# rule, the datasets of the shipped pack that get rows, regions, and what compaction puts into one file.
_DAYS, _SEEN, _WINDOW, _WAITING, _DATASETS, _REGIONS, _FULL, _MOST = 30, 8, 600, 2, 19, 6, 256 << 20, 256
_DAY = 86_400


def measured() -> dict[str, float]:
    """The figures that all others follow from."""
    job, volume = (json.loads((RESULTS / f"{name}.json").read_text()) for name in ("main_job", "volume"))
    consent = json.loads((RESULTS / "consent.json").read_text())
    reliability = (_ROOT / "docs" / "reliability.md").read_text()
    worker = re.search(r"largest Python worker .* ([\d,]+) MB in the last", reliability)
    stream = re.search(r"backlog of .* \| ([\d,]+) records a second", reliability)
    return {
        "us": job["median"]["total"][0],
        "rows": job["median"]["rows_a_record"],
        "event": job["sample"]["event_bytes"] / job["sample"]["events"],
        "peak_mb": job["median"]["peak_mb"],
        "exchange": volume["locked"]["telemetry"] / volume["events"],
        "entry": volume["locked"]["ledger"] / volume["entries"],
        "row": volume["bytes"]["records"] / volume["rows"]["records"],
        "order": volume["bytes"]["lists"] / volume["rows"]["lists"],
        "held": consent["stream of 6000000 entries"]["state_mb_a_million"],
        "stream": float(stream[1].replace(",", "")),
        "worker_mb": float(worker[1].replace(",", "")),
    }


def unit_costs(m: dict[str, float]) -> list[tuple[str, str, str]]:
    """(what, how much, where it is from)."""
    return [
        ("records a second and core, over files", f"{1e6 / m['us']:,.0f} ({m['us']:.1f} µs each)", "main_job.json"),
        ("records a second and worker, as a stream", f"{m['stream']:,.0f}", "reliability.md, *Load*"),
        ("an event as it comes", f"{m['event']:,.0f} bytes", "main_job.json"),
        ("a record on the exchange, locked", f"{m['exchange']:,.0f} bytes", "volume.json"),
        ("an entry of the ledger on the exchange", f"{m['entry']:,.0f} bytes", "volume.json"),
        ("rows stored of a record", f"{m['rows']:.2f}", "main_job.json"),
        ("a stored row, encrypted", f"{m['row']:,.0f} bytes", "volume.json"),
        ("a row of the lists of orders", f"{m['order']:,.0f} bytes", "volume.json"),
        ("ledger in state, a million entries", f"{m['held']:,.1f} MB", "consent.json"),
        (
            f"ledger in state, a million subjects of {ENTRIES_A_SUBJECT} entries",
            f"{m['held'] * ENTRIES_A_SUBJECT:,.0f} MB",
            "the line above",
        ),
        (
            f"fingerprints, a million devices of {EVENTS_A_DAY} events a day",
            f"{EVENTS_A_DAY * _DAYS * _SEEN / 1e3:,.0f} GB",
            f"{_SEEN} bytes for {_DAYS} days (state.md)",
        ),
        ("peak memory over files, a million events", f"{m['peak_mb']:,.0f} MB", "main_job.json"),
        ("largest Python worker of a stream", f"{m['worker_mb']:,.0f} MB", "reliability.md, *Load*"),
    ]


def fleet(m: dict[str, float]) -> list[tuple[str, str, str]]:
    """(what, the arithmetic, how much)."""
    events = DEVICES * EVENTS_A_DAY
    rate, rows = events / _DAY, events * m["rows"]
    held = DEVICES * ENTRIES_A_SUBJECT * m["held"] / 1e6  # MB
    shards = -(-held // SHARD_MB)
    windows = _DAY // _WINDOW
    files = shards * windows * _DATASETS
    stored = rows * m["row"]
    workers = rate / m["stream"] * PEAK
    return [
        ("events a day", f"{DEVICES:,} × {EVENTS_A_DAY}", f"{events:,}"),
        ("events a second", f"{events:,} / {_DAY:,}", f"{rate:,.0f}; {rate * PEAK:,.0f} at {PEAK} times the mean"),
        ("cores, over files", f"{rate:,.0f} × {m['us']:.1f} µs × {PEAK}", f"{rate * m['us'] / 1e6 * PEAK:,.1f}"),
        ("workers, as a stream", f"{rate:,.0f} / {m['stream']:,.0f} × {PEAK}", f"{workers:,.0f}"),
        ("their memory", f"{workers:,.0f} × {m['worker_mb']:,.0f} MB", f"{workers * m['worker_mb'] / 1e3:,.0f} GB"),
        ("intake a day", f"{events:,} × {m['event']:,.0f} bytes", _tb(events * m["event"])),
        ("exchange a day", f"{events:,} × {m['exchange']:,.0f} bytes", _tb(events * m["exchange"])),
        (
            "state: ledger",
            f"{DEVICES:,} × {ENTRIES_A_SUBJECT} × {m['held']:,.1f} bytes",
            f"{held / 1e3:,.0f} GB",
        ),
        ("shards, all regions together", f"{held:,.0f} MB / {SHARD_MB} MB", f"{shards:,.0f}"),
        (
            "records a shard and window",
            f"{rate:,.0f} × {_WINDOW} / {shards:,.0f}",
            f"{rate * _WINDOW / shards:,.0f}",
        ),
        ("state: fingerprints", f"{events:,} × {_DAYS} × {_SEEN} bytes", _tb(events * _DAYS * _SEEN)),
        (
            "state: records that wait",
            f"{rate:,.0f} × {_WINDOW * _WAITING:,} s × {m['exchange']:,.0f} bytes",
            f"{rate * _WINDOW * _WAITING * m['exchange'] / 1e9:,.0f} GB",
        ),
        ("rows stored a day", f"{events:,} × {m['rows']:.2f}", f"{rows:,.0f}"),
        ("bytes stored a day", f"{rows:,.0f} × {m['row']:,.0f} bytes", _tb(stored)),
        ("files a day", f"{shards:,.0f} × {windows} × {_DATASETS}", f"{files:,.0f}"),
        ("rows a file", f"{rows:,.0f} / {files:,.0f}", f"{rows / files:,.0f}"),
        (
            "files a day, compacted",
            f"the more of {files:,.0f} / {_MOST} and {stored / 1e9:,.0f} GB / {_FULL >> 20} MiB",
            f"{max(files / _MOST, stored / _FULL):,.0f}",
        ),
        (
            "their size",
            f"{stored / 1e9:,.0f} GB / files",
            f"{stored / max(files / _MOST, stored / _FULL) / 1e6:,.0f} MB",
        ),
    ]


def _tb(size: float) -> str:
    return f"{size / 1e12:,.2f} TB"


def section() -> str:
    """The tables of the page."""
    m = measured()
    parts = [_table(("what", "measured", "from"), unit_costs(m)), "", f"**{DEVICES:,} devices:**", ""]
    return "\n".join([*parts, _table(("what", "arithmetic", "comes to"), fleet(m))]) + "\n"


def _table(head: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ("---",) * len(head), *rows))


def page(text: str) -> str:
    """The page with the tables as they are now."""
    before, _, rest = text.partition(_BEGIN)
    return before + _BEGIN + section() + _END + rest.partition(_END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
