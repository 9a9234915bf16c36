"""Options of the main job: ours, read here, and Beam's, which pass through after a check of their spelling."""

import argparse
import difflib
import sys
from dataclasses import dataclass
from datetime import date

from pipelines.command import parser
from pipelines.errors import ConfigurationError
from schemas.policy import DEFAULT_PACK

DEFAULT_RUNNER = "FnApiRunner"
WINDOW_MS = 10 * 60_000


# Options of Beam's Flink runner that its job server describes and the Python SDK does not know.
JOB_SERVER_OPTIONS = (
    *("allow_non_restored_state", "auto_balance_write_files_sharding_enabled", "auto_watermark_interval"),
    *("checkpoint_timeout_millis", "checkpointing_interval", "checkpointing_mode", "disable_metrics"),
    *("enable_stable_input_drain", "execution_mode_for_batch", "execution_retry_delay", "faster_copy"),
    *("externalized_checkpoints_enabled", "fail_on_checkpointing_errors", "finish_bundle_before_checkpointing"),
    *("flink_conf_dir", "jobs_server_timeout", "latency_tracking_interval", "max_bundle_size", "max_bundle_time_mills"),
    *("max_parallelism", "min_pause_between_checkpoints", "num_concurrent_checkpoints", "number_of_execution_retries"),
    *(
        "object_reuse",
        "operator_chaining",
        "parallelism",
        "re_iterable_group_by_key_result",
        "report_checkpoint_duration",
    ),
    *("retain_externalized_checkpoints_on_cancellation", "savepoint_path", "shutdown_sources_after_idle_ms"),
    *(
        "state_backend",
        "state_backend_storage_path",
        "tolerable_checkpoint_failure_number",
        "unaligned_checkpoint_enabled",
    ),
)
_JOB_SERVER_RUNNERS = ("FlinkRunner", "PortableRunner")


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


def parse(argv: list[str] | None) -> IngestOptions:
    """Reads the command line. Ends the process for `--help`; raises `ConfigurationError` for what is wrong."""
    arguments = parser("ingest", "The main job: telemetry and a consent ledger in, encrypted regional datasets out.")
    arguments.add_argument(
        "--events", action="extend", nargs="+", required=True, metavar="FILE|DIR|GLOB", help="telemetry, NDJSON"
    )
    arguments.add_argument(
        "--complete-through",
        type=_day,
        metavar="YYYY-MM-DD",
        help="release statistics up to this day (default: the days that nothing can be late for any more)",
    )
    return parse_job(arguments, argv)[1]


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
        runner = known.parse_known_args(flags)[0].runner
        if runner in _JOB_SERVER_RUNNERS:
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
    return (*flags, *_runner(runner))


def _runner(named: str | None) -> tuple[str, ...]:
    """The runner, where it is not what the flags say."""
    if named is None:
        return (f"--runner={DEFAULT_RUNNER}",)
    if named == "DirectRunner":
        # It would first try to download another engine, and hang where nothing answers.
        print(f"douane: DirectRunner runs as {DEFAULT_RUNNER}, its engine in this process", file=sys.stderr)
        return (f"--runner={DEFAULT_RUNNER}",)
    if named == "BundleBasedDirectRunner":
        # It does not hold the watermark for timers: what counts the records would end before they are judged.
        raise ConfigurationError(f"--runner={named} loses counts behind timers; use {DEFAULT_RUNNER}")
    return ()


def _subclasses(root: type) -> list[type]:
    found = {}
    for cls in root.__subclasses__():
        found |= dict.fromkeys([cls, *_subclasses(cls)])
    return list(found)
