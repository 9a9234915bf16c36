"""The Kafka source against a real broker, read directly: what it gives, where it stands, and what it does when things
are not as they should be."""

import json
import logging
import time
import weakref

import pytest
from apache_beam.utils.timestamp import MAX_TIMESTAMP, MIN_TIMESTAMP

from pipelines.errors import ConfigurationError, InputError
from pipelines.kafka import KafkaSource, MarkCoder
from pipelines.kafka_reader import SKEW_MS
from tests.engines.broker import Broker
from tests.engines.processes import Processes
from tests.engines.reading import now_ms, produce

BEAT = b"__watermark__"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kafka")
    with Processes(folder / "logs") as processes:
        yield Broker(folder / "broker", processes).start()


@pytest.fixture
def topic(request, broker):
    """Makes a topic named after the test."""

    def make(partitions=1, **config):
        return broker.topic(request.node.name.replace("[", "-").replace("]", ""), partitions, **config)

    return make


def test_messages_of_one_and_of_more_lines(broker, topic, config, reading):
    """A message without LF at its end, an empty one, and a tombstone among them; each line keeps its append time."""
    name = topic()
    told = produce(broker, name, [b"a\nb\n", b"c", b"", None, b"d\n"])
    read = reading(KafkaSource(name, config)).lines(4)
    assert read.received == [(b"a", told[0][1]), (b"b", told[0][1]), (b"c", told[1][1]), (b"d", told[4][1])]
    assert read.mark.places == ((0, 5, told[4][1]),)
    assert read.stamps[0].micros == told[0][1] * 1000


def test_going_on_from_a_mark(broker, topic, config, reading):
    """Nothing twice, nothing lost; the mark's bytes hold offsets and clocks, and are the same for the same place."""
    name = topic(3)
    produce(broker, name, [(None, b"%d" % i, i % 3) for i in range(300)])
    first = reading(KafkaSource(name, config)).lines(300)
    produce(broker, name, [(None, b"%d" % i, i % 3) for i in range(300, 600)])
    second = reading(KafkaSource(name, config), first.mark).lines(300)
    again = reading(KafkaSource(name, config), first.mark).lines(300)
    assert sorted(int(line) for line, _ in first.received + second.received) == list(range(600))
    assert sorted(second.received) == sorted(again.received)
    assert MarkCoder().encode(second.mark) == MarkCoder().encode(again.mark)
    assert len(MarkCoder().encode(second.mark)) < 100


def test_watermark_of_telemetry(broker, topic, config, reading):
    """It is the append time of what was read; of an idle topic the time before the brokers said that all is read; and
    nothing while one partition has not said so."""
    name = topic(2)
    ((_, appended),) = produce(broker, name, [b"a"])
    begun = now_ms()
    read = reading(KafkaSource(name, config))
    read.step()
    assert read.watermarks[-1] == MIN_TIMESTAMP
    read.lines(1)
    assert read.watermark_ms <= appended or read.watermark_ms >= begun - SKEW_MS
    read.until(lambda each: each.watermark_ms >= begun + 1_000 - SKEW_MS)
    assert read.watermark_ms <= now_ms() - SKEW_MS
    assert read.mark.places == ((0, 1, appended), (1, 0, -(1 << 62)))  # what the clock proved is not kept


def test_an_open_transaction_holds_the_watermark(broker, topic, config, reading):
    """Its records lie behind an end that is stable: idle is not what hides them. Markers are stepped over."""
    name = topic()
    producer = broker.producer(transactional_id="t")
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(name, b"hidden")
    producer.flush(30)
    read = reading(KafkaSource(name, config))
    until = time.monotonic() + 5
    read.until(lambda _: time.monotonic() > until)
    assert set(read.watermarks) == {MIN_TIMESTAMP}
    producer.commit_transaction()
    read.lines(1)
    producer.begin_transaction()
    producer.produce(name, b"aborted")
    producer.flush(30)
    producer.abort_transaction()
    begun = now_ms()
    read.until(lambda each: each.watermark_ms >= begun - SKEW_MS)
    assert [line for line, _ in read.received] == [b"hidden"]
    assert read.mark.places[0][1] == 4  # two records and two markers


def test_split(broker, topic, config):
    name = topic(5)
    source = KafkaSource(name, config, readers=2)
    assert [(each.part, each.parts) for each in source.split(20)] == [(0, 2), (1, 2)]
    assert [each.parts for each in KafkaSource(name, config, ledger=True).split(20)] == [1]
    assert len(list(KafkaSource(name, config).split(20))) == 5


def test_parts_hold_all_partitions(broker, topic, config, reading):
    name = topic(5)
    produce(broker, name, [(None, b"%d" % i, i) for i in range(5)])
    parts = KafkaSource(name, config, readers=2).split(20)
    found = [line for part, count in zip(parts, (3, 2), strict=True) for line, _ in reading(part).lines(count).received]
    assert sorted(found) == [b"0", b"1", b"2", b"3", b"4"]


