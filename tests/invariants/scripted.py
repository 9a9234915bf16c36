"""The whole job as a stream whose telemetry arrives by a script."""

from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing import test_stream
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines import job as jobs
from pipelines.options import parse
from tests.invariants.runs import Site
from tests.lines import NOW

MINUTE = 60_000  # a window


def _as_it_is(block: bytes):
    """Stands in for reading: an element is a block."""
    yield block, None


@dataclass
class _Scripted(beam.PTransform):
    script: test_stream.TestStream

    def expand(self, pbegin):
        return pbegin | self.script


def stream(
    site: Site, script: test_stream.TestStream, folder: Path, patch: pytest.MonkeyPatch, ledger: bytes = b""
) -> str:
    """Runs the job of the cell `eu` in windows of a minute, its telemetry by the script in place of that of files.
    Returns the name of the run."""
    events, consents = folder / "events.ndjson", folder / "consents.ndjson"
    events.write_bytes(b"")
    consents.write_bytes(ledger)
    given = ["--events", str(events), "--deployment", str(site.file), "--cell", "eu", "--streaming"]
    planned = jobs.plan(parse([*given, *(["--consents", str(consents)] if ledger else ["--no-ledger"])]), say=str)
    partition = replace(planned.partition, window_ms=MINUTE)
    job = replace(planned, partition=partition, spans=(script,), read=_as_it_is)
    files = jobs._Spans
    patch.setattr(jobs, "_Spans", lambda spans: _Scripted(script) if spans == (script,) else files(spans))
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=BundleBasedDirectRunner", "--streaming"]))
    jobs.build(pipeline, job)
    pipeline.run().wait_until_finish()
    return job.run


def script_of(*steps: tuple[int, bytes] | float) -> test_stream.TestStream:
    """A step is a block of lines, behind when the first of them was received, in ms; or the minute that the watermark
    has just passed."""
    script = test_stream.TestStream(coder=beam.coders.BytesCoder())
    for step in steps:
        if isinstance(step, tuple):
            script.add_elements([TimestampedValue(step[1], _at(step[0]))])
        else:
            script.advance_watermark_to(_at(int(step * MINUTE) + 10))
    return script.advance_watermark_to_infinity()


def _at(ms: int) -> Timestamp:
    return Timestamp(micros=(NOW + ms) * 1000)
