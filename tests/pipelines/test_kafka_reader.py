import pytest

pytest.importorskip("confluent_kafka")

from pipelines import kafka_reader
from pipelines.kafka import KafkaSource, Mark
from pipelines.kafka_client import Topic

ASKED_MS = 1_763_877_600_000


class Idle:
    """Stands in for the client: a topic of one partition that holds nothing."""

    replicas = 1

    def __init__(self, topic, config_file):
        pass

    def look(self):
        return Topic("id", (0,), (), self.replicas)

    def starts(self, partitions):
        return {0: 0}

    def ends(self, partitions):
        return ASKED_MS, {0: 0}

    def assign(self, at):
        pass

    def take(self, most, timeout_s):
        return []


@pytest.mark.parametrize("replicas", [1, 3])
def test_what_followers_have_not_copied_yet_is_not_taken_for_nothing(monkeypatch, replicas):
    """A record with replicas can be read, and counts in the end of its partition, once they have it. Until a follower
    that hangs is given up, that is as long as brokers allow it, and the record keeps the time of its append."""
    monkeypatch.setattr(Idle, "replicas", replicas)
    monkeypatch.setattr(kafka_reader, "Client", Idle)
    reader = kafka_reader.KafkaReader(KafkaSource("telemetry", "unread"), Mark())
    assert not reader.start()
    unseen_ms = kafka_reader.SKEW_MS + (kafka_reader.FOLLOWERS_MS if replicas > 1 else 0)
    assert reader.get_watermark().micros // 1000 == ASKED_MS - unseen_ms
