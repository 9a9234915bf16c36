"""Reads the partitions of a topic that belong to one source.

Telemetry is received when the broker appends it, and its watermark is the append time of what was read last. Of a
partition that is idle it is the time before a question that proved that all is read, less `SKEW_MS`; of a topic with
replicas less `FOLLOWERS_MS` too. The ledger's watermark moves by heartbeats only.
"""

import threading
import time
import weakref
from dataclasses import replace

from apache_beam.io.unbounded_source import UnboundedReader
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP, Timestamp
from confluent_kafka import Message

from pipelines.arrivals import ARRIVED_BYTES, Arrived, earliest_ms
from pipelines.errors import ConfigurationError
from pipelines.kafka import KafkaSource, Mark
from pipelines.kafka_client import Client
from pipelines.kafka_messages import NEVER_MS, Place, gauge, ledger, telemetry

SKEW_MS = 5_000  # how far this machine's clock may be ahead of the brokers'
# How long a record may stand on its leader and be told to nobody, for a follower that hangs: replica.lag.time.max.ms.
FOLLOWERS_MS = 30_000
EVEN_MS = 5 * 60_000  # how far a partition may be read ahead of another one of its reader
_GATHER_S, _WAIT_S = 0.5, 0.05  # how long a block is gathered once there is a message, and a message is waited for
_MOST = 10_000  # messages asked for at once


# The reader of each source that has the turn in this process.
_TURNS: dict[KafkaSource, "KafkaReader"] = {}
_SWAP = threading.Lock()


