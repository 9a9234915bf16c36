"""Sealed records and ledger entries in small numbers, as pieces for the gate, and what the rule says of them.

Times count from BASE, in milliseconds.
"""

import random
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from schemas.consent import SEALED_LEDGER, Kind, SubjectType
from schemas.fields import EVENT_TYPES, SOURCES
from schemas.layout import SERVICE, layout
from schemas.pack_files import load_pack
from tests.oracle import collected, decide
from transforms.exchange import LEDGER, TELEMETRY, layout_digest, locked_telemetry
from transforms.ipc import to_buffer
from transforms.locks import Locks

PACK = load_pack()
PLAN = layout(PACK)
EU = PACK.where.code("eu")
TERMS = PACK.terms("eu")
BIT = {name: 1 << place for place, name in enumerate(TERMS.purposes)}
SHARDS = 64
BASE = 1_767_225_600_000  # a day begins
CRASH = EVENT_TYPES.index("crash")


@dataclass(frozen=True)
class Record:
    """A sealed record; numbers stand for sealed values. It is of the kind `crash`, and of a service without an overlay,
    unless told otherwise."""

    id: int
    received_time: int
    event_time: int | None = None
    device: int | None = 1
    account: int | None = None
    event_type: int = CRASH
    app: str | None = None
    service: str | None = "browser"
    fault: bool = False
    source: int = 0
    key: int = EU * SHARDS

    @property
    def time(self):
        return self.received_time if self.event_time is None else self.event_time


@dataclass(frozen=True)
class Entry:
    """A sealed ledger entry about the device or account of that number."""

    id: int
    kind: str
    received_time: int
    time: int | None = None
    subject: tuple = ("device", 1)
    purposes: frozenset = frozenset({"*"})
    app: str | None = None
    policy_version: str | None = "2021-01-15"
    guardian: bool = False
    key: int = EU * SHARDS

    def row(self):
        time = self.received_time if self.time is None else self.time
        names = ("subject", "kind", "purposes", "app", "policy_version", "guardian", "received_time")
        return {"entry_id": self.id, "time": time} | {name: getattr(self, name) for name in names}


def sealed(number):
    return None if number is None else number.to_bytes(16, "little")


def telemetry(records):
    head = {
        "region": [EU] * len(records),
        "event_type": [r.event_type for r in records],
        "source": [r.source for r in records],
        "subject_fault": [r.fault for r in records],
        "event_time": [BASE + r.time for r in records],
        "received_time": [BASE + r.received_time for r in records],
        "event_id": [sealed(r.id) for r in records],
        "device": [sealed(r.device) for r in records],
        "account": [sealed(r.account) for r in records],
        PLAN.application: [r.app for r in records],
        PLAN.places[SERVICE]: [r.service for r in records],
    }
    columns = [
        pa.array(head[field.name], field.type) if field.name in head else pa.nulls(len(records), field.type)
        for field in PLAN.schema
    ]
    return pa.RecordBatch.from_arrays(columns, names=PLAN.schema.names)


def entries(found):
    columns = {
        "entry_id": [sealed(e.id) for e in found],
        "subject": [sealed(e.subject[1]) for e in found],
        "subject_type": [SubjectType[e.subject[0]] for e in found],
        "kind": [Kind[e.kind] for e in found],
        "purposes": [",".join(sorted(e.purposes)) for e in found],
    }
    columns |= {name: [BASE + e.row()[name] for e in found] for name in ("time", "received_time")}
    columns |= {name: [e.row()[name] for e in found] for name in SEALED_LEDGER.names if name not in columns}
    arrays = [pa.array(columns[field.name], field.type) for field in SEALED_LEDGER]
    return pa.RecordBatch.from_arrays(arrays, schema=SEALED_LEDGER)


