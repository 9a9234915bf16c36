"""Pseudonymise: sealed identifiers become the purpose's own tokens (2-log, 2-analytics, 1.1.4-c).

    token = CMAC(key of (region, purpose, epoch, kind), sealed block)

Two purposes, regions or epochs share no token, so two datasets cannot be joined by it. Rows come out ordered by the
token of their event within a day, which says nothing about when or in which order they came. A subject whose token is
no column of the dataset leaves a handle (`transforms.handles`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import apache_beam as beam
import numpy as np
import pyarrow as pa

from schemas.datasets import SUBJECT_FIELD, TOKEN, Dataset, DatasetColumn, datasets
from schemas.fields import EVENT_FIELD, EVENT_FIELDS, Handling
from schemas.policy import Form, Pack
from transforms.canonical import KINDS
from transforms.cmac import ColumnCmac, ColumnSiv
from transforms.columns import scattered, tag_words
from transforms.discreet import discreet
from transforms.for_purpose import ORDER, RECEIVED, REGION, ROWS
from transforms.handles import handles
from transforms.keyring import Keyring, open_keyring
from transforms.seal import TEXT_KIND, reversible_key

_DAY_MS = 86_400_000
_EPOCH_FORMAT = {"month": "%Y-%m", "year": "%Y", "forever": "forever"}


@dataclass(frozen=True, repr=False)
class _Epochs:
    """Which epoch each row falls in: `code` is an index in `labels`."""

    code: np.ndarray
    labels: tuple[str, ...]

    @classmethod
    def of(cls, day: np.ndarray, epoch: str) -> "_Epochs":
        first = int(day.min())
        present = np.flatnonzero(np.bincount(day - first))  # a batch has few days, so few labels are made
        by_day = [epoch_of((first + d) * _DAY_MS, epoch) for d in present.tolist()]
        labels = tuple(dict.fromkeys(by_day))
        code_of_day = np.zeros(present[-1] + 1, np.int32)
        code_of_day[present] = [labels.index(label) for label in by_day]
        return cls(code_of_day[day - first], labels)


def epoch_of(ms: int, epoch: str) -> str:
    """The label of the epoch that a time falls in; `epoch` is the pack's word for how long a pseudonym lives."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime(_EPOCH_FORMAT[epoch])


def pseudonymise(
    rows: pa.RecordBatch, dataset: Dataset, token_of: Callable[[str, str], ColumnCmac], epoch: str
) -> pa.RecordBatch:
    """The rows with tokens for sealed blocks, sorted by (day of receipt, token of the event).

    `token_of(kind, epoch label)` gives the cipher. `epoch` is the pack's word for how long a pseudonym lives.
    """
    if not rows.num_rows:
        return _empty(rows, dataset)
    day = rows.column(RECEIVED).to_numpy() // _DAY_MS
    epochs = _Epochs.of(day, epoch)
    order = _tokens(rows.column(ORDER), "event_id", epochs, token_of)
    by_token = np.lexsort((tag_words(order), day))
    rows, epochs = rows.take(pa.array(by_token)), _Epochs(epochs.code[by_token], epochs.labels)
    for column in dataset.columns:
        if column.form in (Form.TOKEN, Form.FINGERPRINT):
            tokens = _tokens(rows.column(column.name), _kind(column), epochs, token_of)
            rows = rows.set_column(rows.schema.get_field_index(column.name), column.name, tokens)
    events = order.take(pa.array(by_token))
    hidden = [_handles(rows.column(subject), subject, events, epochs, token_of) for subject in dataset.handles]
    hidden += [events] if dataset.event_token else []
    return _stored(rows, dataset, hidden)


def _handles(
    sealed: pa.Array, subject: str, events: pa.Array, epochs: _Epochs, token_of: Callable[[str, str], ColumnCmac]
) -> pa.Array:
    return handles(_tokens(sealed, SUBJECT_FIELD[subject].kind, epochs, token_of), events)


def _stored(rows: pa.RecordBatch, dataset: Dataset, hidden: list[pa.Array]) -> pa.RecordBatch:
    """The dataset's columns, those that its readers do not see, and what the store needs; nothing sealed any more."""
    names = [*dataset.schema.names, REGION, RECEIVED]
    columns = [rows.column(name) for name in names]
    at = len(dataset.schema.names)
    return pa.RecordBatch.from_arrays(
        columns[:at] + hidden + columns[at:], names=[*names[:at], *dataset.hidden, *names[at:]]
    )


