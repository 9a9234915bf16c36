"""Telemetry from Google's Pub/Sub, as Dataflow reads it.

A message is one or more lines. It is received when Pub/Sub published it: that time comes from the server, stays the
same however often the message is delivered, and is its element's timestamp. Attributes are not read; neither is a time
that a publisher could choose.

Dataflow hands messages out one by one, and acknowledges them when what they became has been committed. Columns pay only
for many lines at once, so the messages of a bundle are gathered into blocks, within the step that the border is fused
to: a raw line crosses no exchange and lies in no state of the job. A bundle is as long as the runner makes it; who
publishes many lines in a message has long blocks whatever that is.

A ledger does not come by Pub/Sub: nothing tells that all of it up to some time has been read, so that a stop which is
still under way would not hold records back.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindow
from apache_beam.utils.timestamp import Timestamp
from apache_beam.utils.windowed_value import WindowedValue

from pipelines.arrivals import ARRIVED_BYTES, Arrived, arrived
from pipelines.errors import ConfigurationError
from transforms.discreet import discreet


@dataclass
class ReadPubSub(beam.PTransform):
    """The messages of a subscription (`projects/PROJECT/subscriptions/NAME`) as blocks of lines with their receipts.
    Raises `ConfigurationError`, when the pipeline is built, for a name that Google would not give."""

    subscription: str

    def expand(self, pbegin):
        from apache_beam.io.gcp.pubsub import ReadFromPubSub  # Google's libraries are an extra

        try:
            # No id_label: Dataflow would exchange whole messages by it. Of what comes twice the gate keeps one.
            messages = ReadFromPubSub(subscription=self.subscription)
        except ValueError:
            raise ConfigurationError(
                f"pubsub:{self.subscription}: write projects/PROJECT/subscriptions/NAME, as Google names them"
            ) from None
        return pbegin | "Messages" >> messages | "Gather" >> beam.ParDo(_Gather()).with_output_types(Arrived)


class _Gather(beam.DoFn):
    """Messages of one bundle -> blocks of whole lines, each at the earliest receipt in it. While a bundle is worked on
    the watermark stands before all of its messages, so that no block is late."""

    def start_bundle(self) -> None:
        self._clear()

    @discreet
    def process(self, message: bytes, timestamp=beam.DoFn.TimestampParam) -> Iterator[WindowedValue]:
        if not message:  # attributes alone: no line
            return
        if self._bytes + len(message) > ARRIVED_BYTES:
            yield from self._block()
        self._messages.append(message)
        self._received_ms.append(timestamp.micros // 1000)
        self._bytes += len(message)

    @discreet
    def finish_bundle(self) -> Iterator[WindowedValue]:
        yield from self._block()

    def _block(self) -> Iterator[WindowedValue]:
        if self._messages:
            earliest = Timestamp(micros=min(self._received_ms) * 1000)
            yield WindowedValue(arrived(self._messages, self._received_ms), earliest, (GlobalWindow(),))
        self._clear()

    def _clear(self) -> None:
        self._messages: list[bytes] = []
        self._received_ms: list[int] = []
        self._bytes = 0
