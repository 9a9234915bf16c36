"""ForPurpose: of each record, the columns that a purpose may receive, where the gate has opened it (1.1-a, 1.1-b)."""

from dataclasses import dataclass

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.datasets import Dataset, DatasetColumn, datasets
from schemas.fields import EVENT_TYPES
from schemas.layout import Layout, layout
from schemas.policy import Form, Pack
from transforms.exchange import Judged
from transforms.generalise import bucket, compact, cut_time, major

# Beside a dataset's own columns a batch has these until it is stored; where its purpose needs a subject, also the
# sealed subjects of each record.
REGION, RECEIVED, ORDER = "region", "received_time", "order"
SUBJECTS = ("device", "account")


def for_purpose(judged: pa.RecordBatch, dataset: Dataset, pack: Pack, plan: Layout) -> pa.RecordBatch:
    """The rows and columns of one dataset, generalised; identifiers still sealed.

    `judged` has the layout's columns and `open`, a mask of the purposes that are open. A column is null on event types
    whose allow-list does not name it, and where its gate is closed for the record.
    """
    purpose = pack.purposes[dataset.purpose]
    bit = {name: np.uint64(1) << np.uint64(index) for index, name in enumerate(pack.purposes)}
    chosen = _Chosen(judged, bit, _rows(judged, bit[dataset.purpose], purpose.events))
    columns = [chosen.column(column, plan.column_of(column, dataset.purpose)) for column in dataset.columns]
    rows = chosen.rows
    if dataset.sensitive:
        present = _any_sensitive(dataset, columns)
        rows, columns = rows[present], [column.filter(pa.array(present)) for column in columns]
    index = pa.array(rows)
    head = [
        judged.column("event_type").take(index),
        cut_time(judged.column("event_time").take(index), purpose.event_time),
    ]
    tail = {REGION: REGION, RECEIVED: RECEIVED, ORDER: "event_id"}
    if purpose.subject:
        tail |= {name: name for name in SUBJECTS}
    beside = [judged.column(name).take(index) for name in tail.values()]
    return pa.RecordBatch.from_arrays(head + columns + beside, names=[*dataset.schema.names, *tail])


def _rows(judged: pa.RecordBatch, bit: np.uint64, events: dict) -> np.ndarray:
    admitted = np.zeros(128, bool)
    admitted[[EVENT_TYPES.index(event) for event in events]] = True
    return np.flatnonzero(
        (judged.column("open").to_numpy() & bit != 0) & admitted[judged.column("event_type").to_numpy()]
    )


class _Chosen:
    """The rows that a purpose gets, and how a column is gathered for them."""

    def __init__(self, judged: pa.RecordBatch, bit: dict[str, np.uint64], rows: np.ndarray) -> None:
        self._judged, self._bit, self.rows = judged, bit, rows
        self._event_type = judged.column("event_type").to_numpy()[rows]
        self._open = judged.column("open").to_numpy()[rows]
        self._indices: dict[tuple[frozenset[int], str | None], pa.Array] = {}

    def column(self, column: DatasetColumn, place: str) -> pa.Array:
        values = self._judged.column(place).take(self._index(column.events, column.gate))
        if pa.types.is_dictionary(values.type):
            return compact(values, major(values.dictionary) if column.form is Form.MAJOR else None)
        return bucket(values, column.step) if column.form is Form.BUCKET else values

    def _index(self, events: frozenset[int], gate: str | None) -> pa.Array:
        """Row numbers, null where the column may not stand: a gather by it copies nothing of what it leaves out."""
        if (events, gate) not in self._indices:
            admitted = np.zeros(128, bool)
            admitted[list(events)] = True
            allowed = admitted[self._event_type]
            if gate is not None:
                allowed &= self._open & self._bit[gate] != 0
            self._indices[events, gate] = pa.array(self.rows, mask=None if allowed.all() else ~allowed)
        return self._indices[events, gate]


def _any_sensitive(dataset: Dataset, columns: list[pa.Array]) -> np.ndarray:
    sensitive = [
        values.is_valid().to_numpy(zero_copy_only=False)
        for column, values in zip(dataset.columns, columns, strict=True)
        if column.form is not Form.TOKEN
    ]
    return np.logical_or.reduce(sensitive)


class _ForPurpose(beam.DoFn):
    def __init__(self, pack: Pack) -> None:
        self._pack = pack

    def setup(self) -> None:
        self._plan = layout(self._pack)
        self._datasets = datasets(self._pack)

    def process(self, element: Judged):
        lot, judged = element
        for name, dataset in self._datasets.items():
            rows = for_purpose(judged, dataset, self._pack, self._plan)
            if rows.num_rows:
                yield (name, lot), rows


@dataclass
class ForPurpose(beam.PTransform):
    """(lot, judged records) -> ((dataset, lot), rows), for each dataset of the pack that gets any."""

    pack: Pack

    def expand(self, judged):
        rows = beam.ParDo(_ForPurpose(self.pack)).with_input_types(Judged).with_output_types(ROWS)
        return judged | "Split" >> rows


ROWS = tuple[tuple[str, tuple[int, int, int]], pa.RecordBatch]
