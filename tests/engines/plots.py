"""What the engines' tests have measured, as a picture and as a table.

python -m tests.engines.plots benchmarks/results/stream.json docs/reliability.svg        and a table
python -m tests.engines.plots --faults RESULTS.jsonl        a Markdown table, of what tests.engines.storm appended
"""

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median

# Of each fault what is done, and what was expected of the stream beside that nothing is lost, doubled or let through.
FAULTS = {
    "taskmanager": ("`kill -9` of the TaskManager, another one started", "goes on from the last checkpoint"),
    "worker": ("`kill -9` of one Python worker", "goes on from the last checkpoint"),
    "pool": ("`kill -9` of the worker pool with all workers, started again", "goes on from the last checkpoint"),
    "broker": ("`kill -9` of the Kafka broker, started again", "waits, and reads on where it was"),
    "jobmanager": ("`kill -9` of the JobManager, the job submitted again", "goes on from the retained checkpoint"),
    "savepoint": ("stopped with a savepoint, submitted again from it", "goes on where it stopped"),
    "change": ("the same, under a policy that was changed compatibly", "goes on, judging by the new policy"),
}
_LIMITS = ("lost", "duplicated", "against_consent", "foreign", "unknown")
_INK, _LINE, _SECOND, _BOUND = "#30343b", "#1f6f8b", "#c8693a", "#9aa1ab"


# --- the table of faults


def table(storms: Iterable[dict]) -> str:
    """Every fault that was injected, what was expected, what was seen and how often, over each backend."""
    storms = list(storms)
    backends = sorted({storm["backend"] for storm in storms})
    head = ["fault", "expected", *(f"times, {name}" for name in backends), "back after, median (longest)", "exact"]
    rows = [head, ["---"] * len(head)]
    for name, (what, hoped) in FAULTS.items():
        struck = [(storm, each) for storm in storms for each in storm["faults"] if each["fault"] == name]
        if struck:
            times = [str(sum(storm["backend"] == backend for storm, _ in struck)) for backend in backends]
            back = [each["stores"] for _, each in struck]
            exact = sum(storm["exact"] for storm, _ in struck)
            seen = f"{exact} of {len(struck)}"
            rows.append([what, hoped, *times, f"{median(back):.0f} s ({max(back):.0f} s)", seen])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n\n" + summary(storms) + "\n"


def summary(storms: list[dict]) -> str:
    """What all storms were, and what was wrong in them together."""
    events, rows = sum(storm["events"] for storm in storms), sum(storm["verdict"]["expected"] for storm in storms)
    found = {name: sum(storm["verdict"][name] for storm in storms) for name in _LIMITS}
    listed = {name: sum(len(storm["verdict"][name]) for storm in storms) for name in ("unnamed", "statistics", "audit")}
    told = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in (found | listed).items())
    return f"{len(storms)} storms, {events:,} events, {rows:,} rows to store: {told}."


# --- the figures of a load


def figures(measured: dict) -> str:
    """What was measured under load, as a Markdown table."""
    backlog, steady = measured["backlog"], measured["steady"]
    seconds, records = backlog["records"][-1]
    sizes = [each["state"] for each in backlog["samples"] if each["state"] is not None]
    fresh = {share: steady["freshness"]["receipt"][2 * share] for share in (50, 95, 99)}
    times = measured["rate"] / measured["sustained"]
    rows = [
        ("what", "measured"),
        ("---", "---"),
        (
            f"backlog of {backlog['events']:,} events, from the start of the job until all is readable",
            f"{records / seconds:,.0f} records a second",
        ),
        (
            "state while it is worked off",
            f"{max(sizes) / 1e6:,.0f} MB at most; bound {sum(backlog['bound'].values()) / 1e6:,.0f} MB",
        ),
        (
            f"{times:.1f} × {measured['sustained']:,} events a second for "
            f"{(steady['load'][1] - steady['load'][0]) / 60:.0f} minutes",
            f"{steady['events']:,} events: " + ("exact" if steady["exact"] else "**not exact**"),
        ),
        ("largest Python worker", _first_and_last([max(each["workers"], default=0) for each in steady["samples"]])),
        ("TaskManager", _first_and_last([each["taskmanager"] for each in steady["samples"]])),
        (
            f"from receipt to readable, windows of {steady['window_seconds']} s",
            ", ".join(f"{share} % within {seconds:.1f} s" for share, seconds in fresh.items()),
        ),
    ]
    return "".join(f"| {what} | {found} |\n" for what, found in rows)


