"""How a step's counts leave it: as elements, which are committed like data, and coarsely as metrics.

Elements are counted once however often a bundle is tried again, so the audit is made of them. Beam's own counters count
every attempt: they are for dashboards. Nor do they say why a purpose stayed closed: a live counter of `minor` or
`erased` would tell about the person whose identifier somebody posts.
"""

from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics import Metrics

from schemas.tallies import Counts, Tally

TALLIES = "tallies"  # the tag of a step's second output

_COARSE = {
    "telemetry": ("lines", "blank", "quarantined", "unlocatable", "foreign", "decoded", "input_unreadable"),
    "ledger": ("lines", "quarantined", "entries", "nobody"),
    "quarantine": ("kept", "sampled"),
    "gate": ("duplicates", "judged", "opened", "refused"),
    "store": ("stored", "foreign"),
    "statistics": ("counted", "late"),
}


def told(counts: Counts) -> Iterator[Tally]:
    """The counts as elements; metrics `STEP_OUTCOME` are raised on the way."""
    _raise_metrics(counts)
    yield from counts.tallies()


def told_apart(counts: Counts) -> Iterator[beam.pvalue.TaggedOutput]:
    """As `told`, for a step whose main output is something else."""
    for tally in told(counts):
        yield beam.pvalue.TaggedOutput(TALLIES, tally)


def _raise_metrics(counts: Counts) -> None:
    for (step, outcome), count in counts.totals().items():
        if outcome in _COARSE.get(step, ()):
            Metrics.counter("douane", f"{step}_{outcome}").inc(count)
