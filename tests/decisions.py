"""A table of what a policy pack decides, made by the job's own functions on lines that are there to be told apart.

Two packs that give the same table are, as far as these lines can tell, the same policy. `tests.pack_mutants` removes
each rule of a pack in turn and looks whether the table changes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from copy import deepcopy
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.consent import Kind, SubjectType
from schemas.countries import countries
from schemas.datasets import datasets
from schemas.editions import Editions
from schemas.fields import EVENT_FIELD, EVENT_TYPES, SOURCES, payload_of
from schemas.layout import layout
from schemas.orders import effect
from schemas.policy import Pack
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from tests.lines import NOW, entry, event, event_id, full_event, moment, ndjson
from transforms.cmac import ColumnCmac
from transforms.contributions import DAY_MS, bound, contributions, counted
from transforms.decode import Limits, decode_events, decode_ledger
from transforms.for_purpose import for_purpose
from transforms.gate import Gate
from transforms.ipc import to_ipc
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.locate import locate
from transforms.pseudonymise import Tokens
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Seals
from transforms.seal_ledger import LedgerSealer
from transforms.texts import Texts

Table = dict[tuple, Any]
ALL = Partition(1, None)
MINUTE_MS = 60_000
_AGES = [0, 1, 7, 20, 29, 30, 31, 45, 90, 365, 4000]  # days before receipt
_AHEAD = [1, 4, 5, 6, 9, 15, 60, 1440]  # minutes after it
OLD, WORD, OTHER_APP = "1999-01-01", "word-of-an-app", "com.example.another"


class Lines:
    """Telemetry and a ledger that set apart whatever a pack may say, for the regions, services and event types that a
    good pack knows. Everybody is in one situation, in one region."""

    def __init__(self, pack: Pack, services: tuple[str, ...] = ("browser",)) -> None:
        self._country = {region: country for country, region in sorted(pack.where.region_of_country.items())}
        self._services, self._version = services, pack.version
        self._purposes = {name: tuple(purpose.events) for name, purpose in pack.purposes.items()}
        self._listed = {
            (path, word)
            for purpose in pack.purposes.values()
            for path, column in purpose.columns.items()
            if column.among
            for word in pack.lists[column.among].words
        }
        self._full = {event_type: full_event(event_type) for event_type in EVENT_TYPES}
        self._people = 0
        self._events: list[dict] = []
        self._entries: list[dict] = []
        for region in pack.regions:
            for entries, event_types in self._situations():
                own = self._person(region, entries)
                for event_type in event_types:
                    self._add(event_type, own)
            own = self._person(region, [{"policy_version": self._version}])
            for event_type in EVENT_TYPES:
                self._vary(event_type, own)
        self.events, self.entries = ndjson(*self._events), ndjson(*self._entries)

    def _situations(self) -> Iterator[tuple[list[dict], tuple[str, ...]]]:
        """What a person's ledger says, and the types of the events that the person sends."""
        everything = {"policy_version": self._version}
        for entries in (
            [],
            [{"policy_version": OLD}],
            [everything | {"app": WORD}],
            [everything | {"app": OTHER_APP}],
            [everything | {"of": "account"}],
            [everything, {"kind": "minor"}],
            [{"kind": "minor"}, everything | {"guardian": "reference"}],
            [{"kind": "object"}],
        ):
            yield entries, EVENT_TYPES
        for purpose, event_types in self._purposes.items():
            yield [everything, {"kind": "withdraw", "purposes": [purpose]}], event_types
            yield [everything | {"purposes": [purpose]}], event_types

    def _person(self, region: str, entries: list[dict]) -> dict:
        """A new person with a ledger. Returns what all events of theirs say."""
        self._people += 1
        device, account = f"{self._people:015x}a", f"acct-{self._people:09d}"
        residency = {"account_country": self._country[region]}
        for order, own in enumerate(entries):
            of = own.get("of", "device")
            received = NOW - DAY_MS + order * MINUTE_MS
            more = {key: value for key, value in own.items() if key not in ("of", "kind")}
            made = entry(own.get("kind", "grant"), received=received, number=len(self._entries), residency=residency)
            subject = {"type": of, "value": device if of == "device" else account}
            self._entries.append(made | {"subject": subject} | more)
        return {"residency": residency, "device.android_id": device, "account_id": account, "app.package": WORD}

    def _vary(self, event_type: str, own: dict) -> None:
        """What a record itself can make a difference by."""
        self._add(event_type, own)
        self._add(event_type, own | {"device": None})
        self._add(event_type, own | {"account_id": None})
        for source in SOURCES:
            self._add(event_type, own | {"source": source})
        self._add(event_type, own | {"device.gaid": "00000000-0000-0000-0000-000000000000"})
        for service in self._services:
            self._add(event_type, own | {"service": service})
        for path, field in EVENT_FIELD.items():
            if field.values and payload_of(path) == event_type:
                for word in field.values:
                    self._add(event_type, own | {path: word})
        for path, word in sorted(self._listed):
            if payload_of(path) in (None, event_type):
                self._add(event_type, own | {path: word})
        self._add(event_type, own | {"ip": "2001:db8:1:2:3:4:5:6"})
        if event_type == "crash":
            self._add(event_type, own | {"crash.trace": "at a.b.c " * 4000})
            self._add(event_type, own | {"crash.trace": "Timestamp: 2021-02-28 09:31:07.123+0200\nat a.b.c"})

    def _add(self, event_type: str, more: dict) -> None:
        """An event at a time of day of which each unit tells, with values of which a cut to coarser ones does."""
        number = len(self._events)
        made = deepcopy(self._full[event_type])
        own = {"event_id": event_id(number), "event_time": moment(NOW - 11 * 3_599_123 - number)}
        own |= {"device.os_version": "13.4.2", "app.version": "7.8.9"}
        if event_type == "location":
            own |= {"location.latitude": 52.37919, "location.longitude": 4.89943}
        for path, value in (own | more).items():
            outer, _, leaf = path.rpartition(".")
            part = made[outer] if outer else made
            part[leaf] = value
        self._events.append(made)


