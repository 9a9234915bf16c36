"""The outbox and the relay without a broker: what is promised holds wherever the relay dies and however the clock goes.
With a real one: tests/engines/test_relay.py."""

import json
import os
import random
import sqlite3
import tempfile
import threading
import time

import pytest

from pipelines import outbox as of_outbox
from pipelines.errors import ConfigurationError, InputError
from pipelines.outbox import ClockAhead, Outbox
from transforms.decode import decode_ledger

NOW = 1_763_877_204_000
relay = pytest.importorskip("pipelines.relay")


def entry(**changes) -> str:
    fields = {
        "time": "2025-11-23T05:53:24.000Z",
        "kind": "withdraw",
        "subject": {"type": "device", "value": "00112233445566aa"},
        "purposes": ["personalisation"],
        "residency": {"account_country": "DE"},
        "reference": "test",
    }
    return json.dumps(fields | changes)


@pytest.fixture
def path():
    """In memory where there is such a folder: SQLite waits for the disk at every transaction."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        path = os.path.join(folder, "service.db")
        sqlite3.connect(path).close()
        yield path


@pytest.fixture
def clock(path, monkeypatch):
    """A clock that a test sets: the database's and, through it, everybody's."""
    service = sqlite3.connect(path, isolation_level=None)
    service.execute("CREATE TABLE clock (ms INTEGER)")
    service.execute("INSERT INTO clock VALUES (?)", (NOW,))
    shown = "(SELECT ms FROM clock)"
    monkeypatch.setattr(of_outbox, "SCHEMA", of_outbox.SCHEMA.replace(of_outbox._NOW_MS, shown))
    monkeypatch.setattr(of_outbox, "_NOW_MS", shown)
    return lambda ms: service.execute("UPDATE clock SET ms = ?", (ms,))


@pytest.fixture
def outbox(path):
    outbox = Outbox(path)
    yield outbox
    outbox.close()


def write(path, *entries, ids=None) -> None:
    """What a consent service does, in one transaction."""
    with sqlite3.connect(path) as service:
        for number, each in enumerate(entries):
            entry_id = ids[number] if ids else f"id-{time.monotonic_ns()}"
            service.execute("INSERT INTO douane_outbox (entry_id, entry) VALUES (?, ?)", (entry_id, each))


def received(line: bytes) -> int:
    stamp = decode_ledger(line).received_time
    assert len(stamp) == 1
    return int(stamp[0])


class Killed(Exception):
    pass


class Log:
    """A topic of one partition. `dies` says when, of the messages that are written, the relay dies."""

    now_ms = 1 << 60

    def __init__(self) -> None:
        self.records: list[tuple[bytes, bytes]] = []
        self.dies = lambda: False

    def send(self, messages) -> None:
        for message in messages:
            if self.dies():
                raise Killed
            self.records.append(message)

    def heartbeat(self, low_watermark_ms: int) -> None:
        self.send([(b"__watermark__", json.dumps({"low_watermark_ms": low_watermark_ms}).encode())])

    def check(self) -> dict[str, int]:
        """The times of entries by id. Fails if one was received before what was told ahead of it."""
        told, found = 0, {}
        for key, value in self.records:
            if key == b"__watermark__":
                low = json.loads(value)["low_watermark_ms"]
                assert low >= told
                told = low
            else:
                assert received(value) >= told
                found[key.decode()] = received(value)
        return found

    @property
    def told(self) -> int:
        return json.loads(self.records[-1][1])["low_watermark_ms"]


class TestOutbox:
    def test_an_entry_goes_out_as_it_was_written_with_its_id_and_its_receipt(self, path, clock, outbox):
        write(path, entry().replace(", ", ",\n"), ids=['a"b'])
        batch = outbox.take(10, NOW)
        line = batch.entries[0].line
        assert b"\n" not in line
        assert json.loads(line) == json.loads(entry()) | {
            "entry_id": 'a"b',
            "received_time": "2025-11-23T05:53:24.000Z",
        }
        assert received(line) == NOW
        assert batch.low_watermark_ms == NOW

    def test_the_real_clock_stamps_to_the_millisecond(self, path, outbox):
        before = int(time.time() * 1000)
        write(path, entry())
        stamp = received(outbox.take(1, before + 60_000).entries[0].line)
        assert before - 2 <= stamp <= int(time.time() * 1000) + 2

    @pytest.mark.parametrize(
        "written",
        ["", "{", "[]", '"withdraw"', "null", entry(entry_id="mine"), entry(received_time="2020-01-01T00:00:00Z"),
         entry(reference="x" * 60_000)],
    )  # fmt: skip
    def test_what_is_no_entry_at_all_is_refused_where_it_is_written(self, path, outbox, written):
        with pytest.raises(sqlite3.IntegrityError):
            write(path, written)

    @pytest.mark.parametrize("entry_id", ["", "__watermark__", "x" * 257])
    def test_ids_that_are_none_are_refused_where_they_are_written(self, path, outbox, entry_id):
        with pytest.raises(sqlite3.IntegrityError):
            write(path, entry(), ids=[entry_id])

    @pytest.mark.parametrize(
        ("entry_id", "written"), [(b"e-1", entry()), (b"__watermark__", entry()), ("e-1", entry().encode())]
    )
    def test_bytes_are_no_text(self, path, outbox, entry_id, written):
        """SQLite takes them in a column of text, and compares them otherwise."""
        with pytest.raises(sqlite3.IntegrityError):
            write(path, written, ids=[entry_id])

    def test_text_that_is_not_utf8_goes_out_as_it_is_and_holds_up_nothing(self, path, outbox):
        spoilt = entry().encode().replace(b"test", b"\xff")
        with sqlite3.connect(path) as service:
            service.execute("INSERT INTO douane_outbox (entry_id, entry) VALUES ('e-1', CAST(? AS TEXT))", (spoilt,))
        (sent,) = outbox.take(10, 1 << 60).entries
        assert sent.line.endswith(spoilt[1:])
        assert decode_ledger(sent.line).faults.counts() == {"not_utf8": 1}

    @pytest.mark.parametrize("name", ["a#b.db", "a?mode=memory", "a%20b.db"])
    def test_any_name_of_a_file(self, path, name):
        odd = os.path.join(os.path.dirname(path), name)
        sqlite3.connect(odd).close()
        Outbox(odd).close()
        assert sqlite3.connect(odd).execute("SELECT count(*) FROM douane_outbox").fetchone() == (0,)

    def test_nothing_is_promised_past_what_is_left_behind(self, path, clock, outbox):
        for at in range(5):
            clock(NOW + at)
            write(path, entry())
        batch = outbox.take(2, NOW + 10)
        assert batch.low_watermark_ms == NOW + 2
        assert outbox.take(10, NOW + 10).low_watermark_ms == NOW + 4

    def test_a_writer_under_way_is_waited_for(self, path, outbox):
        """It has stamped, and nobody sees it yet: a promise made now would be broken when it commits."""
        service = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        service.execute("BEGIN")
        service.execute("INSERT INTO douane_outbox (entry_id, entry) VALUES ('slow', ?)", (entry(),))
        timer = threading.Timer(0.5, service.execute, ["COMMIT"])
        timer.start()
        batch = outbox.take(10, 1 << 60)
        timer.join()
        assert [each.entry_id for each in batch.entries] == ["slow"]
        assert received(batch.entries[0].line) <= batch.low_watermark_ms

    def test_a_promise_outlives_the_relay_and_binds_whoever_writes_after_the_clock_was_set_back(self, path, clock):
        outbox = Outbox(path)
        assert outbox.take(10, NOW).low_watermark_ms == NOW
        outbox.close()
        clock(NOW - 3_600_000)
        write(path, entry())
        outbox = Outbox(path)
        batch = outbox.take(10, NOW)
        assert received(batch.entries[0].line) == NOW
        assert batch.low_watermark_ms == NOW

    def test_stamps_ahead_of_a_clock_that_was_set_right_are_brought_down(self, path, clock, outbox):
        """Who has withdrawn must not be known to have only in a year."""
        clock(NOW + 31_536_000_000)
        write(path, entry())
        with pytest.raises(ClockAhead):
            outbox.take(10, NOW)
        clock(NOW + 7)
        batch = outbox.take(10, NOW + 10)
        assert received(batch.entries[0].line) == NOW + 7
        assert outbox.take(10, NOW + 10).entries[0].line == batch.entries[0].line  # and stay so

    def test_a_clock_that_is_ahead_promises_nothing(self, path, clock, outbox):
        with pytest.raises(ClockAhead):
            outbox.take(10, NOW - 1)
        assert outbox.safe_ms() == 0

    def test_a_stamp_cannot_be_set_to_before_what_was_promised(self, path, clock, outbox):
        outbox.take(1, NOW)
        write(path, entry())
        with sqlite3.connect(path) as service, pytest.raises(sqlite3.IntegrityError):
            service.execute("UPDATE douane_outbox SET received_ms = ?", (NOW - 1,))

    def test_what_was_sent_is_gone_and_the_rest_is_not(self, path, outbox):
        write(path, *[entry()] * 5)
        batch = outbox.take(3, 1 << 60)
        outbox.sent(batch.entries)
        assert len(outbox.take(10, 1 << 60).entries) == 2

    def test_a_second_relay_is_refused_for_as_long_as_the_first_lives(self, path):
        first = Outbox(path)
        with pytest.raises(ConfigurationError, match="another relay"):
            Outbox(path)
        first.close()
        Outbox(path).close()

    def test_a_database_that_is_not_there_is_not_made(self, tmp_path):
        with pytest.raises(ConfigurationError, match=r"nothing\.db"):
            Outbox(str(tmp_path / "nothing.db"))
        assert not (tmp_path / "nothing.db").exists()

    def test_a_failure_of_the_database_says_so_and_leaves_the_promise(self, path, clock, outbox):
        with sqlite3.connect(path) as service:
            service.execute("DROP TABLE douane_outbox")
        with pytest.raises(InputError, match="douane_outbox"):
            outbox.take(1, NOW)
        with sqlite3.connect(path) as service:
            assert service.execute("SELECT promised_ms FROM douane_relay").fetchone() == (0,)


class TestRelay:
    def test_entries_go_in_order_and_the_heartbeat_behind_them(self, path, clock, outbox):
        topic = Log()
        write(path, *[entry()] * 3, ids=["c", "a", "b"])
        clock(NOW + 500)
        assert not relay.Relay(outbox, topic, print).round()
        assert [key for key, _ in topic.records] == [b"c", b"a", b"b", b"__watermark__"]
        assert topic.told == NOW + 500
        assert set(topic.check().values()) == {NOW}

    def test_an_empty_outbox_beats_on(self, path, clock, outbox):
        topic = Log()
        one = relay.Relay(outbox, topic, print)
        for at in range(3):
            clock(NOW + at)
            one.round()
            assert topic.told == NOW + at

    def test_no_heartbeat_when_something_was_not_delivered(self, path, clock, outbox):
        topic = Log()
        one = relay.Relay(outbox, topic, print)
        write(path, *[entry()] * 3, ids=["a", "b", "c"])
        topic.dies = lambda: len(topic.records) == 2
        with pytest.raises(Killed):
            one.round()
        assert [key for key, _ in topic.records] == [b"a", b"b"]
        topic.dies = lambda: False
        one.round()
        assert [key for key, _ in topic.records] == [b"a", b"b", b"a", b"b", b"c", b"__watermark__"]

    @pytest.mark.parametrize("seed", range(5))
    def test_killed_anywhere_with_any_clock_no_entry_is_lost_or_behind_what_was_told(
        self, path, clock, monkeypatch, seed
    ):
        monkeypatch.setattr(relay, "BATCH", 4)
        chance, topic, written, ms = random.Random(seed), Log(), set(), NOW
        topic.dies = lambda: chance.random() < 0.05
        outbox = Outbox(path)
        one = relay.Relay(outbox, topic, print)
        for step in range(100):
            ms += chance.choice([0, 1, 100, 100, 100, -50, -5000])
            clock(ms)
            if chance.random() < 0.5:
                ids = [f"{step}-{n}" for n in range(chance.randrange(6))]
                write(path, *[entry()] * len(ids), ids=ids)
                written |= set(ids)
            try:
                one.ask() if chance.random() < 0.2 else one.round()
            except Killed:
                outbox.close()
                outbox = Outbox(path)
                one = relay.Relay(outbox, topic, print)
        topic.dies = lambda: False
        while one.round():
            pass
        assert set(topic.check()) == written
        outbox.close()

    def test_it_dies_between_the_acknowledgement_and_the_removal(self, path, clock, outbox, monkeypatch):
        topic = Log()
        one = relay.Relay(outbox, topic, print)
        write(path, entry(), ids=["a"])

        def killed(entries):
            raise Killed

        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(outbox, "sent", killed)
            one.round()
        clock(NOW + 500)
        one.round()
        assert [key for key, _ in topic.records] == [b"a", b"a", b"__watermark__"]
        assert topic.records[0] == topic.records[1]
        topic.check()

    @pytest.mark.clause("9")
    def test_an_entry_that_does_not_read_is_sent_and_told_of_without_what_it_says(self, path, clock, outbox):
        topic, said = Log(), []
        one = relay.Relay(outbox, topic, said.append)
        write(path, entry(), entry(kind="vanish"), ids=["good", "bad"])
        one.round()
        assert [key for key, _ in topic.records] == [b"good", b"bad", b"__watermark__"]
        assert one.faults == 1
        assert len(said) == 1
        assert said[0].startswith("1 of the next 2 entries do not read (unknown_value)")
        assert "vanish" not in said[0] and "00112233" not in said[0]


def test_outboxes_of_other_kinds_are_refused():
    for uri in ("service.db", "postgresql://host/db", "sqlite:"):
        with pytest.raises(ConfigurationError, match="sqlite:PATH"):
            relay._path(uri)
