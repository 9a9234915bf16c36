"""A stream's lineage: what stays the same however often the stream is stopped and goes on (ADR 15).

    <manifest of the region of arrival>/../lineages/NAME.json

A stream keeps its state in the engine, and its name, its run and its windows here. Files are named after the lineage,
and lists of orders know by it which rows were judged knowing of a stop. So a job that goes on from a savepoint must be
the same lineage, and one that starts anew must not be: it would write other rows under the same names.
"""

import json
import re
import secrets
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path

from pipelines.deployment import RegionalPlace
from pipelines.errors import ConfigurationError, InputError
from pipelines.whole_files import put_new, writing

FORMAT = 1
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")  # what every runner takes for the name of a job


@dataclass(frozen=True)
class Lineage:
    """One stream, from its first start on. `started` is the day of that, and the date of what has no time."""

    name: str
    run: str
    input_id: str
    shards: int
    window_ms: int
    started: str
    cell: str
    events: str
    consents: str | None
    kafka_config_file: str | None


# A stream's state was written under these: its keys, its windows, and the sources with their marks.
_HELD = {
    "shards": "--shards",
    "window_ms": "--window-seconds",
    "cell": "--cell",
    "events": "--events",
    "consents": "--consents",
    "kafka_config_file": "--kafka_config_file",
}


def checked_name(name: str | None) -> str:
    """The name of a stream. Raises `ConfigurationError` where there is none, or one that not every runner takes."""
    if name is None:
        raise ConfigurationError("an input without an end needs --job_name NAME: the stream goes on under that name")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"--job_name {name}: use lower-case letters, digits and '-', a letter first, no '-' last, at most 63"
        )
    return name


def new(name: str, **given) -> Lineage:
    """The lineage of a stream that has not been started yet."""
    digest = blake2b(name.encode(), digest_size=8, person=b"douane stream").hexdigest()
    return Lineage(name, secrets.token_hex(8), digest, started=datetime.now(UTC).date().isoformat(), **given)


def path_of(arrival: RegionalPlace, name: str) -> Path:
    """Where a lineage is kept: beside the manifest, so that both are kept and lost together."""
    return arrival.manifest_folder.parent / "lineages" / f"{name}.json"


def start(arrival: RegionalPlace, lineage: Lineage) -> None:
    """Takes a name for good; of two that do so at once one is refused. Raises `ConfigurationError` for a name that is
    taken."""
    path = path_of(arrival, lineage.name)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"format": FORMAT, **asdict(lineage)}, indent=1)
        if not put_new(path, lambda attempt: attempt.write_text(content)):
            raise ConfigurationError(_taken(path, read(arrival, lineage.name)))


def check_free(arrival: RegionalPlace, name: str) -> None:
    """Raises `ConfigurationError` if a stream of that name was started already."""
    if held := read(arrival, name):
        raise ConfigurationError(_taken(path_of(arrival, name), held))


def _taken(path: Path, held: Lineage | None) -> str:
    name, day = (held.name, held.started) if held else ("of that name", "just now")
    return (
        f"stream {name} was started on {day}: go on from its state (--savepoint_path on Flink, --update on Dataflow), "
        "or start another under another --job_name, which reads its inputs from their start and stores all rows again; "
        f"if this command was interrupted before any runner took the job on, remove {path}"
    )


def withdraw(arrival: RegionalPlace, lineage: Lineage) -> None:
    """Gives a name back that `start` has just taken, for a job that no runner took on."""
    held = read(arrival, lineage.name)
    if held is not None and held.run == lineage.run:
        path_of(arrival, lineage.name).unlink(missing_ok=True)


def read(arrival: RegionalPlace, name: str) -> Lineage | None:
    """The lineage of that name, or None. Raises `InputError` for one that is damaged."""
    path = path_of(arrival, name)
    try:
        content = json.loads(path.read_bytes())
        if content.pop("format") == FORMAT and content.keys() == {field.name for field in fields(Lineage)}:
            return Lineage(**content)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise InputError(f"lineage {path} is damaged, or written by another version of douane")


def going_on(arrival: RegionalPlace, name: str, given: dict) -> Lineage:
    """The lineage that a job goes on with. `given` is what the command line says of it; None where it says nothing.
    Raises `ConfigurationError` where no such stream was started, and for what cannot change while it lives."""
    held = read(arrival, name)
    if held is None:
        raise ConfigurationError(
            f"no stream {name} was started in this deployment (there is no {path_of(arrival, name)}): check --job_name "
            "and --deployment, or start it without a state to go on from"
        )
    for field, flag in _HELD.items():
        was, now = getattr(held, field), given[field]
        if now != was and not (now is None and field in ("shards", "window_ms")):
            raise ConfigurationError(
                f"stream {name} was started with {flag} {_said(field, was)}, and its state is kept so: "
                f"{flag} {_said(field, now)} needs a stream of another --job_name"
            )
    return held


def _said(field: str, value) -> str:
    return "none" if value is None else f"{value / 1000:g}" if field == "window_ms" else str(value)
