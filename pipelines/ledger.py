"""`douane ledger`: `snapshot` seals a ledger as of a time and keeps it, for later jobs; `relay` feeds a stream's."""

import argparse
import re
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipelines.command import OK, UNRECONCILED, guarded, parser
from pipelines.errors import ConfigurationError
from schemas.shipped import DEFAULT_PACK

if TYPE_CHECKING:
    from pipelines.deployment import RegionalPlace
    from pipelines.snapshots import Snapshot
    from transforms.snapshot import Snapshotter

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}")
_TOLD = (
    ("lines", "of the ledger"),
    ("blank", ""),
    ("rejected", "kept nowhere here: a job that reads the ledger itself keeps them"),
    ("entries", ""),
    ("later", "of these, received after that time: not in the snapshot"),
    ("dated_ahead", "permissions from the future: they open nothing"),
    ("unlocated", "permissions without a region: they act nowhere"),
    ("unknown_purpose", "entries; a stop among them stops everything"),
    ("nobody", "lines that do not say whom they are about"),
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 configuration, 3 lines that name nobody who can be read, 4
    input unreadable. With 3 the snapshot is kept all the same, and a job that starts from it ends with 3 too."""
    arguments = parser(
        "ledger", "The consent ledger: keep it as of a time for later jobs to start from, or feed it to a stream."
    )
    commands = arguments.add_subparsers(dest="command", required=True, metavar="COMMAND")
    what = "Seal a ledger as of a time and keep it in each region; `ingest --consent-snapshot` starts from it."
    snapshot = commands.add_parser("snapshot", help=what[0].lower() + what[1:-1], description=what, allow_abbrev=False)
    snapshot.add_argument(
        "--consents", action="extend", nargs="+", required=True, metavar="FILE|DIR|GLOB", help="the ledger, NDJSON"
    )
    snapshot.add_argument(
        "--as-of",
        type=moment,
        required=True,
        metavar="TIME",
        help="keep the entries received up to then, such as 2021-03-01T00:00:00Z; rejected lines all are",
    )
    snapshot.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    editions = f"the policy packs of the jobs that start from it, in any order (default: {DEFAULT_PACK})"
    snapshot.add_argument("--policy", action="extend", nargs="+", metavar="NAME|DIR", help=editions)
    snapshot.add_argument("--cell", default="all", metavar="REGION", help="the region to serve (default: all)")
    snapshot.add_argument("--name", type=_name, help="what it is called (default: by time and input; printed)")
    snapshot.set_defaults(run=_snapshot)
    snapshot.epilog = "Rejected lines are counted and act as restrictions, but go to no quarantine here."
    _add_relay(commands)
    options = arguments.parse_args(argv)
    return guarded(f"ledger {options.command}", lambda: options.run(options))


def _add_relay(commands) -> None:
    what = "Send a consent service's outbox to the ledger's topic, and the heartbeats that a job waits for."
    relay = commands.add_parser("relay", help=what[0].lower() + what[1:-1], description=what, allow_abbrev=False)
    relay.add_argument("--outbox", required=True, metavar="sqlite:PATH", help="the database of the service")
    relay.add_argument("--topic", required=True, help="the ledger's topic; docs/ledger-topic.md says how it must be")
    relay.add_argument(
        "--kafka_config_file",
        "--kafka-config-file",
        required=True,
        metavar="URI",
        help="properties of the broker and how to log in there; ${VARIABLE} is expanded",
    )
    relay.add_argument(
        "--heartbeat-ms", type=_period, default=500, metavar="MS", help="between heartbeats (default: %(default)s)"
    )
    relay.add_argument("--once", action="store_true", help="end when the outbox is empty")
    relay.set_defaults(run=_relay)


def _relay(options: Namespace) -> int:
    try:
        from pipelines.relay import run
    except ModuleNotFoundError as error:
        if error.name != "confluent_kafka":
            raise
        raise ConfigurationError("Kafka's client is not installed: pip install 'douane[kafka]'") from None
    return run(options)


def _period(text: str) -> int:
    if not text.isdecimal() or not 50 <= int(text) <= 60_000:
        raise argparse.ArgumentTypeError("give milliseconds, from 50 to 60000")
    return int(text)


def moment(text: str) -> datetime:
    """A time with its offset from UTC, to the millisecond, in UTC."""
    try:
        given = datetime.fromisoformat(text)
        found = given.astimezone(UTC)
    except (ValueError, OverflowError):
        given = found = datetime.min
    if given.tzinfo is None:
        raise argparse.ArgumentTypeError("write a time as 2021-03-01T00:00:00Z")
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("use letters, digits, - and _; at most 80 of them")
    return text


def _snapshot(options: Namespace) -> int:
    # Here and not above: they import Beam, which takes most of a second, and `--help` has no need of it.
    from pipelines.blocks import expand, input_id
    from pipelines.deployment import load_deployment, prepare
    from pipelines.job import arrival_of, served
    from pipelines.snapshots import Snapshot, counted, new_making, put
    from schemas.editions import load_editions
    from transforms.snapshot import Snapshotter, terms

    editions, paths = load_editions(options.policy or (DEFAULT_PACK,)), expand(options.consents)
    deployment = load_deployment(options.deployment)
    places = served(options.cell, editions.newest, deployment)
    for place in places.values():
        prepare(place, _say)
    arrival = arrival_of(places, deployment)
    keys = {code: place.keys for code, place in places.items()}
    as_of_ms = int(options.as_of.timestamp() * 1000)
    sealer = Snapshotter(editions, keys, editions.newest.where.code(arrival.region), as_of_ms)
    parts = _sealed(paths, sealer, places)
    snapshot = Snapshot(
        name=options.name or f"{options.as_of:%Y%m%dT%H%M%SZ}-{input_id(paths)[:8]}",
        as_of=options.as_of,
        policy=editions.newest.version,
        terms=terms(editions),
        nobody=sealer.lines["nobody"],
        making=new_making(),
        rows=counted(parts),
    )
    gone = put(snapshot, arrival, parts)
    if gone:
        _say(f"snapshot {snapshot.name} was for {', '.join(gone)} too; now it is not, and no job of theirs can use it")
    _print(snapshot, sealer, parts)
    return UNRECONCILED if snapshot.nobody else OK


def _sealed(paths: Sequence[str], sealer: "Snapshotter", places: Mapping[int, "RegionalPlace"]) -> dict:
    """Every part that there must be, by place and dataset, empty ones too."""
    from pipelines.job import spans_of
    from pipelines.progress import Progress, read_span
    from transforms.snapshot import distinct

    found: dict = {part: [] for part in sealer.parts}
    with Progress(paths, then="put in order"):
        for span in spans_of(paths):
            for block, _ in read_span(span):
                for dataset, region, rows in sealer.seal(block):
                    found[dataset, region].append(rows)
        return {(places[region], dataset): distinct(dataset, rows) for (dataset, region), rows in found.items()}


def _print(snapshot: "Snapshot", sealer: "Snapshotter", parts: dict) -> None:
    from pipelines.tables import aligned
    from schemas.datasets import LEDGER

    print(f"snapshot {snapshot.name}: the ledger as of {snapshot.as_of.isoformat()}, policy {snapshot.policy}\n")
    rows = [("region", "entries", "stops", "unreadable")]
    rows += [(place.region, *map(_grouped, _kinds(of))) for (place, dataset), of in parts.items() if dataset == LEDGER]
    print("\n".join(aligned(rows, indent=2, numbers={1, 2, 3})))
    told = [(name.replace("_", " "), _grouped(sealer.lines[name]), note) for name, note in _TOLD if sealer.lines[name]]
    told += [(f"  {reason}", _grouped(count), "") for reason, count in sorted(sealer.faults.items())]
    print("\n" + "\n".join(aligned(told, indent=2, numbers={1})))
    print(f"\nStart from it: douane ingest --consent-snapshot {snapshot.name} ...")


def _kinds(rows) -> tuple[int, int, int]:
    """How many rows, how many of these are stops, and how many stand for lines that did not read."""
    import numpy as np

    from schemas.consent import STOPS, Kind

    kind = rows.column("kind").to_numpy()
    return len(rows), int(np.isin(kind, sorted(STOPS)).sum()), int(np.count_nonzero(kind == Kind.unreadable))


def _grouped(count: int) -> str:
    return f"{count:,}"


def _say(message: str) -> None:
    print(f"douane: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
