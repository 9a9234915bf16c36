"""Consented: what every purpose would hold of a sample of telemetry if nobody had refused anything.

The job's own steps, run without Beam: the border, the conditions that a record itself must meet, and what a purpose may
receive. All consents are taken as given, so that no ledger is needed and the most is stored that can be.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np
import pyarrow as pa

from schemas.consent import SEALED_LEDGER
from schemas.datasets import RECEIVED_DATE, TOKEN, datasets
from schemas.editions import Editions
from schemas.joinability import comparable
from schemas.layout import layout
from schemas.policy import Pack
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from transforms.columns import scattered, tag_words
from transforms.conditions import unmet
from transforms.consent import Records, judge
from transforms.decode import Limits, decode_events
from transforms.deduplicate import deduplicate
from transforms.for_purpose import ORDER, RECEIVED, REGION, for_purpose
from transforms.joinability import EVENT_TIME, RECORD, Holding
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.ledger import Ledger
from transforms.lines import Habits
from transforms.locate import locate
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Seals
from transforms.texts import Texts

_DAY_MS = 86_400_000


class Consented:
    """Takes blocks of lines, and keeps of each record what can be compared between purposes.

    `keys` are keyring URIs by region code, for every region of the pack. The pack counts as in force for all records,
    whenever they are of, and without its overlays: they only narrow.
    """

    def __init__(self, pack: Pack, keys: Mapping[int, str]) -> None:
        self._pack = pack.model_copy(update={"effective": date.min, "by_region": {}, "by_service": {}})
        anywhere = next(iter(pack.regions))
        self._variants, self._plan = Editions((self._pack,)).of(anywhere), layout(self._pack)
        self._datasets = datasets(pack)
        self._terms = replace(pack.terms(anywhere), consent=0, closed=0)
        self._ledger = Ledger.build(SEALED_LEDGER.empty_table(), self._terms)
        seals = Seals({code: open_keyring(uri) for code, uri in keys.items()})
        texts, labels = Texts(pack.limits), Labels(Scrubber(LABEL_RECOGNISERS))
        self._sealer = EventSealer(seals, self._plan, Partition(1, None), pack.limits, texts, labels)
        self._habits, self._limits = Habits(), Limits.of(pack)
        self._seen = np.empty(0, np.uint64)
        self._rows: dict[str, list[pa.Table]] = {name: [] for name, p in pack.purposes.items() if p.stored}
        self.records = 0

    def add(self, block: bytes) -> None:
        """Reads a block of whole lines. Lines with a fault, records without a region and repetitions are left out."""
        events = decode_events(block, self._limits, self._habits)
        if not len(events.event_time):
            return
        regions, _ = locate({name: events.columns[f"residency.{name}"] for name in SIGNALS}, self._pack.where)
        sealed = self._sealer.seal(events, regions).batch
        rows, marks, _ = deduplicate(sealed, self._seen)
        self._seen = np.sort(np.concatenate([self._seen, marks]))
        judged = self._judged(sealed.take(pa.array(rows)))
        for purpose, parts in self._rows.items():
            parts.append(self._part(judged, purpose))
        self.records += judged.num_rows

    def holdings(self) -> dict[str, Holding]:
        """By purpose what it holds of all records so far; at least one block must have been added."""
        return {purpose: Holding(pa.concat_tables(parts)) for purpose, parts in self._rows.items()}

    def _judged(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The records with everything open that they may serve. In place of its event id each has its number, by which
        its rows are found again in every purpose."""
        numbers = np.zeros((batch.num_rows, 2), np.uint64)
        numbers[:, 0] = np.arange(self.records, self.records + batch.num_rows)
        ids = pa.Array.from_buffers(TOKEN, len(numbers), [None, pa.py_buffer(numbers)])
        stands = pa.array(self._open(batch))
        numbered = batch.set_column(batch.schema.get_field_index("event_id"), "event_id", ids)
        return numbered.append_column("stands", stands)

    def _open(self, batch: pa.RecordBatch) -> np.ndarray:
        records = Records(
            device=batch.column("device"),
            account=batch.column("account"),
            subject_fault=batch.column("subject_fault").to_numpy(zero_copy_only=False),
            event_time=batch.column("event_time"),
            received_time=batch.column("received_time"),
            app=pa.nulls(batch.num_rows, pa.string()),
        )
        opened = judge(records, self._ledger, self._terms, "all").open
        for masks in unmet(batch, self._pack, self._plan).values():
            opened = opened & ~masks
        return opened

    def _part(self, judged: pa.RecordBatch, purpose: str) -> pa.Table:
        """What the datasets of a purpose get, its sensitive columns beside the others."""
        wanted = {column.name for column in comparable(self._pack, purpose).values()}
        columns: dict[str, pa.Array] = {}
        for dataset in (each for each in self._datasets.values() if each.purpose == purpose):
            rows = for_purpose(judged, dataset, self._variants, self._plan)
            records = tag_words(rows.column(ORDER)).astype(np.int64)
            if not dataset.sensitive:
                columns = {RECORD: pa.array(records), **_head(rows)}
            places = np.searchsorted(columns[RECORD].to_numpy(), records)
            for name in wanted & {column.name for column in dataset.columns}:
                columns[name] = scattered([(places, rows.column(name))], len(columns[RECORD]))
        return pa.table(columns)


def _head(rows: pa.RecordBatch) -> dict[str, pa.Array]:
    head = {name: rows.column(name) for name in (REGION, "event_type", EVENT_TIME)}
    return head | {RECEIVED_DATE: pa.array(rows.column(RECEIVED).to_numpy() // _DAY_MS)}
