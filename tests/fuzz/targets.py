"""What is fuzzed: a function of bytes for each place where bytes of strangers are read. It raises if anything is wrong.

All take lines, as many as there are in the input: what goes on around a call costs more than a line in it.
"""

import gzip
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import zstandard

from pipelines.blocks import read_blocks, spans
from pipelines.errors import InputError
from schemas.pack_files import load_pack
from schemas.quarantine import KEPT
from schemas.shape import MAX_LINE_BYTES
from schemas.tallies import Counts
from tests.fuzz.reference import HUGE, Bad, entry_row, event_row, time_of
from tests.lines import entry, event, keystores, ndjson
from tests.transforms.test_canonical import MALFORMED, slow
from transforms.canonical import KINDS, canonical
from transforms.decode import Limits, decode_events, decode_ledger
from transforms.envelope import create_pair
from transforms.keyring import local_folder
from transforms.lines import Habits
from transforms.quarantine import PUBLIC_KEY, Quarantine, locate_lines
from transforms.scrub import Scrubber
from transforms.times import parse_times
from transforms.verdict import REASONS

PACK = load_pack()
LIMITS = Limits.of(PACK)
_BEFORE, _AFTER = event(1, device__imei="490154203237518"), event(2, "crash", crash__signal=11)
_ENTRY_BEFORE, _ENTRY_AFTER = entry(number=1), entry("withdraw", number=2, app="com.example.map")


def events(data: bytes) -> None:
    """Each line of telemetry has the fate, and the values, that it has alone by a slow reader."""
    block, habits = _between(_BEFORE, data, _AFTER), Habits()
    if len(data) % 2:
        decode_events(data, LIMITS, habits)  # as of an earlier block, which teaches what changes nothing
    decoded = decode_events(block, LIMITS, habits)
    _same_as_told(decoded, _told(block, _event, decoded))


def ledger(data: bytes) -> None:
    """The same of the ledger; and each rejected line names a subject or is counted as lost."""
    block = _between(_ENTRY_BEFORE, data, _ENTRY_AFTER)
    decoded = decode_ledger(block, Habits())
    told = _told(block, _entry, decoded)
    ahead = sum(each == "ahead" for each in told)
    assert decoded.dated_ahead == ahead
    _same_as_told(decoded, [None if each == "ahead" else each for each in told], blank=decoded.blank + ahead)
    assert decoded.lost <= len(decoded.faults.line)
    assert decoded.lost == len(decoded.faults.line) or len(decoded.unreadable["since"])


def identifiers(data: bytes) -> None:
    """Each line as a value of each kind of identifier: what the table of notations says, whatever stands beside it."""
    values = [*data.decode(errors="replace").split("\n"), None]
    for kind in KINDS:
        found, malformed = canonical(kind, pa.array([*values, KINDS[kind].example], pa.string()))
        expected = [slow(kind, each) for each in values]
        assert malformed.tolist() == [each is MALFORMED for each in expected] + [False]
        assert found.to_pylist()[:-1] == [None if each is MALFORMED else each for each in expected]


def times(data: bytes) -> None:
    """Each line as a time."""
    values = data.decode(errors="replace").split("\n")
    milliseconds, valid = parse_times(pa.array(["2026-01-01T00:00:00.000Z", *values, None], pa.string()))
    expected = [_time(value) for value in values]
    assert milliseconds.tolist() == [1_767_225_600_000, *(each or 0 for each in expected), 0]
    assert valid.tolist() == [True, *(each is not None for each in expected), False]


def rejected(data: bytes) -> None:
    """Each line as one that was rejected: it is located as if alone, and told or kept, none twice and none not."""
    lines = data.split(b"\n")
    regions = locate_lines(lines, PACK.where)
    at = random.Random(data).randrange(len(lines))
    assert locate_lines(lines[at : at + 1], PACK.where).tolist() == [regions[at]]
    codes = np.arange(len(lines)) % len(REASONS)
    rows = dict(_quarantine().seal(lines, codes.astype(np.int8), 5, Counts()))
    kept = pa.concat_tables(pa.table(each) for each in rows.values())
    assert sum(kept["lines"].to_pylist()) == len(lines)
    assert kept["state"].to_pylist().count(KEPT) <= 5


