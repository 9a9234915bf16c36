"""The expected answer: what a stream must have stored, counted and released, from what lies on its inputs.

Nothing here is the pipeline's: lines are read with `json`, the topics with a plain consumer, and each decision is the
oracle's (`tests.oracle`). What the rules of a stream add to it:

- a record is received when its partition says so: the running maximum of the append times, in a folder its own receipt;
- of records with one subject, id and day the first received counts;
- its window is that of its receipt, and known to its judge are the entries received before the window's end. It is
  *open* by the stops received up to its own receipt, and it is stored if all those that are known leave it open;
- a record of a day whose statistics had ended at the end of its window is late, and not counted in a release.

Without windows all of it is one bounded run, which knows every stop.
"""

import json
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from math import inf
from pathlib import Path

import numpy as np

from schemas.datasets import Dataset, datasets
from schemas.fields import EVENT_FIELD, EVENT_FIELDS, EVENT_TYPES, PERMISSION_KINDS, STOP_KINDS, Category
from schemas.policy import Pack
from tests.engines.load import DAY_MS, HEARTBEAT
from tests.engines.pack import NUMBER_OF
from tests.invariants.crowd import HOMES
from tests.oracle import STOPS, admitted, collected, decide, policy_of
from tests.overlays import sayings

_REQUIRED = [each.path for each in EVENT_FIELDS if each.required]
_REGION_OF = {tuple(sorted(home.items())): region for region, home in HOMES}
_DEVICE_IDENTIFIERS = ("imei", "meid", "imsi", "oaid", "gaid", "vaid", "aaid", "mac", "serial", "space_id", "fcm_token")
_EXACT = tuple(path for path, each in EVENT_FIELD.items() if each.category is Category.EXACT_LOCATION)
_AHEAD_MS = 300_000
_MINUTE_MS, _HOUR_MS = 60_000, 3_600_000


@dataclass(frozen=True)
class Input:
    """Lines of telemetry, each with its receipt or None where its own counts, and lines of the ledger, each with what
    had been promised where it stands: it was not received before."""

    telemetry: list[tuple[bytes, int | None]] = field(repr=False)
    ledger: list[tuple[bytes, int]] = field(repr=False)


# --- reading what was sent


def of_topics(config: dict, telemetry: str, ledger: str) -> Input:
    """Two topics, from their first record to the last that is there now. `config` is librdkafka's."""
    lines = [(line, received) for key, line, received, _ in _topic(config, telemetry)]
    return Input(lines, [(line, since) for _, line, _, since in _topic(config, ledger)])


def _topic(config: dict, topic: str) -> Iterator[tuple[bytes | None, bytes, int, int]]:
    """Each line: (key, line, running maximum of append times, low watermark of the last heartbeat ahead of it)."""
    from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition

    consumer = Consumer(config | {"group.id": "expected", "enable.auto.commit": False, "fetch.queue.backoff.ms": 10})
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    for partition in partitions:
        at = TopicPartition(topic, partition, 0)
        first, end = consumer.get_watermark_offsets(at, timeout=30)
        at.offset, latest, low = first, 0, 0
        consumer.assign([at])
        while consumer.position([at])[0].offset < end if latest else first < end:
            for message in consumer.consume(10_000, 1):
                if message.error():
                    raise RuntimeError(f"{topic}: {message.error()}")
                kind, appended = message.timestamp()
                assert kind == TIMESTAMP_LOG_APPEND_TIME, f"{topic} does not say when its messages were appended"
                latest = max(latest, appended)
                if message.key() == HEARTBEAT:
                    low = max(low, json.loads(message.value())["low_watermark_ms"])
                    continue
                for line in (message.value() or b"").split(b"\n"):
                    if line:
                        yield message.key(), line, latest, low
    consumer.close()


