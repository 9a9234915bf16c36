"""Drives a reader of Kafka as Beam does, without Beam."""

import time

from apache_beam.utils.timestamp import MIN_TIMESTAMP

from pipelines.arrivals import read_arrived


class Reading:
    """Drives one reader as Beam does."""

    def __init__(self, source, mark=None):
        self.source, self.elements, self.stamps, self.watermarks = source, [], [], [MIN_TIMESTAMP]
        if mark is not None:
            coder = source.get_checkpoint_mark_coder()
            mark = coder.decode(coder.encode(mark))
        self.reader = source.create_reader(None, mark)
        self._started = False

    def step(self):
        found = self.reader.advance() if self._started else self.reader.start()
        self._started = True
        if found:
            self.elements.append(self.reader.get_current())
            self.stamps.append(self.reader.get_current_timestamp())
        self.watermarks.append(self.reader.get_watermark())
        return found

    def until(self, is_so, seconds=60):
        until = time.monotonic() + seconds
        while not is_so(self):
            self.step()
            assert time.monotonic() < until, f"not in {seconds} s: {self.watermarks[-3:]}"
            time.sleep(0.01)
        return self

    def lines(self, count, seconds=60):
        return self.until(lambda reading: len(reading.received) >= count, seconds)

    @property
    def received(self):
        """(line, receipt) of all that came."""
        found = []
        for element in self.elements:
            for block, received in read_arrived(element):
                lines = block.split(b"\n")[:-1]
                found += zip(lines, [None] * len(lines) if received is None else received.tolist(), strict=True)
        return found

    @property
    def mark(self):
        return self.reader.get_checkpoint_mark()

    @property
    def watermark_ms(self):
        return self.watermarks[-1].micros // 1000


def produce(broker, topic, values, **config):
    """Values, or (key, value, partition)."""
    producer, told = broker.producer(**config), []
    for value in values:
        key, value, partition = value if isinstance(value, tuple) else (None, value, 0)
        producer.produce(
            topic, value, key, partition, on_delivery=lambda e, m: told.append(e or (m.offset(), m.timestamp()[1]))
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    assert all(isinstance(each, tuple) for each in told), told
    return told


def now_ms():
    return time.time_ns() // 1_000_000