class Decisions:
    """Makes the table of a pack. `keys` are keyring URIs by region, for every region of every pack that is asked."""

    def __init__(self, lines: Lines, keys: Mapping[str, str]) -> None:
        self._lines, self._keys = lines, dict(keys)
        self._labels = Labels(Scrubber(LABEL_RECOGNISERS))

    def of(self, pack: Pack) -> Table:
        """What the pack decides."""
        return dict(self._cells(pack))

    def _cells(self, pack: Pack) -> Iterator[tuple[tuple, Any]]:
        yield from _places(pack)
        yield from _times(pack)
        yield from _kept(pack)
        yield from _released(pack)
        yield from _ordered(pack)
        yield ("layout",), str(layout(pack).schema)
        yield ("leaves",), (pack.transfers, pack.recipients, pack.combinations)
        keys = {code: self._keys[name] for code, name in enumerate(pack.where.regions)}
        seals, plan = Seals({code: open_keyring(uri) for code, uri in keys.items()}), layout(pack)
        events = decode_events(self._lines.events, Limits.of(pack))
        regions, _ = locate({name: events.columns[f"residency.{name}"] for name in SIGNALS}, pack.where)
        batch = EventSealer(seals, plan, ALL, pack.limits, Texts(pack.limits), self._labels).seal(events, regions).batch
        known = frozenset(pack.purposes)
        sealer = LedgerSealer(seals, ALL, tuple(keys), 0, self._labels, known)
        ledger = decode_ledger(self._lines.entries)
        places, _ = locate({name: ledger.columns[f"residency.{name}"] for name in SIGNALS}, pack.where)
        entries, _ = sealer.seal(ledger, places)
        tokens = Tokens(pack, keys)
        for code, region in enumerate(pack.where.regions):
            own = batch.filter(pa.array(batch.column("region").to_numpy() == code))
            of_region = pa.Table.from_batches([entries.batch.filter(pa.array(entries.key == code))])
            yield from _judged(pack, code, region, own, of_region, tokens, seals)


