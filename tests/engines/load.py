"""Load for a stream: people who use their phones, and who change their minds about it while they do.

    python -m tests.engines.load --bootstrap HOST:PORT --telemetry T --ledger T --events N --rate R --report FILE
    python -m tests.engines.load --telemetry-folder F --ledger-folder F --events N --days D --report FILE

The first writes to two topics of a broker, at a rate, and waits for a broker that is gone. The second writes the files
and markers of two watched folders, days of receipt within as many seconds as are asked for. When all events are
delivered FILE tells what was sent; to the topics heartbeats go on until the process is ended.

Most people say yes once, and some never do. One in twenty-four is restless: all that happens to the ledger while the
stream runs is theirs. One seed makes the same people; when they act follows the clock.
"""

import argparse
import json
import random
import signal
import sqlite3
import string
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from pipelines.outbox import SCHEMA
from schemas.pack_files import load_pack
from tests.engines.pack import NUMBER_OF
from tests.invariants.crowd import HOMES

HEARTBEAT = b"__watermark__"
DAY_MS = 86_400_000
_EPOCH = date(1970, 1, 1).toordinal()
_EVENTS_A_PERSON, _EVENTS_AN_ACT = 25, 80
_APPS = (None, "com.example.map", "com.example.mail", "com.example.notes")
_TYPES = {
    "app_usage": 20,
    "session": 14,
    "location": 12,
    "page_view": 10,
    "device_state": 8,
    "service_activity": 8,
    "crash": 8,
    "network_request": 6,
    "app_lifecycle": 5,
    "push_interaction": 4,
    "ad_interaction": 3,
    "activation": 2,
}
_KINDS = {
    "grant": 9,
    "withdraw": 4,
    "object": 3,
    "lift_objection": 2,
    "restrict": 2,
    "lift_restriction": 2,
    "minor": 1,
    "adult": 2,
    "erase": 2,
    "close": 1,
    "garbled": 2,  # no word of the ledger: such a line is rejected, and a correction follows
}
_LINES_A_MESSAGE = (1, 1, 1, 5, 20, 50)
_AGAIN, _MALFORMED, _NOWHERE = 0.01, 0.005, 0.003  # shares of the events
_WAITING = 20_000  # lines that may yet be sent a second time
_MOST = 5_000  # lines between two looks at the clock
_PARTS = 20  # moments of receipt within a file
_QUOTA = 60  # values of a kind that are looked for afterwards
JSON = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


@dataclass(frozen=True)
class Person:
    region: str
    home: dict
    devices: tuple[str, ...]
    account: str
    imei: str
    email: str

    @property
    def subjects(self) -> list[tuple[str, str]]:
        return [("device", device) for device in self.devices] + [("account", self.account)]


