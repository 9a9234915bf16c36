"""A stream is handed to its runner and followed until it is stopped."""

import signal
from typing import TYPE_CHECKING

from apache_beam.runners.runner import PipelineResult, PipelineState

from pipelines import dataflow
from pipelines.command import FAILED, INTERRUPTED, OK, say, without_words
from pipelines.job import submit
from pipelines.runners import makes_jar, told, tries_only

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.job import Job

_STOPPED = (PipelineState.DONE, PipelineState.CANCELLED, PipelineState.STOPPED, PipelineState.UPDATED)


def follow(job: "Job", flags: "Sequence[str]") -> int:
    """Runs a stream: the exit status says whether it was stopped, has failed, or goes on without this command."""
    result, name = submit(job, flags), job.lineage.name
    if tries_only(flags):
        say(f"stream {name} is built, and not sent")
        return OK
    if makes_jar(flags):
        say(f"stream {name} is written to {told(flags)['output_executable_path']}: start it from a savepoint, but once")
        return OK
    # The runner's own handler would end what it has started here before anybody is told.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    say(f"stream {name} is taken on as job {_id(result)}; look at {_where(flags)}")
    try:
        state = result.wait_until_finish()
    except KeyboardInterrupt:
        say(f"stream {name} goes on if its engine is elsewhere; {_how_to_stop(flags)}")
        return INTERRUPTED
    except Exception as error:  # each runner has its own for a job that did not end well
        state = _last(result)
        if state not in _STOPPED:
            say(f"stream {name} is {state.lower()}: {without_words(error)}; why is told by {_where(flags)}")
            return FAILED
    say(f"stream {name} is stopped; what it did: douane report {job.run} {job.where}")
    return OK


def _last(result: PipelineResult) -> str:
    """The state that was seen last: who could tell it may be gone."""
    return result._state or PipelineState.UNKNOWN


def _id(result: PipelineResult) -> str:
    known = getattr(result, "job_id", None)
    return known() if callable(known) else getattr(result, "_job_id", "unknown")


def _where(flags: "Sequence[str]") -> str:
    given = told(flags)
    master = given.get("flink_master") or given.get("job_endpoint")
    return f"{master}" if master else f"the pages of {given['runner']}"


def _how_to_stop(flags: "Sequence[str]") -> str:
    if told(flags)["runner"] == dataflow.RUNNER:
        return "put another in its place with --update; never drain it"
    return 'stop it with a savepoint (POST /jobs/ID/stop {"drain": false}), and go on with --savepoint_path'
