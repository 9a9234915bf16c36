"""RegionalAudit: what every step counted, as a dataset of its own in each region (sealed like any other).

Counts travel as elements and are committed like files: a bundle that is repeated is not counted twice, as a Beam
counter would be. What has no region (a line that could not be read, say) is accounted for where it arrived.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import apache_beam as beam
import pyarrow as pa

from pipelines.deployment import RegionalPlace
from pipelines.sinks import logical_name
from pipelines.stores import commit, open_entries, stage
from schemas.datasets import AUDIT
from transforms.exchange import Tally

if TYPE_CHECKING:
    from pipelines.job import Job

_REGIONAL = tuple[str, tuple[tuple[str, str, str, str], int]]
_COLUMNS = ("step", "event_type", "purpose", "reason")


class _Write(beam.DoFn):
    def __init__(self, places: Sequence[RegionalPlace], input_id: str, run: str) -> None:
        self._places = {place.region: place for place in places}
        self._input_id, self._run = input_id, run

    def process(self, element: tuple[str, Iterable[tuple[tuple[str, ...], int]]]) -> None:
        region, tallies = element
        place, logical = self._places[region], logical_name(self._input_id, 0, 0)
        ordered = sorted(tallies)
        columns = [pa.array([words[at] for words, _ in ordered], pa.string()) for at in range(len(_COLUMNS))]
        counts = pa.array([count for _, count in ordered], pa.int64())
        rows = pa.RecordBatch.from_arrays([*columns, counts], names=[*_COLUMNS, "count"])
        today = datetime.now(UTC).date().isoformat()
        commit([stage(place, AUDIT, today, logical, rows, self._run)])


@dataclass
class RegionalAudit(beam.PTransform):
    """Tallies -> one file a region in its dataset `audit`."""

    places: tuple[RegionalPlace, ...]
    arrival: RegionalPlace
    input_id: str
    run: str

    def expand(self, tallies):
        arrival = self.arrival.region
        return (
            tallies
            | "Sum" >> beam.CombinePerKey(sum)
            | "ByRegion"
            >> beam.Map(_by_region, arrival).with_output_types(tuple[str, tuple[tuple[str, str, str, str], int]])
            | "Gather" >> beam.GroupByKey()
            | "Write" >> beam.ParDo(_Write(self.places, self.input_id, self.run))
        )


def _by_region(tally: Tally, arrival: str) -> tuple[str, tuple[tuple[str, ...], int]]:
    (region, *words), count = tally
    return region or arrival, (tuple(words), count)


@dataclass
class Totals:
    """What a run counted, summed by (region, step, event type, purpose, reason)."""

    stored_purposes: frozenset[str]
    counts: Counter = field(default_factory=Counter)

    def count(self, reason: str, step: str | None = None, region: str | None = None) -> int:
        """How many of one reason, over whatever is not named."""
        return sum(
            n
            for (where, of, _, _, why), n in self.counts.items()
            if why == reason and step in (None, of) and region in (None, where)
        )

    def by(self, place: str, step: str, reason: str | None = None) -> Counter:
        """One step's counts, summed by one of: region, event_type, purpose, reason."""
        at = ("region", "step", "event_type", "purpose", "reason").index(place)
        summed: Counter = Counter()
        for key, n in self.counts.items():
            if key[1] == step and reason in (None, key[4]):
                summed[key[at]] += n
        return summed

    def faults(self) -> list[str]:
        """What does not reconcile, each in a sentence; empty if every line is accounted for."""
        found = []
        quarantined = sum(
            n for (_, step, _, of, _), n in self.counts.items() if (step, of) == ("quarantine", "telemetry")
        )
        decoded = self.count("decoded", "telemetry")
        parts = [self.count(what, "telemetry") for what in ("blank", "unlocatable", "foreign")]
        if (lines := self.count("lines", "telemetry")) != quarantined + decoded + sum(parts):
            found.append(f"{lines} lines came in, but {quarantined + decoded + sum(parts)} are accounted for")
        if decoded != self.count("judged", "gate") + self.count("duplicates", "gate"):
            found.append(f"{decoded} records were decoded, but not all of them were judged")
        stored = self.by("purpose", "store", "stored") + self.by("purpose", "store", "erased")
        for purpose, opened in self.by("purpose", "gate", "opened").items():
            if purpose in self.stored_purposes and stored[purpose] != opened:
                found.append(f"{purpose} was opened {opened} times, but {stored[purpose]} rows were stored")
        if foreign := self.count("foreign", "store"):
            found.append(f"{foreign} rows were refused at a store of another region")
        if unreadable := self.count("input_unreadable"):
            found.append(f"{unreadable} inputs broke off: what came before is stored, the rest was not read")
        if nobody := self.count("nobody", "ledger"):
            found.append(f"{nobody} ledger lines name no subject that can be read: whom they protect is not known")
        return found


def read_totals(job: "Job") -> Totals:
    """The counts of the run over this input, from the audit datasets of the regions that it served."""
    totals = Totals(stored_purposes=frozenset(name for name, p in job.pack.purposes.items() if p.stored))
    logical = logical_name(job.input_id, 0, 0)
    for place in job.places.values():
        entries = [entry for entry in place.manifest.of(AUDIT, logical) if entry.file and entry.run == job.run]
        if entries:
            for row in open_entries(place, entries).to_table().to_pylist():
                key = (place.region, row["step"], row["event_type"], row["purpose"], row["reason"])
                totals.counts[key] += row["count"]
    return totals
