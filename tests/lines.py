"""Small valid inputs: telemetry events and ledger entries as dicts, their lines, and keys to seal them with."""

import json
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from schemas.fields import EVENT_FIELDS, payload_of
from transforms.keyring import create_keystore

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z, in milliseconds as all times here
ANDROID_ID = "1f3a5c7e9b0d2468"
EXAMPLES = {  # one value a kind of identifier, none of which is a placeholder
    "event_id": "0b8f4c1e-6f0a-4f63-9d0e-2a4f5c7b9e10",
    "oaid": "7d3f1c52-90aa-4b1e-8c66-5e0f2b7a9d34",
    "gaid": "38400000-8cf0-11bd-b23e-10b96e40000d",
    "vaid": "c2a9e5d0-1b47-4c8f-a3d6-94e7f0b1528a",
    "aaid": "5f6e0d3c-2b1a-4987-b6c5-d4e3f2a10b9c",
    "android_id": ANDROID_ID,
    "imei": "490154203237518",
    "meid": "AF0123450ABCDE",
    "imsi": "204046620123456",
    "mac": "00:00:5e:00:53:01",
    "serial": "28041JEHN03298",
    "account_id": "acct-6200114873",
    "space_id": "space-1073",
    "fcm_token": "dGVzdA:APA91bExampleOnly_0",
}


def moment(milliseconds: int) -> str:
    """A time as the lines write it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_id(number: int) -> str:
    return str(UUID(int=(number + 1) * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)))


def event(number: int = 0, event_type: str = "session", received: int = NOW, time: int | None = None, **more) -> dict:
    """An event of the region `eu`. `more` are members by path, a dot written as two underscores: `device__imei=...`."""
    made = {
        "event_id": event_id(number),
        "event_type": event_type,
        "schema_version": 1,
        "event_time": moment(received if time is None else time),
        "received_time": moment(received),
        "source": "device",
        "service": "browser",
        "residency": {"account_country": "NL"},
    }
    for name, value in more.items():
        parent, _, leaf = name.rpartition("__")
        (made.setdefault(parent, {}) if parent else made)[leaf] = value
    return made


def full_event(event_type: str, number: int = 0, **more) -> dict:
    """An event in which every field that may stand in it has a value that is told apart from all others'."""
    values = {}
    for place, field in enumerate(EVENT_FIELDS):
        if (
            field.path in event()
            or field.path.startswith("residency.")
            or payload_of(field.path) not in (None, event_type)
        ):
            continue
        numbered = {"int64": 10 + place, "float64": 10.5 + place}.get(field.type, f"word-{place}")
        value = EXAMPLES.get(field.kind) or (field.values[0] if field.values else numbered)
        values[field.path.replace(".", "__")] = "203.0.113.77" if field.path == "ip" else value
    return event(number, event_type, **values | more)


def entry(kind: str = "grant", received: int = NOW, time: int | None = None, number: int = 0, **more) -> dict:
    """A ledger entry of the region `eu` about the device of `ANDROID_ID` and all purposes."""
    made = {
        "entry_id": f"entry-{number}",
        "time": moment(received if time is None else time),
        "received_time": moment(received),
        "kind": kind,
        "subject": {"type": "device", "value": ANDROID_ID},
        "purposes": ["*"],
        "policy_version": "2021-01-15",
        "residency": {"account_country": "NL"},
    }
    return made | more


def ndjson(*lines: dict) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def keystores(folder: Path, regions: dict[int, str]) -> dict[int, str]:
    """A new local keystore for each region code; their URIs."""
    uris = {code: f"local:{folder / name}" for code, name in regions.items()}
    for code, name in regions.items():
        create_keystore(uris[code], name)
    return uris
