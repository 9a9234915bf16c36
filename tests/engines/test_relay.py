"""The relay against a real broker: killed with -9, and with the broker killed under it, in mid-run."""

import json
import random
import sqlite3
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from tests.engines.broker import Broker
from tests.engines.processes import Processes
from tests.pipelines.test_relay import entry

LAG = {"cleanup_policy": "compact", "min_compaction_lag_ms": 604_800_000}
PARTITIONS = 3


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relay")
    with Processes(folder / "logs") as processes:
        yield Broker(folder / "broker", processes).start()


def received(line: bytes) -> int:
    return round(datetime.fromisoformat(json.loads(line)["received_time"]).timestamp() * 1000)


class Service:
    """A consent service with its database and its relay."""

    def __init__(self, folder: Path, broker: Broker, topic: str, processes: Processes) -> None:
        self.path, self.topic, self._processes, self._broker = folder / "service.db", topic, processes, broker
        self._config = folder / "kafka.properties"
        self._config.write_text(f"bootstrap.servers={broker.bootstrap}\n")
        self._database = sqlite3.connect(self.path, isolation_level=None, timeout=60)
        self._database.execute("PRAGMA journal_mode = WAL")
        self.written: set[str] = set()

    def command(self, *more: str) -> list[str]:
        outbox, config = f"sqlite:{self.path}", str(self._config)
        own = ["--outbox", outbox, "--topic", self.topic, "--kafka-config-file", config]
        return [sys.executable, "-m", "pipelines", "ledger", "relay", *own, *more]

    def start(self, *more: str):
        return self._processes.start(f"relay-{self.topic}", self.command("--heartbeat-ms", "100", *more))

    def write(self, count: int) -> None:
        self._database.execute("BEGIN IMMEDIATE")
        for _ in range(count):
            entry_id = f"{self.topic}-{len(self.written)}"
            row = entry_id, entry()
            self._database.execute("INSERT INTO douane_outbox (entry_id, entry) VALUES (?, ?)", row)
            self.written.add(entry_id)
        self._database.execute("COMMIT")

    def left(self) -> int:
        return self._database.execute("SELECT count(*) FROM douane_outbox").fetchone()[0]

    def until_empty(self, seconds: float = 90) -> None:
        until = time.monotonic() + seconds
        while self.left():
            assert time.monotonic() < until, "the outbox does not empty"
            time.sleep(0.1)

    def told(self) -> tuple[dict[str, int], dict[int, list[int]]]:
        """(how often each entry is on the topic, heartbeats of each partition). Read by offset: fails where an entry
        was received before a heartbeat that lies ahead of it in its partition."""
        consumer = Consumer(
            {"bootstrap.servers": self._broker.bootstrap, "group.id": "test", "enable.auto.commit": False}
        )
        found: dict[str, int] = {}
        beats: dict[int, list[int]] = {}
        for number in range(PARTITIONS):
            at = TopicPartition(self.topic, number, 0)
            consumer.assign([at])
            low, (_, end) = beats.setdefault(number, []), consumer.get_watermark_offsets(at, timeout=10)
            while consumer.position([at])[0].offset < end:
                for message in consumer.consume(1000, 0.5):
                    assert not message.error()
                    if message.key() == b"__watermark__":
                        low.append(json.loads(message.value())["low_watermark_ms"])
                        assert low[-1] <= message.timestamp()[1] + 5_000
                    else:
                        assert received(message.value()) >= max(low, default=0)
                        found[message.key().decode()] = found.get(message.key().decode(), 0) + 1
        consumer.close()
        return found, beats


@pytest.fixture
def service(tmp_path, broker, processes, request):
    topic = broker.topic(request.node.name.replace("[", "-").rstrip("]"), PARTITIONS, **LAG)
    return Service(tmp_path, broker, topic, processes)


def begun(relay) -> None:
    relay.wait_for("entries go out", 120)


def test_entries_and_heartbeats_reach_every_partition(service):
    relay = service.start()
    begun(relay)
    service.write(1000)
    service.until_empty()
    time.sleep(1)
    relay.end()
    found, beats = service.told()
    assert set(found) == service.written
    assert set(found.values()) == {1}
    assert all(len(low) > 3 and low == sorted(low) for low in beats.values())


@pytest.mark.parametrize("seed", range(2))
def test_it_is_killed_again_and_again(service, seed):
    chance, relay = random.Random(seed), service.start()
    begun(relay)
    service.write(3000)
    for _ in range(3):
        until = time.monotonic() + chance.uniform(0.1, 1.5)
        while time.monotonic() < until:
            service.write(chance.randrange(1, 300))
            time.sleep(0.02)
        relay.restart()
        begun(relay)
    service.until_empty()
    relay.kill()
    found, _ = service.told()
    assert set(found) == service.written


@pytest.mark.parametrize("fault", ["killed", "paused"])
def test_the_broker_is_away_for_a_while(service, broker, fault):
    relay = service.start()
    begun(relay)
    service.write(2000)
    broker.kill() if fault == "killed" else broker.pause()
    for _ in range(20):
        service.write(50)
        time.sleep(0.1)
    broker.restart() if fault == "killed" else broker.resume()
    service.write(100)
    service.until_empty()
    time.sleep(1)
    relay.end()
    found, beats = service.told()
    assert set(found) == service.written
    assert all(low for low in beats.values())


def test_with_once_it_ends_when_the_outbox_is_empty(service, processes):
    assert processes.start("once", service.command("--once")).wait(120) == 0
    service.write(5000)
    assert processes.start("twice", service.command("--once")).wait(120) == 0
    assert service.left() == 0
    found, beats = service.told()
    assert set(found) == service.written
    assert all(low for low in beats.values())


def test_a_second_relay_is_refused(service, processes):
    begun(service.start())
    second = processes.start("second", service.command())
    assert second.wait(120) == 2
    assert "another relay serves" in second.text()


def test_a_topic_that_cannot_hold_the_ledger_is_refused(service, broker, processes):
    service.topic = broker.topic("telemetry-like", 1, message_timestamp_type="CreateTime")
    relay = processes.start("refused", service.command())
    assert relay.wait(120) == 2
    for wanted in ("cleanup.policy=compact", "message.timestamp.type=LogAppendTime", "min.compaction.lag.ms="):
        assert wanted in relay.text()
    service.topic = "nowhere"
    relay = processes.start("nowhere", service.command())
    assert relay.wait(120) == 2
    assert "nowhere" in relay.text()
