"""Gate: the decision on one batch of sealed records and what is counted of it, without Beam."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import PERMISSIONS, Terms
from schemas.editions import NONE, Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import Layout, layout
from schemas.policy import Pack
from schemas.tallies import HOUR_MS, Counts
from transforms.columns import runs
from transforms.conditions import unmet
from transforms.consent import Records, Verdict, judge
from transforms.ledger import Ledger

_LedgerOf = Callable[[int], Ledger]  # the ledger as an edition reads it
_StopsKnown = Literal["all", "received"]
_PERMISSIONS = pa.array(sorted(PERMISSIONS), pa.int8())


@dataclass(frozen=True, repr=False)
class Standing(Verdict):
    """A verdict, and the mask of what all the stops that are at hand leave open of it."""

    stands: np.ndarray


@dataclass(frozen=True, repr=False)
class Gate:
    """The decision on one batch: what a key's firing does, without Beam.

    A purpose is open for a record if it is under the newest pack, and under the one in force at the record's event time
    as well. Before the first pack's day nothing is (clause 9).
    """

    editions: Editions
    region: str
    with_ledger: bool
    bounded: bool

    @property
    def pack(self) -> Pack:
        """The newest: purposes are numbered as it has them."""
        return self.editions.newest

    def judge(self, batch: pa.RecordBatch, entries: pa.Table) -> tuple[pa.RecordBatch, Standing]:
        """The batch with two masks of purposes, and the verdict by reason.

        `open` heeds the stops of `entries` that were received up to a record's receipt, in a bounded run all; `stands`
        is what all of them leave open: who has left since is not served any more, though it was decided otherwise.
        """
        ledger_of = cache(lambda edition: Ledger.build(entries, self._terms[edition]))
        verdict = self._verdict(batch, ledger_of, "all" if self.bounded else "received")
        stands = verdict.open
        if not self.bounded and _stopped_since(batch, entries):
            stands = stands & self._verdict(batch, ledger_of, "all").open
        judged = batch.append_column("open", pa.array(verdict.open)).append_column("stands", pa.array(stands))
        return judged, Standing(verdict.open, verdict.reasons, stands)

    def _verdict(self, batch: pa.RecordBatch, ledger_of: _LedgerOf, stops_known: _StopsKnown) -> Verdict:
        newest = len(self.editions.packs) - 1
        verdict = self._under(newest, batch, ledger_of, stops_known)
        edition = self.editions.in_force(batch.column("event_time").to_numpy())
        earlier = np.flatnonzero(edition < newest)
        if not len(earlier):
            return verdict
        opened, reasons = verdict.open.copy(), {reason: masks.copy() for reason, masks in verdict.reasons.items()}
        for number in np.unique(edition[earlier]).tolist():
            rows = np.flatnonzero(edition == number)
            if number == NONE:
                _close(rows, opened, reasons, np.uint64(self._terms[newest].every))
                continue
            older = self._under(number, batch.take(pa.array(rows)), ledger_of, stops_known)
            for reason, masks in older.reasons.items():
                reasons.setdefault(reason, np.zeros_like(opened))[rows] |= opened[rows] & masks
            opened[rows] &= older.open
        return Verdict(opened, {reason: masks for reason, masks in reasons.items() if masks.any()})

    def _under(self, edition: int, batch: pa.RecordBatch, ledger_of: _LedgerOf, stops_known: _StopsKnown) -> Verdict:
        """The verdict by one pack alone, whenever its records are of."""
        pack, application = self._packs[edition], self._plan.application
        records = Records(
            device=batch.column("device"),
            account=batch.column("account"),
            subject_fault=batch.column("subject_fault").to_numpy(zero_copy_only=False),
            event_time=batch.column("event_time"),
            received_time=batch.column("received_time"),
            app=batch.column(application) if application else pa.nulls(batch.num_rows, pa.string()),
        )
        verdict = judge(records, ledger_of(edition), self._terms[edition], stops_known)
        opened, reasons = verdict.open, dict(verdict.reasons)
        if pack is not self.pack:
            missing = self._missing[edition][batch.column("event_type").to_numpy()]
            reasons = {reason: masks & ~missing for reason, masks in reasons.items()}
            reasons["no_basis"] = reasons.get("no_basis", np.uint64(0)) | missing
            opened = opened & ~missing
        for reason, masks in unmet(batch, pack, self._plan).items():
            reasons[reason] = opened & masks
            opened = opened & ~masks
        return Verdict(opened, reasons)

    def tally(self, batch: pa.RecordBatch, verdict: Standing, counts: Counts) -> None:
        """Counts the records by hour and event type; how often each purpose that receives that event type was opened,
        and refused for which reason; and how often what was opened does not stand."""
        event_type = batch.column("event_type").to_numpy()
        hour = batch.column("received_time").to_numpy() // HOUR_MS
        order = np.lexsort((hour, event_type))
        outcomes = {
            ("opened", ""): verdict.open,
            ("stopped", ""): verdict.open & ~verdict.stands,
            **{("refused", reason): masks for reason, masks in verdict.reasons.items()},
        }
        outcomes = {outcome: masks[order] for outcome, masks in outcomes.items() if masks.any()}
        hour = hour[order]
        for code, start, stop in runs(event_type[order]):
            starts = np.flatnonzero(np.append(True, np.diff(hour[start:stop]) != 0))
            hours, event = hour[start:stop][starts] * HOUR_MS, EVENT_TYPES[code]
            sizes = np.diff(np.append(starts, stop - start))
            counts.add_hours("gate", "judged", sizes, hours, region=self.region, event_type=event)
            for bit, (name, purpose) in enumerate(self.pack.purposes.items()):
                for (outcome, reason), masks in outcomes.items() if event in purpose.events else ():
                    flags = masks[start:stop] & np.uint64(1 << bit) != 0
                    found = np.add.reduceat(flags, starts, dtype=np.int64)
                    words = {"region": self.region, "event_type": event, "purpose": name, "reason": reason}
                    counts.add_hours("gate", outcome, found, hours, **words)

    @cached_property
    def _packs(self) -> tuple[Pack, ...]:
        return (*self.editions.earlier, self.pack)

    @cached_property
    def _terms(self) -> tuple[Terms, ...]:
        return tuple(pack.terms(self.region, self.with_ledger) for pack in self._packs)

    @cached_property
    def _missing(self) -> tuple[np.ndarray, ...]:
        return tuple(self.editions.missing(edition) for edition in range(len(self.editions.earlier)))

    @cached_property
    def _plan(self) -> Layout:
        return layout(self.pack, *self.editions.earlier)


def _close(rows: np.ndarray, opened: np.ndarray, reasons: dict[str, np.ndarray], every: np.uint64) -> None:
    """Closes everything for these records, whatever else was to say of them."""
    for masks in (opened, *reasons.values()):
        masks[rows] = 0
    reasons["no_policy"] = np.zeros_like(opened)
    reasons["no_policy"][rows] = every


def _stopped_since(batch: pa.RecordBatch, entries: pa.Table) -> bool:
    """Whether there is a stop that was received after any of the records."""
    if not batch.num_rows:
        return False
    earliest = pc.min(batch.column("received_time"))
    since = entries.filter(pc.greater(entries["received_time"], earliest))
    return not pc.all(pc.is_in(since["kind"], value_set=_PERMISSIONS), min_count=0).as_py()
