"""What somebody who knows only the published interface has: own files, a deployment, and the command line."""

import copy
import io
import json
import shutil
import uuid
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pyarrow as pa

from schemas.tallies import Totals

REGIONS = ("cn", "in", "ru", "eu", "us", "sg")
COUNTRY = {"cn": "CN", "in": "IN", "ru": "RU", "eu": "DE", "us": "US", "sg": "SG"}
DEVICE = "1f3a5c7e9b0d2468"
HANDSETS = {  # Android ID, IMEI, IMSI (the second has 14 digits), MAC, FCM token
    "1f3a5c7e9b0d2468": ("490154203237518", "204046620123456", "00:00:5e:00:53:01", "dGVzdA:APA91bExampleOnly_0"),
    "2f3a5c7e9b0d2469": ("352099001761481", "26201012345678", "00:00:5e:00:53:ff", "ZmlyZQ:APA91bAnotherOne-11"),
}


def event(number: int = 1, event_type: str = "session", region: str = "eu", **changes) -> dict:
    """An event with what is required, a device and its measures; `changes` replace members or, if None, remove them."""
    made = {
        "event_id": str(uuid.UUID(int=number)),
        "event_type": event_type,
        "schema_version": 1,
        "event_time": "2021-03-01T10:00:00.000Z",
        "received_time": "2021-03-01T10:00:05.000Z",
        "source": "device",
        "service": "browser",
        "residency": {"account_country": COUNTRY[region]},
        "device": {"android_id": DEVICE},
        event_type: {"session": {"duration_ms": 61_000, "events": 3}}.get(event_type, {}),
    }
    return {key: value for key, value in (made | changes).items() if value is not None}


def entry(number: int, kind: str, device: str = DEVICE, **changes) -> dict:
    """An entry of the ledger about a device, of long before the events."""
    made = {
        "entry_id": f"entry-{number}",
        "time": "2021-02-01T00:00:00.000Z",
        "received_time": "2021-02-01T00:00:00.000Z",
        "kind": kind,
        "subject": {"type": "device", "value": device},
        "purposes": ["*"],
        "policy_version": "2021-01-15",
        "residency": {"account_country": "DE"},
        "reference": f"case {number}",
    }
    return made | changes


def ndjson(*objects: dict) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in objects)


def deploy(folder: Path, regions: tuple[str, ...] = REGIONS, **more: str) -> Path:
    """A deployment file in a folder, its stores and keys beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    places = {region: {"store": f"stores/{region}", "keys": f"local:keys/{region}"} for region in regions}
    path = folder / "deployment.yaml"
    path.write_text(json.dumps({"regions": places, **more}))  # JSON is YAML
    return path


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def errors(self) -> list[str]:
        """What it said was wrong, line by line."""
        return [line for line in self.err.splitlines() if line.startswith("douane ")]

    @property
    def counts(self) -> Totals:
        """Of `ingest --json`: what was counted."""
        rows = json.loads(self.out)["counts"]
        words = [name for name in rows[0] if name != "count"] if rows else ["region", "step", "outcome", "purpose"]
        schema = pa.schema([*((name, pa.string()) for name in words), ("count", pa.int64())])
        return Totals(pa.Table.from_pylist(rows, schema))

    @property
    def opened(self) -> set[str]:
        """Of `ingest --json`: the purposes that were opened for any record."""
        return set(self.counts.by("purpose", step="gate", outcome="opened"))


def command(module: ModuleType, *arguments: object) -> Outcome:
    """Runs a command in this process, as the shell would see it."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            status = module.main([str(each) for each in arguments])
        except SystemExit as end:  # argparse leaves like this
            status = end.code
    return Outcome(status, out.getvalue(), err.getvalue())


@dataclass(frozen=True)
class Prepared:
    """A run that has been made: its deployment and input, and how it ended."""

    folder: Path
    outcome: Outcome

    @property
    def deployment(self) -> Path:
        return self.folder / "deployment.yaml"

    def copy(self, folder: Path) -> "Prepared":
        """The same data and keys elsewhere, for a test to spoil."""
        shutil.copytree(self.folder, folder)
        return Prepared(folder, copy.copy(self.outcome))
