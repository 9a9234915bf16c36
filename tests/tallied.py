"""What steps have counted, as tests look at it."""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from schemas.tallies import COUNTS, Counts, Tally, Totals, summed


def totals(tallies: Iterable[Tally]) -> Totals:
    """All tallies as one table, equal rows made one."""
    tables = [pa.Table.from_batches([rows]).append_column("region", pa.repeat(at, len(rows))) for at, rows in tallies]
    empty = COUNTS.append(pa.field("region", pa.string())).empty_table()
    return Totals(summed(pa.concat_tables([empty, *tables])))


def plain(tallies: Iterable[Tally]) -> Counter:
    """The words of each count that are not empty, in the order region, step, outcome, reason, event type, purpose,
    dataset -> how many. The hour is left out."""
    names = ("region", *(name for name in COUNTS.names if name not in ("hour", "count")))
    found: Counter = Counter()
    for words, count in totals(tallies).by(names).items():
        found[tuple(word for word in words if word)] += count
    return found


def tally(region: str, step: str, outcome: str, count: int, **words) -> Tally:
    """One count, as a step tells it."""
    counts = Counts()
    counts.add(step, outcome, count, region=region, **words)
    (made,) = counts.tallies()
    return made
