"""Flags: ours are strict, Beam's pass through untouched, and nothing is guessed."""

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from pipelines import ingest
from pipelines.errors import ConfigurationError
from pipelines.options import DEFAULT_RUNNER, parse
from schemas.pack_files import DEFAULT_PACK
from tests.stranger import command

NEEDED = ["--events", "e.ndjson", "--consents", "c.ndjson", "--deployment", "d.yaml"]


def test_defaults():
    options = parse(NEEDED)
    assert (options.events, options.consents, options.with_ledger) == (("e.ndjson",), ("c.ndjson",), True)
    assert (options.policy, options.deployment, options.cell) == ((DEFAULT_PACK,), "d.yaml", "all")
    assert not options.json
    assert options.beam == (f"--runner={DEFAULT_RUNNER}",)


def test_inputs_may_be_given_again():
    options = parse([*NEEDED, "--events", "f", "--consents=g", "--cell", "ru", "--policy=p", "--json"])
    assert (options.events, options.consents) == (("e.ndjson", "f"), ("c.ndjson", "g"))
    assert (options.cell, options.policy, options.json) == ("ru", ("p",), True)


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        (["--streaming"], "streaming", True),
        (["--direct_runner_bundle_repeat=2"], "direct_runner_bundle_repeat", 2),
        (["--direct_runner_bundle_repeat", "2"], "direct_runner_bundle_repeat", 2),
        (["--job_name", "x"], "job_name", "x"),
        (["--runner=FlinkRunner"], "runner", "FlinkRunner"),
        (["--runner", "DirectRunner"], "runner", "FnApiRunner"),  # which never looks for an engine to download
        (["--flink_master=localhost:8081"], "flink_master", "localhost:8081"),
        (["--temp_location=/tmp/x"], "temp_location", "/tmp/x"),
        (["--project", "p"], "project", "p"),
        (["--experiments=a", "--experiments=b"], "experiments", ["a", "b"]),
        (["--environment_type=PROCESS"], "environment_type", "PROCESS"),
    ],
)
def test_every_beam_option_passes_through(flags, name, value):
    options = parse([*flags, *NEEDED])
    assert list(options.beam[: len(flags)]) == flags
    assert PipelineOptions(list(options.beam)).get_all_options()[name] == value


@pytest.mark.parametrize("flag", ["--max_bundle_size=20", "--checkpointing_interval=60000", "--object_reuse=true"])
def test_the_options_of_a_runner_elsewhere_pass_through(flag):
    assert flag in parse([*NEEDED, "--runner=FlinkRunner", flag]).beam


def test_a_runner_that_is_named_stays():
    for flags in (["--runner=FlinkRunner"], ["--runner", "FlinkRunner"]):
        assert parse([*NEEDED, *flags]).beam == tuple(flags)


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--consent=x", "--consents"),
        ("--eventz", "--events"),
        ("--no-ledgers", "--no-ledger"),
        ("--no_ledger", "--no-ledger"),
        ("--cel=ru", "--cell"),
        ("--policies", "--policy"),
        ("--streming", "--streaming"),
        ("--streaming=true", "--streaming"),
        ("--runer=FlinkRunner", "--runner"),
        ("--run=FlinkRunner", "--runner"),
        ("--job-name=x", "--job_name"),
        ("--direct_runner_bundle_repeats=2", "--direct_runner_bundle_repeat"),
        ("--direct_runner_bundle_rep=2", "--direct_runner_bundle_repeat"),
    ],
)
def test_a_misspelt_or_shortened_flag_is_an_error_with_a_suggestion(flag, meant):
    outcome = command(ingest, *NEEDED, flag)
    assert outcome.status == 2 and outcome.out == ""
    (line,) = outcome.err.splitlines()
    assert line.startswith("douane ingest: ") and meant in line


@pytest.mark.parametrize("given", ["stray.ndjson", "--wholly-unknown", "-x"])
def test_what_is_like_nothing_is_an_error_too(given):
    outcome = command(ingest, *NEEDED, given)
    assert (outcome.status, outcome.errors) == (2, [f"douane ingest: no option {given}"])


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("direct", DEFAULT_RUNNER),
        ("SwitchingDirectRunner", DEFAULT_RUNNER),
        ("flink", "FlinkRunner"),
        ("DATAFLOWRUNNER", "DataflowRunner"),
        ("apache_beam.runners.dataflow.dataflow_runner.DataflowRunner", "DataflowRunner"),
        ("TestDataflowRunner", "DataflowRunner"),
    ],
)
def test_a_runner_is_checked_however_beam_lets_it_be_spelt(named, meant):
    assert PipelineOptions(list(parse([*NEEDED, f"--runner={named}"]).beam)).get_all_options()["runner"] == meant


def test_a_wrong_value_of_a_beam_option():
    outcome = command(ingest, *NEEDED, "--direct_runner_bundle_repeat=two")
    assert outcome.status == 2
    assert "--direct_runner_bundle_repeat: invalid int value" in outcome.errors[0]


def test_an_unknown_runner(prepared, tmp_path):
    given = ("--events", prepared.folder / "events.ndjson", "--no-ledger", "--deployment", prepared.deployment)
    outcome = command(ingest, *given, "--runner=FlikRunner")
    assert outcome.status == 2 and "FlikRunner" in outcome.errors[0]


@pytest.mark.parametrize("missing", ["--events", "--deployment"])
def test_what_must_be_given(missing):
    at = NEEDED.index(missing)
    outcome = command(ingest, *NEEDED[:at], *NEEDED[at + 2 :])
    assert outcome.status == 2
    assert f"required: {missing}" in outcome.err


@pytest.mark.clause("5.3")
def test_a_ledger_or_no_ledger_and_never_both():
    neither = [*NEEDED[:2], *NEEDED[4:]]
    assert not parse([*neither, "--no-ledger"]).with_ledger
    for given in (neither, [*NEEDED, "--no-ledger"]):
        with pytest.raises(ConfigurationError, match="--consents, or --no-ledger"):
            parse(given)
        assert command(ingest, *given).status == 2


def test_the_prism_runner_is_never_chosen_by_default():
    """DirectRunner tries to download it first; who names no runner must not depend on a network."""
    chosen = PipelineOptions(list(parse(NEEDED).beam)).get_all_options()["runner"]
    assert chosen == "FnApiRunner"


@pytest.mark.parametrize(
    ("ledger", "consents", "name"),
    [(["--consent-snapshot", "kept"], (), "kept"), (["--consent-snapshot=kept", "--consents", "c"], ("c",), "kept")],
)
def test_a_snapshot_is_a_ledger_alone_or_beside_one(ledger, consents, name):
    options = parse(["--events", "e", "--deployment", "d", *ledger])
    assert (options.consents, options.consent_snapshot, options.with_ledger) == (consents, name, True)
    with pytest.raises(ConfigurationError, match="or --no-ledger if there is none, not both"):
        parse(["--events", "e", "--deployment", "d", *ledger, "--no-ledger"])
