"""Telemetry and a ledger with a value of our own in every field, in unknown fields, in names, and in lines gone wrong.

Everything that was planted is in `Planted.values`; nothing of it may be found in what a run leaves.
"""

import json
import random
import string
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from schemas.fields import EVENT_FIELDS, EVENT_TYPES, LEDGER_FIELDS, STRING, STRINGS, Field, Handling, payload_of

_FORMS = ("{}", "seen {} today")
_TIME, _EARLIER = "2021-03-02T10:00:00.000Z", "2021-02-01T10:00:00.000Z"
_HOME = {"device_region": "NL"}


@dataclass
class Planted:
    """Lines, and what stands in them."""

    seed: int
    values: set[str] = field(default_factory=set, repr=False)
    events: list[bytes] = field(default_factory=list, repr=False)
    entries: list[bytes] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        for event_type in EVENT_TYPES:
            for kind in ("email", "phone", "imei", "mac", "uuid", "card", "jwt", "user", "android_id"):
                for form in _FORMS:
                    self._add_event(event_type, kind, form)
        self._add_strange_events()
        self._add_ledger()

    def write(self, folder: Path) -> tuple[Path, Path]:
        events, consents = folder / "planted.ndjson", folder / "planted-ledger.ndjson"
        events.write_bytes(b"\n".join(self.events) + b"\n")
        consents.write_bytes(b"\n".join(self.entries) + b"\n")
        return events, consents

    # --- telemetry

    def _add_event(self, event_type: str, kind: str, form: str) -> None:
        event = self._event(event_type)
        for each in EVENT_FIELDS:
            if payload_of(each.path) not in (None, event_type) or each.path in ("event_id", "device.android_id"):
                continue
            value = self._value_for(each, kind, form)
            if value is not None:
                _put(event, each.path, value)
        self.events.append(json.dumps(event).encode())
        grant = self._entry("grant", event["device"]["android_id"])
        self.entries.append(json.dumps(grant).encode())

    def _event(self, event_type: str) -> dict:
        """One that is valid: what else is planted in it is all that could be wrong with it."""
        return {
            "event_id": self._made("uuid"),
            "event_type": event_type,
            "schema_version": 1,
            "event_time": _TIME,
            "received_time": _TIME,
            "source": "device",
            "service": "test",
            "residency": dict(_HOME),
            "device": {"android_id": self._made("android_id")},
        }

    def _value_for(self, each: Field, kind: str, form: str) -> str | None:
        if each.handling is Handling.IDENTIFIER:
            return self._made(each.kind if each.kind in self._MAKERS else "uuid")
        if each.handling is Handling.ADDRESS:
            return self._made("ipv4" if kind == "email" else "ipv6")
        if each.handling is Handling.TEXT:
            address, password = self._hidden("ipv4", "{}:443"), self._made("name")
            return f"{self._hidden(kind, form)}\nat {address} password={password}"
        free = each.handling is Handling.LABEL and not each.values
        return self._hidden(kind, form) if free else None

    def _hidden(self, kind: str, form: str) -> str:
        """A value in the company in which it is met: a bare one of some kinds is like any other word."""
        value = self._made(kind)
        return form.format({"user": f"/home/{value}/x", "android_id": f"android_id={value}"}.get(kind, value))

    def _add_strange_events(self) -> None:
        for event_type in EVENT_TYPES:
            for each in EVENT_FIELDS:  # every field, with a text that does not belong there
                if each.type == STRING and payload_of(each.path) in (None, event_type):
                    event = self._event(event_type)
                    _put(event, each.path, self._made("email"))
                    self.events.append(json.dumps(event).encode())
            event = self._event(event_type)
            event["comment"] = self._made("email")
            event[self._made("email")] = 1
            event["device"] |= {"owner": self._made("name"), self._made("imei"): {"deep": [self._made("phone")]}}
            self.events.append(json.dumps(event).encode())
            event["account_id"] = int(self._made("imei"))  # a number in place of a word
            self.events.append(json.dumps(event).encode())
        whole = json.dumps(self._event("crash") | {"crash": {"trace": self._made("email")}}).encode()
        self.events += [
            whole[:-9],
            whole + whole,
            whole.replace(b'"test"', b'"\xff\xfe"'),
            whole.replace(b"crash", self._made("name").encode()),
            f"login of {self._made('email')} from {self._made('ipv4')}".encode(),
            whole.replace(b'"test"', b'"%s"' % (b"x" * 70_000)),
            json.dumps(self._made("email")).encode(),
            b"[" + whole + b"]",
        ]

    # --- ledger

    def _entry(self, kind: str, subject: str, type_: str = "device") -> dict:
        return {
            "entry_id": self._made("uuid"),
            "time": _EARLIER,
            "received_time": _EARLIER,
            "kind": kind,
            "subject": {"type": type_, "value": subject},
            "purposes": ["*"],
            "policy_version": "2021-01-15",
            "residency": dict(_HOME),
            "reference": self._made("name"),
        }

    def _add_ledger(self) -> None:
        for kind in ("grant", "withdraw"):
            for each in LEDGER_FIELDS:
                if each.type not in (STRING, STRINGS):
                    continue
                # In these two a bare name is as good as any word; elsewhere it has no business.
                for what in ("email", "imei", *(["name"] if each.path not in ("app", "policy_version") else [])):
                    entry = self._entry(kind, self._made("android_id"))
                    value = self._made(what)
                    _put(entry, each.path, [value, "support"] if each.type == STRINGS else value)
                    entry[self._made("email")] = self._made("phone")
                    self.entries.append(json.dumps(entry).encode())
        account = json.dumps(self._entry("grant", self._made("account_id"), "account")).encode()
        self.entries += [account, account[:-30], account.replace(b'"grant"', b'"%s"' % self._made("name").encode())]

    # --- values

    def _made(self, kind: str) -> str:
        value = self._MAKERS[kind](self)
        self.values.add(value)
        return value

    def _text(self, letters: str, length: int) -> str:
        return "".join(self._random.choices(letters, k=length))

    def _name(self) -> str:
        return self._text(string.ascii_lowercase, 12)

    def _numbered(self, length: int) -> str:
        """Digits that end in their check digit (ISO/IEC 7812-1, annex B)."""
        body = "4" + self._text(string.digits, length - 2)
        doubled = [int(digit) * (2 - (place + length) % 2) for place, digit in enumerate(body)]
        return body + str(-sum(d - 9 * (d > 9) for d in doubled) % 10)

    def _uuid(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))

    _MAKERS = {
        "name": _name,
        "user": _name,
        "email": lambda self: f"{self._name()}.{self._name()}@mail.example.com",
        "phone": lambda self: f"+316{self._text(string.digits, 8)}",
        "card": lambda self: self._numbered(16),
        "jwt": lambda self: f"eyJhbGciOiJIUzI1NiJ9.{self._text(string.ascii_letters, 40)}.{self._name()}{self._name()}",
        "ipv4": lambda self: "198.51." + f"{self._random.randrange(100, 256)}.{self._random.randrange(100, 256)}",
        "ipv6": lambda self: "2001:db8:" + ":".join(f"{self._random.randrange(4096, 65536):x}" for _ in range(6)),
        "uuid": _uuid,
        "imei": lambda self: self._numbered(15),
        "imsi": lambda self: "20404" + self._text(string.digits, 10),
        "mac": lambda self: ":".join(["02", *(f"{self._random.randrange(256):02x}" for _ in range(5))]),
        "serial": lambda self: self._text(string.ascii_uppercase + string.digits, 12),
        "android_id": lambda self: f"{self._random.randrange(2**60, 2**64):016x}",
        "account_id": lambda self: f"u-{self._text(string.digits, 12)}",
        "space_id": lambda self: self._text(string.ascii_letters, 10),
        "fcm_token": lambda self: (
            self._text(string.ascii_letters, 20) + ":APA91b" + self._text(string.ascii_letters, 60)
        ),
    }


def _put(line: dict, path: str, value: object) -> None:
    *parents, leaf = path.split(".")
    for parent in parents:
        line = line.setdefault(parent, {})
    line[leaf] = value
