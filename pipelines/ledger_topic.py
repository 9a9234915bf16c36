"""The ledger's topic on Kafka, for its one producer: `pipelines.relay`."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from pipelines.errors import ConfigurationError
from pipelines.kafka_config import properties, refused
from pipelines.kafka_messages import WATERMARK_KEY

_LEAST_LAG_MS = 86_400_000
_PARTITIONS_S = 10.0
_WANTED: Mapping[str, tuple[str, Callable[[str], bool]]] = {
    "cleanup.policy": ("compact", lambda value: value == "compact"),
    "message.timestamp.type": ("LogAppendTime", lambda value: value == "LogAppendTime"),
    "min.compaction.lag.ms": (f"{_LEAST_LAG_MS} or more", lambda value: int(value) >= _LEAST_LAG_MS),
}


class Undelivered(Exception):
    """The broker did not acknowledge everything; the message holds its reason."""


class LedgerTopic:
    """The ledger's topic, written in order: every message is acknowledged by all replicas before the next call."""

    def __init__(self, name: str, config_file: str) -> None:
        self._name, self._file = name, config_file
        # the partition of a key is that which a Java producer would choose: compaction looks within partitions
        sure = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random", "linger.ms": 5}
        self._errors = _Errors()
        given = {"delivery.timeout.ms": 30_000, "reconnect.backoff.max.ms": 500, "log_level": 0}
        self._config = given | properties(config_file) | sure | {"error_cb": self._errors}
        self._producer: Producer | None = None
        self._partitions, self._counted_at = 0, 0.0
        self._append_ms, self._append_at = 0, time.monotonic()

    @property
    def now_ms(self) -> int:
        """The broker's time, from what it stamped last. 0, long ago, as long as nothing was acknowledged."""
        return self._append_ms + int((time.monotonic() - self._append_at) * 1000)

    def send(self, messages: Iterable[tuple[bytes, bytes]]) -> None:
        self._write([{"key": key, "value": value} for key, value in messages])

    def heartbeat(self, low_watermark_ms: int) -> None:
        """To every partition; it says how many there are, so that a job that reads fewer stops."""
        partitions = self._count()
        value = json.dumps({"low_watermark_ms": low_watermark_ms, "partitions": partitions}).encode()
        self._write([{"key": WATERMARK_KEY, "value": value, "partition": number} for number in range(partitions)])

    def check(self) -> None:
        """Raises ConfigurationError with what has to be changed of the topic, Undelivered if nobody answers."""
        self._count()
        found = self._asked(lambda: _configuration(AdminClient(self._config), self._name))
        wrong = [f"{name}={wanted}" for name, (wanted, fits) in _WANTED.items() if not fits(found[name])]
        if wrong:
            raise ConfigurationError(f"topic {self._name} cannot hold the ledger: set {', '.join(wrong)}")

    def drop(self) -> None:
        """Forgets whatever is still under way: what was not acknowledged is sent again by a new producer."""
        if self._producer:
            self._producer.purge()
        self._producer = None

    def _count(self) -> int:
        """How many partitions there are; looked up now and then, since a new one needs heartbeats as well."""
        if not self._partitions or time.monotonic() - self._counted_at > _PARTITIONS_S:
            topic = self._asked(lambda: self._open().list_topics(self._name, timeout=10).topics[self._name])
            if topic.error:
                raise ConfigurationError(f"topic {self._name} cannot be used ({topic.error.name()})")
            self._partitions, self._counted_at = len(topic.partitions), time.monotonic()
        return self._partitions

    def _asked(self, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except KafkaException as error:
            self._errors.refuse()
            raise Undelivered(_reason(error.args[0])) from None

    def _open(self) -> Producer:
        if self._producer is None:
            try:
                self._producer = Producer(self._config)
            except (KafkaException, TypeError, ValueError) as error:
                raise refused(self._file, self._config, str(error)) from None
        return self._producer

    def _write(self, messages: Sequence[Mapping[str, Any]]) -> None:
        producer, failed = self._open(), []

        def told(error: KafkaError | None, message) -> None:
            kind, stamp = (None, 0) if error else message.timestamp()
            if error:
                failed.append(error)
            elif kind == TIMESTAMP_LOG_APPEND_TIME:
                self._append_ms, self._append_at = stamp, time.monotonic()
                self._partitions = max(self._partitions, message.partition() + 1)  # the client may have learnt of it
            else:
                failed.append(KafkaError(KafkaError.INVALID_TIMESTAMP))

        try:
            for message in messages:
                producer.produce(self._name, on_delivery=told, **message)
            producer.flush()
        except (KafkaException, BufferError) as error:
            failed.append(error.args[0])
        if failed:
            self._errors.refuse()
            raise Undelivered(_reason(failed[0]))


class _Errors:
    """What the client reports beside its calls: a password that is refused is said here alone."""

    def __init__(self) -> None:
        self._last: KafkaError | None = None

    def __call__(self, error: KafkaError) -> None:
        if error.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED):
            self._last = error

    def refuse(self) -> None:
        if self._last:
            raise ConfigurationError(f"the broker refuses this client ({self._last.name()}): check the properties")


def _configuration(admin: AdminClient, topic: str) -> dict[str, str]:
    resource = ConfigResource(ResourceType.TOPIC, topic)
    found = admin.describe_configs([resource], request_timeout=10)[resource].result()
    return {name: entry.value for name, entry in found.items()}


def _reason(error: Any) -> str:
    """The name of the error: texts of the client may hold settings."""
    return error.name() if isinstance(error, KafkaError) else type(error).__name__