class KafkaReader(UnboundedReader):
    """Reads the partitions of one source. It never waits for an answer of the brokers, but for messages a moment.

    A process has one consumer for a source, held by the reader that has the turn. Between bundles Beam keeps readers
    for each copy of its step apart, makes a new one whenever another copy goes on, and may come back to one that it
    kept: that one takes the turn, with all that the other has open if it stands where this one goes on, or else anew.
    """

    def __init__(self, source: KafkaSource, mark: Mark) -> None:
        self._source, self._lock, self._has_turn = source, threading.Lock(), False
        with self._lock:
            self._take_turn(mark)

    def _take_turn(self, mark: Mark) -> None:
        with _SWAP:
            other, _TURNS[self._source] = _TURNS.get(self._source), self
        if other in (None, self) or not self._take_over(other, mark):
            self._open(mark)
        self._has_turn = True

    def _take_over(self, other: "KafkaReader", mark: Mark) -> bool:
        """Ends the other's turn. Whether it stands at the mark: then all that it has open is this one's."""
        with other._lock:
            if not other._has_turn:
                return False
            other._has_turn = False
            if other.get_checkpoint_mark() != mark:
                other._client.close()
                return False
            vars(self).update({name: of for name, of in vars(other).items() if name not in ("_lock", "_has_turn")})
            other._places = {number: replace(place) for number, place in self._places.items()}  # where it goes on
            return True

    def _open(self, mark: Mark) -> None:
        self._topic_id = mark.topic_id
        self._client = Client(self._source.topic, self._source.config_file)
        self._places = {number: Place(offset, clock) for number, offset, clock in mark.places}
        self._reading: set[int] | None = None  # partitions that are read now; None before the first answer
        self._new: list[int] = []
        self._idle_ms: dict[int, int] = {}  # proved, not read: not in the mark
        self._rest: list[Message] = []  # taken, for the next block
        self._stop: dict[int, int] | None = None
        self._current: Arrived = (b"", b"")
        self._timestamp = MIN_TIMESTAMP
        self._most = 100

    def start(self) -> bool:
        return self.advance()

    def advance(self) -> bool:
        """The next block, if any messages are there."""
        with self._lock:
            if not self._has_turn:
                self._take_turn(self.get_checkpoint_mark())
            try:
                return self._advance()
            except Exception:
                self._end_turn()  # whoever tries again looks at everything anew
                raise

    def _advance(self) -> bool:
        self._watch()
        if not self._begun() or self._done():
            return False
        self._prove()
        self._keep_even()
        messages = self._gather()
        if not messages:
            return False
        before = self._clock_ms()
        self._current = self._lines(messages)
        if not self._current[0]:
            return False
        self._timestamp = _timestamp(before if self._source.ledger else earliest_ms(self._current))
        return True

    def get_current(self) -> Arrived:
        return self._current

    def get_current_timestamp(self) -> Timestamp:
        return self._timestamp

    def get_watermark(self) -> Timestamp:
        return MAX_TIMESTAMP if self._done() else _timestamp(self._clock_ms())

    def get_checkpoint_mark(self) -> Mark:
        places = tuple((number, place.offset, place.clock_ms) for number, place in sorted(self._places.items()))
        return Mark(self._topic_id, places, weakref.ref(self._client))

    def close(self) -> None:
        with self._lock:
            if self._has_turn:
                self._end_turn()

    def _end_turn(self) -> None:
        self._has_turn = False
        self._client.close()

    def _watch(self) -> None:
        """What has become of the topic."""
        topic = self._client.look()
        if topic is None:
            return
        if self._topic_id and topic.id != self._topic_id:
            raise ConfigurationError(
                f"topic {self._source.topic} was deleted and made again: what was read of it and what it holds now do "
                "not belong together; start the job under another name"
            )
        self._unseen_ms = SKEW_MS + (FOLLOWERS_MS if topic.replicas > 1 else 0)
        own = [number for number in topic.partitions if number % self._source.parts == self._source.part]
        added = sorted(set(own) - set(self._places))
        if self._reading is None and not self._new:
            self._topic_id, self._new = topic.id, added
            if not added:
                self._read({number: place.offset for number, place in self._places.items()})
        elif self._reading is not None and added:
            self._client.grown(added, self._source.ledger)

    def _begun(self) -> bool:
        """Whether partitions are read. Those that no mark knows are read from their first record on."""

        if self._reading is None and self._new:
            starts = self._client.starts(self._new)
            if starts is not None:
                self._places |= {number: Place(offset) for number, offset in starts.items()}
                self._read({number: place.offset for number, place in self._places.items()})
        elif self._reading is None:
            self._client.take(1, _WAIT_S)
        return self._reading is not None

    def _read(self, at: dict[int, int]) -> None:
        self._client.assign(at)
        self._reading = set(self._reading or ()) | set(at)

    def _prove(self) -> None:
        """Moves the clocks of partitions of which all is read, and tells how far behind the others are."""

        answer = self._client.ends(sorted(self._places))
        if answer is None:
            return
        asked_ms, ends = answer
        if self._source.stop_at_end and self._stop is None and len(ends) == len(self._places):
            self._stop = ends
        for number, end in ends.items():
            if not self._source.ledger and self._places[number].offset >= end:
                self._idle_ms[number] = asked_ms - self._unseen_ms
        if len(ends) == len(self._places):
            name = f"{'ledger' if self._source.ledger else 'telemetry'}_{self._source.part}"
            gauge(f"kafka_lag_{name}", sum(max(0, end - self._places[number].offset) for number, end in ends.items()))
            gauge(f"kafka_watermark_lag_ms_{name}", time.time_ns() // 1_000_000 - max(0, self._clock_ms()))

    def _gather(self) -> list:
        """Messages for one block. Every later step pays for each block, so little is not passed on at once."""
        messages, self._rest = self._rest, []
        size, until = sum(map(len, messages)), time.monotonic() + _GATHER_S
        while size < ARRIVED_BYTES and time.monotonic() < until:
            taken = self._client.take(self._most, _WAIT_S)
            if not (taken or messages):
                break
            messages += taken
            size += sum(map(len, taken))
            self._most = min(_MOST, max(1, (ARRIVED_BYTES * len(messages)) // max(1, size)))
        if size > ARRIVED_BYTES:
            messages, self._rest = _cut(messages)
        return messages

    def _lines(self, messages: list) -> Arrived:

        contents = [message for message in messages if message.error() is None]
        if self._source.ledger:
            found = ledger(self._source.topic, contents, self._places, self._client.say)
        else:
            found = telemetry(self._source.topic, contents, self._places)
        if len(contents) < len(messages):
            for end in (message for message in messages if message.error() is not None):
                place = self._places[end.partition()]
                place.offset = max(place.offset, end.offset())  # past the markers of transactions
        return found

    def _keep_even(self) -> None:
        """Stops reading what is far ahead, so that the watermark, which is the smallest, does not lag behind what has
        been read: that would lie in state."""
        if self._source.ledger or len(self._places) == 1:
            return
        least = self._clock_ms()
        ahead = {n for n, place in self._places.items() if n in self._reading and place.clock_ms > least + EVEN_MS}
        level = {n for n, place in self._places.items() if place.clock_ms <= least + EVEN_MS // 2} - self._reading
        level -= {message.partition() for message in self._rest} if level else set()  # which is yet to be given
        if ahead:
            self._client.unassign(ahead)
            self._reading -= ahead
        if level:
            self._read({number: self._places[number].offset for number in level})

    def _clock_ms(self) -> int:

        clocks = (max(place.clock_ms, self._idle_ms.get(n, NEVER_MS)) for n, place in self._places.items())
        return min(clocks, default=NEVER_MS)

    def _done(self) -> bool:
        return (
            self._stop is not None
            and not self._rest
            and all(self._places[number].offset >= end for number, end in self._stop.items())
        )


def _cut(messages: list) -> tuple[list, list]:
    """As many as fit in a block, one at least, and the rest."""
    size = 0
    for count, message in enumerate(messages):
        size += len(message) + 1
        if size > ARRIVED_BYTES and count:
            return messages[:count], messages[count:]
    return messages, []


def _timestamp(clock_ms: int) -> Timestamp:
    return MIN_TIMESTAMP if clock_ms == NEVER_MS else Timestamp(micros=clock_ms * 1000)
