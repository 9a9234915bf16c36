"""Gate: the decision on one batch of sealed records and what is counted of it, without Beam."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import PERMISSIONS, Terms
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import Layout, layout
from schemas.policy import Pack
from schemas.tallies import HOUR_MS, Counts
from schemas.variants import NONE, UNTOLD, Variants
from transforms.columns import runs
from transforms.conditions import columns_of_unmet, uncollected, unmet
from transforms.consent import Records, Verdict, judge
from transforms.ledger import Ledger

_LedgerOf = Callable[[int], Ledger]  # the ledger under the terms of that number
_StopsKnown = Literal["all", "received"]
_PERMISSIONS = pa.array(sorted(PERMISSIONS), pa.int8())
_NEVER = {NONE: "no_policy", UNTOLD: "no_service"}  # why nothing at all is open for a record


@dataclass(frozen=True, repr=False)
class Standing(Verdict):
    """A verdict, and the mask of what all the stops that are at hand leave open of it."""

    stands: np.ndarray


@dataclass(frozen=True, repr=False)
class Gate:
    """The decision on one batch: what a key's firing does, without Beam.

    A purpose is open for a record if it is under the newest pack, and under the one in force at the record's event time
    as well, both as the overlays of the region and of the record's service leave them (0-b). Before the first pack's
    day nothing is (clause 9), nor where there are overlays of services and the record's own cannot be told.
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
        ledger_of = cache(lambda number: Ledger.build(entries, self._terms[number]))
        verdict = self._verdict(batch, ledger_of, "all" if self.bounded else "received")
        stands = verdict.open
        if not self.bounded and _stopped_since(batch, entries):
            stands = stands & self._verdict(batch, ledger_of, "all").open
        judged = batch.append_column("open", pa.array(verdict.open)).append_column("stands", pa.array(stands))
        return judged, Standing(verdict.open, verdict.reasons, stands)

    def _verdict(self, batch: pa.RecordBatch, ledger_of: _LedgerOf, stops_known: _StopsKnown) -> Verdict:
        own = self.variants.numbers(batch, self._plan)
        latest = self.variants.latest(own)
        others = np.unique(own[own != latest]).tolist()
        if np.ndim(latest) == 0 and not others:
            return self._under(int(latest), batch, ledger_of, stops_known)
        rows_of = [
            (number, np.flatnonzero(np.broadcast_to(latest == number, len(own)))) for number in np.unique(latest)
        ]
        rows_of += [(number, np.flatnonzero(own == number)) for number in others]
        looked_at = batch.select(self._looked_at)  # a gather of whole records would cost more than to judge them
        opened, reasons = np.full(len(own), self._terms[0].every, np.uint64), {}
        for number, rows in rows_of:
            if number in _NEVER:
                _close(rows, opened, reasons, _NEVER[number])
                continue
            part = batch if len(rows) == batch.num_rows else looked_at.take(pa.array(rows))
            found = self._under(number, part, ledger_of, stops_known)
            for reason, masks in found.reasons.items():
                reasons.setdefault(reason, np.zeros_like(opened))[rows] |= opened[rows] & masks
            opened[rows] &= found.open
        return Verdict(opened, {reason: masks for reason, masks in reasons.items() if masks.any()})

    def _under(self, variant: int, batch: pa.RecordBatch, ledger_of: _LedgerOf, stops_known: _StopsKnown) -> Verdict:
        """The verdict by the pack of one variant alone, whichever its records are of."""
        pack, application = self.variants.packs[variant], self._plan.application
        records = Records(
            device=batch.column("device"),
            account=batch.column("account"),
            subject_fault=batch.column("subject_fault").to_numpy(zero_copy_only=False),
            event_time=batch.column("event_time"),
            received_time=batch.column("received_time"),
            app=batch.column(application) if application else pa.nulls(batch.num_rows, pa.string()),
        )
        terms = self._terms[variant]
        verdict = judge(records, ledger_of(self._terms.index(terms)), terms, stops_known)
        opened, reasons = verdict.open, dict(verdict.reasons)
        event_type = batch.column("event_type").to_numpy()
        for reason, by_event_type in self.variants.closed[variant].items():
            closed = by_event_type[event_type]
            reasons = {other: masks & ~closed for other, masks in reasons.items()}
            reasons[reason] = reasons.get(reason, np.uint64(0)) | closed
            opened = opened & ~closed
        for reason, masks in unmet(batch, pack, self._plan).items():
            reasons[reason] = opened & masks
            opened = opened & ~masks
        if rules := self.variants.collected[variant]:
            reasons["not_collected"] = opened & uncollected(opened, event_type, rules)
            opened = opened & ~reasons["not_collected"]
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
            for (outcome, reason), masks in outcomes.items():
                own = masks[start:stop]
                there = int(np.bitwise_or.reduce(own))  # most reasons are those of few purposes
                for bit, (name, purpose) in enumerate(self.pack.purposes.items()):
                    if there >> bit & 1 and event in purpose.events:
                        found = np.add.reduceat(own & np.uint64(1 << bit) != 0, starts, dtype=np.int64)
                        words = {"region": self.region, "event_type": event, "purpose": name, "reason": reason}
                        counts.add_hours("gate", outcome, found, hours, **words)

    @cached_property
    def variants(self) -> Variants:
        """Of the policy in this region."""
        return self.editions.of(self.region)

    @cached_property
    def _terms(self) -> tuple[Terms, ...]:
        return tuple(pack.terms(self.region, self.with_ledger) for pack in self.variants.packs)

    @cached_property
    def _looked_at(self) -> list[str]:
        """The columns that `_under` reads."""
        names = ["device", "account", "subject_fault", "event_time", "received_time", "event_type"]
        names += [self._plan.application] if self._plan.application else []
        return list(dict.fromkeys([*names, *columns_of_unmet(self.variants.packs, self._plan)]))

    @cached_property
    def _plan(self) -> Layout:
        return layout(self.pack, *self.editions.earlier)


def _close(rows: np.ndarray, opened: np.ndarray, reasons: dict[str, np.ndarray], reason: str) -> None:
    """Closes everything for these records, whatever else was to say of them."""
    closed = opened[rows] | np.bitwise_or.reduce([masks[rows] for masks in reasons.values()])
    for masks in (opened, *reasons.values()):
        masks[rows] = 0
    reasons[reason] = np.zeros_like(opened)
    reasons[reason][rows] = closed


def _stopped_since(batch: pa.RecordBatch, entries: pa.Table) -> bool:
    """Whether there is a stop that was received after any of the records."""
    if not batch.num_rows:
        return False
    earliest = pc.min(batch.column("received_time"))
    since = entries.filter(pc.greater(entries["received_time"], earliest))
    return not pc.all(pc.is_in(since["kind"], value_set=_PERMISSIONS), min_count=0).as_py()
