"""From messages of Kafka to lines: those of telemetry, and those of the ledger with its heartbeats.

A `Place` is where a reader stands in a partition. It follows from what the partition holds alone, so a replay from an
earlier place gives every line the same receipt again.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from apache_beam.metrics import Metrics
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from pipelines.arrivals import Arrived, arrived
from pipelines.errors import ConfigurationError, InputError

WATERMARK_KEY = b"__watermark__"
NEVER_MS = -(1 << 62)  # a clock that nothing has moved yet
_AHEAD_MS = 5 * 60_000


@dataclass
class Place:
    """The offset to be read next, and the clock of the partition in ms: of telemetry the greatest append time that was
    met, of the ledger the low watermark of the last heartbeat."""

    offset: int
    clock_ms: int = NEVER_MS


def telemetry(topic: str, messages: Sequence[Message], places: dict[int, Place]) -> Arrived:
    """The lines of messages, received when the broker appended them; never before what came before in their partition.

    A message without content is no line and is counted in a metric. Moves the places. Raises `ConfigurationError` where
    the time is not the broker's."""
    if not messages:
        return b"", b""
    kinds, times = zip(*[message.timestamp() for message in messages], strict=True)
    if set(kinds) != {TIMESTAMP_LOG_APPEND_TIME}:
        raise ConfigurationError(
            f"topic {topic} holds messages with their senders' time: set message.timestamp.type=LogAppendTime, and use "
            "a new topic for what comes then"
        )
    received = np.array(times, np.int64)
    partitions = np.array([message.partition() for message in messages])
    for number in np.unique(partitions).tolist():
        place, own = places[number], np.flatnonzero(partitions == number)
        _in_order(topic, place, messages[own[0]])
        received[own] = np.maximum.accumulate(np.maximum(received[own], place.clock_ms))
        place.offset, place.clock_ms = messages[own[-1]].offset() + 1, int(received[own[-1]])
    values = [message.value() for message in messages]
    if not all(values):
        full = [i for i, value in enumerate(values) if value]
        _count("kafka_empty_messages", len(values) - len(full))
        values, received = [values[i] for i in full], received[full]
    return arrived(values, received)


def ledger(topic: str, messages: Iterable[Message], places: dict[int, Place], say: Callable[[str], None]) -> Arrived:
    """The entries of messages, each with the low watermark of the last heartbeat ahead of it: what does not read was
    not received before, all else says itself when. Heartbeats move the places' clocks.

    A tombstone, or an entry without content, becomes a line that names nobody: what it takes off the topic stays in
    force in a job that has read it, and a job that has not raises the alarm for lines that name nobody."""
    lines: list[bytes] = []
    since: list[int] = []
    for message in messages:
        place = places[message.partition()]
        _in_order(topic, place, message)
        if message.key() == WATERMARK_KEY:
            _beat(message, place, len(places), topic, say)
        else:
            lines.append(message.value() or _missing(message))
            since.append(max(place.clock_ms, 0))
        place.offset = message.offset() + 1
    return arrived(lines, since)


def _in_order(topic: str, place: Place, message: Message) -> None:
    if message.offset() < place.offset:
        raise InputError(f"partition {message.partition()} of topic {topic} gave an offset twice")


def _beat(message: Message, place: Place, partitions: int, topic: str, say: Callable[[str], None]) -> None:
    try:
        content = json.loads(message.value())
        low_ms, told = content["low_watermark_ms"], content.get("partitions", 0)
        kind, stamped_ms = message.timestamp()
        if kind != TIMESTAMP_LOG_APPEND_TIME:
            _count("kafka_bad_heartbeats", 1)
            say(f"a heartbeat on topic {topic} has no time of the broker: set message.timestamp.type=LogAppendTime")
            return
        if type(low_ms) is not int or not 0 <= low_ms <= stamped_ms + _AHEAD_MS:
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _count("kafka_bad_heartbeats", 1)
        say(f'a heartbeat on topic {topic} does not read and moves nothing: write {{"low_watermark_ms": T}}')
        return
    if type(told) is int and told > partitions:
        raise InputError(f"topic {topic} has more partitions by now than are read: starting again reads them all")
    if low_ms < place.clock_ms:
        _count("kafka_bad_heartbeats", 1)
        say(f"a heartbeat on topic {topic} lies before an earlier one and moves nothing")
    place.clock_ms = max(place.clock_ms, low_ms)


def _missing(message: Message) -> bytes:
    _count("kafka_empty_messages", 1)
    return json.dumps({"entry_id": (message.key() or b"").decode(errors="replace")}).encode()


def _count(name: str, count: int) -> None:
    Metrics.counter("douane", name).inc(count)


def gauge(name: str, value: int) -> None:
    Metrics.gauge("douane", name).set(value)
