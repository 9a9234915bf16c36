"""What each runner needs so that a stream loses nothing and repeats nothing: options that are set where nobody set
them, and options that are refused, with the reason (docs/runners.md).

What is refused here has been seen to stall, to lose or to repeat, or has been seen nowhere.
"""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines import dataflow
from pipelines.errors import ConfigurationError
from pipelines.sources import Streams

LOCAL_RUNNER = "FnApiRunner"
JOB_SERVER_RUNNERS = ("FlinkRunner", "PortableRunner")
ELSEWHERE = (*JOB_SERVER_RUNNERS, "PrismRunner", dataflow.RUNNER)  # they take a job on, and run it in other processes

_FILES = ("flink_job_server_jar", "prism_location")  # or URLs of such
# Options of Beam's Flink runner that its job server describes and the Python SDK does not know.
JOB_SERVER_OPTIONS = (
    *("allow_non_restored_state", "auto_balance_write_files_sharding_enabled", "auto_watermark_interval"),
    *("checkpoint_timeout_millis", "checkpointing_interval", "checkpointing_mode", "disable_metrics"),
    *("enable_stable_input_drain", "execution_mode_for_batch", "execution_retry_delay", "faster_copy"),
    *("externalized_checkpoints_enabled", "fail_on_checkpointing_errors", "finish_bundle_before_checkpointing"),
    *("flink_conf_dir", "jobs_server_timeout", "latency_tracking_interval", "max_bundle_size", "max_bundle_time_mills"),
    *("max_parallelism", "min_pause_between_checkpoints", "num_concurrent_checkpoints", "number_of_execution_retries"),
    *("object_reuse", "operator_chaining", "parallelism", "re_iterable_group_by_key_result"),
    *("report_checkpoint_duration", "retain_externalized_checkpoints_on_cancellation", "savepoint_path"),
    *("shutdown_sources_after_idle_ms", "state_backend", "state_backend_storage_path"),
    *("tolerable_checkpoint_failure_number", "unaligned_checkpoint_enabled"),
)

# Of a stream on Flink, where nobody says otherwise.
_EXACT = {
    "checkpointing_interval": "10000",  # ms; without checkpoints nothing outlives the first failure
    "finish_bundle_before_checkpointing": None,  # without it a job can stand still with green checkpoints
    "externalized_checkpoints_enabled": None,  # what a lost JobManager goes on from
    "retain_externalized_checkpoints_on_cancellation": None,
    "number_of_execution_retries": "1000000",  # Flink counts them over the life of a job
    "execution_retry_delay": "1000",  # ms
    "max_bundle_size": "20",  # blocks of up to 12 MB: a bundle must end before a checkpoint can begin
    "max_bundle_time_mills": "500",
}
_OFF = ("false", "0", "-1")


@dataclass(frozen=True)
class _Refused:
    """An option that a stream may not be run with, for some of its values."""

    option: str
    when: Callable[[str], bool]
    why: str


def _on(value: str) -> bool:
    return value.lower() not in _OFF


def _off(value: str) -> bool:
    return not _on(value)


def _any(value: str) -> bool:
    return True


_ON_FLINK = (
    _Refused(
        "checkpointing_interval",
        lambda text: not text.isdecimal() or int(text) == 0,
        "nothing would outlive the first failure; give milliseconds",
    ),
    _Refused(
        "finish_bundle_before_checkpointing",
        _off,
        "a checkpoint could stand between rows and their files, and a job can stand still in silence",
    ),
    _Refused("externalized_checkpoints_enabled", _off, "a stream goes on from them when its JobManager is lost"),
    _Refused("retain_externalized_checkpoints_on_cancellation", _off, "a cancelled stream could not go on"),
    _Refused(
        "checkpointing_mode", lambda text: text.upper() != "EXACTLY_ONCE", "records would be judged and counted twice"
    ),
    _Refused("shutdown_sources_after_idle_ms", _any, "sources that are shut down let no checkpoint finish"),
    _Refused("allow_non_restored_state", _on, "what is left out of a savepoint is lost: records that wait, and stops"),
    _Refused("enable_stable_input_drain", _on, "a drain would release what is not decided yet; stop with a savepoint"),
    _Refused("update", _any, "it is for DataflowRunner: go on with --savepoint_path"),
    _Refused("unaligned_checkpoint_enabled", _on, "no test has shown that a stream is exact with it"),
)


