"""Explain: what becomes of one event, field by field and purpose by purpose, and by which clause (0-a, 1.1-a, 4.1-c).

All of it comes from the job's own steps, run on one line: nothing here decides anything. What is explained is the
bounded run, in which every stop of the ledger is known. Other events are not looked at, so that a repetition is
explained as if it were the first.

An identifier appears as it would be stored, and beside it no more than its first two characters and its length.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.consent import CLAUSE_OF_REASON
from schemas.datasets import RECEIVED_DATE, datasets
from schemas.editions import Editions
from schemas.explanation import Explanation, Line, Place, PurposeFate, Signal
from schemas.fields import EVENT_TYPES
from schemas.layout import layout
from schemas.policy import Pack
from schemas.quarantine import CLAUSE_OF_FAULT, stage_of
from schemas.recognisers import LABEL_RECOGNISERS
from schemas.regions import SIGNALS
from schemas.variants import Cut
from transforms.canonical import canonical
from transforms.chain import OPEN, chain_of, entries_of, outcomes, record_of
from transforms.decode import Decoded, DecodedLedger, Limits, decode_events, decode_ledger
from transforms.entries import Entries, moment
from transforms.entry_ids import Marks
from transforms.explain_fields import Fates, Steps, masked, not_kept
from transforms.for_purpose import RECEIVED, REGION, for_purpose
from transforms.gate import Gate
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.locate import UNLOCATABLE, locate
from transforms.pseudonymise import Tokens
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Sealed, Seals
from transforms.seal_ledger import LedgerSealer
from transforms.texts import Texts

_DAY_MS = 86_400_000
_ALL = Partition(1, None)


@dataclass(frozen=True, repr=False)
class Event:
    """A line that was decoded and located."""

    decoded: Decoded
    region: int  # code, or UNLOCATABLE
    conflict: bool

    @property
    def good(self) -> bool:
        return len(self.decoded.event_time) == 1

    @property
    def subjects(self) -> dict[str, pa.Scalar]:
        """The canonical subjects by type, null where there is no valid one."""
        columns = self.decoded.columns
        device, account = columns["device.android_id"], columns["account_id"]
        return {"device": canonical("android_id", device)[0][0], "account": canonical("account_id", account)[0][0]}


class Explainer:
    """The job's steps for the editions of a policy, made once and run on one line at a time.

    `keys` are keyring URIs by region code, of the regions that are served; they are opened when an event needs them.
    """

    def __init__(self, editions: Editions, keys: Mapping[int, str]) -> None:
        pack, plan = editions.newest, layout(editions.newest, *editions.earlier)
        labels, texts = Labels(Scrubber(LABEL_RECOGNISERS)), Texts(pack.limits)
        self.steps = Steps(pack, plan, datasets(pack), labels, texts)
        self.editions, self.pack, self.keys, self.tokens = editions, pack, dict(keys), Tokens(pack, keys)
        self._limits = Limits.of(pack)

    def read(self, line: bytes) -> Event:
        """Decodes and locates one line. It raises for no input."""
        decoded = decode_events(line, self._limits)
        if not len(decoded.event_time):
            return Event(decoded, UNLOCATABLE, False)
        signals = {name: decoded.columns[f"residency.{name}"] for name in SIGNALS}
        region, conflict = locate(signals, self.pack.where)
        return Event(decoded, int(region[0]), bool(conflict[0]))

    def explain(self, event: Event, ledger: DecodedLedger | None) -> Explanation:
        """Explains an event, given the entries about its subjects; None is a run without a ledger.

        Keys of the event's region that the job would make on this event's account are made here. Raises
        `KeyUnavailable`.
        """
        pack = self.pack
        if not event.good:
            return Explanation(pack.version, _unread(event.decoded))
        told = {"event": _head(event.decoded), "place": _place(event, pack), "unknown": event.decoded.unknown}
        told["edition"] = self._edition(event.decoded)
        if event.region not in self.keys:
            line = Line("foreign", "locate", "not_served", told["place"].clause)
            if event.region == UNLOCATABLE:
                line = Line("unlocatable", "locate", "no_usable_signal", pack.residency.clause)
            return Explanation(pack.version, line, fields=not_kept(event.decoded, line.clause), **told)
        case = _Case(event, self)
        if not case.sealed.batch.num_rows:
            line = _fault("bad_event_id")
            return Explanation(pack.version, line, fields=not_kept(event.decoded, line.clause), **told)
        return Explanation(pack.version, Line("accepted"), **told, **case.judged(ledger, told["place"]))

    def _edition(self, decoded: Decoded) -> str | None:
        found = self.editions.in_force(int(decoded.event_time[0]))
        return found.version if found else None


def _unread(decoded: Decoded) -> Line:
    if decoded.blank:
        return Line("blank")
    (reason,) = decoded.faults.counts()
    return _fault(reason)


def _fault(reason: str) -> Line:
    return Line("rejected", stage_of(reason), reason, CLAUSE_OF_FAULT[reason])


def _head(decoded: Decoded) -> dict[str, str]:
    return {
        "event_type": EVENT_TYPES[decoded.event_type[0]],
        "event_time": moment(decoded.event_time[0]),
        "received_time": moment(decoded.received_time[0]),
        "source": decoded.columns["source"][0].as_py(),
    }


def _place(event: Event, pack: Pack) -> Place:
    rules, columns = pack.where, event.decoded.columns
    names = [name for name in rules.signals if columns[f"residency.{name}"][0].is_valid]
    named = {name: int(locate({name: columns[f"residency.{name}"]}, rules)[0][0]) for name in names}
    decides = next((name for name, code in named.items() if code == event.region != UNLOCATABLE), None)
    signals = []
    for name, code in named.items():
        said = str(columns[f"residency.{name}"][0].as_py())
        region = None if code == UNLOCATABLE else rules.regions[code]
        signals.append(Signal(name, said if region else masked(said), region, name == decides))
    region = None if event.region == UNLOCATABLE else rules.regions[event.region]
    clause = pack.regions[region].clause if region else pack.residency.clause
    return Place(region, clause, event.conflict, tuple(signals))


class _Case:
    """A good event of a region that is served, sealed."""

    def __init__(self, event: Event, explainer: Explainer) -> None:
        self._event, self._steps, self._tokens = event, explainer.steps, explainer.tokens
        self._editions = explainer.editions
        self._pack, self._code, self._region = explainer.pack, event.region, explainer.pack.where.regions[event.region]
        self._variants = explainer.editions.of(self._region)
        self._bare = self._variants.bare
        self._seals = Seals({event.region: open_keyring(explainer.keys[event.region])})
        steps = self._steps
        sealer = EventSealer(self._seals, steps.plan, _ALL, self._pack.limits, steps.texts, steps.labels)
        self.sealed: Sealed = sealer.seal(event.decoded, np.array([event.region], np.int8))

    def judged(self, ledger: DecodedLedger | None, place: Place) -> dict[str, Any]:
        """The parts of an explanation that depend on the ledger."""
        gate = Gate(self._editions, self._region, ledger is not None, bounded=True)
        purposes = self._editions.purposes
        sealer = LedgerSealer(self._seals, _ALL, (self._code,), self._code, self._steps.labels, purposes)
        ledger = decode_ledger(b"") if ledger is None else ledger
        entries = Entries(ledger, sealer, Marks(self._seals, _ALL, (self._code,)), self._pack)
        judged, verdict = gate.judge(self.sealed.batch, entries.all)
        outcome = outcomes(verdict, tuple(self._pack.purposes))
        rows, clauses = self._rows(judged, outcome), {name: self._clause(name, why) for name, why in outcome.items()}
        fates = Fates(self._steps, self.sealed, place, outcome, clauses, rows, self._cuts)
        return {
            "fields": fates.of(self._event.decoded),
            "entries": tuple(entries.facts),
            "further_entries": entries.further,
            "nobody": ledger.lost,
            "purposes": tuple(self._purposes(outcome, clauses, entries, gate.with_ledger)),
            "rows": rows,
        }

    @cached_property
    def _variant(self) -> int:
        (number,) = self._variants.numbers(self.sealed.batch, self._steps.plan).tolist()
        return number if number >= 0 else self._variants.newest

    @cached_property
    def _effective(self) -> tuple[Pack, Pack]:
        """The newest pack for the event's region and service, and that of its time."""
        packs = self._variants.packs
        return packs[int(self._variants.latest(np.int64(self._variant)))], packs[self._variant]

    def _cuts(self, dataset: str) -> Iterator[tuple[Cut, Cut]]:
        """How each column is made for the event, and how it would be without overlays."""
        edition = self._variant // len(self._variants.services)
        return zip(self._variants.cuts[dataset][self._variant], self._bare.cuts[dataset][edition], strict=True)

    def _clause(self, purpose: str, outcome: str) -> str:
        """Of an outcome; of an overlay or a rule of collection its own."""
        found = [CLAUSE_OF_REASON.get(outcome, self._pack.purposes[purpose].clause)]
        event_type = EVENT_TYPES[self._event.decoded.event_type[0]]
        if outcome == "closed_here":
            found += [pack.closed[purpose] for pack in self._effective if purpose in pack.closed][:1]
        if outcome == "not_collected":
            rules = (rule for pack in self._effective for rule in pack.collection)
            found += [r.clause for r in rules if event_type in r.events and self._region in r.regions][:1]
        return found[-1]

    def _rows(self, judged: pa.RecordBatch, outcome: dict[str, str]) -> dict[str, dict[str, Any]]:
        found = {}
        for name, dataset in self._steps.datasets.items():
            if outcome[dataset.purpose] != OPEN:
                continue
            rows = for_purpose(judged, dataset, self._variants, self._steps.plan)
            stored = self._tokens.pseudonymise(rows, name, self._code).drop_columns(list(dataset.hidden))
            for row in stored.to_pylist():
                found[name] = _as_stored(row)
        return found

    def _purposes(
        self, outcome: dict[str, str], clauses: dict[str, str], entries: Entries, with_ledger: bool
    ) -> Iterator[PurposeFate]:
        event_type = EVENT_TYPES[self._event.decoded.event_type[0]]
        newest, _ = self._effective
        terms = newest.terms(self._region, with_ledger)
        record, acting = record_of(self.sealed.batch, self._steps.plan), entries_of(entries.acting)
        for name, purpose in self._pack.purposes.items():
            if event_type not in purpose.events:
                continue
            chain = chain_of(record, acting, terms, name, outcome[name])
            yield PurposeFate(
                purpose=name,
                title=purpose.title,
                clause=purpose.clause,
                basis=newest.basis(name, self._region).value,
                outcome=outcome[name],
                outcome_clause=clauses[name],
                stored=purpose.stored,
                chain=None if chain is None else entries.links(chain),
            )


def _as_stored(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a dataset: bytes in hexadecimal, times as text."""
    date = str(np.datetime64(row[RECEIVED] // _DAY_MS, "D"))
    row |= {RECEIVED_DATE: date, "event_type": EVENT_TYPES[row["event_type"]]}
    return {name: _as_text(value) for name, value in row.items() if name not in (REGION, RECEIVED)}


def _as_text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return value.hex() if isinstance(value, bytes) else value
