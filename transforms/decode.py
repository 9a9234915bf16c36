"""Blocks of telemetry and of the consent ledger to checked columns.

What the fields' table says of required fields, enumerations and ranges is checked here, and the times. Lines that fail
are set aside alone: always lines == blank + faults + rows (+ entries that are dated ahead, in a ledger).
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.consent import FUTURE_LIMIT, PERMISSIONS, Kind
from schemas.fields import (
    ACCEPTED_VERSIONS,
    EVENT_FIELDS,
    EVENT_TYPES,
    LEDGER_FIELDS,
    SCHEMA_VERSION,
    SUBJECT_TYPES,
    Field,
)
from schemas.policy import Pack
from transforms.arrow_json import Columns
from transforms.block import line_at
from transforms.lines import Faults, Habits, Parsed, merged, parse
from transforms.times import parse_times
from transforms.verdict import CODE, Reason

_NONE = -1

Received = int | np.ndarray | None  # of a block: None where its lines say it themselves


@dataclass(frozen=True)
class Limits:
    """How far, in milliseconds, event_time may lie after and before received_time."""

    future_ms: int
    oldest_ms: int

    @classmethod
    def of(cls, pack: Pack) -> "Limits":
        """What a policy pack allows."""
        return cls(pack.limits.future_minutes * 60_000, pack.limits.oldest_days * 86_400_000)


@dataclass(frozen=True, repr=False)
class Decoded:
    """The good events of a block: raw columns by dotted path, the number of each row's line, times in ms since the
    epoch, event_type as an int8 index into EVENT_TYPES; how many are of a version `ahead` of SCHEMA_VERSION; and the
    account of all other lines, as in `Parsed`."""

    columns: Columns
    line: np.ndarray
    event_time: np.ndarray
    received_time: np.ndarray
    event_type: np.ndarray
    ahead: int
    faults: Faults
    blank: int
    lines: int
    unknown: dict[str, int]
    ends: np.ndarray


@dataclass(frozen=True, repr=False)
class DecodedLedger:
    """The good entries of a block: raw columns by dotted path, the number of each row's line, times in ms since the
    epoch, kind as int8 codes of Kind.

    A permission dated more than FUTURE_LIMIT after its receipt is dropped and counted in `dated_ahead`. A rejected line
    must not open anything: `unreadable` holds the subjects that rejected lines name, in columns `entry_id` (or null),
    `subject.type`, `subject.value` and `since`, the earliest that the line can have been received (0 if that is not
    known); the caller makes them act as a restriction. `lost` counts those that name none.
    """

    columns: Columns
    line: np.ndarray
    time: np.ndarray
    received_time: np.ndarray
    kind: np.ndarray
    unreadable: Columns
    lost: int
    dated_ahead: int
    faults: Faults
    blank: int
    lines: int
    unknown: dict[str, int]
    ends: np.ndarray


def decode_events(block: bytes, limits: Limits, habits: Habits | None = None, received: Received = None) -> Decoded:
    """Reads and checks a block of telemetry. It raises for no input; a line's fate depends on that line alone.

    `received` is when all of it was received, or an int64 array of when each line was, in ms since the epoch: a replay,
    or a broker, received them then, and that counts in place of what the lines say (design section 2).
    """
    parsed = parse(block, EVENT_FIELDS, habits)
    columns = parsed.columns
    checks = _Checks(len(parsed.line))
    checks.required(columns, EVENT_FIELDS)
    event_type = checks.words(columns["event_type"], EVENT_TYPES, Reason.UNKNOWN_EVENT_TYPE)
    checks.words(columns["schema_version"], ACCEPTED_VERSIONS, Reason.UNKNOWN_SCHEMA_VERSION)
    checks.enumerations(columns, EVENT_FIELDS)
    checks.ranges(columns, EVENT_FIELDS)
    event_time, received_time = checks.times(columns["event_time"]), checks.times(columns["received_time"])
    if isinstance(received, int):
        received_time = np.full(len(received_time), received)
    elif received is not None:
        received_time = received[parsed.line]
    checks.reject(event_time > received_time + limits.future_ms, Reason.FUTURE_EVENT)
    checks.reject(event_time < received_time - limits.oldest_ms, Reason.TOO_OLD)

    keep = checks.code == _NONE
    columns, line, event_time, received_time, event_type = _kept(
        keep, columns, parsed.line, event_time, received_time, event_type
    )
    return Decoded(
        columns=columns,
        line=line,
        event_time=event_time,
        received_time=received_time,
        event_type=event_type.astype(np.int8),
        ahead=int((columns["schema_version"].to_numpy() > SCHEMA_VERSION).sum()),
        faults=checks.faults(parsed),
        blank=parsed.blank,
        lines=parsed.lines,
        unknown=parsed.unknown,
        ends=parsed.ends,
    )


_KINDS = tuple(kind.name for kind in Kind if kind is not Kind.unreadable)
_KIND_CODES = np.array([Kind[name] for name in _KINDS], np.int8)
_PERMITS = np.array([Kind[name] in PERMISSIONS for name in _KINDS])


def decode_ledger(block: bytes, habits: Habits | None = None, since: Received = None) -> DecodedLedger:
    """Reads and checks a block of the consent ledger. It raises for no input; a line's fate depends on it alone.

    `since` is before when no line of it, or each of them, can have been received; what a rejected line says of that
    itself is not believed."""
    parsed = parse(block, LEDGER_FIELDS, habits)
    columns = parsed.columns
    checks = _Checks(len(parsed.line))
    checks.required(columns, LEDGER_FIELDS)
    word = checks.words(columns["kind"], _KINDS, Reason.UNKNOWN_VALUE)
    checks.enumerations(columns, LEDGER_FIELDS)
    checks.ranges(columns, LEDGER_FIELDS)
    time, received_time = checks.times(columns["time"]), checks.times(columns["received_time"])

    good = checks.code == _NONE
    ahead = good & _PERMITS[word] & (time > received_time + FUTURE_LIMIT)
    faults = checks.faults(parsed)
    known = np.broadcast_to(np.int64(0) if since is None else since, parsed.lines)[faults.line]
    unreadable, lost = _unreadable(line_at(block, parsed.ends, faults.line), known.tolist())
    columns, line, time, received_time, word = _kept(good & ~ahead, columns, parsed.line, time, received_time, word)
    return DecodedLedger(
        columns=columns,
        line=line,
        time=time,
        received_time=received_time,
        kind=_KIND_CODES[word],
        unreadable=unreadable,
        lost=lost,
        dated_ahead=int(ahead.sum()),
        faults=faults,
        blank=parsed.blank,
        lines=parsed.lines,
        unknown=parsed.unknown,
        ends=parsed.ends,
    )


class _Checks:
    """Notes for each row the first check that it fails."""

    def __init__(self, rows: int) -> None:
        self.code = np.full(rows, _NONE, np.int8)

    def reject(self, rows: np.ndarray, reason: Reason) -> None:
        self.code[rows & (self.code == _NONE)] = CODE[reason]

    def required(self, columns: Columns, fields: Iterable[Field]) -> None:
        for field in fields:
            if field.required and columns[field.path].null_count:
                self.reject(_as_mask(columns[field.path].is_null()), Reason.MISSING_FIELD)

    def words(self, column: pa.Array, words: tuple, reason: Reason) -> np.ndarray:
        """Each value's place in `words`; null, or a value that is none of them, is -1."""
        places = pc.index_in(column, value_set=pa.array(words, column.type))
        if places.null_count > column.null_count:
            self.reject(_as_mask(pc.and_(places.is_null(), column.is_valid())), reason)
        return places.fill_null(_NONE).to_numpy()

    def enumerations(self, columns: Columns, fields: Iterable[Field]) -> None:
        for field in fields:
            if field.values:
                self.words(columns[field.path], field.values, Reason.UNKNOWN_VALUE)

    def ranges(self, columns: Columns, fields: Iterable[Field]) -> None:
        for field in fields:
            if field.minimum is None or field.maximum is None:
                continue
            column = columns[field.path]
            least, most = pc.min_max(column).values()
            if least.is_valid and (least.as_py() < field.minimum or most.as_py() > field.maximum):
                outside = pc.or_(pc.less(column, field.minimum), pc.greater(column, field.maximum))
                self.reject(_as_mask(outside.fill_null(False)), Reason.OUT_OF_RANGE)

    def times(self, column: pa.Array) -> np.ndarray:
        milliseconds, valid = parse_times(column)
        self.reject(~valid, Reason.BAD_TIME)
        return milliseconds

    def faults(self, parsed: Parsed) -> Faults:
        rejected = self.code != _NONE
        return merged(parsed.faults, Faults(parsed.line[rejected], self.code[rejected]))


