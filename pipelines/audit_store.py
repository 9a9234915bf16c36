"""RegionalAudit: what every step counted, as a dataset of its own in each region (sealed like any other).

Counts travel as elements and are committed like files: a bundle that is repeated is not counted twice, as a Beam
counter would be. What has no region (a line that could not be read, say) is accounted for where it arrived. A stream
closes its books window by window and checks them then; a bounded run's are checked when it has ended.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import apache_beam as beam
import pyarrow as pa
from apache_beam.metrics import Metrics

from pipelines.audit_rows import keep
from pipelines.deployment import RegionalPlace
from pipelines.sinks import ByWindow, Gathered, day_of, logical_name
from schemas.policy import Pack
from schemas.tallies import COUNTS, Counts, Tally, Totals, summed
from transforms.discreet import discreet
from transforms.reconcile import of_window


@dataclass
class RegionalAudit(beam.PTransform):
    """Tallies -> one file a region in its dataset `audit`, in a stream one a region and window."""

    places: Sequence[RegionalPlace]
    arrival: RegionalPlace
    pack: Pack
    input_id: str
    run: str
    started: str  # the date of what has no time
    window_ms: int | None

    def expand(self, tallies):
        return (
            tallies
            | "ByRegion" >> beam.FlatMap(_somewhere, self.arrival.region).with_output_types(Tally)
            | "ByWindow" >> ByWindow(self.window_ms, str, pa.RecordBatch)
            | "Write"
            >> beam.ParDo(_Write(self.places, self.pack, self.input_id, self.run, self.started, self.window_ms))
        )


@discreet
def _somewhere(tally: Tally, arrival: str) -> Iterator[Tally]:  # for FlatMap: Beam pickles Map by value
    region, rows = tally
    yield region or arrival, rows


class _Write(beam.DoFn):
    def __init__(
        self, places: Sequence[RegionalPlace], pack: Pack, input_id: str, run: str, started: str, window_ms: int | None
    ) -> None:
        self._places = {place.region: place for place in places}
        self._pack, self._input_id, self._run, self._started = pack, input_id, run, started
        self._windowed = window_ms is not None

    @discreet
    def process(self, element: tuple[str, Gathered]) -> None:
        region, (start, parts, late) = element
        edition = self._edition()
        counted = summed(pa.Table.from_batches([*parts, *late, edition], COUNTS))
        if self._windowed:  # what comes late has its other side in another window
            in_time = summed(pa.Table.from_batches([*parts, edition], COUNTS))
            counted = pa.concat_tables([counted, self._unreconciled(region, in_time)])
        logical = logical_name(self._input_id, start, 0)
        keep(self._places[region], day_of(start, self._started), logical, counted, self._run)

    def _edition(self) -> pa.RecordBatch:
        """Under which edition of the policy all of this was decided."""
        counts = Counts()
        counts.add("audit", "policy", 1, reason=self._pack.version)
        ((_, rows),) = counts.tallies()
        return rows

    def _unreconciled(self, region: str, counted: pa.Table) -> pa.Table:
        totals = Totals(counted.append_column("region", pa.repeat(region, len(counted))))
        counts = Counts()
        for identity in of_window(totals, self._pack):
            if not identity.holds:
                logging.error("%s", identity)
                Metrics.counter("douane", "audit_unreconciled").inc()
                counts.add("audit", "unreconciled", 1, reason=identity.title)
        return pa.Table.from_batches((rows for _, rows in counts.tallies()), COUNTS)