def of_files(telemetry: Iterable[Path], ledger: Iterable[Path]) -> Input:
    """Files whose lines tell themselves when they were received, and whose names since when."""
    lines = [(line, None) for path in telemetry for line in path.read_bytes().split(b"\n") if line]
    entries = [(line, int(path.name[:13])) for path in ledger for line in path.read_bytes().split(b"\n") if line]
    return Input(lines, entries)


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Record:
    """What the rules ask of a line of telemetry."""

    event_id: str
    event_type: str
    source: str
    region: str | None
    device: str | None
    account: str | None
    fault: bool
    app: str | None
    service: str | None  # None also where the line says one that does not come through as it is
    notice: str | None
    exact: frozenset[str]  # paths of exact location that it carries
    number: int  # by which rows of purposes without a subject are found
    event_time: int
    received: int

    @property
    def identity(self) -> tuple:
        return self.region, self.device or self.account, self.event_id, self.event_time // DAY_MS


def record_of(line: bytes, received: int | None, pack: Pack) -> Record | None:
    """The record, or None for a line that is to be rejected."""
    try:
        event = json.loads(line.decode())
    except ValueError:
        return None
    if any(name not in event for name in _REQUIRED) or event["event_type"] not in EVENT_TYPES:
        return None
    event_type, device, place = event["event_type"], event.get("device", {}), event.get("location", {})
    happened = milliseconds(event["event_time"])
    received = milliseconds(event["received_time"]) if received is None else received
    if not -_MINUTE_MS * pack.limits.future_minutes <= received - happened <= DAY_MS * pack.limits.oldest_days:
        return None
    own = event.get(event_type, {})
    android_id = device.get("android_id")
    return Record(
        event_id=event["event_id"],
        event_type=event_type,
        source=event["source"],
        region=region_of(event),
        device=android_id.lower() if android_id else None,
        account=event.get("account_id"),
        fault=not android_id and any(name in device for name in _DEVICE_IDENTIFIERS),
        app=event.get("app", {}).get("package"),
        service=service if "@" not in (service := event.get("service") or "@") else None,
        notice=own.get("notice"),
        exact=frozenset(path for path in _EXACT if path.partition(".")[2] in place) if len(place) > 1 else frozenset(),
        number=own.get(NUMBER_OF.get(event_type, ".").partition(".")[2], 0),
        event_time=happened,
        received=received,
    )


def region_of(line: dict) -> str | None:
    home = line.get("residency")
    return _REGION_OF[tuple(sorted(home.items()))] if home else None


def entry_of(line: bytes, since: int, regions: tuple[str, ...]) -> dict:
    """An entry as the oracle has it, and the regions that it acts in: a stop and a line that does not read in all. What
    such a line says of its receipt is not believed: it counts from the earliest moment that it can have come."""
    entry = json.loads(line)
    kind = entry["kind"] if entry["kind"] in (*STOP_KINDS, *PERMISSION_KINDS) else "unreadable"
    type_, value = entry["subject"]["type"], entry["subject"]["value"]
    return {
        "entry_id": entry["entry_id"],
        "subject": (type_, value.lower() if type_ == "device" else value),
        "kind": kind,
        "purposes": frozenset(entry["purposes"]),
        "app": entry.get("app"),
        "policy_version": entry.get("policy_version"),
        "guardian": bool(entry.get("guardian")),
        "time": milliseconds(entry["time"]),
        "received_time": since if kind == "unreadable" else milliseconds(entry["received_time"]),
        "acts_in": regions if kind in (*STOPS, "unreadable") else (region_of(entry),),
    }


# --- the oracle, asked once for what it cannot tell apart


class _History:
    """The entries that can matter to records of one device and account in one region, in the order of their receipt."""

    def __init__(self, entries: list[dict]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry["received_time"])
        self.received = [entry["received_time"] for entry in self.entries]
        self.clocks = sorted({entry[clock] for entry in self.entries for clock in ("time", "received_time")})
        self.apps = {entry["app"] for entry in self.entries}
        self.answers: dict[tuple, dict[str, tuple[bool, bool]]] = {}

    def place(self, record: Record, end: float) -> tuple:
        """Where the record lies among the entries. The oracle compares clocks and nothing else of them, so records of
        one place have one answer."""
        return (
            bisect_left(self.received, end),
            bisect_left(self.clocks, record.event_time),
            bisect_right(self.clocks, record.event_time),
            bisect_left(self.received, record.received),
            bisect_right(self.received, record.received),
            record.app if record.app in self.apps else record.app and "another",
        )


