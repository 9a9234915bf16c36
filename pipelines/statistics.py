"""`douane statistics`: what was released, as a list of releases or as numbers with their 95 % interval."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, groupby
from pathlib import Path

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError, InputError
from pipelines.tables import aligned
from schemas.fields import EVENT_FIELD

_NO_WORD = "-"  # the record had none


@dataclass(frozen=True)
class Release:
    """One released file. `tables` says how each was made; a row has table, measure, words, value and interval."""

    region: str
    day: str
    facts: dict[str, str]
    tables: dict[str, dict]
    rows: list[dict]

    def groups(self, table: str) -> list[tuple[list[str | None], dict[str, tuple[int, int]]]]:
        """(words, (value, interval) by measure) of each group of a table, the largest first."""
        rule, found = self.tables[table], {}
        for row in self.rows:
            if row["table"] == table:
                words = tuple(row[EVENT_FIELD[path].column] for path in rule["by"])
                found.setdefault(words, {})[row["measure"]] = row["value"], row["interval"]
        first = rule["measures"][0]
        return sorted(found.items(), key=lambda group: (-group[1][first][0], [word or "" for word in group[0]]))


def main(argv: list[str] | None = None) -> int:
    """Runs the command. It needs no keys: what was released is not personal."""
    arguments = parser("statistics", __doc__)
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' statistics are")
    arguments.add_argument("--region", help="of one region alone")
    arguments.add_argument("--day", type=_day, metavar="YYYY-MM-DD", help="print the numbers of this day")
    arguments.add_argument("--table", help="print the numbers of this table")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    return guarded("statistics", lambda: _statistics(options))


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError("write it as YYYY-MM-DD") from None


def _statistics(options) -> int:
    releases = list(_found(options))
    if options.day or options.table:
        parts = [(release, table) for release in releases for table in release.tables if options.table in (None, table)]
        if not parts:
            raise ConfigurationError(_nothing(options, releases))
        print(json.dumps(_values(parts), indent=2) if options.json else "\n\n".join(_pages(parts)))
    elif options.json:
        print(json.dumps([_summary(release) for release in releases], indent=2))
    else:
        print(_list(releases))
    return OK


def _found(options) -> Iterator[Release]:
    """Releases by region, in the order of their days."""
    from pipelines.deployment import load_deployment
    from schemas.statistics import RELEASE, RELEASES

    deployment = load_deployment(options.deployment)
    places = [deployment.place(options.region)] if options.region else deployment.regions.values()
    for place in places:
        for path in sorted(place.statistics.glob(RELEASE.format(day=options.day) if options.day else RELEASES)):
            yield _read(path)


def _read(path: Path) -> Release:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
        return Release(facts["region"], facts["day"], facts, json.loads(facts["tables"]), table.to_pylist())
    except (OSError, pa.ArrowException, ValueError, KeyError, AttributeError):
        raise InputError(f"release {path} is damaged, or written by another version of douane") from None


def _nothing(options, releases: Sequence[Release]) -> str:
    if releases:
        known = ", ".join(dict.fromkeys(table for release in releases for table in release.tables))
        return f"--table {options.table}: no such table; there are: {known}"
    of = " and ".join(f"--{name} {value}" for name in ("region", "day") if (value := getattr(options, name)))
    return f"nothing is released{f' for {of}' if of else ''}; without --day and --table the releases are listed"


def _list(releases: Sequence[Release]) -> str:
    if not releases:
        return "nothing is released yet: a day is released once, when it is over and its grace has passed"
    head = ["region", "day", "groups", "epsilon", "delta", "policy"]
    rows = [
        [f"{value:g}" if isinstance(value, float) else str(value) for value in _summary(r).values()] for r in releases
    ]
    return "\n".join(aligned([head, *rows], numbers={2, 3, 4}))


def _summary(release: Release) -> dict:
    return {
        "region": release.region,
        "day": release.day,
        "groups": sum(len(release.groups(table)) for table in release.tables),
        **{name: float(release.facts[name]) for name in ("epsilon", "delta")},
        "policy": release.facts["policy"],
    }


def _values(parts: Iterable[tuple[Release, str]]) -> list[dict]:
    return [
        {
            "region": release.region,
            "day": release.day,
            "table": table,
            "group": dict(zip(release.tables[table]["by"], words, strict=True)),
            "measure": measure,
            "value": value,
            "interval": interval,
        }
        for release, table in parts
        for words, measures in release.groups(table)
        for measure, (value, interval) in measures.items()
    ]


def _pages(parts: Iterable[tuple[Release, str]]) -> Iterator[str]:
    for release, of_release in groupby(parts, key=lambda part: part[0]):
        budget = f"epsilon {release.facts['epsilon']} and delta {release.facts['delta']}"
        head = (
            f"{release.region} {release.day}  ({budget} for all that one device did; policy {release.facts['policy']})"
        )
        yield "\n\n".join([head, *("\n".join(_table(release, table)) for _, table in of_release)])


def _table(release: Release, name: str) -> Iterator[str]:
    rule = release.tables[name]
    by, measures, most, events = (rule.get(k) for k in ("by", "measures", "groups_per_device", "events_per_group"))
    bounds = f"a device counts in at most {most} of them" + (f", with {events} events in each" if events else "")
    yield f"  {name}" + (f" by {' and '.join(by)}; {bounds}" if by else "")
    rows = [
        [*(word or _NO_WORD for word in words), *chain.from_iterable(_number(*values[m]) for m in measures)]
        for words, values in release.groups(name)
    ]
    head = [*by, *chain.from_iterable((measure, "95 %") for measure in measures)]
    if rows:
        yield from aligned([head, *rows], indent=4, numbers=range(len(by), len(head)))
    else:
        yield "    no group is large enough"


def _number(value: int, interval: int) -> tuple[str, str]:
    return f"{value:,}", f"± {interval:,}"


if __name__ == "__main__":
    sys.exit(main())
