"""Seal: the step after which there is no raw identifier and no raw text (design section 2; 1.1-a, 1.1.1).

Every identifier becomes its canonical bytes, then a tag under a key of (region, kind); free text is scrubbed; labels
are checked; the address is cut to its network. Only what some purpose may receive for that event type is taken along
at all: what the layout has no place for is left behind here.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.utils.timestamp import Timestamp

from schemas.fields import EVENT_FIELD, EVENT_FIELDS, IDENTIFYING, SOURCES, Category, Handling
from schemas.layout import HEAD, Layout, Source
from schemas.policy import Limits
from transforms.address import networks
from transforms.canonical import KINDS, canonical
from transforms.cmac import ColumnCmac, ColumnSiv
from transforms.columns import runs, scattered, tag_words
from transforms.crash_groups import bare_groups
from transforms.decode import Decoded
from transforms.keyring import BORDER, Keyring
from transforms.labels import Labels, as_codes
from transforms.sealed_rows import EXCEPTION, Rows
from transforms.texts import Texts

_DEVICE_IDENTIFIERS = tuple(
    f.path for f in EVENT_FIELDS if f.handling is Handling.IDENTIFIER and f.path.startswith("device.")
)
_IDENTIFYING = tuple(f.path for f in EVENT_FIELDS if f.category in IDENTIFYING)
_ADVERTISING = tuple(f.path for f in EVENT_FIELDS if f.category is Category.ADVERTISING_IDENTIFIER)
_ZEROS = "00000000-0000-0000-0000-000000000000"
TEXT_KIND = "text"


class Seals:
    """The sealing keys of the regions that this job serves, as column ciphers."""

    def __init__(self, keyrings: Mapping[int, Keyring]) -> None:
        self._keyrings = keyrings  # by region code
        self._tags: dict[tuple[int, str], ColumnCmac] = {}
        self._reversible: dict[tuple[int, str, str], Callable[[pa.Array], pa.Array]] = {}

    def tag(self, kind: str, values: pa.Array, regions: np.ndarray) -> pa.FixedSizeBinaryArray:
        """Tags a column whose rows are sorted by region. Nulls stay null."""
        return _by_region(values, regions, lambda region: self._tagger(region, kind).tag, pa.binary(16))

    def untag(self, kind: str, tags: pa.FixedSizeBinaryArray, region: int) -> pa.FixedSizeBinaryArray:
        """What was tagged, where that was a tag itself. Any other tag opens to noise."""
        return self._tagger(region, kind).untag(tags, 16)

    def reversibly(self, purpose: str, kind: str, values: pa.Array, regions: np.ndarray) -> pa.BinaryArray:
        """Seals a column so that who holds the purpose's reversible key, and nobody else, can bring it back."""
        return _by_region(values, regions, lambda region: self._sealer(region, purpose, kind), pa.binary())

    def _tagger(self, region: int, kind: str) -> ColumnCmac:
        if (region, kind) not in self._tags:
            self._tags[region, kind] = ColumnCmac(self._keyrings[region].secret(f"seal/{kind}", BORDER))
        return self._tags[region, kind]

    def _sealer(self, region: int, purpose: str, kind: str) -> Callable[[pa.Array], pa.Array]:
        if (region, purpose, kind) not in self._reversible:
            self._reversible[region, purpose, kind] = sealer(self._keyrings[region], purpose, kind)
        return self._reversible[region, purpose, kind]


def sealer(keyring: Keyring, purpose: str, kind: str) -> Callable[[pa.Array], pa.Array]:
    """Seals a column reversibly: the block permutation for up to 16 bytes, AES-SIV for what may be longer."""
    if KINDS[kind].width is not None:
        return ColumnCmac(reversible_key(keyring, purpose, kind)).tag
    return ColumnSiv(reversible_key(keyring, purpose, kind)).encrypt


def reversible_key(keyring: Keyring, purpose: str, kind: str, *, make: bool = True) -> bytes:
    """The key of (region, purpose, kind). The purpose's dataset key wraps it: its reader has it, nobody else does."""
    size = 32 if KINDS[kind].width is not None else 64
    return keyring.secret(f"reversible/{purpose}/{kind}", f"dataset-{purpose}", size, make=make)


def _by_region(values: pa.Array, regions: np.ndarray, cipher: Callable, type_: pa.DataType) -> pa.Array:
    parts = [cipher(region)(values.slice(start, stop - start)).cast(type_) for region, start, stop in runs(regions)]
    return pa.concat_arrays(parts) if parts else pa.array([], type_)


