"""The reference page of what is released: its tables, their bounds and how the privacy budget is divided."""

from collections.abc import Iterator, Sequence

from schemas.fields import EVENT_TYPES
from schemas.markdown import bullets, code, joined, table
from schemas.policy import Pack
from schemas.statistics import Statistics, StatisticsTable


def statistics_page(pack: Pack, made: str) -> str:
    """The text of the page; `made` says how it was made."""
    statistics, parts = pack.statistics, ["# Statistics", made]
    if statistics is None:
        return joined([*parts, "This policy releases no statistics."])
    parts += [
        f"What is released of the records that purpose `{statistics.purpose}` is open for ({statistics.clause}): one "
        "release for each region and day of event time, made once and never replaced.",
        bullets(
            "Protected is all that one device did in one region on one day: everything that is released of that day "
            f"is, taken together, (epsilon {statistics.epsilon:g}, delta {statistics.delta:g})-differentially private "
            "towards it. A device that is active on several days weighs in each of them anew.",
            "The budget adds up by basic composition: every table has an equal part, divided equally over the choice "
            "of the groups that are shown and each measure. Delta is spent by that choice alone.",
            f"A group of fewer than {statistics.least_devices} devices is never shown; whether a larger one is shown "
            "is drawn by lot, with better chances the larger it is.",
            "What a device does beyond the bounds below is not counted. Which of its groups count is settled by a "
            "keyed hash, not by the order of records.",
            f"A day is released when {statistics.grace_hours:g} hours have passed since its end, by the clock of "
            "receipt. What is received later is counted as late and goes no further.",
            "`95 %` is half the width of the interval in which the exact value, after the bounds, lies with that "
            "probability.",
        ),
    ]
    for name, rules in statistics.tables.items():
        seen = [EVENT_TYPES[event] for event in sorted(rules.event_types(pack.purposes[statistics.purpose]))]
        parts += [f"## {name}", table(("what", "rule"), _rules_of_table(statistics, rules, seen))]
    return joined(parts)


def _rules_of_table(statistics: Statistics, rules: StatisticsTable, seen: Sequence[str]) -> Iterator[tuple[str, str]]:
    budget = statistics.budget(rules)
    yield "groups", ", ".join(map(code, rules.by)) or "none: all that is seen is one group"
    yield "event types that it sees", ", ".join(seen)
    yield "most groups of a device a day", str(rules.groups_per_device)
    if rules.events_per_group:
        yield "most events of a device in a group", str(rules.events_per_group)
    yield "choice of groups", f"epsilon {budget.selection_epsilon:.4g}, delta {budget.selection_delta:.4g}"
    for measure in rules.measures:
        noise = f"epsilon {budget.measure_epsilon:.4g}, sensitivity {rules.sensitivity(measure)}"
        yield f"`{measure}`", f"{noise}: 95 % is ± {statistics.half_width(rules, measure):,}"
