"""Quarantine: what was rejected for its form, kept so that an engineer can mend it and nobody else can read it.

A rejected line is sealed (transforms/envelope.py) to the quarantine key of the region it seems to belong to. When too
many come at once only some lines are kept; how many there were is always told exactly.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from heapq import nsmallest
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from schemas.quarantine import CLAUSE_OF_FAULT, ENVELOPE, KEPT, NO_KEY, ROWS, SAMPLED, stage_of
from schemas.regions import Residency
from schemas.shape import MAX_LINE_BYTES
from schemas.tallies import HOUR_MS, Counts
from transforms.block import SPACE
from transforms.envelope import read_public, seal_lines
from transforms.keyring import BORDER, Keyring, local_folder, open_keyring
from transforms.locate import UNLOCATABLE, locate
from transforms.times import parse_times
from transforms.verdict import REASONS

REJECTED = "rejected"  # the tag of a border's third output
Rejected = tuple[int, pa.RecordBatch]  # (region code, rows of schemas.quarantine)

PUBLIC_KEY = "quarantine.pub"  # its file in the keystore of a region
_ROW_ID_BYTES = 16
_LONGEST = MAX_LINE_BYTES + 1  # of a line that is too long no more is kept: enough to see that it is
_HOURS = 1_000  # so many different ones a block are told: who makes up hours makes up no rows
_LOCATED = 1 << 20  # of a line that is too long, how much is searched for where it belongs
_BOM = b"\xef\xbb\xbf"

# For lines that are no JSON, or of another shape: a signal's name and, behind a few signs, what could be its value.
_NEAR_NAME = {
    "account_country": re.compile(r"account_country\W{1,16}([A-Z]{2})\b", re.ASCII),
    "device_region": re.compile(r"device_region\W{1,16}([A-Z]{2})\b", re.ASCII),
    "sim_mcc": re.compile(r"sim_mcc\W{1,16}(\d{3})\b", re.ASCII),
}
_NAMES = tuple(signal.encode() for signal in _NEAR_NAME)
_RECEIVED = re.compile(rb'"received_time"\s{0,8}:\s{0,8}"([0-9TZtz:.+-]{10,40})"')


class _Line(NamedTuple):
    """What tells one rejected line from another."""

    row_id: bytes
    region: int
    reason: str
    hour: int | None  # in milliseconds


class Quarantine:
    """Seals the rejected lines of one input. One a worker, made in `setup()`: it holds keys.

    `keys` are keyring URIs by region code; `arrival` is the code of the region that takes lines without a usable signal
    of residency. A region without a public key keeps no line, only how many there were.
    """

    def __init__(self, input_: str, where: Residency, keys: Mapping[int, str], arrival: int) -> None:
        self._input, self._where, self._arrival = input_, where, arrival
        self._id_keys = {region: row_id_key(open_keyring(uri)) for region, uri in keys.items()}
        self._recipients = {region: recipient(uri) for region, uri in keys.items()}

    def seal(self, lines: list[bytes], reasons: np.ndarray, keep: int, counts: Counts) -> Iterator[Rejected]:
        """(region code, rows) for rejected lines, at most `keep` of them with their line; `reasons` are codes into
        REASONS, one a line.

        What belongs to a region that is not served here is counted (quarantine, foreign) and not kept. All other lines
        are in the rows; the store counts them, since it sees what other blocks brought.
        """
        content: dict[_Line, bytes] = {}
        times: Counter[_Line] = Counter()
        for line, found in self._found(lines, reasons, counts):
            content.setdefault(found, line)
            times[found] += 1
        whole = set(sample([each for each in content if self._recipients[each.region]], keep))
        for region in sorted({each.region for each in content}):
            own = [each for each in content if each.region == region]
            kept = {each: content[each] for each in own if each in whole}
            rest: Counter = Counter()
            for each in own:
                if each not in whole:
                    rest[each.reason, each.hour] += times[each]
            yield region, self._rows(region, kept, rest, times)

    def _found(self, lines: list[bytes], reasons: np.ndarray, counts: Counts) -> Iterator[tuple[bytes, _Line]]:
        """Each rejected line that has its place here."""
        regions = locate_lines([line[:_LOCATED] for line in lines], self._where)
        regions = np.where(regions == UNLOCATABLE, self._arrival, regions).tolist()
        kept = (line[:_LONGEST] for line in lines)
        for line, code, region, hour in zip(lines, reasons.tolist(), regions, hours(kept), strict=True):
            reason = REASONS[code].value
            if region in self._id_keys:
                yield line, _Line(row_id(line, self._id_keys[region], self._input), region, reason, hour)
            else:
                counts.add("quarantine", "foreign", 1, reason=reason, dataset=self._input)

    def _rows(self, region: int, kept: Mapping[_Line, bytes], rest: Counter, times: Counter) -> pa.RecordBatch:
        state = SAMPLED if self._recipients[region] else NO_KEY
        heads = [self._head(each.reason, each.hour, KEPT, times[each], each.row_id) for each in kept]
        heads += [self._head(*faults, state, count, None) for faults, count in rest.items()]
        fields = [field for field in ROWS if field.name not in ENVELOPE.names]
        head = [pa.array(column, field.type) for column, field in zip(zip(*heads, strict=True), fields, strict=True)]
        if kept:
            bound_to = place_of(self._where.regions[region], self._input)
            ids = [each.row_id for each in kept]
            lines = (line[:_LONGEST] for line in kept.values())
            sealed = seal_lines(lines, ids, self._recipients[region], bound_to).columns
        else:
            sealed = [pa.nulls(0, field.type) for field in ENVELOPE]
        padded = [pa.concat_arrays([column, pa.nulls(len(rest), column.type)]) for column in sealed]
        return pa.RecordBatch.from_arrays(head + padded, schema=ROWS)

    def _head(self, reason: str, hour: int | None, state: str, lines: int, id_: bytes | None) -> tuple:
        return self._input, stage_of(reason), reason, CLAUSE_OF_FAULT[reason], hour, state, lines, id_


def recipient(uri: str) -> X25519PublicKey | None:
    """The public key that a keystore seals rejected lines to. Raises `KeyUnavailable` for one that is damaged."""
    return read_public(local_folder(uri) / PUBLIC_KEY)


def place_of(region: str, input_: str) -> str:
    """What the lines of an input are sealed for in a region."""
    return f"{region}/{input_}"


def row_id_key(keyring: Keyring) -> bytes:
    """The key of a region's row ids."""
    return keyring.secret("quarantine/row-id", BORDER)