@dataclass(repr=False)
class Sealed:
    """A sealed batch in the layout's schema (labels with wide indices), its rows sorted by `key`.

    `key` is region code * shards + shard; `window` is the index of the received_time's window.
    """

    batch: pa.RecordBatch
    key: np.ndarray
    window: np.ndarray
    malformed: Counter = field(default_factory=Counter)  # values rejected alone, by path
    carried: Counter = field(default_factory=Counter)  # values that identify and that the records brought, by path
    sealed: Counter = field(default_factory=Counter)  # values sealed, by path
    scrubbed: Counter = field(default_factory=Counter)  # replacements in free text, by (event type, recogniser)
    bad_event_id: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))  # rows of the input, left out


@dataclass(frozen=True)
class Partition:
    """How records are spread: `shards` a region, windows of `window_ms` of received_time (None: one for all)."""

    shards: int
    window_ms: int | None

    def windows(self, received: np.ndarray) -> np.ndarray:
        return np.zeros(len(received), np.int64) if self.window_ms is None else received // self.window_ms

    def end(self, window: int) -> Timestamp | None:
        """When a window ends; None where one holds all."""
        return None if self.window_ms is None else Timestamp(micros=(window + 1) * self.window_ms * 1000)


class EventSealer:
    """Seals decoded telemetry. One a worker: it holds the keys and the labels seen."""

    def __init__(
        self, seals: Seals, layout: Layout, partition: Partition, limits: Limits, texts: Texts, labels: Labels
    ) -> None:
        self._seals, self._layout, self._partition, self._limits = seals, layout, partition, limits
        self._texts, self._labels = texts, labels
        held = (place for slot in layout.slots.values() for place in slot)
        wanted = (
            (path, events)
            for source, events in held
            if EVENT_FIELD[source.path].handling is Handling.TEXT
            for path in ((source.path, EXCEPTION) if source.form in ("group", "bare") else (source.path,))
        )
        self._wanted = tuple(dict.fromkeys(wanted))

    def seal(self, events: Decoded, regions: np.ndarray) -> Sealed:
        """Seals the rows whose region code is not negative; the others are left out."""
        columns = events.columns
        event_id, bad_id = canonical("event_id", columns["event_id"])
        device, bad_device = canonical("android_id", columns["device.android_id"])
        account, bad_account = canonical("account_id", columns["account_id"])
        fault = bad_device | bad_account | _nameless(columns, device)
        kept = np.flatnonzero((regions >= 0) & ~bad_id)
        kept = kept[np.argsort(regions[kept], kind="stable")]
        tags = [
            self._seals.tag(kind, values.take(pa.array(kept)), regions[kept])
            for kind, values in (("event_id", event_id), ("android_id", device), ("account_id", account))
        ]
        key = regions[kept].astype(np.int64) * self._partition.shards + shard_of(tags, self._partition.shards)
        window = self._partition.windows(events.received_time[kept])
        order = np.lexsort((window, key)) if self._partition.window_ms else np.argsort(key, kind="stable")
        rows = Rows(kept[order], events, regions)
        if not np.array_equal(order, np.arange(len(order))):
            tags = [tag.take(pa.array(order)) for tag in tags]
        sealed = Sealed(pa.record_batch([], pa.schema([])), key[order], window[order])
        sealed.bad_event_id = np.flatnonzero(bad_id & (regions >= 0))
        sealed.malformed.update({"device.android_id": int(bad_device.sum()), "account_id": int(bad_account.sum())})
        head = [
            pa.array(rows.regions.astype(np.int8)),
            pa.array(rows.event_type),
            _source_codes(columns["source"]).take(pa.array(rows.index)),
            pa.array(fault[rows.index]),
            _zeroed(columns).take(pa.array(rows.index)),
            pa.array(events.event_time[rows.index]),
            pa.array(events.received_time[rows.index]),
            *tags,
        ]
        sealed.scrubbed.update(rows.clean(self._wanted, self._texts))
        slots = [self._slot(rows, name, held, sealed) for name, held in self._layout.slots.items()]
        names = [*HEAD.names, *self._layout.slots]
        sealed.batch = pa.RecordBatch.from_arrays(head + slots, names=names)
        sealed.carried.update({path: len(columns[path]) - columns[path].null_count for path in _IDENTIFYING})
        for path, tag in zip(("event_id", "device.android_id", "account_id"), tags, strict=True):
            sealed.sealed[path] += len(tag) - tag.null_count
        return sealed

    def _slot(self, rows: Rows, name: str, held: tuple, sealed: Sealed) -> pa.Array:
        parts = [(rows.of(events), self._prepare(rows, source, events, sealed)) for source, events in held]
        if name.startswith("label"):
            return _label_slot(parts, len(rows.index))
        return scattered(parts, len(rows.index))

    def _prepare(self, rows: Rows, source: Source, events: frozenset[int], sealed: Sealed):
        """The values of one field for the rows of these event types, in the form that the border gives it."""
        path, described = source.path, EVENT_FIELD[source.path]
        regions = rows.regions[rows.of(events)]
        if described.handling is Handling.TEXT:
            text = rows.text(path, events)
            if source.form == "bare":
                return as_codes(bare_groups(rows.groups(path, events), text).dictionary_encode())
            if source.form == "group":
                return self._seals.tag(described.kind, rows.groups(path, events), regions)
            return self._seals.tag(TEXT_KIND, text, regions) if source.form == "seal" else text
        values = rows.values(path, events)
        match described.handling:
            case Handling.IDENTIFIER:
                values, malformed = canonical(described.kind, values)
                sealed.malformed[path] += int(malformed.sum())
                sealed.sealed[path] = max(sealed.sealed[path], len(values) - values.null_count)
                if source.form == "sealed":
                    return self._seals.reversibly(source.purpose, described.kind, values, regions)
                return self._seals.tag(described.kind, values, regions)
            case Handling.ADDRESS:
                networked = networks(values, self._limits.ipv4_prefix, self._limits.ipv6_prefix)
                sealed.malformed[path] += networked.null_count - values.null_count
                sealed.sealed[path] += len(values) - networked.null_count
                return as_codes(networked.dictionary_encode())
            case Handling.LABEL:
                codes, words, malformed = self._labels.clean(values)
                sealed.malformed[path] += malformed
                return codes, words
            case _:
                return values


