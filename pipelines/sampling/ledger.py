"""The consent ledger of a fleet, in the order of receipt."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sampling import draws
from pipelines.sampling.canaries import Canaries
from pipelines.sampling.events import LOCATION_APPS
from pipelines.sampling.fleet import Fleet
from pipelines.sampling.histories import HISTORIES, MORE, Step
from pipelines.sampling.ndjson import encode
from pipelines.sampling.telemetry import CHUNK, Period

DAY_MS = 86_400_000
CONSENTING = 0.55  # share of the devices that have a history
EDITION, FORMER_EDITION = "2021-01-15", "2020-03-01"
FORMER = 0.04  # share of the early steps that were taken under the former edition, long before
SUBJECT_FIELD = {"device": "device.android_id", "account": "account_id"}

STEPS: tuple[Step, ...] = (*(step for history in HISTORIES for step in history.steps), *MORE)
_LENGTHS = np.array([len(history.steps) for history in HISTORIES])
_STARTS = np.concatenate([[0], np.cumsum(_LENGTHS)])
_SPANS = np.array([step.span for step in STEPS])
_OF_ACCOUNT = np.array([step.subject == "account" for step in STEPS])


def chunks(fleet: Fleet, period: Period, entries: int, seed: int, canaries: Canaries) -> Iterator[pa.BinaryArray]:
    """`entries` entries of the people who hold these devices; a part of what they say goes to the canaries."""
    rng = np.random.default_rng([seed, 3])
    device, step = _taken(rng, fleet, entries)
    time, former = _times(rng, period, step)
    received = time + _delays(rng, len(time))
    order = np.argsort(received, kind="stable")
    for start in range(0, len(order), CHUNK):
        rows = order[start : start + CHUNK]
        columns = {
            "entry_id": draws.uuids(draws.random_bytes(rng, len(rows), 16)),
            "time": draws.times(time[rows]),
            "received_time": draws.times(received[rows]),
            **_columns(rng, fleet, device[rows], step[rows], former[rows]),
            "reference": _numbered("REQ-", start, len(rows)),
        }
        for path in ("entry_id", "subject.value", "guardian", "reference"):
            canaries.sample(f"ledger.{path}", columns[path])
        yield encode(columns)


def _taken(rng: np.random.Generator, fleet: Fleet, entries: int) -> tuple[np.ndarray, np.ndarray]:
    """Device and step (an index into STEPS) of each entry: histories first, then more of what people had given."""
    consenting = rng.permutation(len(fleet))[: max(1, round(len(fleet) * CONSENTING))]
    shares = np.array([history.share for history in HISTORIES])
    history = rng.choice(len(HISTORIES), len(consenting), p=shares / shares.sum())
    lengths = _LENGTHS[history]
    device = np.repeat(consenting, lengths)
    first_row = np.repeat(np.cumsum(lengths) - lengths, lengths)
    step = np.repeat(_STARTS[history], lengths) + np.arange(len(device)) - first_row
    possible = ~_OF_ACCOUNT[step] | fleet.holds_account[device]
    device, step = device[possible][:entries], step[possible][:entries]
    missing = entries - len(device)
    more = rng.integers(_STARTS[-1], len(STEPS), missing)
    return np.concatenate([device, rng.choice(consenting, missing)]), np.concatenate([step, more])


def _times(rng: np.random.Generator, period: Period, step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """When each step was taken, milliseconds since 1970, and whether under the former edition."""
    since, until = _SPANS[step].T
    days = since + (until - since) * rng.random(len(step))
    early = until < -11
    days *= np.where(since < 0, 1, period.days)
    former = early & draws.chance(rng, len(step), FORMER)
    days -= np.where(former, rng.integers(60, 300, len(step)), 0)
    return period.start_ms + (days * DAY_MS).astype(np.int64), former


def _delays(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Milliseconds until the ledger has an entry: seconds mostly, up to a day if the device was offline; a few clocks
    run ahead of the ledger's by less than two minutes."""
    online = rng.lognormal(7, 1, rows)
    offline = rng.uniform(3_600_000, DAY_MS, rows)
    ahead = rng.uniform(-110_000, 0, rows)
    which = rng.choice(3, rows, p=(0.95, 0.04, 0.01))
    return np.choose(which, (online, offline, ahead)).astype(np.int64)


def _columns(
    rng: np.random.Generator, fleet: Fleet, device: np.ndarray, step: np.ndarray, former: np.ndarray
) -> dict[str, pa.Array]:
    rows = len(device)
    at, which = pa.array(device), pa.array(step)
    subject = {name: fleet.columns[path].take(at) for name, path in SUBJECT_FIELD.items()}
    of_app = np.array([s.of_app for s in STEPS])[step]
    guardian = np.array([s.guardian for s in STEPS])[step]
    return {
        "kind": pa.array([s.kind for s in STEPS]).take(which),
        "subject.type": pa.array([s.subject for s in STEPS]).take(which),
        "subject.value": pc.if_else(pa.array(_OF_ACCOUNT[step]), subject["account"], subject["device"]),
        "purposes": pa.array([s.purposes for s in STEPS], pa.list_(pa.string())).take(which),
        "app": draws.only(of_app, pa.array(LOCATION_APPS).take(pa.array(_apps(rng, fleet, device, step)))),
        "policy_version": pa.array([EDITION, FORMER_EDITION]).take(pa.array(former.astype(np.int8))),
        "guardian": draws.only(guardian, _numbered("GRD-", int(rng.integers(100_000, 500_000)), rows)),
        **{path: column.take(at) for path, column in fleet.columns.items() if path.startswith("residency.")},
    }


def _apps(rng: np.random.Generator, fleet: Fleet, device: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Each device has a favourite; half of the grants are for another application, but what is taken back is for it."""
    favourite = fleet.secrets[device, 0] % len(LOCATION_APPS)
    other = rng.choice(len(LOCATION_APPS), len(device), p=draws.zipf(len(LOCATION_APPS)))
    granted = np.array([s.kind == "grant" for s in STEPS])[step]
    return np.where(granted & draws.chance(rng, len(device), 0.5), other, favourite)


def _numbered(prefix: str, start: int, rows: int) -> pa.Array:
    numbers = pa.array(np.arange(start + 1, start + 1 + rows)).cast(pa.string())
    return pc.binary_join_element_wise(prefix, pc.utf8_lpad(numbers, 6, padding="0"), "")