def told(flags: Sequence[str]) -> dict[str, str]:
    """What flags of the form --name, --name=value or --name value say, by name; the last of a name counts. A flag alone
    says `true`."""
    found: dict[str, str] = {}
    for at, flag in enumerate(flags):
        name, given, value = flag.removeprefix("--").partition("=")
        if flag.startswith("--"):
            after = flags[at + 1] if at + 1 < len(flags) else "--"
            found[name] = value if given else "true" if after.startswith("--") else after
    return found


def goes_on(flags: Sequence[str]) -> bool:
    """Whether these flags make a job go on from the state of an earlier one."""
    given = told(flags)
    return bool(given.get("savepoint_path")) or (given.get("runner") == dataflow.RUNNER and "update" in given)


def makes_jar(flags: Sequence[str]) -> bool:
    """Whether the job is only written to a file, which is started, and goes on, elsewhere."""
    return "output_executable_path" in told(flags)


def reach(flags: Sequence[str]) -> None:
    """Raises `ConfigurationError` where an engine is not where these flags say: Beam would wait for a job server for
    minutes, and its own words for what is missing are not shown."""
    given = told(flags)
    for option in _FILES:
        path = given.get(option, "")
        if "://" not in path and not os.path.exists(path or os.curdir):
            raise ConfigurationError(f"--{option}={path} is not there: name the file")
    endpoint = given.get("job_endpoint")
    if endpoint is None:
        if given.get("runner") == "PortableRunner":
            raise ConfigurationError("--runner=PortableRunner: name its job server with --job_endpoint=HOST:PORT")
        return
    host, _, port = endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError):
        raise ConfigurationError(
            f"nothing listens at --job_endpoint={endpoint}: give HOST:PORT of a job server"
        ) from None


def tries_only(flags: Sequence[str]) -> bool:
    """Whether the job is only built as its runner would get it."""
    given = told(flags)
    return given.get("runner") == dataflow.RUNNER and given.get("dry_run", "").lower() in ("true", "1", "yes")


def fit(flags: Sequence[str], cell: str, streams: Streams | None, policy: Sequence[str]) -> tuple[str, ...]:
    """Beam's flags, with those that the runner needs besides. `streams` is None where the inputs are files; `policy`
    names the packs that say where a cell lives. Raises `PackError` for them, and `ConfigurationError` for a runner or
    an option under which a stream stalls, loses or repeats, or a cell's data leave their place."""
    given = told(flags)
    runner = given.get("runner", LOCAL_RUNNER)
    if runner == dataflow.RUNNER:
        return dataflow.checked(flags, cell, policy)
    if streams is not None and streams.telemetry.scheme == "pubsub":
        raise ConfigurationError(f"{streams.telemetry} is read on --runner={dataflow.RUNNER} alone")
    if runner == "PrismRunner" and not given.get("prism_location"):
        raise ConfigurationError("--runner=PrismRunner would download its engine: name one with --prism_location")
    if runner in JOB_SERVER_RUNNERS and "streaming" in given:
        return _on_flink(flags, given)
    if streams is not None:
        _on_laptop(runner, given, streams)
    return tuple(flags)


def _on_flink(flags: Sequence[str], given: dict[str, str]) -> tuple[str, ...]:
    for refused in _ON_FLINK:
        value = given.get(refused.option)
        if value is not None and refused.when(value):
            raise ConfigurationError(f"--{refused.option}={value}: {refused.why}")
    missing = {option: value for option, value in _EXACT.items() if option not in given}
    return (*flags, *(f"--{option}" if value is None else f"--{option}={value}" for option, value in missing.items()))


def _on_laptop(runner: str, given: dict[str, str], streams: Streams) -> None:
    """Of the runners on one machine only Prism can read what has no end, and only one split of it at a time."""
    advice = "use --runner=FlinkRunner with --flink_master, or DataflowRunner; docs/runners.md says what a laptop needs"
    if runner != "PrismRunner":
        raise ConfigurationError(
            f"--runner={runner} judges nothing before its inputs end, and {streams.telemetry} has no end: {advice}"
        )
    if kafka := next((s for s in (streams.telemetry, streams.ledger) if s and s.scheme == "kafka"), None):
        raise ConfigurationError(
            f"--runner=PrismRunner takes the watermark of one partition for that of {kafka}: {advice}"
        )
