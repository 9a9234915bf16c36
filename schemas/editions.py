"""Editions of the policy: which pack is in force when, and what two of them leave of a purpose and a column (clause 9).

A record is collected under the pack in force at its event time. The newest pack restricts it as well: it knows of no
purpose that was given up since, and of no wider use. So a record of an older edition passes both, and what it may serve
is numbered, named and stored as the newest pack has it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cached_property

import numpy as np

from schemas.fields import EVENT_TYPES
from schemas.findings import PackError
from schemas.pack_files import load_pack
from schemas.policy import Pack, Purpose
from schemas.variants import Variants


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

    @property
    def purposes(self) -> frozenset[str]:
        """The words by which a ledger names purposes: those of every edition, since who has stopped one that was given
        up since has not misspelt another."""
        return frozenset(name for pack in self.packs for name in pack.purposes)

    @cached_property
    def earlier(self) -> tuple[Pack, ...]:
        """The packs before the newest, each with the newest one's purposes in its order; a purpose that a pack lacks
        stands there as the newest has it, and is `missing`."""
        return tuple(
            pack.model_copy(update={"purposes": {name: pack.purposes.get(name, own) for name, own in self._purposes}})
            for pack in self.packs[:-1]
        )

    def of(self, region: str) -> Variants:
        """The editions in one region, for every service."""
        lacks = tuple(self._missing(edition) for edition in range(len(self.packs)))
        return Variants(region, (*self.earlier, self.newest), self._since, lacks)

    def in_force(self, moment: int) -> Pack | None:
        """The pack in force at a time (ms since the epoch), None before the first."""
        return next((pack for pack in reversed(self.packs) if midnight(pack.effective) <= moment), None)

    def _missing(self, edition: int) -> np.ndarray:
        """By code of event type the mask of the newest pack's purposes that an edition lacks, or lacks for that event
        type."""
        pack, masks = self.packs[edition], np.zeros(128, np.uint64)
        for bit, (name, purpose) in enumerate(self._purposes):
            lacking = EVENT_TYPES if name not in pack.purposes else purpose.events.keys() - pack.purposes[name].events
            masks[[EVENT_TYPES.index(event) for event in lacking]] |= np.uint64(1 << bit)
        return masks

    @property
    def _purposes(self) -> Iterable[tuple[str, Purpose]]:
        return self.newest.purposes.items()

    @cached_property
    def _since(self) -> np.ndarray:
        return np.array([midnight(pack.effective) for pack in self.packs], np.int64)


_ADDRESSES = "addresses are cut once; give both the smaller one"
_CUT_ONCE = {
    "ipv4_prefix": _ADDRESSES,
    "ipv6_prefix": _ADDRESSES,
    "text_time": "times in texts are cut once; give both `day`",
}


def midnight(day: date) -> int:
    """When a day begins, in ms since the epoch."""
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000


def _check_beside(older: Pack, newest: Pack) -> None:
    both = f"policy packs {older.version} and {newest.version}"
    if lacking := [name for name in newest.regions if name not in older.regions]:
        raise PackError(f"{both}: the older has no region {lacking[0]!r}; add it there, with the bases that it had")
    for name, why in _CUT_ONCE.items():
        if getattr(older.limits, name) != getattr(newest.limits, name):
            raise PackError(f"{both}: limits.{name} differs, and {why}")


def load_editions(names: Iterable[str]) -> Editions:
    """Reads packs as `load_pack` does, in any order. Raises `PackError`."""
    return Editions(tuple(load_pack(name) for name in names))


def newest_of(names: Sequence[str]) -> str:
    """Of packs that `load_editions` has read the name of the newest."""
    return names[0] if len(names) == 1 else max(names, key=lambda name: load_pack(name).effective)
