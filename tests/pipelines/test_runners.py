"""What docs/runners.md says of each runner, as far as it can be shown on one machine without a network."""

import errno
import logging

import apache_beam as beam
import pytest
from apache_beam.runners.portability import portable_runner

from pipelines import ingest
from pipelines.errors import ConfigurationError
from pipelines.runners import fit, goes_on, told
from pipelines.sources import Endless, Streams
from schemas.pack_files import DEFAULT_PACK
from tests.invariants.runs import Site
from tests.stranger import command

FLINK = ["--runner=FlinkRunner", "--flink_master=cluster:8081", "--streaming"]
WATCHED = Streams(Endless("watch", "/in"), Endless("watch", "/ledger"), None)
SHIPPED = (DEFAULT_PACK,)
TOPICS = Streams(Endless("kafka", "t"), Endless("kafka", "c"), "/etc/kafka.properties")


@pytest.mark.parametrize("runner", ["FlinkRunner", "PortableRunner"])
def test_a_stream_on_flink_gets_what_exactness_needs(runner):
    given = told(fit([f"--runner={runner}", "--streaming"], "all", TOPICS, SHIPPED))
    for option in (
        "finish_bundle_before_checkpointing",
        "externalized_checkpoints_enabled",
        "retain_externalized_checkpoints_on_cancellation",
    ):
        assert given[option] == "true"
    assert int(given["checkpointing_interval"]) > 0
    assert int(given["number_of_execution_retries"]) > 0
    assert int(given["max_bundle_time_mills"]) < int(given["checkpointing_interval"])


def test_what_somebody_says_stays():
    flags = [*FLINK, "--checkpointing_interval=2000", "--max_bundle_size", "5"]
    found = fit(flags, "all", TOPICS, SHIPPED)
    assert list(found[: len(flags)]) == flags
    assert sum("checkpointing_interval" in flag for flag in found) == 1
    assert told(found)["max_bundle_size"] == "5"


def test_a_run_over_files_is_left_as_it_is():
    for flags in (["--runner=FlinkRunner"], ["--runner=FnApiRunner"], ["--runner=FnApiRunner", "--streaming"]):
        assert fit(flags, "all", None, SHIPPED) == tuple(flags)


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--checkpointing_interval=0", "nothing would outlive the first failure"),
        ("--checkpointing_interval=-1", "nothing would outlive the first failure"),
        ("--finish_bundle_before_checkpointing=false", "a job can stand still in silence"),
        ("--externalized_checkpoints_enabled=false", "when its JobManager is lost"),
        ("--retain_externalized_checkpoints_on_cancellation=False", "could not go on"),
        ("--checkpointing_mode=AT_LEAST_ONCE", "judged and counted twice"),
        ("--shutdown_sources_after_idle_ms=0", "let no checkpoint finish"),
        ("--shutdown_sources_after_idle_ms=1000", "let no checkpoint finish"),
        ("--allow_non_restored_state", "is lost: records that wait, and stops"),
        ("--enable_stable_input_drain", "would release what is not decided yet"),
        ("--unaligned_checkpoint_enabled=true", "no test has shown"),
    ],
)
def test_what_stalls_or_loses_on_flink_is_refused(flag, why):
    with pytest.raises(ConfigurationError, match=why):
        fit([*FLINK, flag], "all", TOPICS, SHIPPED)
    name, _, value = flag.partition("=")
    with pytest.raises(ConfigurationError, match=why):
        fit([*FLINK, name, value] if value else [*FLINK, name, "--parallelism=2"], "all", TOPICS, SHIPPED)


@pytest.mark.parametrize("flag", ["--checkpointing_mode=EXACTLY_ONCE", "--allow_non_restored_state=false"])
def test_what_says_nothing_new_is_not(flag):
    assert flag in fit([*FLINK, flag], "all", TOPICS, SHIPPED)


def test_a_runner_in_this_process_reads_nothing_without_an_end():
    with pytest.raises(ConfigurationError, match="judges nothing before its inputs end, and watch:/in has no end"):
        fit(["--runner=FnApiRunner", "--streaming"], "all", WATCHED, SHIPPED)


def test_prism_is_never_downloaded():
    with pytest.raises(ConfigurationError, match="would download its engine: name one with --prism_location"):
        fit(["--runner=PrismRunner", "--streaming"], "all", WATCHED, SHIPPED)
    flags = ("--runner=PrismRunner", "--streaming", "--prism_location=/bin/prism")
    assert fit(flags, "all", WATCHED, SHIPPED) == flags