def files(data: bytes) -> None:
    """The bytes as a file: as they are, compressed, compressed and cut or spoilt, and as if they were compressed."""
    assert _lines_of(data, ".ndjson") == (_cut_lines(data), True)
    for suffix, pack in ((".gz", gzip.compress), (".zst", zstandard.compress)):
        packed = pack(data)
        assert _lines_of(packed + pack(b"") + packed, ".ndjson" + suffix) == (_cut_lines(data + data), True)
        _lines_of(data, ".ndjson" + suffix)
        draw = random.Random(data)
        found, whole = _lines_of(packed[: draw.randrange(len(packed))], ".ndjson" + suffix)
        assert found == _cut_lines(data)[: len(found)] and (not whole or not found)
        at = draw.randrange(len(packed))
        _lines_of(packed[:at] + draw.randbytes(2) + packed[at + 2 :], ".ndjson" + suffix)


def texts(data: bytes) -> None:
    """Each line as a free text: it is scrubbed as if alone, and stays as it is when it is scrubbed again."""
    values = pa.array(data.decode(errors="replace").split("\n"), pa.string())
    scrubbed, _ = _scrubber().scrub(values)
    assert len(scrubbed) == len(values) and scrubbed.null_count == 0
    assert _scrubber().scrub(scrubbed)[0].equals(scrubbed)
    at = random.Random(data).randrange(len(values))
    assert _scrubber().scrub(values.slice(at, 1))[0].equals(scrubbed.slice(at, 1))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (events, ledger, identifiers, times, rejected, files, texts)
}


def _between(before: dict, data: bytes, after: dict) -> bytes:
    return ndjson(before) + data + b"\n" + ndjson(after)


def _told(block: bytes, tell: Callable, decoded) -> list:
    """What the reference says of each line: a row, None for a blank one, a word for one that is set aside."""
    lines = block.split(b"\n")[:-1]
    told = [tell(line) for line in lines]
    for at in decoded.faults.line.tolist():
        if HUGE.search(lines[at]):
            told[at] = "bad"
    return told


def _event(line: bytes):
    try:
        return event_row(line, LIMITS)
    except Bad:
        return "bad"


def _entry(line: bytes):
    try:
        row, ahead = entry_row(line)
    except Bad:
        return "bad"
    return "ahead" if ahead else row


def _time(value: str) -> int | None:
    try:
        return time_of(value)
    except Bad:
        return None


def _same_as_told(decoded, told: list, blank: int | None = None) -> None:
    assert decoded.lines == len(told)
    assert (decoded.blank if blank is None else blank) == told.count(None)
    assert decoded.faults.line.tolist() == [at for at, each in enumerate(told) if each == "bad"]
    good = {at: row for at, row in enumerate(told) if isinstance(row, dict)}
    assert decoded.line.tolist() == list(good)
    first = decoded.event_time if hasattr(decoded, "event_time") else decoded.time
    assert list(zip(first.tolist(), decoded.received_time.tolist(), strict=True)) == [row[""] for row in good.values()]
    for path, column in decoded.columns.items():
        assert column.to_pylist() == [row[path] for row in good.values()], path


@cache
def _scratch() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory(prefix="fuzz")


@cache
def _quarantine() -> Quarantine:
    regions = dict(enumerate(PACK.where.regions))
    keys = keystores(Path(_scratch().name) / "keys", regions)
    for name in regions.values():
        if name != "ru":  # one region has no key to seal to
            public = local_folder(f"local:{Path(_scratch().name) / 'keys' / name}") / PUBLIC_KEY
            create_pair(public, Path(_scratch().name) / "private" / f"{name}.pem")
    return Quarantine("telemetry", PACK.where, keys, PACK.where.code("eu"))


@cache
def _scrubber() -> Scrubber:
    return Scrubber()


def _lines_of(content: bytes, suffix: str) -> tuple[list[bytes], bool]:
    """The lines of such a file, cut to the length at which they are too long, and whether it ended well."""
    path = Path(_scratch().name) / f"file{suffix}"
    path.write_bytes(content)
    found, whole = b"", True
    try:
        for span in spans([str(path)]):
            for block in read_blocks(span):
                found += block
    except InputError:
        whole = False
    return _cut_lines(found), whole


def _cut_lines(data: bytes) -> list[bytes]:
    return [line[: MAX_LINE_BYTES + 1] for line in data.removesuffix(b"\n").split(b"\n")] if data else []