def test_blocks_have_a_bound(broker, topic, config, reading):
    name = topic()
    produce(broker, name, [b"%06d" % i + b"x" * 99_993 for i in range(300)], linger_ms=20)
    read = reading(KafkaSource(name, config)).lines(300)
    assert [int(line[:6]) for line, _ in read.received] == list(range(300))
    assert max(len(block) for block, _ in read.elements) <= 12 << 20
    assert len(read.elements) >= 3


def test_a_message_larger_than_a_block(broker, topic, config, reading):
    """It comes whole, as a block of its own; what is wrong with its lines is for the border to say."""
    name = topic(max_message_bytes=20 << 20)
    large = b"x" * (1 << 20) + b"\n" + b"y" * (13 << 20)
    produce(broker, name, [b"a", large, b"b"], message_max_bytes=30 << 20)
    read = reading(KafkaSource(name, config)).lines(4)
    assert [len(line) for line, _ in read.received] == [1, 1 << 20, 13 << 20, 1]
    assert len(read.elements) >= 2


def test_senders_time_is_refused(broker, topic, config, reading):
    name = topic(message_timestamp_type="CreateTime")
    produce(broker, name, [b"canary"])
    with pytest.raises(ConfigurationError, match="message.timestamp.type=LogAppendTime") as error:
        reading(KafkaSource(name, config)).lines(1)
    assert "canary" not in str(error.value)


def test_no_topic(broker, config, reading):
    source = KafkaSource("none", config)
    with pytest.raises(ConfigurationError, match="no topic none"):
        source.split(20)
    with pytest.raises(ConfigurationError, match="no topic none"):
        reading(source).lines(1)


def test_a_topic_that_goes(broker, topic, config, reading):
    name = topic()
    produce(broker, name, [b"a"])
    read = reading(KafkaSource(name, config)).lines(1)
    broker.delete_topic(name)
    with pytest.raises(ConfigurationError, match="no topic"):
        read.lines(2)


def test_a_topic_that_was_made_again(broker, topic, config, reading):
    name = topic()
    produce(broker, name, [b"a"])
    mark = reading(KafkaSource(name, config)).lines(1).mark
    broker.delete_topic(name)
    time.sleep(2)
    broker.topic(name)
    produce(broker, name, [b"a", b"b"])
    with pytest.raises(ConfigurationError, match="deleted and made again"):
        reading(KafkaSource(name, config), mark).lines(1)


def test_offsets_that_are_gone(broker, topic, config, reading):
    """What was deleted before it was read is not passed over."""
    from confluent_kafka import TopicPartition

    name = topic()
    produce(broker, name, [b"a"])
    mark = reading(KafkaSource(name, config)).lines(1).mark
    produce(broker, name, [b"b", b"c"])
    for future in broker.admin.delete_records([TopicPartition(name, 0, 2)]).values():
        future.result(30)
    with pytest.raises(InputError, match="partition 0 .* does not hold offset 1"):
        reading(KafkaSource(name, config), mark).lines(1)


def test_partitions_that_are_added(broker, topic, config, reading, caplog):
    """They are told of, and read from their first record on by the reader that is made next."""
    from confluent_kafka.admin import NewPartitions

    name = topic()
    produce(broker, name, [b"a"])
    read = reading(KafkaSource(name, config)).lines(1)
    for future in broker.admin.create_partitions([NewPartitions(name, 2)]).values():
        future.result(30)
    produce(broker, name, [(None, b"b", 1)])
    with caplog.at_level(logging.WARNING):
        read.until(lambda _: "new partitions (1)" in caplog.text)
    assert reading(KafkaSource(name, config), read.mark).lines(1).received[0][0] == b"b"


def test_a_ledger_that_grows_is_not_read_on(broker, topic, config, reading):
    """Its new partition might hold a stop."""
    from confluent_kafka.admin import NewPartitions

    name = topic()
    read = reading(KafkaSource(name, config, ledger=True))
    produce(broker, name, [(BEAT, b'{"low_watermark_ms": 5}', 0)])
    read.until(lambda each: each.watermark_ms == 5)
    for future in broker.admin.create_partitions([NewPartitions(name, 2)]).values():
        future.result(30)
    with pytest.raises(InputError, match="new partitions"):
        read.lines(1)
    again = reading(KafkaSource(name, config, ledger=True), read.mark)
    again.until(lambda each: len(each.mark.places) == 2)
    assert again.watermarks[-1] == MIN_TIMESTAMP


