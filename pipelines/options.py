"""Options of the main job: ours, read here, and Beam's, which pass through after a check of their spelling."""

import argparse
import difflib
import sys
from dataclasses import dataclass, replace
from datetime import date

from pipelines.command import parser
from pipelines.errors import ConfigurationError
from pipelines.runners import JOB_SERVER_OPTIONS, JOB_SERVER_RUNNERS, LOCAL_RUNNER
from pipelines.sources import Streams, endless, streams
from schemas.pack_files import DEFAULT_PACK

DEFAULT_RUNNER = LOCAL_RUNNER
WINDOW_MS = 10 * 60_000


@dataclass(frozen=True)
class IngestOptions:
    """What `douane ingest` was asked to do."""

    events: tuple[str, ...]
    consents: tuple[str, ...]
    consent_snapshot: str | None
    with_ledger: bool
    policy: tuple[str, ...]
    deployment: str
    cell: str
    complete_through: date | None
    json: bool
    beam: tuple[str, ...]  # flags that are Beam's
    streams: Streams | None = None  # inputs without an end, in place of `events` and `consents`
    shards: int | None = None  # of a stream; None: as ever
    window_seconds: float | None = None
    profile: bool = False  # whether to tell where the time went


def parse(argv: list[str] | None) -> IngestOptions:
    """Reads the command line. Ends the process for `--help`; raises `ConfigurationError` for what is wrong."""
    arguments = parser("ingest", "The main job: telemetry and a consent ledger in, encrypted regional datasets out.")
    arguments.add_argument(
        "--events",
        action="extend",
        nargs="+",
        required=True,
        metavar="FILE|DIR|GLOB",
        help="telemetry, NDJSON; or one input without an end: kafka:TOPIC, watch:FOLDER, pubsub:SUBSCRIPTION",
    )
    arguments.add_argument(
        "--complete-through",
        type=_day,
        metavar="YYYY-MM-DD",
        help="release statistics up to this day (default: the days that nothing can be late for any more)",
    )
    arguments.add_argument(
        "--kafka_config_file",
        "--kafka-config-file",
        metavar="URI",
        help="properties of the Kafka client; workers read it, and put their own environment for ${VARIABLE}",
    )
    arguments.add_argument(
        "--profile", action="store_true", help="tell at the end where the time went, step by step (FnApiRunner)"
    )
    arguments.add_argument("--shards", type=_number, metavar="N", help="of a stream: keys a region (default: 1)")
    arguments.add_argument(
        "--window-seconds", type=_window, metavar="N", help="of a stream: length of a window (default: 600)"
    )
    ours, options = parse_job(arguments, argv)
    return _streaming(ours, options)


def _streaming(ours: argparse.Namespace, options: IngestOptions) -> IngestOptions:
    """The options with the inputs that have no end in their place."""
    telemetry, ledger = endless("--events", options.events), endless("--consents", options.consents)
    found = streams(telemetry, ledger, options.consents, ours.kafka_config_file)
    if found is None:
        for flag in ("shards", "window_seconds"):
            if getattr(ours, flag) is not None:
                raise ConfigurationError(f"--{flag.replace('_', '-')} is for inputs without an end")
        return options
    if options.with_ledger and found.ledger is None:
        raise ConfigurationError("--consent-snapshot is a start: --consents must tell what came later, as kafka:TOPIC")
    for flag, given in (("--complete-through", options.complete_through), ("--json", options.json)):
        if given:
            raise ConfigurationError(f"{flag} is for runs that end; a stream releases each day when it is over")
    if options.profile:
        raise ConfigurationError("--profile is for runs that end; the steps of a stream run elsewhere")
    beam = options.beam if "--streaming" in options.beam else (*options.beam, "--streaming")
    shards, window = ours.shards, ours.window_seconds
    return replace(options, events=(), consents=(), beam=beam, streams=found, shards=shards, window_seconds=window)


def _window(text: str) -> float:
    """Windows are named after the second in which they begin."""
    try:
        if 1 <= (seconds := float(text)) <= 86_400:
            return seconds
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("write a number of seconds, at least 1 and at most a day")


def _number(text: str) -> int:
    if text.isdecimal() and int(text):
        return int(text)
    raise argparse.ArgumentTypeError("write a number greater than 0")


