"""The chain of ledger entries behind a verdict: which decided, and what became of the others (5.1 to 5.4, 7, 9).

Nothing here knows the rule of consent. Which entries decided is found by asking the gate itself about one and the same
record with fewer and fewer of them; what an entry does to another, by asking about the two without the rest.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, product

import numpy as np
import pyarrow as pa

from schemas.consent import CLAUSE_OF_REASON, PERMISSIONS, SEALED_LEDGER, Kind
from schemas.explanation import Did
from schemas.layout import Layout
from transforms.gate import Gate
from transforms.ledger import NO_APP, Ledger

OPEN = "open"
OUTCOMES = (OPEN, *CLAUSE_OF_REASON)  # what the gate says of a purpose, by code
_OPEN = OUTCOMES.index(OPEN)
_ASKED_AT_ONCE = 1 << 12


# --- asking the gate ---


class Questions:
    """Asks the gate what it makes of one record, given some of the entries.

    `record` is a sealed batch of one row, `entries` sealed rows of the ledger. Many questions are asked at once: each
    is about a record, subjects and entry ids of its own, so that none has to do with another.
    """

    def __init__(self, gate: Gate, record: pa.RecordBatch, entries: pa.Table) -> None:
        self._gate, self._record = gate, record
        self._entries = entries.unify_dictionaries().combine_chunks()

    def ask(self, given: np.ndarray) -> np.ndarray:
        """The outcome of each purpose (index in OUTCOMES) for each question: `given`, (questions, entries) bool."""
        parts = [self._ask(given[at : at + _ASKED_AT_ONCE]) for at in range(0, len(given), _ASKED_AT_ONCE)]
        return np.concatenate([np.zeros((0, len(self._gate.pack.purposes)), np.int8), *parts])

    def _ask(self, given: np.ndarray) -> np.ndarray:
        question, entry = np.nonzero(given)
        entries = self._entries.take(pa.array(entry))
        for name in ("entry_id", "subject"):
            moved = _moved(entries[name].combine_chunks(), question)
            entries = entries.set_column(entries.schema.get_field_index(name), SEALED_LEDGER.field(name), moved)
        records = self._record.take(pa.array(np.zeros(len(given), np.int64)))
        for name in ("device", "account"):
            moved = _moved(records.column(name), np.arange(len(given)))
            records = records.set_column(records.schema.get_field_index(name), name, moved)
        _, verdict = self._gate.judge(records, entries)
        return outcomes(verdict.reasons, len(self._gate.pack.purposes), len(given))


def outcomes(reasons: Mapping[str, np.ndarray], purposes: int, records: int) -> np.ndarray:
    """A verdict's reasons as codes into OUTCOMES, (records, purposes)."""
    found = np.zeros((records, purposes), np.int8)
    for reason, masks in reasons.items():
        bits = masks[:, None] >> np.arange(purposes, dtype=np.uint64) & np.uint64(1)
        found[bits != 0] = OUTCOMES.index(reason)
    return found


def _moved(tags: pa.FixedSizeBinaryArray, question: np.ndarray) -> pa.FixedSizeBinaryArray:
    """Tags made others, the same way for all that belong to one question."""
    filled = tags.fill_null(bytes(16))
    words = np.frombuffer(filled.buffers()[1], np.uint64, 2 * len(tags), 16 * filled.offset).reshape(-1, 2).copy()
    words[:, 1] ^= question.astype(np.uint64)
    moved = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(tags), [None, pa.py_buffer(words)])
    return moved.take(pa.array(np.arange(len(tags)), mask=tags.is_null().to_numpy(zero_copy_only=False)))


# --- the chain ---


