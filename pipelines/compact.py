"""`douane compact`: puts the small files of a day and dataset together, so that readers open few files."""

import argparse
import sys
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from pipelines.command import OK, guarded, parser, say
from pipelines.errors import ConfigurationError

if TYPE_CHECKING:
    from pipelines.deployment import RegionalPlace


def main(argv: list[str] | None = None) -> int:
    """Runs the command. It needs the keys of the datasets, and may run beside streams, runs and readers."""
    arguments = parser("compact", "Put the small files of a day and dataset together. It needs the datasets' keys.")
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    arguments.add_argument("--region", help="of one region alone")
    arguments.add_argument("--dataset", help="this one alone: a purpose, PURPOSE_sensitive, or a list of orders")
    before = "days of receipt before this one, in UTC (default: today, of which more may come)"
    arguments.add_argument("--before", type=_date, metavar="YYYY-MM-DD", help=before)
    options = arguments.parse_args(argv)
    return guarded("compact", lambda: _compact(options))


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a date as YYYY-MM-DD") from None


def _compact(options) -> int:
    from pipelines.compaction import compactable
    from pipelines.deployment import load_deployment

    deployment = load_deployment(options.deployment)
    places = [deployment.place(options.region)] if options.region else list(deployment.regions.values())
    names = {place.region: compactable(place) for place in places}
    if options.dataset and not any(options.dataset in held for held in names.values()):
        held = ", ".join(sorted(set().union(*names.values()))) or "none"
        raise ConfigurationError(f"--dataset {options.dataset}: nothing that can be put together; there are: {held}")
    for place in places:
        wanted = [name for name in names[place.region] if options.dataset in (None, name)]
        _compact_region(place, wanted, options.before or datetime.now(UTC).date())
    return OK


def _compact_region(place: "RegionalPlace", names: list[str], before: date) -> None:
    from pipelines.compaction import compact, compacting

    if not names:
        print(f"{place.region}: nothing is stored")
        return
    with compacting(place) as mine:
        if not mine:
            say(f"{place.region}: another compaction is going on, and does it")
        elif place.manifest.published():
            say(f"{place.region}: a run is being published; nothing is done before the next run has ended that")
        else:
            done = [compact(place, name, before) for name in names]
            files, now = sum(each.before for each in done), sum(each.after for each in done)
            print(f"{place.region}: {files:,} files became {now:,}")


if __name__ == "__main__":
    sys.exit(main())