def row_id(line: bytes, key: bytes, input_: str) -> bytes:
    """A keyed BLAKE2b of a line of an input, without BOM and outer space, and no more of it than is kept."""
    text = line[:_LONGEST].removeprefix(_BOM).strip(SPACE)
    return blake2b(text, key=key, digest_size=_ROW_ID_BYTES, person=input_.encode()).digest()


def sample(lines: list, keep: int) -> list:
    """The `keep` smallest: row ids stand first in them, so the choice is keyed and follows from the lines alone."""
    return nsmallest(keep, lines) if len(lines) > keep else lines


def hours(lines: Iterable[bytes]) -> list[int | None]:
    """The hour of receipt that each line seems to name, in milliseconds since the epoch; None, too, for the rarest
    where the lines name very many."""
    texts = [match[1].decode() if (match := _RECEIVED.search(line)) else None for line in lines]
    times, valid = parse_times(pa.array(texts, pa.string()))
    whole = times // HOUR_MS * HOUR_MS
    named, count = np.unique(whole[valid], return_counts=True)
    told = valid & np.isin(whole, named[np.argsort(-count, kind="stable")[:_HOURS]])
    return [hour if known else None for hour, known in zip(whole.tolist(), told.tolist(), strict=True)]


def locate_lines(lines: list[bytes], where: Residency) -> np.ndarray:
    """The region of each line (int8, an index into `where.regions`; UNLOCATABLE for none), as well as it can be told.

    A line that is JSON is located by the signals in its object `residency`, any other by what looks like a signal
    anywhere in it. Where it gives a signal several values, one of a localising region counts (clause 6). For a line
    whose residency is in order it is the region that `locate` gives.
    """
    known: dict[bytes, tuple[str | None, ...] | None] = {}
    chosen = [_in_order(line, known) or _loosely(line, where) for line in lines]
    columns = (pa.array(values, pa.string()) for values in zip(*chosen, strict=True))
    return locate(dict(zip(_NEAR_NAME, columns, strict=True)), where)[0].copy() if lines else np.zeros(0, np.int8)