class Chain:
    """What each of a record's entries did for each purpose.

    `entries` are sealed rows, the oldest receipt first; `foreign` tells which are about somebody else; `verdict` is the
    outcome of each purpose with all that the ledger holds. `whole` tells for which purposes these entries alone come
    to that verdict; of others the chain says nothing. It takes about as many questions as pairs of entries.
    """

    def __init__(
        self,
        gate: Gate,
        plan: Layout,
        record: pa.RecordBatch,
        entries: pa.Table,
        foreign: np.ndarray,
        verdict: np.ndarray,
    ) -> None:
        self._questions, self._verdict, self._foreign = Questions(gate, record, entries), verdict, foreign
        self._event_time, self._received = (record.column(n)[0].as_py() for n in ("event_time", "received_time"))
        place = plan.application
        self._application = record.column(place)[0].as_py() if place else None
        self._terms = gate.pack.terms(gate.region, gate.with_ledger)
        self._ledgers = [Ledger.build(entries.slice(row, 1), self._terms) for row in range(entries.num_rows)]
        kinds, self._ids = entries["kind"].to_pylist(), entries["entry_id"].to_pylist()
        self._numbers = range(len(kinds))
        self._permissions = [n for n in self._numbers if Kind(kinds[n]) in PERMISSIONS]
        self._stops = [n for n in self._numbers if n not in self._permissions]
        self._grants = [n for n in self._numbers if kinds[n] == Kind.grant]
        self._unreadable = [n for n in self._numbers if kinds[n] == Kind.unreadable]
        self._none = self._with([()])[0]
        self._single = self._with([(n,) for n in self._numbers])
        self.whole = self._with([tuple(self._numbers)])[0] == verdict
        self._decides = self._minimal()
        self._beside = self._together(list(combinations(self._numbers, 2)))
        self._beside |= self._together(list(self._threes()))

    def _with(self, subsets: Sequence[tuple[int, ...]]) -> np.ndarray:
        """(subsets, purposes): the outcomes where these entries are all there is."""
        given = np.zeros((len(subsets), len(self._numbers)), bool)
        for question, entries in enumerate(subsets):
            given[question, list(entries)] = True
        return self._questions.ask(given)

    def _together(self, subsets: list[tuple[int, ...]]) -> dict[frozenset[int], np.ndarray]:
        return dict(zip(map(frozenset, subsets), self._with(subsets), strict=True))

    def _minimal(self) -> np.ndarray:
        """(purposes, entries): a set that no entry can leave without changing the verdict. Older ones leave first."""
        purpose = np.arange(len(self._verdict))
        kept = np.ones((len(purpose), len(self._numbers)), bool)
        for entry in self._numbers:
            without = kept.copy()
            without[:, entry] = False
            same = self._questions.ask(without)[purpose, purpose] == self._verdict
            kept[same, entry] = False
        return kept

    def _threes(self) -> Iterator[tuple[int, int, int]]:
        """(stop, grant, lift) for stops that do something to a grant, and permissions that may undo it without being
        grants themselves."""
        for stop, grant in product(self._stops, self._grants):
            if (self._beside[frozenset((stop, grant))] != self._single[grant]).any():
                yield from ((stop, grant, lift) for lift in self._permissions if lift not in self._grants)

    def of(self, purpose: int) -> list[list[Did]]:
        """What each entry did for a purpose, by number."""
        return [self._did(entry, purpose) or [Did("changes nothing")] for entry in self._numbers]

    def _did(self, entry: int, purpose: int) -> list[Did]:
        if obstacle := self._obstacle(entry, purpose):
            return [Did(obstacle)]
        return self._permission(entry, purpose) if entry in self._permissions else self._stop(entry, purpose)

    def _obstacle(self, entry: int, purpose: int) -> str | None:
        """Why an entry does not count at all for this record and purpose, as the ledger itself reads it."""
        ledger, bit, permission = self._ledgers[entry], np.uint64(1 << purpose), entry in self._permissions
        read, named = ledger.entries, self._application
        if read.app[0] != NO_APP:
            named = ledger.apps[int(read.app[0])].as_py()
        # where the record has no application, a stop counts and a permission does not
        elsewhere = named != self._application and (self._application is not None or permission)
        obstacles = {
            "about somebody else": self._foreign[entry],
            "other purpose": not read.mask[0] & bit,
            "not yet known": permission and read.known[0] > self._received,
            "given after the event": read.effective[0] > self._event_time,
            "names no application": not read.reach[0] & bit,
            "other application": elsewhere and self._terms.per_application & int(bit),
        }
        return next((obstacle for obstacle, holds in obstacles.items() if holds), None)

    def _stop(self, entry: int, purpose: int) -> list[Did]:
        decides = self._decides[purpose, entry]
        if not decides and (lifted := self._lifted_by(entry, purpose)):
            return [Did("corrected by" if entry in self._unreadable else "lifted by", lifted)]
        did = [Did("closes")] if decides else []
        if overruled := tuple(grant for grant in self._grants if self._overrules(entry, grant, purpose)):
            return [*did, Did("overrules", overruled)]
        return did or ([Did("closes too")] if self._single[entry, purpose] != self._none[purpose] else [])

    def _permission(self, entry: int, purpose: int) -> list[Did]:
        opened, did = self._verdict[purpose] == _OPEN, []
        overruled = tuple(other for other in self._numbers if self._overrules(other, entry, purpose))
        if self._decides[purpose, entry]:
            did.append(Did("opens" if opened else "does not suffice"))
            overruled = () if opened else overruled
        elif opened and not overruled and self._single[entry, purpose] != self._none[purpose]:
            did.append(Did("opens too"))
        if lifted := tuple(stop for stop in self._stops if entry in self._lifted_by(stop, purpose)):
            did.append(Did("lifts", lifted))
        return [*did, Did("overruled by", overruled)] if overruled else did

    def _overrules(self, entry: int, grant: int, purpose: int) -> bool:
        """Whether what a permission would do alone comes to nothing beside this stop, or beside another content of its
        own id."""
        alone = self._single[grant, purpose]
        if entry == grant or alone == self._none[purpose]:
            return False
        able = entry in self._stops or self._ids[entry] == self._ids[grant]
        undone = any(self._restores(entry, grant, lift, purpose) for lift in self._permissions)
        return able and not undone and self._beside[frozenset((entry, grant))][purpose] not in (alone, _OPEN)

    def _lifted_by(self, stop: int, purpose: int) -> tuple[int, ...]:
        """The permissions beside which a stop comes to nothing; of an unreadable line, the entries that correct it."""
        alone, others = self._single[stop, purpose], self._permissions
        if stop in self._unreadable:
            others = [entry for entry in self._numbers if entry != stop]
        if alone != self._none[purpose]:
            return tuple(other for other in others if self._beside[frozenset((stop, other))][purpose] != alone)
        return tuple(
            lift for lift in others if any(self._restores(stop, grant, lift, purpose) for grant in self._grants)
        )

    def _restores(self, stop: int, grant: int, lift: int, purpose: int) -> bool:
        """Whether a grant that comes to nothing beside a stop does what it would, once there is this permission too."""
        three = self._beside.get(frozenset((stop, grant, lift)))
        if three is None:
            return False
        return self._beside[frozenset((stop, grant))][purpose] != self._single[grant, purpose] == three[purpose]