def _empty(rows: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    return _stored(rows, dataset, [pa.array([], TOKEN) for _ in dataset.hidden])


def _tokens(sealed: pa.Array, kind: str, epochs: _Epochs, token_of: Callable[[str, str], ColumnCmac]) -> pa.Array:
    if len(epochs.labels) == 1:
        return token_of(kind, epochs.labels[0]).tag(sealed)
    places = [np.flatnonzero(epochs.code == code) for code in range(len(epochs.labels))]
    ciphers = (token_of(kind, label) for label in epochs.labels)
    parts = [(at, cipher.tag(sealed.take(pa.array(at)))) for at, cipher in zip(places, ciphers, strict=True)]
    return scattered(parts, len(sealed))


def reveal(sealed: pa.BinaryArray, path: str, purpose: str, keyring: Keyring) -> pa.Array:
    """Brings a reversible column back to its canonical bytes. Raises `KeyUnavailable` for who may not read it."""
    kind = EVENT_FIELD[path].kind
    key = reversible_key(keyring, purpose, kind, make=False)
    if KINDS[kind].width is None:
        return ColumnSiv(key).decrypt(sealed)
    return ColumnCmac(key).untag(sealed.cast(pa.binary(16)), KINDS[kind].width)


def revealable(column: str, type_: pa.DataType) -> str | None:
    """The path of the field behind a stored column, if it is of the reversible kind."""
    paths = [f.path for f in EVENT_FIELDS if f.column == column and f.handling is Handling.IDENTIFIER]
    return paths[0] if paths and pa.types.is_binary(type_) else None


def _secret(purpose: str, epoch: str, kind: str) -> tuple[str, str]:
    """The name of the key of some tokens, and what wraps it."""
    return f"token/{purpose}/{epoch}/{kind}", f"purpose-{purpose}"


def _kinds(dataset: Dataset) -> set[str]:
    """The kinds of values that tokens of the dataset stand for."""
    of_columns = {_kind(column) for column in dataset.columns if column.form in (Form.TOKEN, Form.FINGERPRINT)}
    return {"event_id"} | of_columns | {SUBJECT_FIELD[subject].kind for subject in dataset.handles}


def _kind(column: DatasetColumn) -> str:
    return column.field.kind or TEXT_KIND


class Tokens:
    """The token ciphers of regions and purposes, each opened when it is first needed. One a worker: it holds keys."""

    def __init__(self, pack: Pack, keys: Mapping[int, str]) -> None:
        self._pack, self._keys, self._datasets = pack, dict(keys), datasets(pack)
        self._ciphers: dict[tuple[int, str, str, str], ColumnCmac] = {}

    def pseudonymise(self, rows: pa.RecordBatch, name: str, region: int) -> pa.RecordBatch:
        """The rows of a dataset in one region, with tokens."""
        dataset = self._datasets[name]
        epoch = self._pack.purposes[dataset.purpose].token_epoch
        labels = _Epochs.of(rows.column(RECEIVED).to_numpy() // _DAY_MS, epoch).labels if rows.num_rows else ()
        self._make([(region, dataset.purpose, label, kind) for label in labels for kind in _kinds(dataset)])
        return pseudonymise(rows, dataset, partial(self.cipher, region, dataset.purpose), epoch)

    def _make(self, keys: list[tuple[int, str, str, str]]) -> None:
        """The keys of one region's dataset at once: one after the other they would wait for the disk."""
        if keys and (new := [key for key in keys if key not in self._ciphers]):
            open_keyring(self._keys[keys[0][0]]).make(dict(_secret(*rest) for _, *rest in new))

    def epochs(self, region: int) -> dict[tuple[str, str], set[str]]:
        """The epochs for which the region has a key for tokens, by purpose and kind."""
        found: dict[tuple[str, str], set[str]] = {}
        for name in open_keyring(self._keys[region]).held("token"):
            _, purpose, epoch, kind = name.split("/")
            found.setdefault((purpose, kind), set()).add(epoch)
        return found

    def cipher(self, region: int, purpose: str, kind: str, epoch: str) -> ColumnCmac:
        """What makes the tokens of a kind in one region, purpose and epoch."""
        if (region, purpose, epoch, kind) not in self._ciphers:
            key = open_keyring(self._keys[region]).secret(*_secret(purpose, epoch, kind))
            self._ciphers[region, purpose, epoch, kind] = ColumnCmac(key)
        return self._ciphers[region, purpose, epoch, kind]


class _Pseudonymise(beam.DoFn):
    def __init__(self, pack: Pack, keys: Mapping[int, str]) -> None:
        self._pack, self._keys = pack, dict(keys)

    def setup(self) -> None:
        self._tokens = Tokens(self._pack, self._keys)

    @discreet
    def process(self, element):
        (name, lot), rows = element
        yield (name, lot), self._tokens.pseudonymise(rows, name, lot[0])


@dataclass
class Pseudonymise(beam.PTransform):
    """((dataset, lot), rows) -> the same with tokens. `keys` are keyring URIs by region code, never key bytes."""

    pack: Pack
    keys: Mapping[int, str]

    def expand(self, rows):
        tokens = beam.ParDo(_Pseudonymise(self.pack, self.keys)).with_input_types(ROWS).with_output_types(ROWS)
        return rows | "Tokens" >> tokens
