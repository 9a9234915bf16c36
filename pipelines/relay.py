"""`douane ledger relay`: entries of a consent service's outbox to the ledger's topic, and the heartbeats behind them.

A heartbeat on a partition says: every entry received before T is ahead of this record. It is what the job's watermark
of the ledger follows, so the relay sends one only behind entries that the broker has acknowledged, only for what the
outbox can promise, and only while the clock that stamps entries agrees with the broker's, which stamps telemetry. As
long as one of these fails the topic is told nothing, and the job opens nothing.
"""

import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from typing import Protocol

from pipelines.command import OK, UNRECONCILED
from pipelines.errors import ConfigurationError, InputError, StoreError
from pipelines.ledger_topic import LedgerTopic, Undelivered
from pipelines.outbox import Batch, ClockAhead, Outbox
from transforms.block import few_lines
from transforms.decode import decode_ledger
from transforms.lines import merged

BATCH = 2_000
_AHEAD_MS = 5_000  # how far the clock may seem ahead of the broker's: an acknowledgement takes its time
_AGAIN_S = 1.0  # until what failed is tried again
_CLOCK = "the clock that stamps entries is ahead of the broker's: set it right; nothing is sent or promised meanwhile"
_SENT = "they are sent, and restrict whom they are about until entries with their ids correct them"


class Topic(Protocol):
    """Where the relay writes. Both return once everything is acknowledged, or raise Undelivered."""

    def send(self, messages: Iterable[tuple[bytes, bytes]]) -> None: ...

    def heartbeat(self, low_watermark_ms: int) -> None: ...

    @property
    def now_ms(self) -> int: ...


class Relay:
    """Takes entries from an outbox to a topic: each at least once, in order, and behind them what may be promised."""

    def __init__(self, outbox: Outbox, topic: Topic, say: Callable[[str], None]) -> None:
        self._outbox, self._topic, self._say = outbox, topic, say
        self.faults = 0  # entries that did not read

    def round(self) -> bool:
        """Sends the oldest entries and a heartbeat behind them. True if there may be more.

        The order is what makes it safe to be killed anywhere in it: entries leave the outbox only once delivered, and
        nothing is told before they have left it. Raises Undelivered, ClockAhead, ConfigurationError or InputError.
        """
        batch = self._outbox.take(BATCH, self._topic.now_ms + _AHEAD_MS)
        self._tell(batch)
        self._topic.send((entry.entry_id.encode(), entry.line) for entry in batch.entries)
        if batch.entries:
            self._outbox.sent(batch.entries)
        self._topic.heartbeat(batch.low_watermark_ms)
        return len(batch.entries) == BATCH

    def ask(self) -> None:
        """A heartbeat that tells nothing new: its acknowledgement brings the broker's time."""
        self._topic.heartbeat(self._outbox.safe_ms())

    def _tell(self, batch: Batch) -> None:
        """Entries that the job will not read are sent all the same: there a rejected line restricts whom it is about,
        and one that was held back here would stop nothing."""
        block = b"\n".join(entry.line for entry in batch.entries)
        faults = merged(*(decode_ledger(part).faults for part in few_lines(block)))
        self.faults += len(faults.line)
        for reason, count in faults.counts().items():
            self._say(f"{count} of the next {len(batch.entries)} entries do not read ({reason}); {_SENT}")


def run(options: Namespace) -> int:
    """Runs the relay until it is asked to end, or with `--once` until the outbox is empty. Exit status 3 tells of
    entries that did not read."""
    outbox = Outbox(_path(options.outbox))
    try:
        topic = LedgerTopic(options.topic, options.kafka_config_file)
        relay = Relay(outbox, topic, _say)
        if options.once:
            _once(relay, topic)
        else:
            _forever(relay, topic, options.heartbeat_ms / 1000)
        return UNRECONCILED if relay.faults else OK
    finally:
        outbox.close()


def _once(relay: Relay, topic: LedgerTopic) -> None:
    try:
        _begin(relay, topic)
        while _round(relay):
            pass
    except Undelivered as error:
        raise StoreError(f"the broker does not take the entries ({error}): they stay in the outbox") from None
    except ClockAhead:
        raise ConfigurationError(_CLOCK) from None


def _forever(relay: Relay, topic: LedgerTopic, period_s: float) -> None:
    """A round each period, without a pause while there is more to send. What fails is tried again, and said once."""
    ending, begun, said = threading.Event(), False, ""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    while not ending.is_set():
        until, trouble = time.monotonic() + period_s, ""
        try:
            if not begun:
                _begin(relay, topic)
                begun = True
            if _round(relay):
                continue
        except Undelivered as error:
            topic.drop()
            trouble = f"the broker does not take the entries ({error}): they stay in the outbox, nothing is promised"
        except ClockAhead:
            trouble = _CLOCK
        except InputError as error:
            trouble = str(error)
        if trouble != said:
            _say(trouble or "goes on")
            said = trouble
        ending.wait(_AGAIN_S if trouble else until - time.monotonic())


def _begin(relay: Relay, topic: LedgerTopic) -> None:
    topic.check()
    relay.ask()
    _say("the topic is as it must be; entries go out")


def _round(relay: Relay) -> bool:
    try:
        return relay.round()
    except ClockAhead:
        relay.ask()  # what is known of the broker's time may be old: a machine that slept did not count on
        return relay.round()


def _path(uri: str) -> str:
    scheme, _, path = uri.partition(":")
    if scheme != "sqlite" or not path:
        raise ConfigurationError(f"--outbox {uri}: give sqlite:PATH")
    return path


def _say(message: str) -> None:
    print(f"douane ledger relay: {message}", file=sys.stderr, flush=True)