class _Signals(msgspec.Struct, gc=False):
    account_country: str | msgspec.UnsetType = msgspec.UNSET
    device_region: str | msgspec.UnsetType = msgspec.UNSET
    sim_mcc: int | str | msgspec.UnsetType = msgspec.UNSET


class _Located(msgspec.Struct, gc=False):
    residency: _Signals


_LOCATED_LINE, _RESIDENCY = msgspec.json.Decoder(_Located), msgspec.json.Decoder(_Signals)


def _in_order(line: bytes, known: dict[bytes, tuple[str | None, ...] | None]) -> tuple[str | None, ...] | None:
    """The signals of a line of JSON that names `residency` once, and each signal in it once; None for any other line.
    What `_loosely` says of it, in a tenth of the time. Few objects differ: what they say is kept in `known`."""
    # An escape could spell a name otherwise. A single byte is found much faster than two.
    if line.count(b"residency") != 1 or (b"\\" in line and b"\\u" in line):
        return None
    try:
        _LOCATED_LINE.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    start = line.find(b"{", line.find(b"residency"))
    text = line[start : line.find(b"}", start) + 1]
    if text not in known:
        known[text] = _said(text)
    return known[text]


def _said(text: bytes) -> tuple[str | None, ...] | None:
    """The signals in an object that names each once, or None. `text` ends with the first brace."""
    try:
        residency = _RESIDENCY.decode(text)  # so it is all of the object, and nothing within it holds a brace
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    given = residency.account_country, residency.device_region, residency.sim_mcc
    values = tuple(None if value is msgspec.UNSET else _as_text(value) for value in given)
    once = all(text.count(name) == (value is not None) for name, value in zip(_NAMES, values, strict=True))
    return values if once and any(value is not None for value in values) else None


def _loosely(line: bytes, where: Residency) -> tuple[str | None, ...]:
    """The signals of any line, each the strongest of its values."""
    signals = _signals(line.decode(errors="replace"))
    given = (signals.get(signal, []) if signal in where.signals else [] for signal in _NEAR_NAME)
    return tuple(_strongest(signal, values, where) for signal, values in zip(_NEAR_NAME, given, strict=True))


_NO_FRACTION = re.compile(r"(?<=\d)\.0+$")


class _Members(list):
    """The members of a JSON object as pairs: what is read here may name a key twice."""


_JSON = json.JSONDecoder(object_pairs_hook=_Members)


def _signals(text: str) -> dict[str, list[str]]:
    signals = _of_residency(text)
    return signals or {signal: pattern.findall(text) for signal, pattern in _NEAR_NAME.items()}


def _of_residency(text: str) -> dict[str, list[str]]:
    """The signals of a line that is a JSON object with objects as `residency`; of any other line nothing."""
    found: dict[str, list[str]] = {}
    loose = False
    try:
        members = _JSON.decode(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return {}
    objects = [value for name, value in members if name == "residency"] if isinstance(members, _Members) else []
    for residency in objects:
        if not isinstance(residency, _Members):
            return {}
        for name, value in residency:
            if name in _NEAR_NAME:
                loose |= not isinstance(value, str | int)
                found.setdefault(name, []).extend(map(_as_text, _leaves(value)))
    if loose:  # a value that no sender in order would give: what stands near the names counts as well
        for name, pattern in _NEAR_NAME.items():
            found.setdefault(name, []).extend(pattern.findall(text))
    return {name: values for name, values in found.items() if values}


def _leaves(value: Any) -> Iterator[Any]:
    """The value itself, or what a list or an object in its place holds."""
    if isinstance(value, _Members):
        value = [member for _, member in value]
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def _as_text(value: Any) -> str:
    """A country, or a mobile country code as text or number. What cannot be either is empty."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value) if isinstance(value, str | int) else ""
    if "." in text:
        text = _NO_FRACTION.sub("", text)
    if text.isdigit():
        text = text.lstrip("0")  # as the border takes a number in quotes
    return text if text.isascii() else ""


def _strongest(signal: str, values: list[str], where: Residency) -> str | None:
    if len(values) < 2:
        return next(iter(values), None)
    codes = locate({signal: pa.array(values, pa.string())}, where)[0].tolist()
    named = (code for code in codes if code != UNLOCATABLE)
    order = list(dict.fromkeys([*map(where.code, where.localising), *named, UNLOCATABLE]))
    return values[min(range(len(values)), key=lambda at: order.index(codes[at]))]
