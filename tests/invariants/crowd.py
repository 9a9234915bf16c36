"""Made-up people with histories of consent, and what the rule says of each of their records.

Every record carries a label of its own in `service` (`r.<region>.<number>`), which the policy of these tests brings
into every dataset: so a stored row tells which record it is of, and in which region it belongs. Where the policy shuts
a service out, some records are of that service or of none instead: no row of theirs may stand anywhere.
"""

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import yaml

from schemas.fields import EVENT_TYPES, PERMISSION_KINDS, STOP_KINDS
from schemas.pack_files import DEFAULT_PACK, SHIPPED, load_pack
from schemas.policy import Pack
from tests.oracle import STOPS, admitted, collected, decide, policy_of

LABEL = "service"
_START = datetime(2021, 3, 1, tzinfo=UTC)
_TICK_MS = 30_000  # eight of them stay below the five minutes by which a clock may run ahead
_APPS = (None, "com.example.map", "com.example.mail")
_VERSIONS = (None, "2020-01-01", "2021-01-15", "2022-02-02")
# (region, residency signals) by clause 6: settings, SIM or account alone; travellers and conflicts; the special areas.
HOMES = (
    ("cn", {"device_region": "CN", "sim_mcc": 460}),
    ("cn", {"device_region": "US", "sim_mcc": 460}),  # the localising region wins
    ("cn", {"account_country": "US", "device_region": "CN"}),
    ("sg", {"device_region": "HK", "sim_mcc": 454}),  # not the mainland
    ("sg", {"device_region": "TW"}),
    ("sg", {"device_region": "MO"}),
    ("sg", {"sim_mcc": 525}),
    ("sg", {"account_country": "BR", "device_region": "US"}),  # neither localises: the first signal
    ("in", {"device_region": "IN", "sim_mcc": 404}),
    ("in", {"account_country": "IN", "device_region": "CN"}),
    ("in", {"account_country": "DE", "sim_mcc": 404}),
    ("ru", {"sim_mcc": 250}),
    ("ru", {"account_country": "RU", "device_region": "DE", "sim_mcc": 262}),
    ("eu", {"device_region": "NL"}),
    ("eu", {"device_region": "IS", "sim_mcc": 274}),
    ("eu", {"account_country": "US", "device_region": "NO"}),
    ("us", {"device_region": "US", "sim_mcc": 310}),
    ("us", {"account_country": "US", "device_region": "BR"}),
)


def write_pack(folder: Path, pack: Path = SHIPPED / DEFAULT_PACK) -> Path:
    """A policy, the shipped one if none is named, with its overlays and with the label in each dataset of records."""
    shutil.copytree(pack, folder)
    for file in folder.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        for purpose in content.get("purposes", {}).values():
            if not purpose.get("stored", True):
                continue
            purpose["columns"][LABEL] = "plain"
            purpose["events"] = {event: [*{*paths, LABEL}] for event, paths in purpose["events"].items()}
        content.get("lists", {}).pop("common_services", None)  # no column keeps its words any more
        file.write_text(yaml.safe_dump(content, sort_keys=False))
    return folder


