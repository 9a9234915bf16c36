"""The way of a record is columnar: no batch is pickled, nothing is called once a row, nothing raw is an element."""

import cProfile
import pickle
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.typehints import Any, typehints

from pipelines.job import SPAN, build, plan
from pipelines.options import parse
from schemas.fields import EVENT_FIELDS
from tests.invariants.conftest import TIMES
from tests.invariants.runs import REGIONS, Site, calls_of, pickling_counted
from transforms.border import REGISTER, Border
from transforms.quarantine import REJECTED
from transforms.tallies import TALLIES


def test_no_batch_is_pickled(first_run, other_run, judged):
    for run in (first_run, other_run, judged.run):
        assert not run.pickled


def test_every_collection_of_ours_has_a_coder_of_its_own(pipeline):
    proto = pipeline.to_runner_api().components
    pickled = {
        collection.unique_name
        for collection in proto.pcollections.values()
        if b"FastPrimitives" in b"".join(_payloads(proto.coders, collection.coder_id))
    }
    # Nothing comes out of the last step, and Beam gives its own combining of sums no hint.
    beside = ("RegionalAudit/Write.None", "ParDo(CombineValuesDoFn).None")
    assert not {name for name in pickled if not name.endswith(beside)}


def _payloads(coders, id_: str) -> Iterator[bytes]:
    yield coders[id_].spec.payload
    for component in coders[id_].component_coder_ids:
        yield from _payloads(coders, component)


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
    """Several times the rows, in the same regions, datasets and dates: what grows, grows with the pieces of a block
    (each of 400 lines at least, column by column) or with the entries that stand in the manifest by then."""
    fewer, more = (len(source.lines) + len(source.consents.read_bytes().splitlines()) for source in (sample, larger))
    assert more == TIMES * fewer and len(first_run.calls) > 150
    entries = sum(len(other_run.site.entries(region)) for region in REGIONS)
    by_piece = (more - fewer) / 400 * len(EVENT_FIELDS)
    assert max(entries, by_piece) < (more - fewer) / 3
    # A manifest's entry is read by everyone who asks what is stored: to show a run, to count it, to replace another.
    # Each event type learns by itself which unknown fields to expect.
    limits = {"lines.py": by_piece, "shape.py": by_piece, "arrow_json.py": 2 * by_piece, "manifest.py": 4 * entries}
    grown = {
        function: (first_run.calls[function], count)
        for function, count in other_run.calls.items()
        if count - first_run.calls[function] > limits.get(Path(function[0]).name, entries)
    }
    assert not grown


def test_a_function_that_is_called_once_a_row_would_be_noticed():
    profile = cProfile.Profile()
    profile.runcall(lambda: [_seen(row) for row in range(1000)])
    calls = calls_of(profile, (__file__,))
    assert max(calls.values()) >= 1000


def _seen(row):
    return row


@pytest.fixture
def pipeline(sample, tmp_path) -> beam.Pipeline:
    """The whole job, built and not run."""
    inputs = [f"--events={sample.events}", f"--consents={sample.consents}"]
    job = plan(parse([*inputs, f"--deployment={Site.new(tmp_path / 'site').file}"]), say=lambda _: None)
    built = beam.Pipeline(runner="FnApiRunner")
    build(built, job)
    return built


@pytest.mark.clause("1.1-a")
def test_nothing_stands_between_reading_a_file_and_its_sealed_pieces(pipeline):
    """One DoFn reads, decodes, locates and seals: what goes in says where to read, what comes out goes on sealed."""
    borders = _Find(Border).within(pipeline)
    assert len(borders) == 2
    for border in borders:
        (step,) = _leaves(border)
        assert isinstance(step.transform, beam.ParDo)
        (spans,) = step.inputs
        assert repr(spans.element_type) == repr(typehints.normalize(SPAN))
        assert set(step.outputs) == {None, TALLIES, REJECTED, REGISTER}


def _leaves(node) -> list:
    return [leaf for part in node.parts for leaf in _leaves(part)] if node.parts else [node]


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
