"""What a stream holds of the ledger between two firings, as state of one key.

New pieces wait as they came (`news`). A firing merges them into what is held (`held`: one payload, sorted and
compacted), and draws a new `generation` for it. A worker remembers what it held last: under the same generation state
holds exactly that, and nothing is read, opened or decoded. The generation is random and no counter: a bundle that is
rolled back and tried again may hold something else, and must not be taken for its first attempt.
"""

import secrets
import struct
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from transforms.exchange import HELD, LEDGER, ledger_rows
from transforms.held_ledger import HeldLedger
from transforms.ipc import to_buffer
from transforms.locks import Locks

_REMEMBERED = 8  # ledgers, of the keys that fired last
_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True)
class LedgerState:
    """The three states of one key, as Beam hands them to a firing."""

    news: Any
    held: Any
    generation: Any


class HeldLedgers:
    """The held ledgers of a worker's keys."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks
        self._remembered: OrderedDict[int, tuple[int, HeldLedger]] = OrderedDict()  # by key, with its generation

    def read(self, key: int, state: LedgerState) -> tuple[HeldLedger, bool]:
        """All that has come of the ledger, and whether any of it is news that state does not hold yet."""
        held = self._held(key, state)
        news = sorted(self._locks.unlock(key, LEDGER, payload) for payload in state.news.read())
        return (held.merged([ledger_rows(content) for content in news]), True) if news else (held, False)

    def keep(self, key: int, ledger: HeldLedger, state: LedgerState) -> None:
        """Writes what is held from now on, news and all."""
        generation = secrets.randbits(63)
        state.held.write(self._locks.lock(key, HELD, to_bytes(ledger)))
        state.generation.write(generation)
        state.news.clear()
        self._remember(key, generation, ledger)

    def _held(self, key: int, state: LedgerState) -> HeldLedger:
        generation = state.generation.read()
        if generation is None:
            return HeldLedger.empty()
        remembered, ledger = self._remembered.get(key, (None, None))
        if remembered != generation:
            ledger = from_bytes(self._locks.unlock(key, HELD, state.held.read()))
        self._remember(key, generation, ledger)
        return ledger

    def _remember(self, key: int, generation: int, ledger: HeldLedger) -> None:
        self._remembered[key] = generation, ledger
        self._remembered.move_to_end(key)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.popitem(last=False)


def to_bytes(ledger: HeldLedger) -> bytes:
    """`number of spent ids (8 bytes) | spent ids (8 each) | rows (Arrow IPC)`."""
    return b"".join((_LENGTH.pack(len(ledger.spent)), ledger.spent.tobytes(), to_buffer(ledger.rows)))


def from_bytes(content: bytes) -> HeldLedger:
    """What `to_bytes` wrote, without a copy."""
    (spent,) = _LENGTH.unpack_from(content)
    rows = ledger_rows(pa.py_buffer(content)[_LENGTH.size + 8 * spent :])
    return HeldLedger(rows, np.frombuffer(content, np.uint64, spent, _LENGTH.size))