def _as_mask(values: pa.BooleanArray) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)


def _kept(keep: np.ndarray, columns: Columns, *arrays: np.ndarray) -> tuple[Any, ...]:
    if keep.all():
        return columns, *arrays
    mask = pa.array(keep)
    return {path: column.filter(mask) for path, column in columns.items()}, *(array[keep] for array in arrays)


# For lines that are no JSON: the inside of an object named subject, and strings without escapes.
_SUBJECT = re.compile(r'"subject"\s*:\s*\{([^{}]*)')
_STRING = {name: re.compile(rf'"{name}"\s*:\s*"([^"\\]*)"') for name in ("entry_id", "type", "value")}


class _Members(list):
    """The members of a JSON object as pairs, since what is read here may name a key twice."""

    def all(self, key: str) -> list[Any]:
        return [value for name, value in self if name == key]


def _unreadable(lines: list[bytes], since: list[int]) -> tuple[Columns, int]:
    """Every subject that the lines name, and how many lines name none."""
    found = [_subjects(line.decode(errors="replace")) for line in lines]
    rows = list(dict.fromkeys((*row, ms) for subjects, ms in zip(found, since, strict=True) for row in subjects))
    names = ("entry_id", "subject.type", "subject.value")
    columns = {name: pa.array([row[i] for row in rows], pa.string()) for i, name in enumerate(names)}
    columns["since"] = pa.array([row[-1] for row in rows], pa.int64())
    return columns, sum(not subjects for subjects in found)


