"""The Kafka source when brokers die, when they ask who is there, and within a pipeline."""

import logging
import pickle
import time
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.coders import BytesCoder, TupleCoder, registry
from apache_beam.testing.util import assert_that
from apache_beam.utils.timestamp import MIN_TIMESTAMP
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from pipelines.arrivals import read_arrived
from pipelines.errors import ConfigurationError
from pipelines.kafka import KafkaSource, ReadKafka
from tests.engines.broker import Broker
from tests.engines.processes import Processes
from tests.engines.reading import produce

PASSWORD = "hunter2-is-secret"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kafka")
    with Processes(folder / "logs") as processes:
        yield Broker(folder / "broker", processes, users={"reader": PASSWORD}).start()


@pytest.fixture
def secure(broker, tmp_path, monkeypatch):
    """A properties file for SASL_SSL, its password in a variable."""
    monkeypatch.setenv("KAFKA_PASSWORD", PASSWORD)
    path = tmp_path / "secure.properties"
    path.write_text(
        f"bootstrap.servers={broker.secure}\nsecurity.protocol=SASL_SSL\nssl.ca.location={broker.ca}\n"
        "sasl.mechanism=SCRAM-SHA-512\nsasl.username=reader\nsasl.password=${KAFKA_PASSWORD}\n"
    )
    return str(path)


def allow(broker, topic, group):
    """READ and DESCRIBE of the topic, READ of the group."""
    rights = [
        (ResourceType.TOPIC, topic, AclOperation.READ),
        (ResourceType.TOPIC, topic, AclOperation.DESCRIBE),
        (ResourceType.GROUP, group, AclOperation.READ),
    ]
    bindings = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:reader", "*", operation, AclPermissionType.ALLOW)
        for kind, name, operation in rights
    ]
    for future in broker.admin.create_acls(bindings).values():
        future.result(30)


def test_by_password_and_rights(broker, secure, reading, caplog, capfd):
    topic = broker.topic("secure", 2)
    allow(broker, topic, f"douane.{topic}")
    produce(broker, topic, [(None, b"a", 0), (None, b"b", 1)])
    with caplog.at_level(logging.DEBUG):
        parts = KafkaSource(topic, secure).split(20)
        read = [reading(part).lines(1) for part in parts]
        for each in read:
            each.mark.finalize_checkpoint()
            each.until(lambda each: each.watermarks[-1] > MIN_TIMESTAMP)
    assert sorted(line for each in read for line, _ in each.received) == [b"a", b"b"]
    told = caplog.text + "".join(capfd.readouterr()) + str(pickle.dumps(parts)) + repr(parts) + repr(read[0].mark)
    assert PASSWORD not in told
    assert "not committed" not in told


def test_a_wrong_password(broker, secure, reading, monkeypatch, caplog, capfd):
    monkeypatch.setenv("KAFKA_PASSWORD", "canary-wrong")
    source = KafkaSource("secure-wrong", secure)
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(ConfigurationError, match="refuse this client .*check the properties file") as error:
            reading(source).lines(1)
        with pytest.raises(ConfigurationError, match="refuse this client"):
            source.split(20)
    assert "canary" not in str(error.value) + caplog.text + "".join(capfd.readouterr())


def test_an_authority_that_did_not_sign(secure, reading, tmp_path, broker):
    from tests.engines.broker import _certificates

    _certificates(tmp_path)
    (tmp_path / "other.properties").write_text(
        Path(secure).read_text().replace(str(broker.ca), str(tmp_path / "ca.pem"))
    )
    with pytest.raises(ConfigurationError, match="refuse this client"):
        reading(KafkaSource("secure", str(tmp_path / "other.properties"))).lines(1)


def test_without_rights(broker, secure, reading):
    topic = broker.topic("forbidden")
    with pytest.raises(ConfigurationError, match="refuse this client|no topic"):
        reading(KafkaSource(topic, secure)).lines(1)


def test_settings_that_the_job_makes_itself(config, reading):
    with open(config, "a") as file:
        file.write("auto.offset.reset=latest\n")
    with pytest.raises(ConfigurationError, match="take out auto.offset.reset"):
        reading(KafkaSource("any", config))