def test_prism_is_not_downloaded_for_files_either():
    with pytest.raises(ConfigurationError, match="name one with --prism_location"):
        fit(["--runner=PrismRunner"], "all", None, SHIPPED)


def test_an_update_is_no_state_on_flink():
    with pytest.raises(ConfigurationError, match="it is for DataflowRunner: go on with --savepoint_path"):
        fit([*FLINK, "--update"], "all", TOPICS, SHIPPED)


def test_prism_reads_no_topic():
    with pytest.raises(ConfigurationError, match="takes the watermark of one partition for that of kafka:t"):
        fit(["--runner=PrismRunner", "--streaming", "--prism_location=/bin/prism"], "all", TOPICS, SHIPPED)


def test_pubsub_is_read_on_dataflow_alone():
    subscribed = Streams(Endless("pubsub", "projects/p/subscriptions/s"), None, None)
    with pytest.raises(ConfigurationError, match="is read on --runner=DataflowRunner alone"):
        fit(FLINK, "all", subscribed, SHIPPED)


@pytest.mark.parametrize("runner", ["", "--runner=DirectRunner", "--runner=FnApiRunner", "--runner=SparkRunner"])
def test_ingest_says_at_once_what_to_do(tmp_path, runner):
    """Nothing is made, nothing hangs, and nothing is fetched."""
    site = Site.new(tmp_path / "site")
    flags = ["--events", "watch:/in", "--no-ledger", "--job_name=fleet", "--deployment", site.file]
    outcome = command(ingest, *flags, *filter(None, [runner]))
    assert outcome.status == 2
    assert "use --runner=FlinkRunner" in outcome.errors[-1]
    assert site.files() == [site.file]


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--runner=PortableRunner"], "name its job server with --job_endpoint"),
        (["--runner=PortableRunner", "--job_endpoint=localhost:1"], "nothing listens at --job_endpoint=localhost:1"),
        (["--runner=PortableRunner", "--job_endpoint=here"], "nothing listens at --job_endpoint=here"),
        (["--runner=FlinkRunner", "--flink_job_server_jar=/nowhere.jar"], "jar=/nowhere.jar is not there"),
        (["--runner=PrismRunner", "--prism_location=/nowhere"], "prism_location=/nowhere is not there"),
    ],
)
def test_a_runner_that_is_not_there_is_told_in_one_line_and_leaves_the_name_free(tmp_path, flags, why):
    site = Site.new(tmp_path / "site")
    given = ["--events", "watch:/in", "--no-ledger", "--job_name=fleet", "--deployment", site.file]
    outcome = command(ingest, *given, *flags)
    assert outcome.status == 2 and why in outcome.errors[-1]
    assert not any(path.parent.name == "lineages" for path in site.files())


@pytest.mark.clause("1.1.1")
def test_what_an_engine_says_of_a_job_is_not_shown(tmp_path, monkeypatch, caplog):
    """It may quote what it choked on."""

    def refused(self, *_):
        logging.getLogger("apache_beam.runners").error("4f1d-canary")
        logging.log(
            portable_runner.MESSAGE_LOG_LEVELS[portable_runner.beam_job_api_pb2.JobMessage.JOB_MESSAGE_ERROR],
            "4f1d-canary",
        )
        raise OSError(errno.ECONNRESET, "4f1d-canary")

    monkeypatch.setattr(portable_runner, "MESSAGE_LOG_LEVELS", dict(portable_runner.MESSAGE_LOG_LEVELS))
    monkeypatch.setattr(beam.Pipeline, "run", refused)
    site = Site.new(tmp_path / "site")
    given = ["--events", "watch:/in", "--no-ledger", "--job_name=fleet", "--deployment", site.file, *FLINK]
    with caplog.at_level(logging.ERROR):  # as `guarded` sets it
        outcome = command(ingest, *given)
    assert outcome.status == 2 and "4f1d" not in outcome.err + caplog.text
    (line,) = outcome.errors[-1:]
    assert "FlinkRunner does not take the job on: ConnectionResetError, Connection reset by peer, at " in line


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        (["--savepoint_path=/s"], True),
        (["--savepoint_path", "/s"], True),
        (["--runner=DataflowRunner", "--update"], True),
        (["--runner=FlinkRunner", "--update"], False),
        (["--savepoint_path="], False),
        (["--streaming"], False),
    ],
)
def test_what_goes_on(flags, found):
    assert goes_on(flags) is found


def test_flags_are_told_by_name():
    assert told(["--a", "--b=1", "--c", "2", "--d", "--b=3"]) == {"a": "true", "b": "3", "c": "2", "d": "true"}
