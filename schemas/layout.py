"""How a sealed record lies on the exchange and in state.

A record has one event type, and a field is admitted for some event types only (the union of the allow-lists). Fields
of the same physical type that are never admitted together share a **slot**: one column that holds the one for some
event types and the other for others. That keeps a row near 250 bytes where a column a field would take 600, and a
value that no purpose may receive has no place to stand in at all (1.1-a).

    head     region event_type source subject_fault zeroed event_time received_time event_id device account
    slots    token0.. sealed0.. text0.. label0.. int0.. float0..
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from schemas.datasets import TOKEN, DatasetColumn, purpose_columns
from schemas.fields import EVENT_TYPES, INTEGER, NUMBER, payload_of
from schemas.policy import Form, Pack
from schemas.statistics import EVENT_TYPE

LABEL = pa.dictionary(pa.int32(), pa.string())  # narrower on the wire where the words are few
HEAD = pa.schema(
    [
        pa.field("region", pa.int8()),  # checked again by the store
        pa.field("event_type", pa.int8()),
        pa.field("source", pa.int8()),
        pa.field("subject_fault", pa.bool_()),
        pa.field("zeroed", pa.bool_()),  # an advertising id was all zeros: the person opted out
        pa.field("event_time", pa.int64()),  # ms since the epoch, as are all times here
        pa.field("received_time", pa.int64()),
        pa.field("event_id", TOKEN),
        pa.field("device", TOKEN),
        pa.field("account", TOKEN),
    ]
)
_HEAD_OF_PATH = {"event_id": "event_id", "device.android_id": "device", "account_id": "account"}
_SLOT_TYPES = {
    "token": TOKEN,
    "sealed": pa.binary(),
    "text": pa.string(),
    "label": LABEL,
    "int": pa.int64(),
    "float": pa.float64(),
}


@dataclass(frozen=True)
class Source:
    """What a slot holds for some event types: a field as the border prepares it."""

    path: str
    # "plain", "seal" and "group" (irreversible, of the value or of its group), "bare" (the group to count by), "sealed"
    # (for one purpose)
    form: str
    purpose: str | None = None


@dataclass(frozen=True)
class Layout:
    """Where each field stands on the exchange."""

    places: dict[Source, str]  # name of the column
    slots: dict[str, tuple[tuple[Source, frozenset[int]], ...]]  # what shares a column, with its event types

    @cached_property
    def schema(self) -> pa.Schema:
        slots = [pa.field(name, _SLOT_TYPES[name.rstrip("0123456789")]) for name in self.slots]
        return pa.schema(list(HEAD) + slots)

    @property
    def application(self) -> str | None:
        """The column that holds the application's package, if any purpose is judged by it."""
        return self.places.get(APPLICATION)

    def carries(self, source: Source, event_type: pa.Int8Array) -> np.ndarray:
        """The rows whose event type has the field in its slot; elsewhere the slot holds other fields."""
        (events,) = (events for held, events in self.slots[self.places[source]] if held == source)
        return np.isin(event_type.to_numpy(), list(events))

    def column_of(self, column: DatasetColumn, purpose: str) -> str:
        """The name of the exchange column that a dataset's column is made from."""
        return self.places[source_of(column, purpose)]


APPLICATION = Source("app.package", "plain")
SERVICE = Source("service", "plain")


def source_of(column: DatasetColumn, purpose: str) -> Source:
    """What the border must prepare for a dataset's column."""
    if column.form is Form.SEALED:
        return Source(column.field.path, "sealed", purpose)
    if column.form is Form.FINGERPRINT and column.field.kind:
        return Source(column.field.path, "group")
    if column.form in (Form.TOKEN, Form.FINGERPRINT):
        return Source(column.field.path, "seal")
    return Source(column.field.path, "plain")


def counted_source(pack: Pack, path: str) -> Source:
    """What the border must prepare for statistics to group by a field."""
    form = pack.purposes[pack.statistics.purpose].columns[path].form
    return Source(path, "bare" if form is Form.GROUP else "plain")


