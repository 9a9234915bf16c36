"""What the source alone costs: CPU of this process for a record of 640 bytes, from messages of one line and of 50.

`pytest -s` shows the figures. They are of the whole reader: fetching, unpacking, receipts, and joining to blocks."""

import time

import pytest

from pipelines.kafka import KafkaSource
from tests.engines.broker import Broker
from tests.engines.reading import Reading

LINE = b'{"event_id": "' + b"x" * 623 + b'"}\n'
RECORDS = 400_000


@pytest.mark.parametrize("lines", [1, 50])
def test_speed(tmp_path, processes, lines):
    broker = Broker(tmp_path / "broker", processes, memory="1g").start()
    topic = broker.topic("speed", 4)
    producer = broker.producer(compression_type="lz4", linger_ms=20, queue_buffering_max_messages=1_000_000)
    for i in range(RECORDS // lines):
        producer.produce(topic, LINE * lines, partition=i % 4)
    assert producer.flush(300) == 0
    config = tmp_path / "kafka.properties"
    config.write_text(f"bootstrap.servers={broker.bootstrap}\n")
    read = Reading(KafkaSource(topic, str(config)))
    size, blocks, cpu, began = 0, 0, time.process_time(), time.monotonic()
    while size < RECORDS * len(LINE):
        if read.reader.advance():
            size, blocks = size + len(read.reader.get_current()[0]), blocks + 1
        assert time.monotonic() < began + 300
    cpu, wall = time.process_time() - cpu, time.monotonic() - began
    read.reader.close()
    print(f"\n{lines} lines a message: {cpu / RECORDS * 1e6:.2f} us CPU a record, {RECORDS / wall:,.0f} records/s,")
    print(f"blocks of {size / blocks / 1e6:.1f} MB")
    assert size == RECORDS * len(LINE)
    assert cpu / RECORDS < 20e-6
