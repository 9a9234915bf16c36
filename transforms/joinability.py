"""Joinability: how many records the columns that two purposes both hold single out (2-log, 2-analytics, 1.1.4-c).

A record of which both have a row is *singled out* if its values in the columns that both hold, cut to what is common to
both forms, occur once among the rows of each: then its two rows can be put together, whatever their pseudonyms are.
Rows of two regions lie in two stores and are never compared.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from schemas.datasets import RECEIVED_DATE, DatasetColumn
from schemas.joinability import COARSEST, Pair
from schemas.policy import Form
from transforms.generalise import bucket, compact, cut_time, listed, major

RECORD, EVENT_TIME = "record", "event_time"
_ALWAYS = ("region", "event_type", RECEIVED_DATE)  # what the stores of all purposes show of a row


@dataclass(frozen=True)
class Coarser:
    """What making one field coarser does: so many stay singled out if the other purpose cannot compare it at all, or
    `event_time` by the day alone. `purposes` are those of the two that have to change."""

    path: str
    purposes: tuple[str, ...]
    singled_out: int


@dataclass(frozen=True)
class Found:
    """What a sample shows of two purposes: the fields that both hold, the rows of each, the records of which `both`
    have a row, and how many of these are singled out."""

    purposes: tuple[str, str]
    fields: tuple[str, ...]
    rows: tuple[int, int]
    both: int
    singled_out: int
    generalise: Coarser | None = None

    @property
    def percent(self) -> float:
        """Of the records of which both have a row; 0 if there is none."""
        return 100 * self.singled_out / self.both if self.both else 0.0


class Holding:
    """The rows of one purpose: a table of `record` (int64, ascending, each once), `region`, `event_type`,
    `received_date`, `event_time` and the purpose's comparable columns, by the name that stores give them."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.unify_dictionaries()
        self.records = rows[RECORD].to_numpy()
        self._event_type = rows["event_type"].to_numpy()
        self._codes: dict[tuple, np.ndarray] = {}

    def key(self, pair: Pair, side: int, without: str | None = None) -> list[np.ndarray]:
        """By row the codes of what can be compared with the other purpose: all but one field, if it is named; time is
        then left by the day."""
        unit = COARSEST if without == EVENT_TIME else pair.unit
        compared = [shared for shared in pair.shared if shared.path != without]
        return [
            *(self._coded((name,), lambda name=name: self._column(name)) for name in _ALWAYS),
            self._coded((EVENT_TIME, unit), lambda: cut_time(self._column(EVENT_TIME).cast(pa.int64()), unit)),
            *(self._shared(shared.cut_to[side], shared.events) for shared in compared),
        ]

    def _shared(self, to: DatasetColumn, events: frozenset[int]) -> np.ndarray:
        def values() -> pa.Array:
            elsewhere = ~np.isin(self._event_type, list(events))
            return _cut(self._column(to.name), to).take(pa.array(np.arange(len(elsewhere)), mask=elsewhere))

        return self._coded((to.name, to.form, to.step, to.words, events), values)

    def _coded(self, what: tuple, values: Callable[[], pa.Array]) -> np.ndarray:
        if what not in self._codes:
            self._codes[what] = codes_of(values())
        return self._codes[what]

    def _column(self, name: str) -> pa.Array:
        return self._rows[name].combine_chunks()


def compare(pairs: Iterable[Pair], holdings: Mapping[str, Holding], cap: float) -> list[Found]:
    """What each two purposes show, the worst first; above the cap, a percentage, with the field to make coarser."""
    found = [_of_pair(pair, [holdings[name] for name in pair.purposes], cap) for pair in pairs]
    return sorted(found, key=lambda each: -each.percent)


def _of_pair(pair: Pair, sides: Sequence[Holding], cap: float) -> Found:
    both, *places = np.intersect1d(*(side.records for side in sides), assume_unique=True, return_indices=True)

    def singled_out(without: str | None = None) -> int:
        alone = [once(side.key(pair, number, without)) for number, side in enumerate(sides)]
        return int(np.count_nonzero(alone[0][places[0]] & alone[1][places[1]]))

    fields = tuple(shared.path for shared in pair.shared)
    found = Found(pair.purposes, fields, (len(sides[0].records), len(sides[1].records)), len(both), singled_out())
    if found.percent <= cap:
        return found
    return replace(found, generalise=_most_telling(pair, singled_out))


def _most_telling(pair: Pair, singled_out: Callable[[str], int]) -> Coarser | None:
    """The field without which the fewest are left; None if the two share nothing that can be made coarser."""
    fields = {shared.path: shared.coarser for shared in pair.shared}
    if pair.unit != COARSEST:
        fields[EVENT_TIME] = pair.coarser_unit
    left = {path: singled_out(path) for path in fields}
    path = min(left, key=left.get, default=None)
    return None if path is None else Coarser(path, tuple(pair.purposes[side] for side in fields[path]), left[path])


def once(columns: Sequence[np.ndarray]) -> np.ndarray:
    """True on the rows whose combination of codes (whole numbers from 0) no other row has."""
    combined = columns[0]
    for codes in columns[1:]:
        # dense again after each column, so that the product of rows and words always fits
        combined = codes_of(pa.array(combined * (codes.max(initial=0) + 1) + codes))
    return np.bincount(combined)[combined] == 1


def codes_of(values: pa.Array) -> np.ndarray:
    """Equal values have equal codes, from 1; null has 0. A dictionary must name each of its words once."""
    encoded = values if pa.types.is_dictionary(values.type) else values.dictionary_encode()
    return encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1


def _cut(values: pa.Array, to: DatasetColumn) -> pa.Array:
    match to.form:
        case Form.MAJOR:
            return compact(values, major(values.dictionary))
        case Form.LISTED:
            return compact(values, listed(values.dictionary, to.words))
        case Form.BUCKET:
            return bucket(values, to.step)
        case _:
            return values
