"""The way of a record is columnar: no batch is pickled, nothing is called once a row, nothing raw is an element."""

import cProfile
import pickle

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.typehints import Any

from pipelines.job import build, plan
from pipelines.options import parse
from tests.invariants.conftest import TIMES
from tests.invariants.runs import Site, calls_of, pickling_counted
from transforms.border import Border
from transforms.exchange import PIECE, TALLIES, TALLY


def test_no_batch_is_pickled(first_run, other_run, judged):
    for run in (first_run, other_run, judged.run):
        assert not run.pickled


def test_a_batch_that_is_pickled_would_be_noticed():
    batch = pa.record_batch({"a": [1]})
    with pickling_counted() as met, beam.Pipeline(runner="FnApiRunner") as pipeline:
        untyped = pipeline | beam.Create([1]) | beam.Map(lambda _: batch).with_output_types(Any)
        untyped | beam.Reshuffle()  # noqa: B018
    assert met["RecordBatch"] >= 2  # with the function that holds one, and between two steps
    with pickling_counted() as met:
        assert pickle.loads(pickle.dumps(batch)) == batch
    assert met == {"RecordBatch": 1}


def test_no_function_of_ours_is_called_in_proportion_to_rows(first_run, other_run, sample, larger):
    fewer, more = (len(source.lines) + len(source.consents.read_bytes().splitlines()) for source in (sample, larger))
    assert more == TIMES * fewer
    grown = {
        function: (count, other_run.calls[function])
        for function, count in first_run.calls.items()
        if other_run.calls[function] - count > (more - fewer) / 10
    }
    assert not grown
    assert set(first_run.calls) > set() and len(first_run.calls) > 150


def test_a_function_that_is_called_once_a_row_would_be_noticed():
    profile = cProfile.Profile()
    profile.runcall(lambda: [_seen(row) for row in range(1000)])
    calls = calls_of(profile, (__file__,))
    assert max(calls.values()) >= 1000


def _seen(row):
    return row


@pytest.mark.clause("1.1-a")
def test_nothing_stands_between_reading_a_file_and_its_sealed_pieces(sample, tmp_path):
    """One DoFn reads, decodes, locates and seals: what goes in says where to read, what comes out is sealed."""
    arguments = [f"--events={sample.events}", f"--consents={sample.consents}"]
    job = plan(parse([*arguments, f"--deployment={Site.new(tmp_path / 'site').file}"]), say=lambda _: None)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    build(pipeline, job)
    borders = _Find(Border).within(pipeline)
    assert len(borders) == 2
    for border in borders:
        (step,) = border.parts
        assert not step.parts and isinstance(step.transform, beam.ParDo)
        (read,) = step.inputs
        assert read.element_type == tuple[str, int, int]
        assert {tag: output.element_type for tag, output in step.outputs.items()} == {
            None: beam.typehints.typehints.normalize(PIECE),
            TALLIES: beam.typehints.typehints.normalize(TALLY),
        }


class _Find(beam.pipeline.PipelineVisitor):
    """The applied transforms of one type."""

    def __init__(self, type_: type) -> None:
        self._type, self._found = type_, []

    def within(self, pipeline: beam.Pipeline) -> list:
        pipeline.visit(self)
        return self._found

    def enter_composite_transform(self, node) -> None:
        if isinstance(node.transform, self._type):
            self._found.append(node)