def layout(pack: Pack, *earlier: Pack) -> Layout:
    """The exchange columns of a pack, in the order in which its purposes name the fields; and after them what earlier
    editions ask of a record before it may serve a purpose."""
    wanted: dict[Source, tuple[str, frozenset[int]]] = {}
    for name, purpose in pack.purposes.items():
        if not purpose.stored:
            continue
        for column in purpose_columns(pack, purpose):
            source = source_of(column, name)
            _, events = wanted.get(source, ("", frozenset()))
            wanted[source] = (_slot_kind(column, source), events | column.events)
    for source, events in (*_conditions(pack, *earlier), *_counted_by(pack)):
        _, taken = wanted.get(source, ("", frozenset()))
        wanted[source] = ("label", taken | events)
    if scoped := _events_judged_by_application(pack, *earlier):
        _, events = wanted.get(APPLICATION, ("", frozenset()))
        wanted[APPLICATION] = ("label", events | scoped)
    return _allocate(wanted)


def _conditions(*packs: Pack) -> Iterator[tuple[Source, frozenset[int]]]:
    """What the gate must see of a record to tell whether it may serve a purpose at all."""
    for pack in packs:
        narrowed = (said for overlay in pack.overlays for said in overlay.purposes.values())
        for of in (*pack.purposes.values(), *narrowed):
            for path in of.unless:
                yield Source(path, "plain"), frozenset({EVENT_TYPES.index(payload_of(path))})
        if pack.by_service:
            yield SERVICE, frozenset(range(len(EVENT_TYPES)))


def _counted_by(pack: Pack) -> Iterator[tuple[Source, frozenset[int]]]:
    """What statistics group by, on the event types where they do."""
    if pack.statistics:
        purpose = pack.purposes[pack.statistics.purpose]
        for table in pack.statistics.tables.values():
            for path in table.by:
                if path != EVENT_TYPE:
                    yield counted_source(pack, path), table.event_types(purpose)


def _events_judged_by_application(*packs: Pack) -> frozenset[int]:
    """Event types whose records the gate can only judge if it knows the application."""
    scoped = {name for pack in packs for name, purpose in pack.purposes.items() if purpose.per_application}
    events: set[int] = set()
    for pack in packs:
        for name, purpose in pack.purposes.items():
            columns = purpose_columns(pack, purpose)
            events.update(*(column.events for column in columns if name in scoped or column.gate in scoped))
        for rule in pack.collection:
            if not scoped.isdisjoint(rule.admitted_by):
                events.update(EVENT_TYPES.index(event) for event in rule.events)
    return frozenset(events)


def _allocate(wanted: dict[Source, tuple[str, frozenset[int]]]) -> Layout:
    """First fit: a field goes into the first slot of its kind whose event types it does not touch."""
    places: dict[Source, str] = {}
    slots: dict[str, list[tuple[Source, frozenset[int]]]] = {}
    for source, (kind, events) in wanted.items():
        if source.form == "seal" and source.path in _HEAD_OF_PATH:
            places[source] = _HEAD_OF_PATH[source.path]
            continue
        same_kind = (name for name in slots if name.rstrip("0123456789") == kind)
        free = (name for name in same_kind if all(events.isdisjoint(taken) for _, taken in slots[name]))
        name = next(free, None) or f"{kind}{sum(n.rstrip('0123456789') == kind for n in slots)}"
        slots.setdefault(name, []).append((source, events))
        places[source] = name
    return Layout(places, {name: tuple(held) for name, held in slots.items()})


def _slot_kind(column: DatasetColumn, source: Source) -> str:
    if source.form in ("seal", "group"):
        return "token"
    if source.form == "sealed":
        return "sealed"
    if column.form is Form.TEXT:
        return "text"
    return {INTEGER: "int", NUMBER: "float"}.get(column.field.type, "label")