def parse_job(arguments: argparse.ArgumentParser, argv: list[str] | None) -> tuple[argparse.Namespace, IngestOptions]:
    """Reads a command line with the options of the job after those that `arguments` has already: all that was read, and
    what is the job's. As `parse`, it raises `ConfigurationError`."""
    arguments.add_argument(
        "--consents", action="extend", nargs="+", metavar="FILE|DIR|GLOB", help="the consent ledger, NDJSON"
    )
    arguments.add_argument(
        "--consent-snapshot",
        action="append",
        metavar="NAME",
        help="start from a ledger that `douane ledger snapshot` kept; --consents may tell what came later",
    )
    arguments.add_argument(
        "--no-ledger",
        action="store_true",
        help="run without a ledger: then only what stands on contract or legal obligation opens",
    )
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    editions = f"policy packs: every edition that the records fall under, in any order (default: {DEFAULT_PACK})"
    arguments.add_argument("--policy", action="extend", nargs="+", metavar="NAME|DIR", help=editions)
    arguments.add_argument("--cell", default="all", metavar="REGION", help="the region this job serves (default: all)")
    arguments.add_argument("--json", action="store_true", help="print the summary as JSON")
    arguments.epilog = "Every Beam option may follow: --runner, --streaming, ..."
    ours, rest = arguments.parse_known_args(argv)
    if len(snapshots := ours.consent_snapshot or []) > 1:
        raise ConfigurationError("--consent-snapshot is given twice: a job starts from one; name the latest")
    if bool(ours.consents or ours.consent_snapshot) == ours.no_ledger:
        given = "give a ledger with --consent-snapshot or --consents, or --no-ledger if there is none, not both"
        raise ConfigurationError(given)
    return ours, IngestOptions(
        events=tuple(getattr(ours, "events", ())),
        consents=tuple(ours.consents or ()),
        consent_snapshot=next(iter(snapshots), None),
        with_ledger=not ours.no_ledger,
        policy=tuple(ours.policy or (DEFAULT_PACK,)),
        deployment=ours.deployment,
        cell=ours.cell,
        complete_through=getattr(ours, "complete_through", None),
        json=ours.json,
        profile=getattr(ours, "profile", False),
        beam=_checked(rest, [flag for action in arguments._actions for flag in action.option_strings]),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError("write a day as YYYY-MM-DD") from None


def _checked(flags: list[str], ours: list[str]) -> tuple[str, ...]:
    """Beam only warns of a flag that it does not know; here it is an error."""
    from apache_beam.options.pipeline_options import PipelineOptions

    known = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for options in _subclasses(PipelineOptions):
        options._add_argparse_args(known)  # what Beam's own get_all_options does
    try:
        named = known.parse_known_args(flags)[0].runner
        runner = _canonical(named)
        if runner in JOB_SERVER_RUNNERS:
            told = {flag for action in known._actions for flag in action.option_strings}
            for option in {f"--{option}" for option in JOB_SERVER_OPTIONS} - told:
                known.add_argument(option, nargs="?")
        _, unknown = known.parse_known_args(flags)
    except argparse.ArgumentError as error:
        raise ConfigurationError(str(error)) from None
    if unknown:
        name = unknown[0].partition("=")[0]
        names = [flag for action in known._actions for flag in action.option_strings]
        near = difflib.get_close_matches(name, [*ours, *names], n=1)
        raise ConfigurationError(f"no option {name}" + (f"; did you mean {near[0]}?" if near else ""))
    return (*flags, *_runner(named, runner))


def _canonical(named: str | None) -> str | None:
    """The name of a runner, for which Beam takes `flink`, `FLINKRUNNER` and the whole path of the class as well."""
    from apache_beam.options.pipeline_options import StandardOptions

    word = (named or "").rpartition(".")[2].lower().removeprefix("test")
    words = (word, f"{word}runner")
    return next((name for name in StandardOptions.KNOWN_RUNNER_NAMES if name.lower() in words), named)


def _runner(named: str | None, meant: str | None) -> tuple[str, ...]:
    """The runner, where it is not what the flags say."""
    if meant is None:
        return (f"--runner={DEFAULT_RUNNER}",)
    if meant in ("DirectRunner", "SwitchingDirectRunner"):
        # It would first try to download another engine, and hang where nothing answers.
        print(f"douane: DirectRunner runs as {DEFAULT_RUNNER}, its engine in this process", file=sys.stderr)
        return (f"--runner={DEFAULT_RUNNER}",)
    if meant == "BundleBasedDirectRunner":
        # It does not hold the watermark for timers: what counts the records would end before they are judged.
        raise ConfigurationError(f"--runner={named} loses counts behind timers; use {DEFAULT_RUNNER}")
    return () if meant == named else (f"--runner={meant}",)


def _subclasses(root: type) -> list[type]:
    found = {}
    for cls in root.__subclasses__():
        found |= dict.fromkeys([cls, *_subclasses(cls)])
    return list(found)
