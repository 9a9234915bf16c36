"""Telemetry from Pub/Sub: messages to blocks, and when each line was received."""

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from apache_beam.transforms.window import GlobalWindow, TimestampedValue
from apache_beam.utils.timestamp import Timestamp

from pipelines import pubsub
from pipelines.arrivals import read_arrived
from pipelines.errors import ConfigurationError
from pipelines.options import DEFAULT_RUNNER
from pipelines.pubsub import ReadPubSub, _Gather
from tests.lines import NOW

SUBSCRIPTION = "projects/project/subscriptions/telemetry"


def gathered(*bundles):
    """The blocks of some bundles of (message, receipt in ms), by one function: (lines, receipts, timestamp in ms)."""
    gather, blocks = _Gather(), []
    for bundle in bundles:
        gather.start_bundle()
        for message, received in bundle:
            blocks += gather.process(message, timestamp=Timestamp(micros=received * 1000 + 999))
        blocks += gather.finish_bundle()
    return [read(block) for block in blocks]


def read(windowed):
    assert list(windowed.windows) == [GlobalWindow()]
    ((block, received),) = read_arrived(windowed.value)
    return block.splitlines(), received.tolist(), windowed.timestamp.micros / 1000


def test_messages_of_a_bundle_become_one_block_at_its_earliest_receipt():
    messages = [(b"1\n2\n", NOW + 5), (b"3", NOW), (b"4\r\n5", NOW + 7), (b"6\n", NOW + 7)]
    ((lines, received, stamp),) = gathered(messages)
    assert lines == [b"1", b"2", b"3", b"4", b"5", b"6"]
    assert received == [NOW + 5] * 2 + [NOW] + [NOW + 7] * 3
    assert stamp == NOW


def test_nothing_stays_behind_for_the_next_bundle():
    first, second = gathered([(b"1", NOW)], [], [(b"2", NOW + 60_000)])
    assert first == ([b"1"], [NOW], NOW) and second == ([b"2"], [NOW + 60_000], NOW + 60_000)


def test_a_bundle_that_failed_leaves_nothing_to_the_next():
    gather = _Gather()
    gather.start_bundle()
    assert list(gather.process(b"lost", timestamp=Timestamp(0))) == []
    gather.start_bundle()  # the runner delivers the messages again
    assert list(gather.finish_bundle()) == []


def test_a_long_bundle_becomes_several_blocks_and_a_long_message_is_not_cut(monkeypatch):
    monkeypatch.setattr(pubsub, "ARRIVED_BYTES", 10)
    blocks = gathered([(b"12345", NOW + 3), (b"1234", NOW + 2), (b"1", NOW + 1), (b"x" * 40, NOW), (b"2", NOW + 4)])
    assert [lines for lines, *_ in blocks] == [[b"12345", b"1234", b"1"], [b"x" * 40], [b"2"]]
    assert [stamp for *_, stamp in blocks] == [NOW + 1, NOW, NOW + 4]


def test_a_message_without_content_is_no_line():
    assert gathered([(b"", NOW)]) == []
    ((lines, *_),) = gathered([(b"", NOW), (b"1", NOW)])
    assert lines == [b"1"]


def test_on_a_runner_every_line_comes_through_with_its_receipt():
    def whole(blocks):
        counted = {}
        for element in blocks:
            ((block, received),) = read_arrived(element)
            counted |= dict(zip(block.splitlines(), received.tolist(), strict=True))
        assert counted == {b"%d" % number: NOW + number // 3 for number in range(300)}

    messages = [(NOW + at, b"\n".join(b"%d" % (3 * at + line) for line in range(3))) for at in range(100)]
    with beam.Pipeline(runner=DEFAULT_RUNNER) as pipeline:
        blocks = (
            pipeline
            | beam.Create(messages)
            | beam.MapTuple(lambda ms, message: TimestampedValue(message, ms / 1000)).with_output_types(bytes)
            | beam.ParDo(_Gather())
        )
        assert_that(blocks, whole)


def test_a_block_is_stamped_in_whole_milliseconds_before_none_of_its_window():
    """Windows end on whole milliseconds, so that rounding down leaves a line in its own."""
    ((_, received, stamp),) = gathered([(b"1", NOW)])
    assert stamp == received[0] == NOW and np.floor(stamp) == stamp


@pytest.mark.parametrize(
    "name", ["projects/p/subscriptions/telemetry", "projects/project/topics/telemetry", "telemetry"]
)
def test_a_name_that_google_would_not_give_is_refused_when_the_job_is_built(name):
    pytest.importorskip("google.cloud.pubsub", reason="needs Google's libraries: pip install 'douane[gcp]'")
    with pytest.raises(ConfigurationError, match="projects/PROJECT/subscriptions/NAME"):
        beam.Pipeline() | ReadPubSub(name)