class Judge:
    """The oracle's answers about records, for whole histories."""

    def __init__(self, pack: Pack, entries: list[dict], bounded: bool) -> None:
        self._pack, self._bounded = pack, bounded
        self._about: dict[tuple, list[dict]] = {}
        self._of_id: dict[str, list[dict]] = {}
        for entry in entries:
            if entry["kind"] in (*STOPS, "unreadable") or entry["time"] <= entry["received_time"] + _AHEAD_MS:
                self._about.setdefault(entry["subject"], []).append(entry)
                self._of_id.setdefault(entry["entry_id"], []).append(entry)
        self._histories: dict[tuple, _History] = {}
        self._policies: dict[tuple, dict] = {}
        self._known: dict[tuple, bool] = {}
        self.asked = 0

    def answers(self, record: Record, end: float) -> "_Answers":
        who = record.region, record.device, record.account, record.fault
        if who not in self._histories:
            self._histories[who] = _History(self._entries(record))
        history = self._histories[who]
        # What no overlay names has the answer of any other.
        service = record.service if record.service in self._pack.by_service else None
        place = *history.place(record, end), service
        if place not in history.answers:
            history.answers[place] = _Answers(self, record, service, history.entries[: place[0]])
        return history.answers[place]

    def _entries(self, record: Record) -> list[dict]:
        """Those about its subjects, and whatever shares an id with one of them."""
        own = [e for who in (("device", record.device), ("account", record.account)) for e in self._about.get(who, ())]
        ids = dict.fromkeys(entry["entry_id"] for entry in own)
        return [entry for id_ in ids for entry in self._of_id[id_] if record.region in entry["acts_in"]]

    def decided(self, record: dict, shape: tuple, where: tuple, name: str, entries: list[dict]) -> tuple[bool, bool]:
        """(open, stands). `where` is a region and a service."""
        if self._bounded:
            opened = self._ask(record, shape, where, name, entries, True)
            return opened, opened
        opened = self._ask(record, shape, where, name, entries, False)
        return opened, opened and self._ask(record, shape, where, name, entries, True)

    def _ask(self, record: dict, shape: tuple, where: tuple, name: str, entries: list[dict], bounded: bool) -> bool:
        key = shape, where, name, bounded
        if key not in self._known:
            self.asked += 1
            if (where, name) not in self._policies:
                self._policies[where, name] = policy_of(name, *where, self._pack)
            self._known[key] = decide(record, name, entries, self._policies[where, name], bounded)
        return self._known[key]


class _Answers(dict):
    """By purpose (open, stands), of records in one place of one history."""

    def __init__(self, judge: Judge, record: Record, service: str | None, entries: list[dict]) -> None:
        super().__init__()
        self._judge, self._entries, self._where = judge, entries, (record.region, service)
        names = ("device", "account", "fault", "app", "event_time")
        self._record = {name: getattr(record, name) for name in names} | {"received_time": record.received}
        self._shape = _shape(self._record, entries)

    def __missing__(self, name: str) -> tuple[bool, bool]:
        self[name] = self._judge.decided(self._record, self._shape, self._where, name, self._entries)
        return self[name]


def _shape(record: dict, entries: list[dict]) -> tuple:
    """A record and its entries without who they are about and when that was: what has the same shape has the same
    answer. Clocks are numbered in their order; where there are permissions alone, nothing is compared but each of them
    with the record."""
    event, receipt = record["event_time"], record["received_time"]
    role = {("device", record["device"]): 0, ("account", record["account"]): 1}
    ids: dict[str, int] = {}
    if all(entry["kind"] in PERMISSION_KINDS for entry in entries):
        clocks = [(entry["time"] <= event, entry["received_time"] <= receipt) for entry in entries]
        own = ()
    else:
        moments = {entry[clock] for entry in entries for clock in ("time", "received_time")} | {event, receipt}
        rank = {ms: place for place, ms in enumerate(sorted(moments))}
        clocks = [(rank[entry["time"]], rank[entry["received_time"]]) for entry in entries]
        own = rank[event], rank[receipt]
    seen = [
        (
            *(entry[name] for name in ("kind", "purposes", "app", "policy_version", "guardian")),
            role.get(entry["subject"], 2),
            ids.setdefault(entry["entry_id"], len(ids)),
            *pair,
        )
        for entry, pair in zip(entries, clocks, strict=True)
    ]
    return record["device"] is not None, record["account"] is not None, record["fault"], record["app"], own, *seen


