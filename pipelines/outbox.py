"""A transactional outbox in SQLite: ledger entries on their way from a consent service to the ledger's topic.

The service writes to `douane_outbox` in the transaction that changes its own state, so that both happen or neither:

    INSERT INTO douane_outbox (entry_id, entry) VALUES ('7c9e...', '{"kind": "withdraw", "time": ..., ...}')

`entry` is an entry of the ledger as a JSON object, without `entry_id` and `received_time`: the receipt is stamped here,
by a trigger, while the transaction holds SQLite's write lock. That is what makes a low watermark provable. Whoever
holds the lock knows that no other transaction has stamped anything that is not yet to be seen, and who gets it later
stamps a later time, or the same: never one before what has been promised, whatever the clock does.
"""

import fcntl
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

import numpy as np

from pipelines.errors import ConfigurationError, InputError

_NOW_MS = "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)"
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS douane_relay (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    promised_ms INTEGER NOT NULL  -- no entry will be stamped before it any more
);
INSERT OR IGNORE INTO douane_relay VALUES (1, 0);
CREATE TABLE IF NOT EXISTS douane_outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    entry_id TEXT NOT NULL CHECK (typeof(entry_id) = 'text'
        AND length(entry_id) BETWEEN 1 AND 256 AND entry_id NOT LIKE '\\_\\_%' ESCAPE '\\'),
    entry TEXT NOT NULL CHECK (CASE WHEN typeof(entry) = 'text' AND json_valid(entry) THEN
        json_type(entry) = 'object' AND length(CAST(entry AS BLOB)) <= 60000
        AND json_type(entry, '$.entry_id') IS NULL AND json_type(entry, '$.received_time') IS NULL ELSE 0 END),
    received_ms INTEGER
);
CREATE INDEX IF NOT EXISTS douane_outbox_received ON douane_outbox (received_ms);
CREATE TRIGGER IF NOT EXISTS douane_stamp AFTER INSERT ON douane_outbox BEGIN
    UPDATE douane_outbox SET received_ms = max({_NOW_MS}, (SELECT promised_ms FROM douane_relay)) WHERE seq = NEW.seq;
END;
CREATE TRIGGER IF NOT EXISTS douane_promise BEFORE UPDATE OF received_ms ON douane_outbox
WHEN NEW.received_ms < (SELECT promised_ms FROM douane_relay) BEGIN
    SELECT RAISE(ABORT, 'received_ms would break what the topic was told');
END;
"""


@dataclass(frozen=True, repr=False)
class Outgoing:
    """An entry that is to be sent."""

    seq: int
    entry_id: str
    line: bytes  # of the ledger, without a line feed


@dataclass(frozen=True, repr=False)
class Batch:
    """The oldest entries that are to be sent. Once they are, every entry received before `low_watermark_ms` is."""

    entries: Sequence[Outgoing]
    low_watermark_ms: int


class ClockAhead(Exception):
    """The clock of the outbox cannot be right: nothing may be promised by it."""


class Outbox:
    """The outbox of one database, for one relay at a time. Raises ConfigurationError or InputError."""

    def __init__(self, path: str) -> None:
        self._lock = _alone(path)
        try:
            self._database = sqlite3.connect(f"file:{quote(path)}?mode=rw", uri=True, isolation_level=None, timeout=30)
            self._database.text_factory = bytes  # what is not UTF-8 would raise, with the text in the message
            self._database.execute("PRAGMA secure_delete = ON")
            self._database.executescript(SCHEMA)
        except sqlite3.Error as error:
            raise ConfigurationError(f"{path} is no database that can be written ({error})") from None

    def take(self, most: int, latest_ms: int) -> Batch:
        """Up to so many entries, oldest first, and what may be promised when they are sent.

        The promise is kept from now on, before anybody is told of it. Raises ClockAhead, and promises nothing, if the
        clock shows a time after `latest_ms`. Stamps that lie ahead of the clock, because it was set back, are brought
        down to it: who has withdrawn must not be known to have only when that time comes.
        """
        with self._writing() as database:
            (now,) = database.execute(f"SELECT {_NOW_MS}").fetchone()
            if now > latest_ms:
                raise ClockAhead
            (promised,) = database.execute("SELECT promised_ms FROM douane_relay").fetchone()
            now = max(now, promised)
            database.execute("UPDATE douane_outbox SET received_ms = ? WHERE received_ms > ?", (now, now))
            query = "SELECT seq, entry_id, received_ms, entry FROM douane_outbox ORDER BY seq LIMIT ?"
            rows = database.execute(query, (most,)).fetchall()
            last = rows[-1][0] if rows else 0
            query = "SELECT min(received_ms) FROM douane_outbox WHERE seq > ?"
            (left,) = database.execute(query, (last,)).fetchone()
            low = now if left is None else left
            database.execute("UPDATE douane_relay SET promised_ms = max(promised_ms, ?)", (low,))
        entries = [
            Outgoing(seq, text := entry_id.decode(errors="replace"), _line(text, received_ms, entry))
            for seq, entry_id, received_ms, entry in rows
        ]
        return Batch(entries, low)

    def sent(self, entries: Sequence[Outgoing]) -> None:
        """Removes entries that have been delivered: what they say of a person is on the topic now."""
        with self._writing() as database:
            database.executemany("DELETE FROM douane_outbox WHERE seq = ?", [(entry.seq,) for entry in entries])

    def safe_ms(self) -> int:
        """A low watermark that holds whatever has been sent: no entry that is here or comes was received before it."""
        query = "SELECT promised_ms, (SELECT min(received_ms) FROM douane_outbox) FROM douane_relay"
        promised, left = self._database.execute(query).fetchone()
        return promised if left is None else min(promised, left)

    def close(self) -> None:
        self._database.close()
        self._lock.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer's overlaps. What fails leaves nothing."""
        try:
            self._database.execute("BEGIN IMMEDIATE")
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise InputError(f"the outbox cannot be read or written ({error})") from None


def _line(entry_id: str, received_ms: int, entry: bytes) -> bytes:
    """An entry as the ledger has it. What the service wrote stays as it is, to the byte: only line feeds, which JSON
    allows between words, become spaces."""
    rest = entry.strip()[1:].lstrip()
    received = f"{np.datetime64(received_ms, 'ms')}Z"
    head = f'{{"entry_id": {json.dumps(entry_id)}, "received_time": "{received}"'
    return head.encode() + (b"" if rest == b"}" else b", ") + rest.replace(b"\r", b" ").replace(b"\n", b" ")


def _alone(path: str) -> BinaryIO:
    """A lock that ends with this process, however it ends."""
    try:
        lock = open(f"{path}-relay", "ab")  # noqa: SIM115 it is held for as long as the outbox
    except OSError as error:
        raise ConfigurationError(f"{path}-relay cannot be written ({type(error).__name__})") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigurationError(f"another relay serves {path}: end it first") from None
    return lock