def piece(things, keys, partition):
    """One piece, stamped with its earliest receipt and locked as the border does. `keys` are keyring URIs."""
    earliest, key, locks = min(thing.received_time for thing in things), things[0].key, Locks(keys, SHARDS)
    if isinstance(things[0], Entry):
        content = LEDGER, 0, locks.lock(key, LEDGER, to_buffer(entries(things)))
    else:
        (window,) = set(partition.windows(np.array([BASE + r.received_time for r in things])).tolist())
        digest = layout_digest(PLAN, partition.window_ms)
        content = TELEMETRY, window, locked_telemetry(locks, key, telemetry(things), digest)
    return TimestampedValue((key, content), at(earliest))


def at(time):
    """A time of this file, as Beam has it."""
    return Timestamp(micros=(BASE + time) * 1000)


# --- the oracle ---


def policy_of(terms, name):
    bit = 1 << terms.purposes.index(name)

    def subjects(device, account):
        return {type_ for type_, mask in (("device", device), ("account", account)) if mask & bit}

    return {
        "closed": bool(terms.closed & bit),
        "consent": bool(terms.consent & bit),
        "needs": subjects(terms.needs_device, terms.needs_account),
        "grants": subjects(terms.device_grants, terms.account_grants),
        "minors_excluded": bool(terms.minors_excluded & bit),
        "per_application": bool(terms.per_application & bit),
        "minimum": terms.minimum_versions.get(name),
    }


def candidates(record):
    """The purposes that a record's event type can serve, and the gates of their columns."""
    event_type = EVENT_TYPES[record.event_type]
    names = {name for name, purpose in PACK.purposes.items() if event_type in purpose.events}
    exact = {path for name in names for path in PACK.purposes[name].events[event_type]} & {
        "location.latitude",
        "location.cell_id",
    }
    return names | ({"location_services"} if exact else set())


def oracle(record, ledger, bounded, received=None):
    plain = {
        "device": record.device,
        "account": record.account,
        "fault": record.fault,
        "app": record.app,
        "event_time": record.time,
        "received_time": record.received_time if received is None else received,
    }
    rows = [each.row() for each in ledger]

    def opened(name):
        admitted = SOURCES[record.source] in PACK.purposes[name].sources
        return admitted and decide(plain, name, rows, policy_of(TERMS, name), bounded)

    event_type = EVENT_TYPES[record.event_type]
    return {n for n in candidates(record) if opened(n) and collected(n, event_type, "eu", PACK, opened)}


def names(mask):
    return {name for name, bit in BIT.items() if mask & bit}


class Person:
    """A device and an account: some records and entries, on clocks so small that they tie and meet the edges."""

    KINDS = [kind.name for kind in Kind] + ["grant"] * 8 + ["adult", "minor", "lift_objection"]

    def __init__(self, seed, number, clock):
        draw = random.Random(f"{seed} {number}")
        pick, key = draw.choice, EU * SHARDS + number
        purposes = ["*", *PACK.purposes]
        apps = [None, "map", "mail"]
        self.records = [
            Record(
                id=number * 1_000 + place,
                received_time=pick(clock),
                event_time=pick(clock),
                device=pick([1, 1, 1, 2, None]),
                account=pick([None, 3]),
                event_type=draw.randrange(len(EVENT_TYPES)),
                app=pick(apps),
                fault=draw.random() < 0.1,
                source=pick([0, 0, 0, 1, 2]),
                key=key,
            )
            for place in range(8)
        ]
        self.entries = [
            Entry(
                id=number * 1_000 + place,
                kind=pick(self.KINDS),
                received_time=pick(clock),
                time=pick(clock),
                subject=pick([("device", 1), ("device", 1), ("device", 2), ("account", 3)]),
                purposes=frozenset(draw.sample(purposes, draw.choice([1, 6, 12]))),
                app=pick(apps),
                policy_version=pick([None, "2020-01-01", "2021-01-15"]),
                guardian=draw.random() < 0.2,
                key=key,
            )
            for place in range(draw.randrange(10))
        ]
        # All of `*` beside a name is `*`, as the border writes it.
        star = frozenset({"*"})
        self.entries = [Entry(**{**vars(e), "purposes": star}) if "*" in e.purposes else e for e in self.entries]
