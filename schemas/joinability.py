"""Which columns two purposes both hold in a form by which their rows can be compared (2-log, 2-analytics, 1.1.4-c).

Pseudonyms, fingerprints and what is sealed are keyed by the purpose and join nothing. Everything else may: a label, a
number, a network, a text, and the type and time of the event.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from schemas.datasets import DatasetColumn, purpose_columns
from schemas.overlays import UNITS
from schemas.policy import Form, Pack

COARSEST = UNITS[-1]
_COMPARABLE = frozenset({Form.PLAIN, Form.MAJOR, Form.BUCKET, Form.LISTED, Form.NETWORK, Form.TEXT})


@dataclass(frozen=True)
class Shared:
    """A field as each of two purposes holds it, and the event types on which both do."""

    columns: tuple[DatasetColumn, DatasetColumn]
    events: frozenset[int]

    @property
    def path(self) -> str:
        return self.columns[0].field.path

    @property
    def cut_to(self) -> tuple[DatasetColumn, DatasetColumn]:
        """By side the column whose form its values are cut to before they are compared: the other's where that is
        coarser. Where neither is, as with buckets of 4 and of 10, both stay as they are, and more is counted as singled
        out than is, never less: rows that are alike in a finer form are alike in what is common to both."""
        one, other = self.columns
        return (other if _is_coarser(other, one) else one), (one if _is_coarser(one, other) else other)

    @property
    def coarser(self) -> tuple[int, ...]:
        """The sides at which a still coarser form has to start: the one that is coarser now, or else both."""
        one, other = self.columns
        sides = _is_coarser(one, other), _is_coarser(other, one)
        return tuple(side for side in (0, 1) if sides[side]) or (0, 1)


@dataclass(frozen=True)
class Pair:
    """Two purposes that receive an event type in common, the fields that both hold, and how each cuts event_time."""

    purposes: tuple[str, str]
    shared: tuple[Shared, ...]
    units: tuple[str, str]

    @property
    def unit(self) -> str:
        """What both show of event_time."""
        return max(self.units, key=UNITS.index)

    @property
    def coarser_unit(self) -> tuple[int, ...]:
        """The sides that cut event_time to that unit."""
        return tuple(side for side in (0, 1) if self.units[side] == self.unit)


def pairs(pack: Pack) -> Iterator[Pair]:
    """Each two stored purposes that may hold the same record, in the pack's order."""
    stored = [name for name, purpose in pack.purposes.items() if purpose.stored]
    for names in combinations(stored, 2):
        one, other = (pack.purposes[name] for name in names)
        if one.events.keys() & other.events.keys():
            yield Pair(names, tuple(_shared(pack, *names)), (one.event_time, other.event_time))


def comparable(pack: Pack, purpose: str) -> dict[str, DatasetColumn]:
    """The columns of a purpose that are not keyed by it, sensitive ones too, by the path of their field."""
    columns = purpose_columns(pack, pack.purposes[purpose])
    return {column.field.path: column for column in columns if column.form in _COMPARABLE}


def _shared(pack: Pack, one: str, other: str) -> Iterator[Shared]:
    theirs = comparable(pack, other)
    for path, column in comparable(pack, one).items():
        if path in theirs and (events := column.events & theirs[path].events):
            yield Shared((column, theirs[path]), events)


def _is_coarser(one: DatasetColumn, than: DatasetColumn) -> bool:
    """Whether the values of `one` follow from those of the other; those of its own form do."""
    if than.form is Form.PLAIN or (one.form, one.step, one.words) == (than.form, than.step, than.words):
        return True
    if one.form is than.form is Form.BUCKET:
        return round(one.step / than.step, 9) % 1 == 0
    return one.form is than.form is Form.LISTED and set(one.words) <= set(than.words)
