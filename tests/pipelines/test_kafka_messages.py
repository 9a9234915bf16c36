import json
from dataclasses import dataclass

import pytest

pytest.importorskip("confluent_kafka")

import confluent_kafka

from pipelines.kafka_messages import NEVER_MS, WATERMARK_KEY, Place, ledger


@dataclass
class Message:
    """What is asked of a message of the client."""

    at: int
    content: bytes
    time: tuple[int, int]

    def partition(self):
        return 0

    def offset(self):
        return self.at

    def key(self):
        return WATERMARK_KEY

    def value(self):
        return self.content

    def timestamp(self):
        return self.time


@pytest.mark.parametrize(
    ("kind", "moved"),
    [
        (confluent_kafka.TIMESTAMP_LOG_APPEND_TIME, 5_000),
        (confluent_kafka.TIMESTAMP_CREATE_TIME, NEVER_MS),  # it would be held against its writer's own clock
        (confluent_kafka.TIMESTAMP_NOT_AVAILABLE, NEVER_MS),
    ],
)
def test_only_a_heartbeat_that_the_broker_stamped_moves_the_clock(kind, moved):
    places, said = {0: Place(0)}, []
    beat = Message(0, json.dumps({"low_watermark_ms": 5_000}).encode(), (kind, 5_000))
    assert ledger("consents", [beat], places, said.append) == (b"", b"")
    assert places == {0: Place(1, moved)}
    assert bool(said) == (moved == NEVER_MS)
