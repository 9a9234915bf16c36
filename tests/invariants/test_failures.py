"""A step of the job fails deep inside, with a value of a record in what is raised: nobody gets to read the value."""

import logging
import re
from unittest import mock

import pyarrow as pa
import pytest

from pipelines import ingest
from tests.stranger import DEVICE, command, deploy, entry, event, ndjson

CANARY = "4f1d-canary@example.org"


def _raise(*_, **__):
    try:
        pa.array([CANARY]).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise KeyError(CANARY) from error


@pytest.fixture
def given(tmp_path):
    """Options of a run in which every step has something to do."""
    crash = {"exception": f"mail of {CANARY}"}
    (tmp_path / "e.ndjson").write_bytes(
        ndjson(event(1, "crash", crash=crash), event(2, service=5), event(3, "session"))
    )
    unreadable = entry(3, "no such kind", "2f3a5c7e9b0d2469")
    entries = ndjson(entry(1, "grant"), entry(2, "withdraw", purposes=["promotion"]), unreadable)
    (tmp_path / "c.ndjson").write_bytes(entries)
    files = ("--events", tmp_path / "e.ndjson", "--consents", tmp_path / "c.ndjson")
    return *files, "--deployment", deploy(tmp_path), "--complete-through", "2021-03-02"


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize(
    "where",
    [
        "transforms.border.decode_events",
        "transforms.border.decode_ledger",
        "transforms.seal.canonical",
        "transforms.seal_ledger.canonical",
        "transforms.scrub.Scrubber.scrub",
        "transforms.labels.Labels.clean",
        "transforms.gate.Gate.judge",
        "transforms.for_purpose.for_purpose",
        "transforms.pseudonymise.Tokens.pseudonymise",
        "transforms.statistics.contributions",
        "transforms.orders.by_owners",
        "pipelines.sinks.stage",
    ],
)
def test_a_step_that_fails_tells_what_and_where_and_no_more(where, given, caplog):
    with mock.patch(where, _raise), caplog.at_level(logging.DEBUG):
        outcome = command(ingest, *given)
    assert outcome.status == 1
    (line,) = outcome.errors
    assert re.fullmatch(r"douane ingest: a step failed: KeyError at ((transforms|pipelines)\.\w+:\d+(, )?)+", line)
    assert "canary" not in outcome.out + outcome.err + caplog.text and DEVICE not in outcome.err + caplog.text