def _places(pack: Pack) -> Iterator[tuple[tuple, Any]]:
    """Where a record may live, by each country in each signal, and by two that differ."""
    known = pa.array(sorted(countries()))
    mcc = pa.array(range(1000))
    for signal in SIGNALS:
        values = mcc if signal == "sim_mcc" else known
        if signal in pack.where.signals:
            yield ("place", signal), _digest(locate({signal: values}, pack.where)[0])
    few = ["CN", "IN", "RU", "NL", "US", "SG", "BR"]
    for first, second in product(few, few):
        signals = {"account_country": pa.array([first]), "device_region": pa.array([second])}
        region, conflict = locate(signals | {"sim_mcc": pa.nulls(1, pa.int64())}, pack.where)
        yield ("place", first, second), (pack.where.regions[region[0]] if region[0] >= 0 else None, bool(conflict[0]))


def _times(pack: Pack) -> Iterator[tuple[tuple, Any]]:
    """What a record's own time may be."""
    for offset in [-days * DAY_MS for days in _AGES] + [minutes * MINUTE_MS for minutes in _AHEAD]:
        faults = decode_events(ndjson(event(time=NOW + offset)), Limits.of(pack)).faults
        yield ("time", offset), tuple(faults.counts())


def _kept(pack: Pack) -> Iterator[tuple[tuple, Any]]:
    """For how long each dataset is kept, and how much of what is rejected."""
    for name, dataset in datasets(pack).items():
        yield ("schema", name), (str(dataset.schema), dataset.hidden)
        categories = {column.field.category for column in dataset.columns}
        for region in pack.regions:
            here = pack.effective_for(None, region)
            yield ("days", name, region), here.retention_days(dataset.purpose, categories)
    yield ("rejected",), pack.limits.quarantine_percent


def _released(pack: Pack) -> Iterator[tuple[tuple, Any]]:
    """How exact statistics are, and when they are released."""
    if not pack.statistics:
        return
    yield ("statistics",), (pack.statistics.grace_hours, pack.statistics.least_devices)
    for name, table in pack.statistics.tables.items():
        widths = {measure: pack.statistics.half_width(table, measure) for measure in table.measures}
        yield ("statistics", name), (pack.statistics.budget(table), widths)


def _ordered(pack: Pack) -> Iterator[tuple[tuple, Any]]:
    """What each kind of stop asks of the rows that are stored."""
    for (name, purpose), region, kind, subject in product(pack.purposes.items(), pack.regions, Kind, SubjectType):
        basis = pack.effective_for(None, region).basis(name, region)
        yield ("ordered", name, region, kind.name, subject), effect(kind, subject, purpose, basis)


def _judged(
    pack: Pack, code: int, region: str, batch: pa.RecordBatch, entries: pa.Table, tokens: Tokens, seals: Seals
) -> Iterator[tuple[tuple, Any]]:
    """What is open in a region and why the rest is not, what is stored of it, and what is counted."""
    editions, plan = Editions((pack,)), layout(pack)
    for with_ledger in (True, False):
        judged, verdict = Gate(editions, region, with_ledger, bounded=True).judge(batch, entries)
        for bit, purpose in enumerate(pack.purposes):
            flag = np.uint64(1 << bit)
            masks = {"open": verdict.open, "stands": verdict.stands, **verdict.reasons}
            found = {reason: _digest(mask & flag != 0) for reason, mask in masks.items() if (mask & flag).any()}
            yield ("gate", region, purpose, with_ledger), found
        if not with_ledger:
            continue
        for name, dataset in datasets(pack).items():
            rows = for_purpose(judged, dataset, editions.of(region), plan)
            stored = tokens.pseudonymise(rows, name, code) if rows.num_rows else rows
            yield ("rows", region, name), _digest_rows(stored)
        if pack.statistics:
            cipher, tables = ColumnCmac(bytes(32)), tuple(pack.statistics.tables.values())
            whole = bound(contributions(judged, editions.of(region), plan, cipher), tables, cipher)
            yield ("counted", region), _digest_rows(counted(whole, pack)) if len(whole) else None


def _digest(values: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=8).hexdigest()


def _digest_rows(rows: pa.RecordBatch) -> str:
    """By content: a dictionary may be told in another order."""
    plain = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in rows.columns]
    return hashlib.blake2b(to_ipc(pa.record_batch(plain, names=rows.schema.names)), digest_size=8).hexdigest()