def _zeroed(columns: Mapping[str, pa.Array]) -> pa.BooleanArray:
    """Records with an advertising id of zeros only: that is how a device says that its user opted out (2-adcookie)."""
    return pa.array(reduce(np.logical_or, (_is_zeroed(columns[path]) for path in _ADVERTISING)))


def _is_zeroed(ids: pa.StringArray) -> np.ndarray:
    """However they are written: an opt-out in a notation that is malformed, or in none at all, is one still."""
    zeroed = pc.equal(ids, _ZEROS).fill_null(False).to_numpy(zero_copy_only=False).copy()
    others = np.flatnonzero(pc.binary_length(ids).fill_null(len(_ZEROS)).to_numpy() != len(_ZEROS))
    zeroed[others] = pc.match_substring_regex(ids.take(pa.array(others)), r"^[0\W_]*$").to_numpy(zero_copy_only=False)
    return zeroed


def _nameless(columns: Mapping[str, pa.Array], device: pa.Array) -> np.ndarray:
    """Records that carry a device identifier, but no valid one of the subject: nobody's consent can speak for them."""
    missing = device.is_null().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(missing)
    nameless = np.zeros(len(device), bool)
    for path in _DEVICE_IDENTIFIERS:
        nameless[rows] |= columns[path].take(pa.array(rows)).is_valid().to_numpy(zero_copy_only=False)
    return nameless


def shard_of(tags: list[pa.FixedSizeBinaryArray], shards: int) -> np.ndarray:
    """The shard of each record: by its device, else its account, else its event, so that all that must meet meets."""
    event, device, account = (tag_words(tag) for tag in tags)
    _, device_tags, account_tags = tags
    has_device = device_tags.is_valid().to_numpy(zero_copy_only=False)
    has_account = account_tags.is_valid().to_numpy(zero_copy_only=False)
    word = np.where(has_device, device, np.where(has_account, account, event))
    return (word % np.uint64(shards)).astype(np.int64)


def _source_codes(sources: pa.StringArray) -> pa.Array:
    return pc.index_in(sources, value_set=pa.array(SOURCES)).cast(pa.int8())


def _label_slot(parts: list[tuple[np.ndarray, tuple[np.ndarray, pa.Array]]], rows: int) -> pa.DictionaryArray:
    codes = np.full(rows, -1, np.int32)
    offset = 0
    for places, (part, words) in parts:
        codes[places] = np.where(part < 0, -1, part + offset)
        offset += len(words)
    words = pa.concat_arrays([words for _, (_, words) in parts])
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), words)