class Load:
    """The lines, one after the other. `now` is always the moment at which they are received, in milliseconds, and never
    goes back."""

    def __init__(self, seed: int, events: int) -> None:
        self._draw = random.Random(seed)
        self._people = [self._person(number) for number in range(max(40, events // _EVENTS_A_PERSON))]
        self._restless = self._people[::24]
        self._purposes = sorted(load_pack().purposes)
        self._types = [name for name, share in _TYPES.items() for _ in range(share)]
        self._sent: deque[str] = deque(maxlen=_WAITING)
        self._corrections: list[tuple[int, dict]] = []
        self._number = self._entries = 0
        self._acts = 0.0

    def canaries(self) -> list[str]:
        """Values that identify, in the lines as fields, in free text and in labels. None may be found afterwards."""
        some = self._people[:_QUOTA]
        return sorted(value for p in some for value in (p.account, p.imei, p.email, *p.devices))

    # --- telemetry

    def lines(self, now: int, count: int) -> list[str]:
        """So many lines of telemetry, received now."""
        return [self._line(now) for _ in range(count)]

    def _line(self, now: int) -> str:
        fate = self._draw.random()
        if fate < _AGAIN and self._sent:
            at = self._draw.randrange(len(self._sent))
            return _received(self._sent[at], now)
        line = self._event(now, nowhere=_AGAIN <= fate < _AGAIN + _NOWHERE)
        if fate > 1 - _MALFORMED:
            return self._malformed(line)
        if fate < 0.2:
            self._sent.append(line)
        return line

    def _malformed(self, line: str) -> str:
        return self._draw.choice(
            (
                line[: len(line) // 2],
                line.replace('"event_type":"', '"event_type":"un', 1),
                line.replace('"source":', '"sauce":', 1),
            )
        )

    def _event(self, now: int, nowhere: bool) -> str:
        draw, self._number = self._draw, self._number + 1
        person = draw.choice(self._people)
        event_type = draw.choice(self._types)
        happened = now - draw.randrange(2_000)
        if draw.random() < 0.15:  # offline for up to three days
            happened -= draw.randrange(3 * DAY_MS)
        event_id = f"{draw.getrandbits(128):032x}"
        event = {
            "event_id": "-".join((event_id[:8], event_id[8:12], event_id[12:16], event_id[16:20], event_id[20:])),
            "event_type": event_type,
            "schema_version": 1,
            "event_time": moment(happened),
            "received_time": moment(now),
            "source": draw.choice(("device", "device", "device", "web", "partner")),
            "service": draw.choices(("browser", "notes", person.email), (97, 2, 1))[0],
            "ip": "203.0.113.77",
            "residency": {} if nowhere else person.home,
            "device": self._device(person),
            "location": {"mcc": 204},
        }
        if draw.random() < 0.7:
            event["account_id"] = person.account
        if app := draw.choice(_APPS):
            event["app"] = {"package": app, "version": "12.4.1"}
        self._add_payload(event, person)
        return JSON(event)

    def _device(self, person: Person) -> dict:
        draw = self._draw
        device = {"os_version": "11", "model": "M2007J3SY"}
        fate = draw.random()
        if fate < 0.95:
            android_id = draw.choice(person.devices)
            device["android_id"] = android_id if fate < 0.5 else android_id.upper()
        if fate > 0.9:  # above 0.95 the only identifier of the device, about which nobody could have consented
            device["imei"] = person.imei
        return device

    def _add_payload(self, event: dict, person: Person) -> None:
        draw, event_type = self._draw, event["event_type"]
        if event_type in ("location", "activation"):
            event["location"]["cell_id"] = 1_234_567
        if event_type == "location":
            event["location"] |= {"latitude": 52.37, "longitude": 4.89}
        if event_type in NUMBER_OF:
            event[event_type] = {NUMBER_OF[event_type].partition(".")[2]: self._number}
        elif event_type == "crash":
            event["crash"] = {
                "exception": f"Failed for {person.email}",
                "trace": f"at x\nimei={person.imei}",
                "signal": person.email,
            }
        elif event_type == "page_view":
            event["page_view"] = {"page": f"/home?mail={person.email}", "duration_ms": 1000}
        elif event_type == "push_interaction":
            notice = draw.choice(("system", "promotion"))
            event["push_interaction"] = {"action": "shown", "notice": notice}

    # --- the ledger

    def opening(self, now: int) -> list[dict]:
        """What stands in the ledger before anything happens."""
        return [entry for person in self._people for entry in self._opening(person, now)]

    def _opening(self, person: Person, now: int) -> Iterator[dict]:
        draw = self._draw
        if draw.random() < 0.85:
            for type_, value in person.subjects:
                if type_ == "device" or draw.random() < 0.5:
                    yield self._entry("grant", (type_, value), person, now)
        if draw.random() < 0.3:
            yield self._entry("grant", ("device", person.devices[0]), person, now, app=_APPS[1])

    def acts(self, now: int, events: int) -> list[dict]:
        """What happens to the ledger while so many events are received."""
        due = self.corrections(now, lambda at: at <= now)
        self._acts += events / _EVENTS_AN_ACT
        while self._acts >= 1:
            self._acts -= 1
            due.append(self._act(now))
        return due

    def corrections(self, now: int, due: Callable[[int], bool] = lambda at: True) -> list[dict]:
        """The corrections of lines that did not read, those that are due or all that are left, received now."""
        moments = {"received_time": moment(now), "time": moment(now)}
        found = [entry | moments for at, entry in self._corrections if due(at)]
        self._corrections = [(at, entry) for at, entry in self._corrections if not due(at)]
        return found

    def _act(self, now: int) -> dict:
        draw = self._draw
        person, kind = draw.choice(self._restless), draw.choices(list(_KINDS), list(_KINDS.values()))[0]
        subject = draw.choice(person.subjects)
        purposes = ["*"] if draw.random() < 0.5 else draw.sample(self._purposes, 6)
        more = {"app": draw.choice((None, *_APPS)), "guardian": draw.random() < 0.2}
        entry = self._entry(kind, subject, person, now, purposes, **more)
        if kind == "garbled":
            self._corrections.append((now + draw.randrange(2_000, 20_000), entry | {"kind": "grant"}))
        return entry

    def _entry(self, kind, subject, person: Person, now: int, purposes=("*",), app=None, guardian=False) -> dict:
        self._entries += 1
        entry = {
            "entry_id": f"e-{self._entries}-{self._draw.getrandbits(32):08x}",
            "time": moment(now - self._draw.randrange(3_000)),
            "received_time": moment(now),
            "kind": kind,
            "subject": {"type": subject[0], "value": subject[1]},
            "purposes": list(purposes),
            "policy_version": self._draw.choice(("2021-01-15", "2021-01-15", "2021-01-15", "2020-01-01")),
            "residency": person.home,
        }
        entry |= {"app": app} if app else {}
        return entry | ({"guardian": "parent"} if guardian else {})

    def _person(self, number: int) -> Person:
        draw = self._draw
        region, home = draw.choice(HOMES)
        devices = tuple(f"{draw.randrange(1 << 60, 1 << 64):016x}" for _ in range(draw.choice((1, 1, 2))))
        word = "".join(draw.choices(string.ascii_lowercase, k=9))
        imei = f"86{draw.randrange(10**12):012d}"
        return Person(
            region, home, devices, f"u-{number}.{draw.randrange(10**9):09d}", _with_luhn(imei), f"{word}@example.org"
        )


def moment(ms: int) -> str:
    """A time as the lines write it."""
    day, ms = divmod(ms, DAY_MS)
    minute, ms = divmod(ms, 60_000)
    return f"{_date(day)}T{minute // 60:02}:{minute % 60:02}:{ms // 1000:02}.{ms % 1000:03}Z"


@cache
def _date(day: int) -> str:
    return date.fromordinal(_EPOCH + day).isoformat()


def _received(line: str, now: int) -> str:
    """A line that is sent again: the same record, received now."""
    head, name, rest = line.partition('"received_time":"')
    return head + name + moment(now) + rest[24:]


def _with_luhn(digits: str) -> str:
    doubled = [int(d) * (1 + place % 2) for place, d in enumerate(digits)]
    return digits + str(-sum(d // 10 + d % 10 for d in doubled) % 10)


# --- to a broker


class _Topic:
    """A topic that everything written to it reaches once and in order, however often its broker dies."""

    def __init__(self, config: dict, topic: str) -> None:
        from confluent_kafka import Producer

        self._config = config | {
            "enable.idempotence": True,
            "acks": "all",
            "message.timeout.ms": 0,  # never: a broker that is gone comes back
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.kbytes": 256 * 1024,
            "reconnect.backoff.max.ms": 500,
        }
        self._producer, self._topic = Producer(self._config, on_delivery=self._delivered), topic
        self.partitions = sorted(self._producer.list_topics(topic, timeout=30).topics[topic].partitions)
        self.delivered = 0

    def _delivered(self, error, message) -> None:
        if error is not None:
            raise RuntimeError(f"a message of {self._topic} was not delivered: {error}")
        self.delivered += 1

    def send(self, value: bytes, key: bytes | None = None, partition: int = -1) -> None:
        while True:
            try:
                return self._producer.produce(self._topic, value, key, partition)
            except BufferError:
                self._producer.poll(0.1)

    def poll(self) -> None:
        self._producer.poll(0)

    def flush(self) -> None:
        while self._producer.flush(1):
            pass


class Clock:
    """The time in milliseconds, never going back."""

    def __init__(self) -> None:
        self._now = 0

    def __call__(self) -> int:
        self._now = max(self._now, time.time_ns() // 1_000_000)
        return self._now


def produce(options: argparse.Namespace) -> None:
    """Writes to both topics at the rate, then reports, then sends heartbeats until the process is ended."""
    config, clock, load = _config(options), Clock(), Load(options.seed, options.events)
    telemetry = _Topic(config, options.telemetry)
    ledger = _Outbox(options.outbox) if options.outbox else _Ledger(config, options.ledger)
    draw, started = random.Random(options.seed), clock()
    ledger.tell(load.opening(started))
    sent, heartbeat = 0, 0
    while sent < options.events:
        now = clock()
        # Behind a broker that was gone: caught up with, but not at once.
        due = min(options.events, int((now - started) * options.rate / 1000)) - sent
        due = min(due, max(1, options.rate // 2), _MOST)
        ledger.tell(load.acts(now, due))
        if now - heartbeat >= options.heartbeat_ms:
            ledger.beat(now)
            heartbeat = now
        for message in _messages(load.lines(now, due), draw):
            telemetry.send(message, partition=draw.choice(telemetry.partitions))
        sent += due
        telemetry.poll()
        ledger.poll()
        if due < _MOST:
            time.sleep(0.05)
    ledger.tell(load.corrections(clock()))
    telemetry.flush()
    ledger.flush()
    report(options.report, load, sent, started, clock())
    while not _ENDED:
        ledger.beat(clock())
        ledger.poll()
        time.sleep(options.heartbeat_ms / 1000)
    ledger.flush()


def _messages(lines: list[str], draw: random.Random) -> Iterator[bytes]:
    """One line or several in a message; of some the last does not end."""
    at = 0
    while at < len(lines):
        size = draw.choice(_LINES_A_MESSAGE)
        yield "\n".join(lines[at : at + size]).encode() + draw.choice((b"", b"\n"))
        at += size


class _Ledger(_Topic):
    """The ledger's topic, and what its one producer owes to whoever reads it."""

    def tell(self, entries: list[dict]) -> None:
        """Each keyed by its id."""
        for entry in entries:
            self.send(JSON(entry).encode(), entry["entry_id"].encode())

    def beat(self, now: int) -> None:
        """To every partition: whatever was received before now is ahead of this."""
        for partition in self.partitions:
            self.send(JSON({"low_watermark_ms": now}).encode(), HEARTBEAT, partition)


class _Outbox:
    """A consent service's database instead of the topic: `douane ledger relay` sends from it, and heartbeats."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, timeout=60)
        self._database.executescript(SCHEMA)

    def tell(self, entries: list[dict]) -> None:
        """In one transaction, which stamps their receipt."""
        stamped = ("entry_id", "received_time")
        rows = [
            (entry["entry_id"], JSON({name: value for name, value in entry.items() if name not in stamped}))
            for entry in entries
        ]
        with self._database:
            self._database.executemany("INSERT INTO douane_outbox (entry_id, entry) VALUES (?, ?)", rows)

    def beat(self, now: int) -> None:
        """The relay's part."""

    poll = flush = lambda self: None


def _config(options: argparse.Namespace) -> dict:
    """The properties of a file, or those of a broker in plain text."""
    if options.config is None:
        return {"bootstrap.servers": options.bootstrap}
    lines = Path(options.config).read_text().splitlines()
    pairs = (line.split("=", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): value.strip() for name, value in pairs}


# --- to watched folders


class _Folder:
    """A watched folder: files named with the time from which on their lines were received, and the marker."""

    def __init__(self, path: str) -> None:
        self._path, self._files = Path(path), 0
        self._path.mkdir(parents=True, exist_ok=True)

    def put(self, since: int, low_watermark: int, lines: Iterable[str]) -> None:
        """What was received since, and the word that all is there that was received before `low_watermark`."""
        if content := "".join(f"{line}\n" for line in lines):
            self._files += 1
            self._put(f"{since:013d}-{self._files:06d}.ndjson", content)
        self._put("_watermark", json.dumps({"low_watermark_ms": low_watermark, "files": self._files}))

    def _put(self, name: str, content: str) -> None:
        part = self._path / f".{name}.part"
        part.write_text(content)
        part.rename(self._path / name)


def write_folders(options: argparse.Namespace) -> None:
    """Days of receipt as files of two folders, in so many seconds. The clock of receipt is the load's own: it ends now,
    and then both watermarks go on by ten days, so that every window and every day ends."""
    telemetry, ledger = _Folder(options.telemetry_folder), _Folder(options.ledger_folder)
    load, end = Load(options.seed, options.events), Clock()()
    steps = max(1, options.days * DAY_MS // options.step_ms)
    start = end - steps * options.step_ms
    ledger.put(start - 1, start, map(JSON, load.opening(start - 1)))
    sent = 0
    for step in range(steps):
        since = start + step * options.step_ms
        lines, entries, until = [], [], options.events * (step + 1) // steps
        for part in range(_PARTS):
            now, due = since + part * options.step_ms // _PARTS, (until - sent) // (_PARTS - part)
            entries += load.acts(now, due)
            lines += load.lines(now, due)
            sent += due
        ledger.put(since, since + options.step_ms, map(JSON, entries))
        telemetry.put(since, since + options.step_ms, lines)
        time.sleep(options.seconds / steps)
    for folder in (telemetry, ledger):
        folder.put(end, end + 10 * DAY_MS, ())
    report(options.report, load, sent, start, end)


# --- both


def report(path: str, load: Load, events: int, started: int, ended: int) -> None:
    """Tells, in one piece, what was sent. It is there once everything was delivered."""
    told = {"events": events, "started_ms": started, "ended_ms": ended, "canaries": load.canaries()}
    part = Path(path).with_suffix(".part")
    part.write_text(json.dumps(told))
    part.rename(path)


_ENDED: list[int] = []


def main(argv: list[str] | None = None) -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = arguments.add_argument
    add("--bootstrap", default="127.0.0.1:9092")
    add("--config", metavar="FILE", help="properties of the client, instead of --bootstrap")
    add("--telemetry", default="telemetry", metavar="TOPIC")
    add("--ledger", default="ledger", metavar="TOPIC")
    add("--outbox", metavar="FILE", help="a database that `douane ledger relay` sends from, instead of --ledger")
    add("--telemetry-folder", metavar="DIR", help="files for watched folders instead of messages")
    add("--ledger-folder", metavar="DIR")
    add("--events", type=int, default=500_000)
    add("--rate", type=int, default=5_000, help="events a second")
    add("--heartbeat-ms", type=int, default=250)
    add("--days", type=int, default=4, help="days of receipt, in files")
    add("--step-ms", type=int, default=3_600_000, help="how much of them a file holds")
    add("--seconds", type=float, default=60, help="in how many seconds")
    add("--seed", type=int, default=1)
    add("--report", required=True, metavar="FILE")
    options = arguments.parse_args(argv)
    if options.telemetry_folder:
        write_folders(options)
        return 0
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda number, _: _ENDED.append(number))
    produce(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
