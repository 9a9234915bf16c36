"""A consumer of a few partitions and the questions to the brokers beside it, none of which is ever waited for.

Where nobody answers it waits, and says so; what waiting does not mend (a password, a right, offsets that are gone)
raises. Nothing of the properties file gets into a message: of the client's own texts its error's name is told.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from pipelines.errors import ConfigurationError, InputError
from pipelines.kafka_config import properties, refused

_LOGGER = logging.getLogger(__name__)
_CLIENT = _LOGGER.getChild(
    "client"
)  # what librdkafka says: never to standard error, which a worker's pool may not read

_GIVEN = {
    "fetch.queue.backoff.ms": 10,  # the default of a second stalls a reader that is fast
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 4 << 20,
    "queued.max.messages.kbytes": 32 << 10,
    "reconnect.backoff.max.ms": 500,
}
_SURE = {
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "auto.offset.reset": "error",  # what is gone must not be passed over
    "enable.partition.eof": "true",
    "isolation.level": "read_committed",
    "allow.auto.create.topics": "false",
    "max.poll.interval.ms": "86400000",
}
_REFUSED = frozenset(
    {
        *(KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM),
        *(KafkaError._SSL, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.CLUSTER_AUTHORIZATION_FAILED),
        *(KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError.ILLEGAL_SASL_STATE, KafkaError._FATAL),
    }
)
_GONE = frozenset(
    {
        *(KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._LOG_TRUNCATION),
        KafkaError._NO_OFFSET,
    }
)
_NO_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.UNKNOWN_TOPIC_ID, KafkaError._UNKNOWN_TOPIC})
# Of a message that did not come whole nothing else would be heard.
_BROKEN = frozenset({KafkaError._BAD_MSG, KafkaError._BAD_COMPRESSION, KafkaError.INVALID_MSG, KafkaError._FS})
_TIMEOUT_S, _AGAIN_S, _SAY_S = 3.0, 1.0, 30.0
_MISSING = 3  # answers in a row: a topic that was just made is not known everywhere


@dataclass(frozen=True)
class Topic:
    """What the brokers say of a topic."""

    id: str
    partitions: tuple[int, ...]
    leaderless: tuple[int, ...]
    replicas: int  # of the partition that has most


class Client:
    """Reads some partitions of a topic from where it is told to. Raises `ConfigurationError` and `InputError`."""

    def __init__(self, topic: str, config_file: str) -> None:
        self.topic, self._failure, self._said = topic, None, Sayings()
        settings = properties(config_file)
        if wrong := sorted(name for name in _SURE if settings.get(name, _SURE[name]) != _SURE[name]):
            raise ConfigurationError(
                f"{config_file}: take out {', '.join(wrong)}: exactness stands on {_SURE[wrong[0]]}"
            )
        shared = {"reconnect.backoff.max.ms": 500} | settings | {"error_cb": self._failed}
        group = {"group.id": f"douane.{topic}", "on_commit": self._committed}
        try:
            self._consumer = Consumer(_GIVEN | group | shared | _SURE, logger=_CLIENT)
            asking = {name: value for name, value in shared.items() if name != "group.id"}
            self._admin = AdminClient(asking, logger=_CLIENT)
        except (KafkaException, TypeError, ValueError) as error:
            raise refused(config_file, settings, str(error)) from None
        self._missing = 0
        self._topic = Question(partial(self._ask_topic), every_s=10)
        self._ends = Question(partial(self._ask_offsets, spec=OffsetSpec.latest), every_s=0.5)
        self._starts = Question(partial(self._ask_offsets, spec=OffsetSpec.earliest), every_s=0.5)
        self._silent: set[int] = set()  # partitions that are not asked until they are known to have a leader

    def look(self) -> Topic | None:
        """What the brokers say of the topic, each ten seconds; None between."""
        self._served()
        found = self._topic.answer()
        if found is None:
            return None
        ((_, described),) = found[1].items()
        if isinstance(described, KafkaException):
            self._topic.soon()
            self._unknown(described.args[0])
            return None
        self._missing = 0
        if self._silent:
            self._topic.soon()
        partitions = {each.id: each.leader for each in described.partitions}
        # of a node that is away the leader is empty, or nobody
        gone = tuple(sorted(number for number, leader in partitions.items() if leader is None or leader.id < 0))
        self._silent = set(gone)
        if gone:
            self.say(f"partitions {_listed(gone)} of topic {self.topic} have no leader: they and their watermark wait")
        replicas = max((len(each.replicas) for each in described.partitions), default=0)
        return Topic(str(described.topic_id), tuple(sorted(partitions)), gone, replicas)

    def starts(self, partitions: Collection[int]) -> dict[int, int] | None:
        """The first offsets that partitions hold, once all have answered."""
        found = self._offsets(self._starts, partitions)
        return found[1] if found and len(found[1]) == len(partitions) else None

    def ends(self, partitions: Collection[int]) -> tuple[int, dict[int, int]] | None:
        """(t, the ends of partitions), twice a second; None between. What is before t in ms since the epoch, by this
        machine's clock, lies before these ends: records of open transactions too."""
        return self._offsets(self._ends, partitions)

    def assign(self, at: Mapping[int, int]) -> None:
        """Reads these partitions from these offsets on, beside those that it reads already."""
        self._consumer.incremental_assign([TopicPartition(self.topic, number, offset) for number, offset in at.items()])

    def unassign(self, partitions: Iterable[int]) -> None:
        self._consumer.incremental_unassign([TopicPartition(self.topic, number) for number in partitions])

    def take(self, most: int, timeout_s: float) -> list[Message]:
        """Up to so many messages, among them those that stand for the end of a partition and have an `error`."""
        self._served()
        messages = self._consumer.consume(most, timeout_s)
        told = [message for message in messages if message.error() is not None]
        troubles = [message for message in told if message.error().code() != KafkaError._PARTITION_EOF]
        for message in troubles:
            self._judge(message.error(), message)
        return [message for message in messages if message not in troubles] if troubles else messages

    def grown(self, partitions: Collection[int], ledger: bool) -> None:
        """Partitions were added while others are read. A ledger that is not read whole must open nothing."""
        added = f"topic {self.topic} has new partitions ({_listed(partitions)})"
        if ledger:
            raise InputError(f"{added}: starting again from the last checkpoint reads them too")
        self.say(f"{added}, which are not read yet: stop the job with a savepoint and start it from there")

    def commit(self, at: Mapping[int, int]) -> None:
        """For whoever watches the lag; nothing is ever read from there."""
        offsets = [TopicPartition(self.topic, number, offset) for number, offset in at.items()]
        with contextlib.suppress(KafkaException, RuntimeError):  # it may be closed by now
            if offsets:
                self._consumer.commit(offsets=offsets, asynchronous=True)

    def close(self) -> None:
        self._consumer.close()
        # It has no close of its own, and it and this object hold each other: until both were collected, its threads
        # and connections would stay, a few for each reader there was.
        del self._admin

    def _served(self) -> None:
        self._admin.poll(0)
        if self._failure is not None:
            error, self._failure = self._failure, None
            raise ConfigurationError(
                f"the brokers of topic {self.topic} refuse this client ({error.name()}): check the properties file and "
                "the rights: READ and DESCRIBE of the topic, READ of the group"
            )

    def _failed(self, error: KafkaError) -> None:
        """Called by the client, whenever it is polled."""
        if error.code() in _REFUSED or error.fatal():
            self._failure = error
        else:
            self.say(f"the brokers of topic {self.topic} do not answer ({error.name()}): waiting")

    def _committed(self, error: KafkaError | None, _: object) -> None:
        if error is not None:
            self.say(f"offsets of topic {self.topic} are not committed ({error.name()}): its lag cannot be watched")

    def _judge(self, error: KafkaError, message: Message) -> None:
        about = f"partition {message.partition()} of topic {self.topic}"
        if error.code() in _GONE:
            raise InputError(
                f"{about} does not hold offset {message.offset()} any more ({error.name()}): what was to be read next "
                "was deleted before it was read, or the topic was cut short; what is lost must be sent again, and the "
                "job started under another name"
            )
        if error.code() in _BROKEN:
            raise InputError(f"{about} cannot be read at offset {message.offset()} ({error.name()})")
        self._failed(error)
        self._served()

    def _unknown(self, error: KafkaError) -> None:
        if error.code() not in _NO_TOPIC:
            self._failed(error)
            self._served()
            return
        self._missing += 1
        if self._missing >= _MISSING:
            raise ConfigurationError(f"there is no topic {self.topic}, or this client may not see it: make it first")

    def _ask_topic(self) -> Mapping:
        return self._admin.describe_topics(TopicCollection([self.topic]), request_timeout=_TIMEOUT_S)

    def _ask_offsets(self, partitions: Collection[int], spec: Callable[[], OffsetSpec]) -> Mapping:
        asked = {TopicPartition(self.topic, number): spec() for number in partitions}
        # READ_UNCOMMITTED: records of a transaction that is open hide behind the end that is stable
        return self._admin.list_offsets(
            asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=_TIMEOUT_S
        )

    def _offsets(self, question: "Question", partitions: Collection[int]) -> tuple[int, dict[int, int]] | None:
        self._served()
        # Asked for one whose leader is away, librdkafka tries to connect without a pause, and answers nothing else.
        asked = [number for number in partitions if number not in self._silent]
        found = question.answer(asked) if asked else None
        if found is None:
            return None
        asked_ms, answers = found
        raised = {each.partition: told.args[0] for each, told in answers.items() if isinstance(told, KafkaException)}
        told = {each.partition: told for each, told in answers.items() if each.partition not in raised}
        # a request that came to nothing may look like an answer
        answered = {number: each.offset for number, each in told.items() if each.offset >= 0}
        if len(answered) < len(answers):
            for error in raised.values():
                self._failed(error)
            silent = {each.partition for each in answers} - set(answered)
            self.say(f"partitions {_listed(silent)} of topic {self.topic} do not answer: they and their watermark wait")
            self._silent |= silent
            self._topic.soon()
        return asked_ms, answered

    def say(self, what: str) -> None:
        self._said(what)


