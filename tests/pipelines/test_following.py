"""How `ingest` ends when what it follows is a stream."""

import signal
from types import SimpleNamespace

import pytest
from apache_beam.runners.runner import PipelineState

from pipelines import following

FLINK = ["--runner=FlinkRunner", "--flink_master=cluster:8081"]
JOB = SimpleNamespace(lineage=SimpleNamespace(name="fleet"), run="abc", where="--deployment d.yaml")


class Result:
    """A job on a runner that ends in a state, or in an exception after it."""

    def __init__(self, state, error=None):
        self._state, self._error, self._job_id = state, error, "job-1"

    def wait_until_finish(self):
        if self._error:
            raise self._error
        return self._state


@pytest.fixture
def follow(monkeypatch):
    handler = signal.getsignal(signal.SIGINT)

    def followed(result, flags=FLINK):
        monkeypatch.setattr(following, "submit", lambda job, flags: result)
        return following.follow(JOB, flags)

    yield followed
    signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("error", [None, RuntimeError("Pipeline job-1 failed in state CANCELLED: unknown error")])
def test_one_that_was_stopped(follow, capsys, error):
    assert follow(Result(PipelineState.CANCELLED if error else PipelineState.DONE, error)) == 0
    told = capsys.readouterr().err
    assert "stream fleet is taken on as job job-1; look at cluster:8081" in told
    assert "fleet is stopped; what it did: douane report abc --deployment d.yaml" in told


def test_one_that_failed(follow, capsys):
    """The engine's message may quote a record that a step choked on."""
    assert follow(Result(PipelineState.FAILED, RuntimeError("4f1d-canary\nat all"))) == 1
    told = capsys.readouterr().err
    assert "stream fleet is failed: RuntimeError at " in told and "is told by cluster:8081" in told
    assert "4f1d" not in told


def test_one_whose_runner_is_gone(follow, capsys):
    assert follow(Result(PipelineState.RUNNING, ConnectionError("closed"))) == 1
    assert "stream fleet is running: ConnectionError at " in capsys.readouterr().err


def test_a_command_that_is_interrupted(follow, capsys):
    assert follow(Result(PipelineState.RUNNING, KeyboardInterrupt())) == 130
    assert "--savepoint_path" in capsys.readouterr().err


def test_a_jar_is_only_written(follow, capsys):
    assert follow(Result(None), [*FLINK, "--output_executable_path=/job.jar"]) == 0
    assert "is written to /job.jar" in capsys.readouterr().err
