"""Plans of replays: which rows of a region's quarantine are sent again as one batch, and when they are received.

A plan is durable before anything is sent, so that a replay that breaks off is finished later under the same names and
with the same time of receipt: what it had stored is replaced by the same. A finished plan settles its rows for good.

    <quarantine>/replays/<batch>.json
"""

import base64
import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import pyarrow as pa

from pipelines.deployment import RegionalPlace
from pipelines.errors import ConfigurationError, InputError
from pipelines.whole_files import put_whole, writing
from schemas.quarantine import MENDED
from transforms.ipc import from_ipc, to_ipc

FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """Rows that are sent together. Row ids in hexadecimal, sorted."""

    batch: str  # names the stored files, as an input id does
    received_ms: int
    row_ids: tuple[str, ...]  # once it is done: those that need not be sent again
    mended: str = ""  # rows of MENDED, still sealed: Arrow IPC, base64
    done: bool = False

    @classmethod
    def of(cls, row_ids: Iterable[str], mended: pa.RecordBatch, received_ms: int) -> "Plan":
        """A new plan. Rows that were mended are sealed in it; the others stay where they are."""
        ids = tuple(sorted(row_ids))
        said = f"{received_ms} {' '.join(ids)}".encode()
        batch = blake2b(said, digest_size=8, person=b"douane replay").hexdigest()
        return cls(batch, received_ms, ids, base64.b64encode(to_ipc(mended)).decode() if len(mended) else "")

    @cached_property
    def mended_rows(self) -> pa.Table:
        if not self.mended:
            return MENDED.empty_table()
        return pa.Table.from_batches([from_ipc(base64.b64decode(self.mended))])


def plan_file(place: RegionalPlace, batch: str) -> Path:
    """Where the plan of a batch is kept."""
    return _folder(place) / f"{batch}.json"


def _folder(place: RegionalPlace) -> Path:
    return place.quarantine / "replays"


def put_plan(place: RegionalPlace, plan: Plan) -> None:
    """Keeps a plan, durably, in place of an older state of it."""
    put_whole(plan_file(place, plan.batch), json.dumps({"format": FORMAT, **asdict(plan)}).encode())


def finish(place: RegionalPlace, plan: Plan, rejected_again: set[str]) -> None:
    """Marks a plan as done: its rows are settled, save those that were rejected again as they are. What was mended is
    no longer kept here."""
    settled = tuple(each for each in plan.row_ids if each not in rejected_again)
    put_plan(place, replace(plan, row_ids=settled, mended="", done=True))


def plans(place: RegionalPlace) -> Iterator[Plan]:
    """All plans of a region, in the order of their receipt. A damaged one raises `InputError`."""
    yield from sorted(map(read_plan, _folder(place).glob("*.json")), key=lambda plan: (plan.received_ms, plan.batch))


def settled(place: RegionalPlace) -> set[bytes]:
    """The row ids that were sent again and need not be sent once more."""
    return {bytes.fromhex(row_id) for plan in plans(place) if plan.done for row_id in plan.row_ids}


def read_plan(path: Path) -> Plan:
    """The plan in a file."""
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") == FORMAT:
            return Plan(**content | {"row_ids": tuple(content["row_ids"])})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"replay plan {path} is damaged, or written by another version of douane")


@contextmanager
def replaying(place: RegionalPlace) -> Iterator[None]:
    """Holds others off: two replays of a region at a time would send the same rows twice."""
    path = _folder(place) / ".lock"
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigurationError(f"region {place.region}: another replay is going on; wait for its end") from None
        yield