def _subjects(text: str) -> list[tuple[str | None, str, str]]:
    """(entry_id, type, value) of each subject in a line: all of them, if it names several, since one must be meant."""
    try:
        members = json.loads(text, object_pairs_hook=_Members)
        ids = members.all("entry_id")
        pairs = [pair for s in members.all("subject") for pair in _pairs(s.all("type"), s.all("value"))]
    except (ValueError, RecursionError, AttributeError):
        ids = _STRING["entry_id"].findall(text)
        pairs = [
            pair
            for subject in _SUBJECT.findall(text)
            for pair in _pairs(_STRING["type"].findall(subject), _STRING["value"].findall(subject))
        ]
    entry_id = ids[0] if len(ids) == 1 and _is_clean(ids[0]) else None
    return [(entry_id, type_, value) for type_, value in pairs]


def _pairs(types: list[Any], values: list[Any]) -> Iterable[tuple[str, str]]:
    """Each type of subject that is named with each value: few types, whatever a line repeats."""
    return product([type_ for type_ in SUBJECT_TYPES if type_ in types], dict.fromkeys(filter(_is_clean, values)))


def _is_clean(value: Any) -> bool:
    """Whether a value can be what the sender meant: a string, with nothing in it that decoding had to replace."""
    return isinstance(value, str) and value.isprintable() and value != "" and "\ufffd" not in value