class Question:
    """Asked now and then, and never waited for."""

    def __init__(self, ask: Callable[..., Mapping[Any, Any]], every_s: float) -> None:
        self._ask, self._every_s, self._due, self._pending, self._asked_ms = ask, every_s, 0.0, None, 0

    def answer(self, *about: Any) -> tuple[int, dict[Any, Any]] | None:
        """(when it was asked in ms since the epoch, results or what they raised), once after each time it was asked."""
        if self._pending is None:
            if time.monotonic() >= self._due:
                self._asked_ms = time.time_ns() // 1_000_000
                self._pending = self._ask(*about)
                self._due = time.monotonic() + self._every_s
            return None
        if not all(future.done() for future in self._pending.values()):
            return None
        pending, self._pending = self._pending, None
        return self._asked_ms, {key: future.exception() or future.result() for key, future in pending.items()}

    def soon(self) -> None:
        """It is asked again in a second: the answer was no answer."""
        self._due = min(self._due, time.monotonic() + _AGAIN_S)


class Sayings:
    """Warnings, each not more often than every 30 seconds."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    def __call__(self, what: str) -> None:
        now = time.monotonic()
        if now >= self._next.get(what, 0.0):
            self._next = {said: at for said, at in self._next.items() if at > now} | {what: now + _SAY_S}
            _LOGGER.warning("%s", what)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
