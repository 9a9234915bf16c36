"""Gate: the decision on one batch of sealed records and what is counted of it, without Beam."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from schemas.consent import Terms
from schemas.fields import EVENT_TYPES
from schemas.layout import Layout, layout
from schemas.policy import Pack
from schemas.tallies import HOUR_MS, Counts
from transforms.columns import runs
from transforms.conditions import unmet
from transforms.consent import Records, Verdict, judge
from transforms.ledger import Ledger


@dataclass(frozen=True, repr=False)
class Gate:
    """The decision on one batch: what a key's firing does, without Beam."""

    pack: Pack
    region: str
    with_ledger: bool
    bounded: bool

    def judge(self, batch: pa.RecordBatch, entries: pa.Table) -> tuple[pa.RecordBatch, Verdict]:
        """The batch with a column `open` (mask of open purposes), and the verdict by reason."""
        application = self._plan.application
        records = Records(
            device=batch.column("device"),
            account=batch.column("account"),
            subject_fault=batch.column("subject_fault").to_numpy(zero_copy_only=False),
            event_time=batch.column("event_time"),
            received_time=batch.column("received_time"),
            app=batch.column(application) if application else pa.nulls(batch.num_rows, pa.string()),
        )
        verdict = judge(records, Ledger.build(entries, self._terms), self._terms, "all" if self.bounded else "received")
        opened, reasons = verdict.open, dict(verdict.reasons)
        for reason, mask in unmet(batch, self.pack, self._plan).items():
            reasons[reason] = opened & mask
            opened = opened & ~mask
        return batch.append_column("open", pa.array(opened)), Verdict(opened, reasons)

    def tally(self, batch: pa.RecordBatch, verdict: Verdict, counts: Counts) -> None:
        """Counts the records by hour and event type; and how often each purpose that receives that event type was
        opened, and refused for which reason."""
        event_type = batch.column("event_type").to_numpy()
        hour = batch.column("received_time").to_numpy() // HOUR_MS
        order = np.lexsort((hour, event_type))
        outcomes = {"": verdict.open, **verdict.reasons}
        masks = {reason: mask[order] for reason, mask in outcomes.items() if mask.any()}
        hour = hour[order]
        for code, start, stop in runs(event_type[order]):
            starts = np.flatnonzero(np.append(True, np.diff(hour[start:stop]) != 0))
            hours, event = hour[start:stop][starts] * HOUR_MS, EVENT_TYPES[code]
            sizes = np.diff(np.append(starts, stop - start))
            counts.add_hours("gate", "judged", sizes, hours, region=self.region, event_type=event)
            for bit, (name, purpose) in enumerate(self.pack.purposes.items()):
                for reason, mask in masks.items() if event in purpose.events else ():
                    flags = mask[start:stop] & np.uint64(1 << bit) != 0
                    found = np.add.reduceat(flags, starts, dtype=np.int64)
                    words = {"region": self.region, "event_type": event, "purpose": name, "reason": reason}
                    counts.add_hours("gate", "refused" if reason else "opened", found, hours, **words)

    @cached_property
    def _terms(self) -> Terms:
        return self.pack.terms(self.region, self.with_ledger)

    @cached_property
    def _plan(self) -> Layout:
        return layout(self.pack)