def test_partitions_are_read_evenly(broker, topic, config, reading, monkeypatch):
    """A partition that holds later records is not read far ahead of one that holds earlier ones."""
    monkeypatch.setattr("pipelines.kafka_reader.EVEN_MS", 1_000)
    monkeypatch.setattr("pipelines.kafka_reader.ARRIVED_BYTES", 20_000)
    name = topic(2)
    for burst in range(4):
        produce(broker, name, [(None, b"%06d" % i, 0) for i in range(burst * 5_000, burst * 5_000 + 5_000)])
        if burst == 0:
            produce(broker, name, [(None, b"%06d" % i, 1) for i in range(100_000, 120_000)])
        time.sleep(1.5)
    read = reading(KafkaSource(name, config)).lines(40_000)
    assert sorted(int(line) for line, _ in read.received) == [*range(20_000), *range(100_000, 120_000)]
    order = [int(line) for line, _ in read.received]
    assert order.index(119_999) < order.index(15_000)  # a block or two of what is later come before, not four bursts


def entry(number):
    return json.dumps({"entry_id": str(number)}).encode()


def test_only_heartbeats_move_the_ledgers_watermark(broker, topic, config, reading):
    """The smallest over the partitions; entries do not move it, nor does time."""
    name = topic(2, cleanup_policy="compact")
    read = reading(KafkaSource(name, config, ledger=True))
    produce(broker, name, [(b"1", entry(1), 0), (BEAT, b'{"low_watermark_ms": 1000}', 0), (b"2", entry(2), 1)])
    read.lines(2)
    until = time.monotonic() + 2
    read.until(lambda _: time.monotonic() > until)
    assert set(read.watermarks) == {MIN_TIMESTAMP}
    assert sorted(read.received) == [(entry(1), 0), (entry(2), 0)]  # no heartbeat was ahead of them
    produce(broker, name, [(BEAT, b'{"low_watermark_ms": 900}', 1)])
    read.until(lambda each: each.watermark_ms == 900)
    produce(broker, name, [(BEAT, b'{"low_watermark_ms": 1100}', 1)])
    read.until(lambda each: each.watermark_ms == 1000)
    again = reading(KafkaSource(name, config, ledger=True), read.mark)
    again.step()
    assert again.watermark_ms == 1000
    produce(broker, name, [(b"3", entry(3), 0)])
    assert again.lines(1).received == [(entry(3), 1000)]


@pytest.mark.parametrize(
    "beat",
    [
        b"{}",
        b"no json",
        b"7",
        b'{"low_watermark_ms": "2000"}',
        b'{"low_watermark_ms": 2000.5}',
        b'{"low_watermark_ms": true}',
        b'{"low_watermark_ms": -1}',
        b'{"low_watermark_ms": 99999999999999}',
        b'{"low_watermark_ms": 500}',
        b"",
        None,
    ],
)
def test_a_heartbeat_that_does_not_read_moves_nothing(broker, config, reading, request, beat):
    """Nor does one that goes back, or one from the future."""
    name = broker.topic(f"beat-{now_ms()}")
    produce(broker, name, [(BEAT, b'{"low_watermark_ms": 1000}', 0), (BEAT, beat, 0), (b"1", entry(1), 0)])
    read = reading(KafkaSource(name, config, ledger=True)).lines(1)
    assert read.watermark_ms == 1000
    assert read.received == [(entry(1), 1000)]


def test_a_heartbeat_that_tells_of_more_partitions(broker, topic, config, reading):
    name = topic()
    produce(broker, name, [(BEAT, b'{"low_watermark_ms": 1000, "partitions": 2}', 0)])
    read = reading(KafkaSource(name, config, ledger=True))
    with pytest.raises(InputError, match="more partitions"):
        read.lines(1)
    assert set(read.watermarks) == {MIN_TIMESTAMP}


def test_a_tombstone_on_the_ledger_is_a_line_that_names_nobody(broker, topic, config, reading):
    name = topic(cleanup_policy="compact")
    produce(broker, name, [(b"1", entry(1), 0), (b"1", None, 0), (b"2", b"", 0)])
    read = reading(KafkaSource(name, config, ledger=True)).lines(3)
    assert [line for line, _ in read.received] == [entry(1), entry(1), entry(2)]


def test_stopping_at_the_end(broker, topic, config, reading):
    name = topic(2)
    produce(broker, name, [(None, b"a", 0), (None, b"b", 1)])
    read = reading(KafkaSource(name, config, stop_at_end=True))
    read.until(lambda each: each.watermarks[-1] == MAX_TIMESTAMP)
    assert sorted(line for line, _ in read.received) == [b"a", b"b"]


def test_offsets_are_committed_for_the_lag(broker, topic, config, reading):
    from confluent_kafka import Consumer, TopicPartition

    name = topic()
    produce(broker, name, [b"a", b"b"])
    read = reading(KafkaSource(name, config)).lines(2)
    read.mark.finalize_checkpoint()
    group = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": f"douane.{name}"})
    read.until(lambda _: group.committed([TopicPartition(name, 0)], timeout=10)[0].offset == 2)
    group.close()
    MarkCoder().decode(MarkCoder().encode(read.mark)).finalize_checkpoint()  # of another process: nothing to do
    mark, read.reader = read.mark, read.source.create_reader(None, None)
    assert isinstance(mark.client, weakref.ref)
    mark.finalize_checkpoint()  # its client is closed
