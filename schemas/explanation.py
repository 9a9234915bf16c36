"""What `douane explain` says of one line of telemetry, as data: all of it can be written as JSON.

What holds something of a line has no `repr`: it is shown on purpose, or not at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Line:
    """What became of the line as a whole. `stage` rejected it for `reason`; both are None if it goes on."""

    outcome: str  # accepted, blank, rejected, unlocatable, foreign
    stage: str | None = None
    reason: str | None = None
    clause: str | None = None


@dataclass(frozen=True, repr=False)
class Signal:
    """One signal of residency, and the region that it names; `said` is masked where it names none."""

    signal: str
    said: str
    region: str | None
    decides: bool


@dataclass(frozen=True)
class Place:
    """Where the event may live."""

    region: str | None
    clause: str
    conflict: bool  # its signals name several regions
    signals: tuple[Signal, ...]


@dataclass(frozen=True, repr=False)
class InDataset:
    """A field in one dataset that may receive it: the value as stored, or why there is none."""

    dataset: str
    form: str
    stored: Any
    why_not: str | None
    clause: str


@dataclass(frozen=True, repr=False)
class FieldFate:
    """What became of one field that the line carries, at the border and in each dataset."""

    path: str
    category: str
    sensitivity: str
    shown: Any
    outcome: str
    clause: str
    recognisers: Mapping[str, int] = field(default_factory=dict)
    datasets: tuple[InDataset, ...] = ()


@dataclass(frozen=True, repr=False)
class Entry:
    """One entry of the ledger about the event's subjects. Of an entry that does not act in the event's region only
    what is needed to find it is told."""

    number: int
    entry_id: str | None
    kind: str
    subject: str
    time: str | None
    received_time: str | None
    region: str | None  # where it acts; None is nowhere
    purposes: str | None = None
    app: str | None = None
    policy_version: str | None = None
    guardian: bool = False


@dataclass(frozen=True)
class Did:
    """What an entry did for one purpose: a verb or an obstacle, and the numbers of the entries that it concerns."""

    what: str
    entries: tuple[int, ...] = ()


@dataclass(frozen=True)
class Link:
    """What one entry, by its number, did for a purpose."""

    entry: int
    did: tuple[Did, ...]


@dataclass(frozen=True)
class PurposeFate:
    """One purpose that receives such events: `outcome` is open, or the reason why it is closed. `chain` is None where
    entries decided that are not among those looked at one by one."""

    purpose: str
    title: str
    clause: str
    basis: str
    outcome: str
    outcome_clause: str
    stored: bool
    chain: tuple[Link, ...] | None


@dataclass(frozen=True, repr=False)
class Explanation:
    """Everything that there is to say of one line. `policy` is the newest edition; `edition` the one in force at the
    event's time, None where there was none, or where no event could be read."""

    policy: str
    line: Line
    event: Mapping[str, str] = field(default_factory=dict)
    edition: str | None = None
    place: Place | None = None
    fields: tuple[FieldFate, ...] = ()
    unknown: Mapping[str, int] = field(default_factory=dict)  # by path, `*` for a name that is no word of the schema
    entries: tuple[Entry, ...] = ()
    further_entries: int = 0  # that were not looked at one by one; a repetition is none
    nobody: int = 0  # lines of the ledger of which nobody knows whom they are about
    purposes: tuple[PurposeFate, ...] = ()
    rows: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # dataset -> column -> value as stored
