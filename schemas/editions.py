"""Editions of the policy: which pack is in force when, and what two of them leave of a purpose and a column (clause 9).

A record is collected under the pack in force at its event time. The newest pack restricts it as well: it knows of no
purpose that was given up since, and of no wider use. So a record of an older edition passes both, and what it may serve
is numbered, named and stored as the newest pack has it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property

import numpy as np

from schemas.datasets import DatasetColumn, datasets, purpose_columns
from schemas.fields import EVENT_TYPES
from schemas.policy import Form, Pack, PackError, Purpose, load_pack

NONE = -1  # the number of no edition: before the first

# A stricter form under the older pack that is of another type than what the newest stores: nothing can stand there.
_UNSTORABLE = frozenset({(Form.TOKEN, Form.SEALED), (Form.FINGERPRINT, Form.TEXT)})  # (older, newest)
UNITS = ("second", "minute", "hour", "day")  # each cuts at every edge of the next


@dataclass(frozen=True)
class Cut:
    """How a dataset's column is made for the records of one edition."""

    events: frozenset[int]  # codes of event types on which it may stand
    gates: frozenset[str]  # purposes that must be open for the record; one that the newest pack lacks never is
    steps: tuple[float, ...]  # widths of the buckets that a number goes through, in this order
    major: bool  # whether a version is cut to its first number
    lists: tuple[tuple[str, ...], ...]  # each keeps its words of a label, after the cut; the others become one


@dataclass(frozen=True)
class Editions:
    """The packs that a job needs, by the day (00:00 UTC) from which each is in force; an edition is its place there.

    Raises `PackError` for packs of which it is not clear which is in force, or that would have the border prepare one
    value in two ways.
    """

    packs: tuple[Pack, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "packs", tuple(sorted(self.packs, key=lambda pack: pack.effective)))
        for name in ("version", "effective"):
            told = [str(getattr(pack, name)) for pack in self.packs]
            if twice := sorted({word for word in told if told.count(word) > 1}):
                raise PackError(f"policy packs: two have `{name}: {twice[0]}`; name one only, or give each its own")
        for pack in self.packs[:-1]:
            _check_beside(pack, self.newest)

    @property
    def newest(self) -> Pack:
        return self.packs[-1]

    @cached_property
    def earlier(self) -> tuple[Pack, ...]:
        """The packs before the newest, each with the newest one's purposes in its order; a purpose that a pack lacks
        stands there as the newest has it, and is `missing`."""
        return tuple(
            pack.model_copy(update={"purposes": {name: pack.purposes.get(name, own) for name, own in self._purposes}})
            for pack in self.packs[:-1]
        )

    def in_force(self, event_time: np.ndarray) -> np.ndarray:
        """The edition in force at each time (ms since the epoch), NONE before the first."""
        return np.searchsorted(self._since, event_time, side="right") - 1

    def missing(self, edition: int) -> np.ndarray:
        """By code of event type the mask of the newest pack's purposes that an earlier edition lacks, or lacks for that
        event type."""
        pack, masks = self.packs[edition], np.zeros(128, np.uint64)
        for bit, (name, purpose) in enumerate(self._purposes):
            lacking = EVENT_TYPES if name not in pack.purposes else purpose.events.keys() - pack.purposes[name].events
            masks[[EVENT_TYPES.index(event) for event in lacking]] |= np.uint64(1 << bit)
        return masks

    def event_time(self, purpose: str, edition: int) -> str:
        """What event_time is cut to for a record of an edition: the coarser of its own unit and the newest pack's."""
        both = (*self.earlier, self.newest)[edition], self.newest
        return max((pack.purposes[purpose].event_time for pack in both), key=UNITS.index)

    @cached_property
    def cuts(self) -> dict[str, tuple[tuple[Cut, ...], ...]]:
        """Dataset -> edition -> how each column of the dataset is made for a record of that edition."""
        packs = *self.earlier, self.newest
        return {
            name: tuple(_cuts(pack, dataset.purpose, dataset.columns) for pack in packs)
            for name, dataset in datasets(self.newest).items()
        }

    @property
    def _purposes(self) -> Iterable[tuple[str, Purpose]]:
        return self.newest.purposes.items()

    @cached_property
    def _since(self) -> np.ndarray:
        return np.array([midnight(pack.effective) for pack in self.packs], np.int64)


def midnight(day: date) -> int:
    """When a day begins, in ms since the epoch."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _check_beside(older: Pack, newest: Pack) -> None:
    both = f"policy packs {older.version} and {newest.version}"
    if lacking := [name for name in newest.regions if name not in older.regions]:
        raise PackError(f"{both}: the older has no region {lacking[0]!r}; add it there, with the bases that it had")
    for name in ("ipv4_prefix", "ipv6_prefix"):
        if getattr(older.limits, name) != getattr(newest.limits, name):
            raise PackError(f"{both}: limits.{name} differs, and addresses are cut once; give both the smaller one")


def _cuts(pack: Pack, purpose: str, columns: Iterable[DatasetColumn]) -> tuple[Cut, ...]:
    own = {column.field.path: column for column in purpose_columns(pack, pack.purposes[purpose])}
    return tuple(_cut(own.get(column.field.path), column) for column in columns)


def _cut(older: DatasetColumn | None, newest: DatasetColumn) -> Cut:
    if older is None or (older.form, newest.form) in _UNSTORABLE:
        return Cut(frozenset(), frozenset(), (), False, ())
    both = older, newest
    return Cut(
        events=older.events & newest.events,
        gates=frozenset(column.gate for column in both if column.gate),
        steps=tuple(dict.fromkeys(column.step for column in both if column.step)),
        major=any(column.form is Form.MAJOR for column in both),
        lists=tuple(dict.fromkeys(column.words for column in both if column.words)),
    )


def load_editions(names: Iterable[str]) -> Editions:
    """Reads packs as `load_pack` does, in any order. Raises `PackError`."""
    return Editions(tuple(load_pack(name) for name in names))
