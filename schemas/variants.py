"""Variants of the policy in one region: what an edition leaves of a purpose and a column there, for a service (0-b, 9).

A record is collected under the edition in force at its event time, and the newest restricts it as well; in both the
overlays of its region and of its service narrow what it may serve. A **variant** is an edition for a service, as a
number; services without an overlay in any edition are one. So a record passes two packs: its own variant's, and that
of the newest edition for its service. What may be served is numbered, named and stored as the newest pack has it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.datasets import DatasetColumn, datasets, purpose_columns
from schemas.fields import EVENT_TYPES
from schemas.layout import SERVICE, Layout
from schemas.overlays import UNITS, Collection
from schemas.policy import LESS_AND_MORE, WITHOUT_LEDGER, Form, Pack
from schemas.statistics import EVENT_TYPE, StatisticsTable

NONE = -1  # the variant of a record from before the first edition
UNTOLD = -2  # of a record whose service cannot be told, where that decides
CODES = 128  # by code of event type: more than there are


@dataclass(frozen=True)
class Cut:
    """How a dataset's column is made for the records of one variant."""

    events: frozenset[int]  # codes of event types on which it may stand
    gates: frozenset[str]  # purposes that must be open for the record; one that the newest pack lacks never is
    steps: tuple[float, ...]  # widths of the buckets that a number goes through, in this order
    major: bool  # whether a version is cut to its first number
    lists: tuple[tuple[str, ...], ...]  # each keeps its words of a label, after the cut; the others become one


@dataclass(frozen=True, eq=False)
class Collected:
    """A rule of collection, as the gate applies it: masks of purposes."""

    events: np.ndarray  # by code of event type, whether the rule is about it
    admitted_by: np.uint64
    spared: np.uint64  # what rests on contract or a legal obligation


