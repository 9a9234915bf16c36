"""What was measured, as a table, as JSON and as a picture."""

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from xml.sax.saxutils import escape

GOAL = 2.0  # times the floor
_LIBRARIES = ("apache-beam", "cryptography", "numpy", "pyarrow")


def folders(parser: argparse.ArgumentParser) -> None:
    """Adds the flags by which a benchmark is told where to work and where to leave its results."""
    here = Path(__file__).parent
    parser.add_argument("--work", type=Path, default=here / "work", metavar="DIR", help="what it makes (%(default)s)")
    parser.add_argument("--out", type=Path, default=here / "results", metavar="DIR", help="results (%(default)s)")


def median(measured: dict) -> dict:
    """The run whose ratio to its floor is the median one (the better of two in the middle): whole, so it adds up."""
    runs = sorted(measured["runs"], key=lambda run: run["job"]["seconds"][0] / run["floor"]["seconds"][0])
    return runs[(len(runs) - 1) // 2]


def figures(measured: dict) -> dict:
    """The median run in microseconds a record, of (the wall, the processor)."""
    job, floor = median(measured)["job"], median(measured)["floor"]

    def each(seconds: list[float]) -> list[float]:
        return [round(s * 1e6 / job["lines"], 3) for s in seconds]

    return {
        "total": each(job["seconds"]),
        "floor": each(floor["seconds"]),
        "ratio": [round(a / b, 2) for a, b in zip(job["seconds"], floor["seconds"], strict=True)],
        "rows_a_record": round(sum(job["rows"].values()) / job["lines"], 2),
        "peak_mb": round(job["peak_bytes"] / 1e6),
        "steps": {step: each(seconds) for step, seconds in job["steps"].items()},
        "floor_steps": {step: each(seconds) for step, seconds in floor["steps"].items()},
    }


def table(measured: dict) -> str:
    """For a person to read."""
    found, made = figures(measured), measured["sample"]
    head = f"{made['events']:,} events of {made['event_bytes'] / made['events']:,.0f} bytes"
    lines = [
        "",
        f"{head}, {made['devices']:,} devices, {made['entries']:,} ledger entries; one core, "
        f"median of {len(measured['runs'])} run(s)",
        "",
        f"{'us a record':18} {'wall':>8} {'cpu':>8}",
        *(f"  {step:16} {wall:8.3f} {cpu:8.3f}" for step, (wall, cpu) in found["steps"].items()),
        _row("the whole job", found["total"]),
        *(f"  {'floor: ' + step:16} {wall:8.3f} {cpu:8.3f}" for step, (wall, cpu) in found["floor_steps"].items()),
        _row("the floor", found["floor"]),
        f"{'times the floor':18} {found['ratio'][0]:8.2f} {found['ratio'][1]:8.2f}   (goal: {GOAL:g} at most)",
        f"{'rows stored':18} {found['rows_a_record']:8.2f}            a record, the same in both",
        f"{'peak memory':18} {found['peak_mb']:8,}            MB",
    ]
    return "\n".join(lines)


def _row(name: str, both: list[float]) -> str:
    return f"{name:18} {both[0]:8.3f} {both[1]:8.3f}"


def write(measured: dict, out: Path) -> list[Path]:
    """Writes main_job.json and main_job.svg."""
    out.mkdir(parents=True, exist_ok=True)
    content = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "versions": versions(),
        "median": figures(measured),
        **measured,
    }
    paths = [out / "main_job.json", out / "main_job.svg"]
    paths[0].write_text(json.dumps(content, indent=1) + "\n")
    paths[1].write_text(picture(figures(measured)))
    return paths


def versions() -> dict[str, str]:
    """Of Python and of the libraries that matter here."""
    return {"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}}


def machine() -> dict:
    """The kind of machine that it was measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {"cpu": _cpu_model(), "cores": os.cpu_count(), "memory_gb": round(memory / 1e9, 1)}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


# Colours that keep apart on white and on black; neighbours differ in lightness as well as in hue.
_COLOURS = (
    "#4477aa",
    "#88ccee",
    "#117733",
    "#ddcc77",
    "#cc6677",
    "#aa4499",
    "#999933",
    "#44aa99",
    "#bbbbbb",
    "#882255",
)
STYLE = "text{font:12px sans-serif;fill:#24292f}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}"
_LEFT, _WIDTH, _BAR, _LINE, _COLUMNS = 70, 840, 34, 20, 4


def picture(found: dict) -> str:
    """An SVG: one bar for the job by step, one for the floor, in microseconds a record."""
    bars = {"main job": found["steps"], "floor": {f"floor: {k}": v for k, v in found["floor_steps"].items()}}
    names = [name for steps in bars.values() for name in steps]
    colour = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
    scale = (_WIDTH - _LEFT - 60) / max(found["total"][0], found["floor"][0])
    parts: list[str] = []
    for row, (bar, steps) in enumerate(bars.items()):
        x, y = float(_LEFT), 30 + row * (_BAR + 12)
        parts.append(_text(0, y + 22, bar))
        for name, (wall, _) in steps.items():
            width = max(wall, 0) * scale
            title = f"<title>{escape(name)}: {wall:.2f}</title>"
            parts.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_BAR}" fill="{colour[name]}">{title}</rect>'
            )
            x += width
        parts.append(_text(x + 6, y + 22, f"{sum(wall for wall, _ in steps.values()):.2f}"))
    top = 30 + len(bars) * (_BAR + 12) + 16
    for place, name in enumerate(names):
        x, y = (place % _COLUMNS) * _WIDTH // _COLUMNS, top + place // _COLUMNS * _LINE
        wall = {**bars["main job"], **bars["floor"]}[name][0]
        parts.append(f'<rect x="{x}" y="{y - 10}" width="12" height="12" fill="{colour[name]}"/>')
        parts.append(_text(x + 18, y, f"{name} {wall:.2f}"))
    height = top + (len(names) - 1) // _COLUMNS * _LINE + 14
    title = _text(0, 16, f"microseconds a record, one core: {found['ratio'][0]:.2f} times the floor")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}">'
        f"<style>{STYLE}</style>\n" + "\n".join([title, *parts]) + "\n</svg>\n"
    )


def _text(x: float, y: float, words: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}">{escape(words)}</text>'