# --- the answer


@dataclass(frozen=True)
class Expected:
    """Records that are no repetitions, in the order of their receipt, and what the rule says of each."""

    pack: Pack
    window_ms: int | None
    records: list[Record] = field(repr=False)
    opened: dict[str, np.ndarray] = field(repr=False)  # by purpose; of event types that it receives
    stands: dict[str, np.ndarray] = field(repr=False)
    gates: dict[str, np.ndarray] = field(repr=False)  # by purpose of a gate: whether it stands, on any event type
    lines: Counter = field(repr=False)  # (step, outcome) of the audit -> how many

    @cached_property
    def region(self) -> np.ndarray:
        """Places of their regions among the pack's."""
        code = {name: place for place, name in enumerate(self.pack.regions)}
        return np.array([code[record.region] for record in self.records], np.int64)

    @cached_property
    def event_type(self) -> np.ndarray:
        code = {name: place for place, name in enumerate(EVENT_TYPES)}
        return np.array([code[record.event_type] for record in self.records], np.int64)

    @cached_property
    def received(self) -> np.ndarray:
        return np.array([record.received for record in self.records], np.int64)

    @cached_property
    def datasets(self) -> dict[str, Dataset]:
        return datasets(self.pack)

    def rows(self, region: str, dataset: str) -> np.ndarray:
        """Places of the records that have a row in a region's dataset."""
        return np.flatnonzero(self._kept(dataset) & (self.region == list(self.pack.regions).index(region)))

    def _kept(self, dataset: str) -> np.ndarray:
        """Which records have a row in a dataset, in whichever region."""
        described = self.datasets[dataset]
        stands = self.stands[described.purpose]
        return stands & self._any_sensitive(described) if described.sensitive else stands

    @cached_property
    def total(self) -> int:
        """How many rows all stores hold together."""
        return sum(int(self._kept(dataset).sum()) for dataset in self.datasets)

    def _any_sensitive(self, dataset: Dataset) -> np.ndarray:
        found = np.zeros(len(self.records), bool)
        for column in dataset.columns:
            path = column.field.path
            if path in _EXACT:
                carried = np.array([self._carries(record, path, dataset.purpose) for record in self.records], bool)
                on = np.isin(self.event_type, list(column.events))
                found |= carried & on & (self.gates[column.gate] if column.gate else True)
        return found

    def _carries(self, record: Record, path: str, purpose: str) -> bool:
        """Whether a record has an exact location that no overlay keeps from the purpose."""
        if path not in record.exact:
            return False
        said = [each.columns.get(path) for each in sayings(self.pack, record.region, record.service, purpose)]
        return not any(coarser and coarser.form == "absent" for coarser in said)

    def counts(self) -> dict[tuple[str, str], Counter]:
        """What the audit must hold, by (step, outcome): how many of a region, event type and purpose; of what lies in
        no region, how many under ()."""
        found = {what: Counter({(): n}) for what, n in self.lines.items()}
        every = np.ones(len(self.records), bool)
        found["gate", "judged"] = Counter({(*place, ""): n for place, n in self._places(every).items()})
        parts = [(("gate", "opened"), name, opened) for name, opened in self.opened.items()]
        parts += [(("gate", "stopped"), name, self.opened[name] & ~stands) for name, stands in self.stands.items()]
        parts += [(("store", "stored"), name, self._kept(name)) for name in self.datasets]
        parts += [(("statistics", "counted"), name, self.stands[name]) for name in (self.pack.statistics.purpose,)]
        for what, name, of in parts:
            found.setdefault(what, Counter()).update({(*place, name): n for place, n in self._places(of).items()})
        return found

    def _places(self, of: np.ndarray) -> dict[tuple[str, str], int]:
        """(region, event type) -> how many of these records."""
        regions, many = list(self.pack.regions), len(EVENT_TYPES)
        found = np.bincount(self.region[of] * many + self.event_type[of])
        return {(regions[at // many], EVENT_TYPES[at % many]): int(found[at]) for at in np.flatnonzero(found)}

    # --- statistics

    def over(self, day: int) -> int:
        """When a day of statistics has ended."""
        return (day + 1) * DAY_MS + round(self.pack.statistics.grace_hours * _HOUR_MS)

    @cached_property
    def days(self) -> Counter:
        """(region, day) -> records that its release is made of, whether it is due or not."""
        return self._by_day(late=False)

    @cached_property
    def late(self) -> Counter:
        """(region, day) -> records that came when the day had ended."""
        return self._by_day(late=True)

    def _by_day(self, late: bool) -> Counter:
        counted = np.flatnonzero(self.stands[self.pack.statistics.purpose])
        found: Counter = Counter()
        for at in counted.tolist():
            record = self.records[at]
            day = record.event_time // DAY_MS
            if self.window_ms is None:
                is_late = False
            else:
                is_late = (record.received // self.window_ms + 1) * self.window_ms > self.over(day)
            if is_late == late:
                found[record.region, day] += 1
        return found


def expected(given: Input, pack: Pack, window_ms: int | None) -> Expected:
    """The answer. `window_ms` is None for a bounded run."""
    read = [record_of(line, received, pack) for line, received in given.telemetry]
    good = [record for record in read if record is not None]
    located = [record for record in good if record.region is not None]
    first: dict[tuple, Record] = {}
    for record in sorted(located, key=lambda record: record.received):
        first.setdefault(record.identity, record)
    records = list(first.values())
    entries = [entry_of(line, since, tuple(pack.regions)) for line, since in given.ledger]
    unreadable = sum(entry["kind"] == "unreadable" for entry in entries)
    ahead = sum(e["kind"] in PERMISSION_KINDS and e["time"] > e["received_time"] + _AHEAD_MS for e in entries)
    lines = Counter(
        {
            ("telemetry", "lines"): len(read),
            ("telemetry", "quarantined"): len(read) - len(good),
            ("telemetry", "unlocatable"): len(good) - len(located),
            ("telemetry", "decoded"): len(located),
            ("gate", "duplicates"): len(located) - len(records),
            ("ledger", "lines"): len(entries),
            ("ledger", "quarantined"): unreadable,
            ("ledger", "entries"): len(entries) - unreadable - ahead,
        }
    )
    return Expected(
        pack, window_ms, records, *_judged(records, Judge(pack, entries, window_ms is None), pack, window_ms), lines
    )


def _judged(records: list[Record], judge: Judge, pack: Pack, window_ms: int | None) -> tuple[dict, dict, dict]:
    opened = {name: np.zeros(len(records), bool) for name in pack.purposes}
    stands = {name: np.zeros(len(records), bool) for name in pack.purposes}
    gates = {gate.purpose: np.zeros(len(records), bool) for gate in pack.gates}
    wanted: dict[tuple, tuple[list[str], list[str], list[str]]] = {}
    for at, record in enumerate(records):
        end = inf if window_ms is None else (record.received // window_ms + 1) * window_ms
        kind = record.event_type, record.source, record.notice, bool(record.exact), record.region, record.service
        if kind not in wanted:
            wanted[kind] = _admitted(record, pack)
        answers = judge.answers(record, end)
        fits, gated, fed = wanted[kind]
        for name in fits:
            opened[name][at], stands[name][at] = _collected(record, name, pack, fed, answers)
        for name in gated:
            gates[name][at] = _collected(record, name, pack, fed, answers)[1]
    return opened, stands, gates


def _collected(record: Record, name: str, pack: Pack, fed: list[str], answers: "_Answers") -> tuple[bool, bool]:
    """(open, stands), heeding what is collected of the record's event type."""

    of = record.event_type, record.region, pack

    def asked(which: int) -> bool:
        return answers[name][which] and collected(
            name, *of, lambda each: each in fed and answers[each][which], record.service
        )

    return asked(0), asked(1)


def _admitted(record: Record, pack: Pack) -> tuple[list[str], list[str], list[str]]:
    """The purposes that receive such a record, whoever it is of, those that are asked for its exact location, and all
    that it may feed, whatever its event type."""
    fits = [
        name
        for name in pack.purposes
        if admitted(name, record.event_type, record.source, record.notice, record.region, record.service, pack)
    ]
    gates = [gate.purpose for gate in pack.gates if record.exact and gate.purpose in fits]
    return [name for name in fits if record.event_type in pack.purposes[name].events], gates, fits
