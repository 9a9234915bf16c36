"""ForPurpose: of each record, the columns that a purpose may receive, where the gate has opened it (1.1-a, 1.1-b)."""

from collections.abc import Iterable
from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.datasets import Dataset, datasets
from schemas.editions import Editions
from schemas.fields import EVENT_TYPES
from schemas.layout import Layout, layout
from schemas.policy import Form
from schemas.variants import Cut, Variants
from transforms.discreet import discreet
from transforms.exchange import Judged, coalesce
from transforms.generalise import bucket, compact, cut_time, listed, major

# Beside a dataset's own columns a batch has these until it is stored; where its purpose needs a subject, also the
# sealed subjects of each record.
REGION, RECEIVED, ORDER = "region", "received_time", "order"
SUBJECTS = ("device", "account")


def for_purpose(judged: pa.RecordBatch, dataset: Dataset, variants: Variants, plan: Layout) -> pa.RecordBatch:
    """The rows and columns of one dataset of the newest pack, generalised; identifiers still sealed.

    `judged` are records of the region of `variants`, with the layout's columns and `stands`, a mask of the purposes
    that are open. A column is null on event types whose allow-list does not name it, and where its gate is closed for
    the record. A record has to pass the allow-list and the gates of both packs of its variant, and is made as coarse as
    either says.
    """
    purposes = variants.editions[-1].purposes
    bit = _bits(purposes)
    rows = _rows(judged, bit[dataset.purpose], purposes[dataset.purpose].events)
    number = variants.numbers(judged, plan, rows)
    parts = [_Chosen(judged, bit, rows[number == variants.newest]).part(dataset, variants, variants.newest, plan)]
    for other in np.unique(number[(number >= 0) & (number != variants.newest)]).tolist():
        parts.append(_Chosen(judged, bit, rows[number == other]).part(dataset, variants, other, plan))
    return parts[0] if len(parts) == 1 else coalesce(parts)


def _bits(purposes: Iterable[str]) -> dict[str, np.uint64]:
    return {name: np.uint64(1) << np.uint64(index) for index, name in enumerate(purposes)}


def _rows(judged: pa.RecordBatch, bit: np.uint64, events: dict) -> np.ndarray:
    admitted = np.zeros(128, bool)
    admitted[[EVENT_TYPES.index(event) for event in events]] = True
    return np.flatnonzero(
        (judged.column("stands").to_numpy() & bit != 0) & admitted[judged.column("event_type").to_numpy()]
    )


class _Chosen:
    """The rows of one variant that a purpose gets, and how a column is gathered for them."""

    def __init__(self, judged: pa.RecordBatch, bit: dict[str, np.uint64], rows: np.ndarray) -> None:
        self._judged, self._bit, self._rows = judged, bit, rows
        self._event_type = judged.column("event_type").to_numpy()[rows]
        self._open = judged.column("stands").to_numpy()[rows]
        self._indices: dict[tuple[frozenset[int], frozenset[str]], pa.Array] = {}

    def part(self, dataset: Dataset, variants: Variants, number: int, plan: Layout) -> pa.RecordBatch:
        """What the dataset gets of these rows."""
        places = [plan.column_of(column, dataset.purpose) for column in dataset.columns]
        cuts = zip(variants.cuts[dataset.name][number], places, strict=True)
        rows, columns = self._rows, [self._column(cut, place) for cut, place in cuts]
        if dataset.sensitive:
            present = _any_sensitive(dataset, columns)
            rows, columns = rows[present], [column.filter(pa.array(present)) for column in columns]
        index = pa.array(rows)
        unit = variants.event_time(dataset.purpose, number)
        head = [self._taken("event_type", index), cut_time(self._taken("event_time", index), unit)]
        tail = {REGION: REGION, RECEIVED: RECEIVED, ORDER: "event_id"}
        if variants.editions[-1].purposes[dataset.purpose].subject:
            tail |= {name: name for name in SUBJECTS}
        columns = head + columns + [self._taken(name, index) for name in tail.values()]
        return pa.RecordBatch.from_arrays(columns, names=[*dataset.schema.names, *tail])

    def _taken(self, name: str, index: pa.Array) -> pa.Array:
        return self._judged.column(name).take(index)

    def _column(self, cut: Cut, place: str) -> pa.Array:
        values = self._judged.column(place).take(self._index(cut.events, cut.gates))
        if pa.types.is_dictionary(values.type):
            return compact(values, _words(cut, values.dictionary))
        for step in cut.steps:
            values = bucket(values, step)
        return values

    def _index(self, events: frozenset[int], gates: frozenset[str]) -> pa.Array:
        """Row numbers, null where the column may not stand: a gather by it copies nothing of what it leaves out."""
        if (events, gates) not in self._indices:
            admitted = np.zeros(128, bool)
            admitted[list(events)] = True
            allowed = admitted[self._event_type]
            for gate in gates:
                allowed &= self._open & self._bit.get(gate, np.uint64(0)) != 0
            self._indices[events, gates] = pa.array(self._rows, mask=None if allowed.all() else ~allowed)
        return self._indices[events, gates]


def _words(cut: Cut, words: pa.StringArray) -> pa.StringArray:
    if cut.major:
        words = major(words)
    for kept in cut.lists:
        words = listed(words, kept)
    return words


def _any_sensitive(dataset: Dataset, columns: list[pa.Array]) -> np.ndarray:
    sensitive = [
        values.is_valid().to_numpy(zero_copy_only=False)
        for column, values in zip(dataset.columns, columns, strict=True)
        if column.form is not Form.TOKEN
    ]
    return np.logical_or.reduce(sensitive)


class _ForPurpose(beam.DoFn):
    def __init__(self, editions: Editions) -> None:
        self._editions = editions

    def setup(self) -> None:
        self._plan = layout(self._editions.newest, *self._editions.earlier)
        self._datasets = datasets(self._editions.newest)
        self._bits = _bits(self._editions.newest.purposes)
        self._variants = [self._editions.of(region) for region in self._editions.newest.where.regions]

    @discreet
    def process(self, element: Judged):
        lot, judged = element
        opened = np.bitwise_or.reduce(judged.column("stands").to_numpy(), initial=np.uint64(0))
        for name, dataset in self._datasets.items():
            if not opened & self._bits[dataset.purpose]:
                continue
            rows = for_purpose(judged, dataset, self._variants[lot[0]], self._plan)
            if rows.num_rows:
                yield (name, lot), rows


@dataclass
class ForPurpose(beam.PTransform):
    """(lot, judged records) -> ((dataset, lot), rows), for each dataset of the newest pack that gets any."""

    editions: Editions

    def expand(self, judged):
        rows = beam.ParDo(_ForPurpose(self.editions)).with_input_types(Judged).with_output_types(ROWS)
        return judged | "Split" >> rows


ROWS = tuple[tuple[str, tuple[int, int, int]], pa.RecordBatch]