def test_settings_that_do_not_exist(config, reading):
    with open(config, "a") as file:
        file.write("sasl.pasword=canary\n")
    with pytest.raises(ConfigurationError, match=r"refuses these settings \(sasl.pasword\)") as error:
        reading(KafkaSource("any", config))
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("protocol", ["plain", "secure"])
def test_a_broker_that_dies_and_comes_back(broker, config, secure, reading, caplog, protocol):
    """It is waited for, and said so; nothing is lost or comes twice."""
    topic = broker.topic(f"dies-{protocol}", 2)
    allow(broker, topic, f"douane.{topic}")
    produce(broker, topic, [(None, b"%d" % i, i % 2) for i in range(100)])
    read = reading(KafkaSource(topic, secure if protocol == "secure" else config)).lines(100)
    with caplog.at_level(logging.WARNING):
        broker.kill()
        read.until(lambda _: "waiting" in caplog.text or "wait" in caplog.text)
        stood = read.watermarks[-1]
        for _ in range(20):
            read.step()
        assert read.watermarks[-1] == stood
    broker.restart()
    produce(broker, topic, [(None, b"%d" % i, i % 2) for i in range(100, 200)])
    read.lines(200, 120)
    assert sorted(int(line) for line, _ in read.received) == list(range(200))
    read.until(lambda each: each.watermarks[-1] > stood)


def test_a_broker_that_is_not_there_at_the_start(broker, config, reading, caplog):
    topic = broker.topic("late")
    produce(broker, topic, [b"a"])
    broker.pause()
    try:
        read = reading(KafkaSource(topic, config))
        until = time.monotonic() + 5
        read.until(lambda _: time.monotonic() > until)
        assert read.watermarks[-1] == MIN_TIMESTAMP
        assert read.mark.places == ()
        assert "wait" in caplog.text
    finally:
        broker.resume()
    read.lines(1, 120)


def test_a_partition_without_a_leader(broker, config, reading, processes, tmp_path, caplog):
    """The others are read on; the watermark waits for it, and it is said; then it is read too."""
    other = Broker(tmp_path / "other", processes, beside=broker).start()
    topic = broker.topic("leaderless", assignment=[[1], [2]])
    produce(broker, topic, [(None, b"a", 0), (None, b"b", 1)])
    read = reading(KafkaSource(topic, config)).lines(2)
    other.kill()
    with caplog.at_level(logging.WARNING):
        read.until(lambda _: "partitions 1 of topic leaderless" in caplog.text, 120)
    time.sleep(1)
    produce(broker, topic, [(None, b"c", 0)])
    read.lines(3)
    for _ in range(20):
        read.step()
    stood = read.watermarks[-1]
    for _ in range(20):
        read.step()
    assert read.watermarks[-1] == stood
    other.restart()
    produce(broker, topic, [(None, b"d", 1)])
    read.lines(4, 120)
    read.until(lambda each: each.watermarks[-1] > stood)


def lines_of(element):
    return [
        (line, time)
        for block, received in read_arrived(element)
        for line, time in zip(block.split(b"\n")[:-1], received.tolist(), strict=True)
    ]


def test_within_a_pipeline(broker, config):
    """Several splits, each its own reader; elements carry the earliest receipt in them."""
    topic = broker.topic("piped", 3)
    produce(broker, topic, [(None, b"%d\n%d\n" % (2 * i, 2 * i + 1), i % 3) for i in range(30_000)])

    def stamped(element, stamp=beam.DoFn.TimestampParam):
        found = lines_of(element)
        assert stamp.micros // 1000 == min(time for _, time in found)
        return [int(line) for line, _ in found]

    def all_once(numbers):
        assert sorted(numbers) == list(range(60_000))

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        elements = pipeline | ReadKafka(topic, config, ledger=False, stop_at_end=True)
        assert registry.get_coder(elements.element_type) == TupleCoder((BytesCoder(), BytesCoder()))  # no pickle
        assert_that(elements | beam.FlatMap(stamped), all_once)