@dataclass(frozen=True)
class Variants:
    """The variants of a job's policy in one region. `editions` are its packs by the day from which each is in force
    (`since`, ms), with the newest one's purposes, and by edition the purposes that it `lacks` (by code of event type a
    mask)."""

    region: str
    editions: tuple[Pack, ...]
    since: np.ndarray
    lacks: tuple[np.ndarray, ...]

    @cached_property
    def services(self) -> tuple[str | None, ...]:
        """Those with an overlay in any edition; before them None, for all others."""
        return None, *dict.fromkeys(service for pack in self.editions for service in pack.by_service)

    @property
    def tell_services(self) -> bool:
        """Whether an edition has an overlay of a service."""
        return len(self.services) > 1

    @property
    def newest(self) -> int:
        """The newest edition's variant for services without an overlay."""
        return (len(self.editions) - 1) * len(self.services)

    @cached_property
    def packs(self) -> tuple[Pack, ...]:
        """The pack of each variant, without overlays."""
        return tuple(pack.effective_for(service, self.region) for pack in self.editions for service in self.services)

    def numbers(self, batch: pa.RecordBatch, plan: Layout, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """The variant of each record of a sealed batch, or of these rows: of the edition in force at its time, for its
        service; NONE before the first.

        Where its own edition or the newest tells services apart, a record whose service is null, or had something
        identifying in it, is UNTOLD: it might be of any service.
        """
        edition = np.searchsorted(self.since, batch.column("event_time").to_numpy()[rows], side="right") - 1
        if not self.tell_services:
            return edition
        code = _codes(batch.column(plan.places[SERVICE]), self.services[1:])[rows]
        told = edition * len(self.services) + np.maximum(code, 0)
        tells = np.array([bool(pack.by_service or self.editions[-1].by_service) for pack in self.editions])
        return np.where(edition < 0, NONE, np.where((code < 0) & tells[edition], UNTOLD, told))

    def latest(self, numbers: np.ndarray) -> np.ndarray | int:
        """The newest edition's variants for the services of these; one for all where services are not told apart."""
        if not self.tell_services:
            return self.newest
        return np.where(numbers < 0, self.newest, numbers % len(self.services) + self.newest)

    @cached_property
    def bare(self) -> "Variants":
        """As if there were no overlays: a variant is an edition."""
        without = {"by_region": {}, "by_service": {}}
        return replace(self, editions=tuple(pack.model_copy(update=without) for pack in self.editions))

    @cached_property
    def closed(self) -> tuple[dict[str, np.ndarray], ...]:
        """Of each variant, by reason, what it closes whatever anybody said: by code of event type a mask. A reason
        that closes nothing is left out; the last one is told."""
        return tuple(
            {
                reason: masks
                for reason, masks in (
                    ("closed_here", _shut(self.editions[number // len(self.services)], pack)),
                    ("no_basis", self.lacks[number // len(self.services)]),
                )
                if masks.any()
            }
            for number, pack in enumerate(self.packs)
        )

    @cached_property
    def collected(self) -> tuple[tuple[Collected, ...], ...]:
        """The rules of collection of each variant."""
        return tuple(
            tuple(_collected(rule, pack, self.region) for rule in pack.collection if self.region in rule.regions)
            for pack in self.packs
        )

    def event_time(self, purpose: str, number: int) -> str:
        """What event_time is cut to for a record of a variant: the coarser of what both its packs say."""
        return max((pack.purposes[purpose].event_time for pack in self._both(number)), key=UNITS.index)

    @cached_property
    def cuts(self) -> dict[str, tuple[tuple[Cut, ...], ...]]:
        """Dataset -> variant -> how each column of the dataset is made for a record of that variant."""
        return {
            name: self.cuts_of(dataset.purpose, dataset.columns)
            for name, dataset in datasets(self.editions[-1]).items()
        }

    @cached_property
    def counted(self) -> dict[str, tuple[Cut, ...]]:
        """Field that statistics group by -> variant -> how it is made, and the event types that are counted by it."""
        statistics = self.editions[-1].statistics
        columns = purpose_columns(self.editions[-1], self.editions[-1].purposes[statistics.purpose])
        grouped = [column for column in columns if column.field.path in statistics.fields]
        made = zip(*self.cuts_of(statistics.purpose, grouped), strict=True)
        return dict(zip((column.field.path for column in grouped), made, strict=True))

    @cached_property
    def sees(self) -> tuple[np.ndarray, ...]:
        """Of each table of statistics, by variant and code of event type, whether it sees such records: all fields of
        `by` may stand there."""
        return tuple(self._sees(table) for table in self.editions[-1].statistics.tables.values())

    def _sees(self, table: StatisticsTable) -> np.ndarray:
        seen = np.ones((len(self.packs), CODES), bool)
        for path in set(table.by) - {EVENT_TYPE}:
            seen &= [np.isin(np.arange(CODES), list(cut.events)) for cut in self.counted[path]]
        return seen

    def cuts_of(self, purpose: str, columns: Iterable[DatasetColumn]) -> tuple[tuple[Cut, ...], ...]:
        """By variant how columns of the newest pack's purpose are made."""
        columns = tuple(columns)
        return tuple(_cuts(*self._both(number), purpose, columns) for number in range(len(self.packs)))

    def _both(self, number: int) -> tuple[Pack, Pack]:
        return self.packs[number], self.packs[number % len(self.services) + self.newest]


def _codes(service: pa.DictionaryArray, services: tuple[str | None, ...]) -> np.ndarray:
    """1, 2, ... for these services, 0 for another, -1 where it cannot be told: null, or scrubbed."""
    words = service.dictionary
    found = pc.fill_null(pc.index_in(words, value_set=pa.array(services)), -1).to_numpy(zero_copy_only=False) + 1
    found[pc.match_substring(words, "<").to_numpy(zero_copy_only=False)] = -1
    return np.append(found, -1)[service.indices.fill_null(-1).to_numpy(zero_copy_only=False)]


def _shut(pack: Pack, effective: Pack) -> np.ndarray:
    """By code of event type the mask of the purposes that overlays close, or close for that event type."""
    masks = np.zeros(CODES, np.uint64)
    for bit, (name, purpose) in enumerate(pack.purposes.items()):
        lost = EVENT_TYPES if name in effective.closed else purpose.events.keys() - effective.purposes[name].events
        masks[[EVENT_TYPES.index(event) for event in lost]] |= np.uint64(1 << bit)
    return masks


def _collected(rule: Collection, pack: Pack, region: str) -> Collected:
    events = np.zeros(CODES, bool)
    events[[EVENT_TYPES.index(event) for event in rule.events]] = True
    bits = {name: 1 << bit for bit, name in enumerate(pack.purposes)}
    spared = sum(bit for name, bit in bits.items() if pack.basis(name, region) in WITHOUT_LEDGER)
    return Collected(events, np.uint64(sum(bits.get(name, 0) for name in set(rule.admitted_by))), np.uint64(spared))


def _cuts(own: Pack, newest: Pack, purpose: str, columns: Iterable[DatasetColumn]) -> tuple[Cut, ...]:
    both = [{c.field.path: c for c in purpose_columns(pack, pack.purposes[purpose])} for pack in (own, newest)]
    return tuple(_cut(*(of.get(column.field.path) for of in both)) for column in columns)


def _cut(own: DatasetColumn | None, newest: DatasetColumn | None) -> Cut:
    # A stricter form under its own pack that is of another type than the newest has: nothing can stand there.
    if own is None or newest is None or (own.form, newest.form) in LESS_AND_MORE:
        return Cut(frozenset(), frozenset(), (), False, ())
    both = own, newest
    return Cut(
        events=own.events & newest.events,
        gates=frozenset(column.gate for column in both if column.gate),
        steps=tuple(dict.fromkeys(column.step for column in both if column.step)),
        major=any(column.form is Form.MAJOR for column in both),
        lists=tuple(dict.fromkeys(column.words for column in both if column.words)),
    )
