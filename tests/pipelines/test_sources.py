"""Inputs without an end, as the command line names them."""

import pytest

from pipelines import ingest, sources
from pipelines.errors import ConfigurationError
from pipelines.options import parse
from pipelines.sources import Endless, Streams, reading
from tests.stranger import command

KAFKA = ["--kafka_config_file", "/etc/kafka.properties"]
NAMED = ["--deployment", "d.yaml", "--job_name", "fleet"]
TOPICS = ["--events", "kafka:telemetry", "--consents", "kafka:ledger", *KAFKA, *NAMED]


def test_topics():
    options = parse(TOPICS)
    telemetry, ledger = Endless("kafka", "telemetry"), Endless("kafka", "ledger")
    assert options.streams == Streams(telemetry, ledger, "/etc/kafka.properties")
    assert (options.events, options.consents, options.with_ledger) == ((), (), True)
    assert "--streaming" in options.beam
    assert options.shards is None and options.window_seconds is None


def test_a_folder_is_the_same_from_wherever_it_is_named(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for named in ("watch:in", "watch:./in/", f"watch:{tmp_path}/in"):
        assert parse(["--events", named, "--no-ledger", *NAMED]).streams.telemetry == Endless("watch", f"{tmp_path}/in")


def test_streaming_is_set_once():
    assert parse([*TOPICS, "--streaming"]).beam.count("--streaming") == 1


def test_what_keys_and_windows_are_of():
    options = parse([*TOPICS, "--shards", "4", "--window-seconds=2.5"])
    assert (options.shards, options.window_seconds) == (4, 2.5)


def test_both_spellings_of_the_config_file():
    assert parse([*TOPICS, "--kafka-config-file=/x"]).streams.config_file == "/x"


@pytest.mark.parametrize(
    ("events", "ledger", "found"),
    [
        ("watch:/in", ["--consents", "watch:/ledger"], (Endless("watch", "/in"), Endless("watch", "/ledger"))),
        ("watch:/in", ["--no-ledger"], (Endless("watch", "/in"), None)),
        (
            "pubsub:projects/p/subscriptions/s",
            ["--consents", "watch:/ledger", "--consent-snapshot", "march"],
            (Endless("pubsub", "projects/p/subscriptions/s"), Endless("watch", "/ledger")),
        ),
    ],
)
def test_other_sources(events, ledger, found):
    streams = parse(["--events", events, *ledger, *NAMED]).streams
    assert (streams.telemetry, streams.ledger, streams.config_file) == (*found, None)


@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--events", "kafka:t", "--consents", "c.ndjson", *KAFKA], "what is stopped later would stay open"),
        (["--events", "kafka:t", "--consent-snapshot", "march", *KAFKA], "--consents must tell what came later"),
        (["--events", "e.ndjson", "--consents", "kafka:c", *KAFKA], "give the ledger as files"),
        (["--events", "kafka:t", "e.ndjson", "--no-ledger", *KAFKA], "give it alone"),
        (["--events", "kafka:t", "--consents", "kafka:c", "kafka:d", *KAFKA], "give it alone"),
        (["--events", "kafka:t", "--no-ledger"], "needs --kafka_config_file"),
        (["--events", "watch:/in", "--no-ledger", *KAFKA], "no input is a topic"),
        (["--events", "e.ndjson", "--no-ledger", *KAFKA], "no input is a topic"),
        (["--events", "watch:/in", "--consents", "pubsub:projects/p/subscriptions/s"], "a ledger needs heartbeats"),
        (["--events", "kafka:a/b", "--no-ledger", *KAFKA], "write kafka:TOPIC"),
        (["--events", "watch:", "--no-ledger"], "write watch:FOLDER"),
        (["--events", "pubsub:s", "--no-ledger"], "write pubsub:projects"),
        (["--events", "e.ndjson", "--no-ledger", "--shards", "2"], "--shards is for inputs without an end"),
        (["--events", "e", "--no-ledger", "--window-seconds", "2"], "--window-seconds is for inputs without an end"),
        (["--events", "watch:/in", "--consents", "watch:/in"], "watch:/in is telemetry or a ledger, not both"),
        (["--events", "watch:/in", "--no-ledger", "--json"], "--json is for runs that end"),
        (["--events", "watch:/in", "--no-ledger", "--complete-through=2021-03-01"], "is for runs that end"),
    ],
)
def test_what_does_not_fit(given, said):
    with pytest.raises(ConfigurationError, match=said):
        parse([*given, *NAMED])
    outcome = command(ingest, *given, *NAMED)
    assert outcome.status == 2 and said in outcome.errors[0]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--shards", "0"], "a number greater than 0"),
        (["--shards=1.5"], "a number greater than 0"),
        (["--window-seconds", "0.5"], "a number of seconds, at least 1"),
        (["--window-seconds", "long"], "a number of seconds, at least 1"),
        (["--window-seconds", "inf"], "and at most a day"),
    ],
)
def test_numbers_that_are_none(flags, said):
    outcome = command(ingest, *TOPICS, *flags)
    assert outcome.status == 2 and said in outcome.err


def test_a_client_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'douane\[kafka\]'"):
        reading(Endless("kafka", "t"), ledger=False, config_file="/x")