@dataclass
class Crowd:
    """Records, entries, and the lines that say so."""

    seed: int
    people: int
    pack: Pack = field(default_factory=load_pack)
    homes: Sequence[tuple[str, dict]] = HOMES
    records: list[dict] = field(default_factory=list)
    entries: list[dict] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random, self._numbers = random.Random(self.seed), count(1)
        self._purposes, self._regions = [*self.pack.purposes], tuple(self.pack.regions)
        self._named = min(5, (len(self._purposes) + 1) // 2)  # purposes in an entry that does not name all
        for _ in range(self.people):
            self._add_person()

    def write(self, folder: Path) -> tuple[Path, Path]:
        events, consents = folder / "events.ndjson", folder / "consents.ndjson"
        lines = [json.dumps(record["line"]) for record in self.records]
        self._random.shuffle(lines)
        ledger = [json.dumps(entry["line"]) for entry in self.entries]
        self._random.shuffle(ledger)
        events.write_text("\n".join(lines) + "\n")
        consents.write_text("\n".join(ledger) + "\n")
        return events, consents

    def expected(self, pack: Pack) -> dict[tuple[str, str], set[str]]:
        """The labels that belong in each (region, dataset)."""
        found: dict[tuple[str, str], set[str]] = {}
        for name, purpose in pack.purposes.items():
            for record in self.opened(name, pack) if purpose.stored else ():
                if record["type"] in purpose.events:
                    found.setdefault((record["region"], name), set()).add(record["label"])
        return found

    def opened(self, name: str, pack: Pack) -> Iterator[dict]:
        """The records for which a purpose is open, whether or not it receives their event type: an earlier record of
        the same event id hides the others."""
        first: dict[tuple, dict] = {}
        read = (record for record in self.records if LABEL in record["line"])  # without it a line is rejected, unseen
        for record in sorted(read, key=lambda record: record["received_time"]):
            first.setdefault((record["region"], record["device"], record["account"], record["id"]), record)
        return (record for record in first.values() if self._is_open(record, name, pack))

    def _is_open(self, record: dict, name: str, pack: Pack) -> bool:
        about = {("device", record["device"]), ("account", record["account"])}
        # A stop acts everywhere, a permission where it was given.
        acting = [e for e in self.entries if e["subject"] in about and record["region"] in e["acts_in"]]
        region, service = record["region"], record["line"].get(LABEL)

        def opened(name: str) -> bool:
            where = region, service, pack
            fits = admitted(name, record["type"], record["source"], None, *where)
            return fits and decide(record, name, acting, policy_of(name, *where), bounded=True)

        return opened(name) and collected(name, record["type"], region, pack, opened, service)

    def _clock(self) -> int:
        return self._random.randrange(1, 9) * _TICK_MS

    def _add_person(self) -> None:
        pick = self._random.choice
        region, home = pick(self.homes)
        devices = [f"{self._random.randrange(1, 2**64):016x}" for _ in range(2)]
        account = f"u-{next(self._numbers)}.{self._random.randrange(10**9)}"
        for _ in range(self._random.randrange(10)):
            subject = pick([("device", devices[0]), ("device", devices[1]), ("account", account)])
            self._add_entry(subject, region, home)
            if self._random.random() < 0.1:
                self._add_entry(subject, region, home, entry_id=self.entries[-1]["entry_id"])
        for _ in range(4):
            self._add_record(pick([devices[0], *devices, None]), pick([account, None]), region, home)

    def _add_entry(self, subject: tuple[str, str], region: str, home: dict, entry_id: str | None = None) -> None:
        pick = self._random.choice
        kinds = [*STOP_KINDS, *PERMISSION_KINDS, *["grant"] * 8, "unreadable"]
        kind = pick(kinds)
        time, received = self._clock(), self._clock()
        if self._random.random() < 0.05:
            time = received + pick([300_000, 300_001])
        entry = {
            "entry_id": entry_id or f"e-{next(self._numbers)}",
            "subject": subject,
            "kind": kind,
            "purposes": frozenset(["*"] if pick([True, False]) else self._random.sample(self._purposes, self._named)),
            "app": pick(_APPS + _APPS[1:2] * 3),
            "policy_version": pick(_VERSIONS),
            "guardian": pick([True, False, False]),
            "time": time,
            "received_time": received,
            "acts_in": self._regions if kind in (*STOPS, "unreadable") else (region,),
        }
        self.entries.append(entry | {"line": self._entry_line(entry, home)})

    def _entry_line(self, entry: dict, home: dict) -> dict:
        type_, value = entry["subject"]
        line = {
            "entry_id": entry["entry_id"],
            "time": _time(entry["time"]),
            "received_time": _time(entry["received_time"]),
            "kind": entry["kind"],  # `unreadable` is no word of the ledger, so such a line is rejected
            "subject": {"type": type_, "value": self._spelt(value) if type_ == "device" else value},
            "purposes": sorted(entry["purposes"]),
            "residency": home,
        }
        line |= {name: entry[name] for name in ("app", "policy_version") if entry[name] is not None}
        return line | ({"guardian": "parent"} if entry["guardian"] else {})

    def _add_record(self, device: str | None, account: str | None, region: str, home: dict) -> None:
        pick = self._random.choice
        event, received = self._clock(), self._clock()
        record = {
            "region": region,
            "label": f"r.{region}.{next(self._numbers)}",
            "id": str(UUID(int=self._random.getrandbits(128))),
            "type": pick((*EVENT_TYPES, "location", "location")),
            "source": pick(["device", "device", "device", "web", "partner"]),
            "device": device,
            "account": account,
            "fault": device is None and pick([True, False]),
            "app": pick(_APPS + _APPS[1:2] * 3),
            "event_time": event,
            "received_time": received,
        }
        self.records.append(record | {"line": self._record_line(record, home)})
        if self._random.random() < 0.1:
            again = record | {"received_time": received + _TICK_MS, "label": f"r.{region}.{next(self._numbers)}"}
            self.records.append(again | {"line": self._record_line(again, home)})

    def _service(self, label: str) -> dict:
        """What a record says of its service: the label, or for one in sixteen one that is shut out, or nothing."""
        shut_out = [name for name, overlay in self.pack.by_service.items() if overlay.closed == "all"]
        number = int(label.rpartition(".")[2])
        if shut_out and number % 16 == 0:
            return {LABEL: shut_out[number % len(shut_out)]} if number % 32 else {}
        return {LABEL: label}

    def _record_line(self, record: dict, home: dict) -> dict:
        line = {
            "event_id": record["id"],
            "event_type": record["type"],
            "schema_version": 1,
            "event_time": _time(record["event_time"]),
            "received_time": _time(record["received_time"]),
            "source": record["source"],
            **self._service(record["label"]),
            "residency": home,
            "location": {"latitude": 1.5, "longitude": 2.5, "mcc": 204},
            "device": {"os_version": "11"},
        }
        if record["device"]:
            line["device"]["android_id"] = self._spelt(record["device"])
        elif record["fault"]:  # a device identifier without a subject that could have consented
            line["device"]["serial"] = "TEST0000001"
        line |= {"account_id": record["account"]} if record["account"] else {}
        return line | ({"app": {"package": record["app"]}} if record["app"] else {})

    def _spelt(self, android_id: str) -> str:
        return self._random.choice([android_id, android_id.upper()])


def _time(ms: int) -> str:
    return (_START + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