def _first_and_last(sizes: list[int]) -> str:
    """Whether it grows: the median of the second quarter of the time, when all is warm, and of the last."""
    quarter = len(sizes) // 4
    second, last = median(sizes[quarter : 2 * quarter] or sizes), median(sizes[3 * quarter :] or sizes)
    return f"{second / 1e6:,.0f} MB in the second quarter, {last / 1e6:,.0f} MB in the last"


# --- the picture


def draw(measured: dict, path: Path) -> None:
    """Four panels: the backlog, state, memory, freshness."""
    from matplotlib import pyplot

    pyplot.rcParams |= {
        "font.size": 9,
        "axes.edgecolor": _BOUND,
        "axes.labelcolor": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "svg.hashsalt": "douane",  # the same measurements make the same file
        "text.color": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }
    figure, panels = pyplot.subplots(2, 2, figsize=(10, 6.4), constrained_layout=True)
    _backlog(panels[0][0], measured["backlog"])
    _state(panels[0][1], measured["backlog"])
    _memory(panels[1][0], measured["steady"], measured["rate"])
    _freshness(panels[1][1], measured["steady"], measured["rate"])
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _backlog(panel, part: dict) -> None:
    at, records = zip(*part["records"], strict=True)
    panel.step(at, [n / 1e6 for n in records], where="post", color=_LINE)
    panel.set(title=f"{part['events'] / 1e6:g} million events of backlog", xlabel="seconds since the job was submitted")
    panel.set(ylabel="million records stored", ylim=0, xlim=0)
    rate = f"{records[-1] / at[-1]:,.0f} records a second, from the start of the job"
    panel.annotate(rate, (0.03, 0.92), xycoords="axes fraction", color=_LINE)


def _state(panel, part: dict) -> None:
    seen = [(each["at"], each["state"] / 1e6) for each in part["samples"] if each["state"] is not None]
    bound = sum(part["bound"].values()) / 1e6
    panel.plot(*zip(*seen, strict=True), color=_LINE)
    panel.axhline(bound, color=_SECOND, linestyle="--")
    panel.annotate(f"bound: {bound:,.0f} MB", (0, bound), (4, 3), textcoords="offset points", color=_SECOND)
    panel.set(title="State, as checkpointed", xlabel="seconds since the job was submitted", ylabel="MB")
    panel.set(ylim=(0, 1.15 * max(bound, *(size for _, size in seen))), xlim=0)


def _memory(panel, part: dict, rate: int) -> None:
    samples = [each for each in part["samples"] if each["workers"]]
    at = [each["at"] / 60 for each in samples]
    panel.plot(at, [max(each["workers"]) / 1e6 for each in samples], color=_LINE, label="largest Python worker")
    panel.plot(at, [each["taskmanager"] / 1e6 for each in samples], color=_SECOND, label="TaskManager")
    begun, ended = (moment / 60 for moment in part["load"])
    panel.axvspan(max(begun, 0), ended, color=_BOUND, alpha=0.15, linewidth=0)
    panel.set(
        title=f"Memory at {rate:,} events a second (shaded)", xlabel="minutes", ylabel="MB resident", ylim=0, xlim=0
    )
    panel.legend(frameon=False)


def _freshness(panel, part: dict, rate: int) -> None:
    for name, colour in (("receipt", _LINE), ("window", _SECOND)):
        quantiles = part["freshness"][name]
        label = {"receipt": "from receipt", "window": "from the end of the window"}[name]
        shares = [100 * place / (len(quantiles) - 1) for place in range(len(quantiles))]
        panel.plot(
            quantiles, shares, color=colour, label=f"{label}: half within {quantiles[len(quantiles) // 2]:.1f} s"
        )
    panel.set(
        title=f"Until readable, at {rate:,} events a second", xlabel="seconds", ylabel="% of records", ylim=(0, 101)
    )
    panel.set(xlim=(0, 1.1 * part["freshness"]["receipt"][-3]))
    panel.legend(frameon=False, loc="center right")


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("measured", type=Path, nargs="?", help="what tests.engines.endurance wrote")
    arguments.add_argument("picture", type=Path, nargs="?")
    arguments.add_argument("--faults", type=Path, metavar="FILE", help="lines that tests.engines.storm appended")
    options = arguments.parse_args(argv)
    if options.faults:
        print(table(map(json.loads, options.faults.read_text().splitlines())), end="")
    if options.picture:
        measured = json.loads(options.measured.read_text())
        draw(measured, options.picture)
        print(figures(measured), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
