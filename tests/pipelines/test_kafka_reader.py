from typing import ClassVar

import pytest

pytest.importorskip("confluent_kafka")

from pipelines import kafka_reader
from pipelines.kafka import KafkaSource, Mark
from pipelines.kafka_client import Topic

ASKED_MS = 1_763_877_600_000


class Idle:
    """Stands in for the client: a topic of one partition that holds nothing."""

    replicas = 1

    made: ClassVar[list] = []

    def __init__(self, topic, config_file):
        self.closed, self.committed = 0, []
        self.made.append(self)

    def commit(self, at):
        self.committed.append(at)

    def close(self):
        self.closed += 1

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


@pytest.fixture(autouse=True)
def clients(monkeypatch):
    """The clients that were made."""
    monkeypatch.setattr(kafka_reader, "Client", Idle)
    monkeypatch.setattr(kafka_reader, "_TURNS", {})
    monkeypatch.setattr(Idle, "made", [])
    return Idle.made


@pytest.mark.parametrize("replicas", [1, 3])
def test_what_followers_have_not_copied_yet_is_not_taken_for_nothing(monkeypatch, replicas):
    """A record with replicas can be read, and counts in the end of its partition, once they have it. Until a follower
    that hangs is given up, that is as long as brokers allow it, and the record keeps the time of its append."""
    monkeypatch.setattr(Idle, "replicas", replicas)
    reader = kafka_reader.KafkaReader(KafkaSource("telemetry", "unread"), Mark())
    assert not reader.start()
    unseen_ms = kafka_reader.SKEW_MS + (kafka_reader.FOLLOWERS_MS if replicas > 1 else 0)
    assert reader.get_watermark().micros // 1000 == ASKED_MS - unseen_ms


SOURCE = KafkaSource("telemetry", "unread")


def test_a_reader_that_goes_on_takes_over_the_client(clients):
    """Beam makes a reader for each copy of its step: a client for each of them would be dozens in a process."""
    first = kafka_reader.KafkaReader(SOURCE, Mark())
    first.start()
    mark = first.get_checkpoint_mark()
    second = kafka_reader.KafkaReader(SOURCE, mark)
    assert not second.advance()
    assert second.get_watermark() == first.get_watermark()
    assert not first.advance()  # Beam had kept it, and comes back to it
    assert not second.advance()
    first.close()
    mark.finalize_checkpoint()
    (client,) = clients
    assert not client.closed
    assert client.committed == [{0: 0}]
    second.close()
    second.close()
    assert client.closed == 1


def test_a_reader_that_stands_elsewhere_begins_anew(clients):
    """As after a failure: what another one has read on may not be passed over, nor may it pass over anything."""
    one = kafka_reader.KafkaReader(SOURCE, Mark())
    one.start()
    other = kafka_reader.KafkaReader(SOURCE, Mark("id", ((0, 7, 1_000),)))
    assert [client.closed for client in clients] == [1, 0]
    assert other.get_checkpoint_mark().places == ((0, 7, 1_000),)
    assert not one.advance()
    assert one.get_checkpoint_mark().places == ((0, 0, kafka_reader.NEVER_MS),)
    one.close()
    other.close()
    assert [client.closed for client in clients] == [1, 1, 1]


def test_a_reader_that_has_failed_is_not_taken_over(clients, monkeypatch):
    """It may have failed by what it knows: which partitions there are, say."""
    failed = kafka_reader.KafkaReader(SOURCE, Mark())
    failed.start()
    monkeypatch.setattr(Idle, "take", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        failed.advance()
    kafka_reader.KafkaReader(SOURCE, failed.get_checkpoint_mark())
    assert [client.closed for client in clients] == [1, 0]


def test_readers_of_other_partitions_have_clients_of_their_own(clients):
    for part in range(2):
        kafka_reader.KafkaReader(KafkaSource("telemetry", "unread", part=part, parts=2), Mark())
    assert [client.closed for client in clients] == [0, 0]
