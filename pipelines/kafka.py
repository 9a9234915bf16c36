"""Topics of Kafka as endless inputs: telemetry, and the ledger with its heartbeats.

A reader stands for the partitions p with p % parts == part; which those are is looked up whenever a reader is made, so
that partitions that are added later belong to one of them. Its mark holds places and nothing that a message brought.
"""

import importlib.util
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
from apache_beam.coders import BytesCoder, Coder, TupleCoder
from apache_beam.io.unbounded_source import (
    CheckpointMark,
    ReadFromUnboundedSource,
    UnboundedReader,
    UnboundedSource,
)

from pipelines.errors import ConfigurationError

_WAIT_S = 0.05


@dataclass(frozen=True)
class Mark(CheckpointMark):
    """Where a reader stands: (partition, next offset, clock in ms) of each of its partitions, in order; none of them
    before the brokers have answered for the first time. The topic's id tells it from another of its name."""

    topic_id: str = ""
    places: tuple[tuple[int, int, int], ...] = ()
    client: Any = field(default=None, compare=False, repr=False)  # who commits offsets; not kept

    def finalize_checkpoint(self) -> None:
        """Commits the offsets, for whoever watches the lag."""
        client = self.client and self.client()
        if client is not None:
            client.commit({number: offset for number, offset, _ in self.places})


class MarkCoder(Coder):
    """The same mark, the same bytes: Beam's cache of readers goes by them."""

    _head, _place = struct.Struct("<BBI"), struct.Struct("<iqq")

    def encode(self, mark: Mark) -> bytes:
        topic_id = mark.topic_id.encode()
        head = self._head.pack(1, len(topic_id), len(mark.places))
        return head + topic_id + b"".join(self._place.pack(*place) for place in mark.places)

    def decode(self, encoded: bytes) -> Mark:
        version, length, count = self._head.unpack_from(encoded)
        start = self._head.size + length
        if version != 1 or len(encoded) != start + count * self._place.size:
            raise ValueError("this mark was written by another version")
        return Mark(encoded[self._head.size : start].decode(), tuple(self._place.iter_unpack(encoded[start:])))

    def is_deterministic(self) -> bool:
        return True


@dataclass(frozen=True)
class KafkaSource(UnboundedSource):
    """The partitions p of a topic with p % parts == part. `stop_at_end`: ends where the topic ended when it was
    started."""

    topic: str
    config_file: str
    ledger: bool = False
    readers: int = 8
    stop_at_end: bool = False
    part: int = 0
    parts: int = 1

    def split(self, desired_num_splits: int, options: object = None) -> Iterable["KafkaSource"]:
        """One part for each partition, up to `readers`; of the ledger one. Waits for brokers that do not answer. What
        it raises Beam passes over in silence: the reader of what is not split raises it again."""
        if self.ledger or self.parts > 1:
            return [self]
        from pipelines.kafka_client import Client

        client = Client(self.topic, self.config_file)
        try:
            while (topic := client.look()) is None:
                client.take(1, _WAIT_S)
            parts = max(1, min(self.readers, desired_num_splits, len(topic.partitions)))
        finally:
            client.close()
        return [replace(self, part=part, parts=parts) for part in range(parts)]

    def create_reader(self, options: object, checkpoint_mark: Mark | None) -> UnboundedReader:
        from pipelines.kafka_reader import KafkaReader  # only where it runs: the client is an extra

        return KafkaReader(self, checkpoint_mark or Mark())

    def get_checkpoint_mark_coder(self) -> MarkCoder:
        return MarkCoder()

    def default_output_coder(self) -> Coder:
        return TupleCoder((BytesCoder(), BytesCoder()))


@dataclass
class ReadKafka(beam.PTransform):
    """PBegin -> the lines of a topic, as `Arrived`: telemetry, or a ledger.

    `config_file` is the URI of a properties file that each worker reads. At most `readers` consumers read telemetry, of
    the ledger one. Raises `ConfigurationError` without the client.
    """

    topic: str
    config_file: str
    ledger: bool
    readers: int = 8
    stop_at_end: bool = False

    def expand(self, pbegin):
        if importlib.util.find_spec("confluent_kafka") is None:
            raise ConfigurationError("Kafka needs its client: pip install 'douane[kafka]', on the workers too")
        source = KafkaSource(self.topic, self.config_file, self.ledger, self.readers, self.stop_at_end)
        # Elements are blocks: so many make a bundle that is checkpointed soon and held in memory easily.
        reading = ReadFromUnboundedSource(
            source, poll_interval=0.1, max_records_per_bundle=16, max_read_time_seconds=1.0
        )
        return pbegin | "Kafka" >> reading
