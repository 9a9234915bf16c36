"""The corpus of hostile input against its table: line by line through the decoders, and all of it through one run."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest

from pipelines import ingest
from pipelines.blocks import read_blocks, spans
from pipelines.errors import InputError
from pipelines.quarantine import main as quarantine
from schemas.datasets import AUDIT, QUARANTINE
from schemas.fields import EVENT_FIELDS, Handling
from schemas.pack_files import load_pack
from schemas.shape import MAX_LINE_BYTES
from tests.corpus import page
from tests.corpus.files import (
    AHEAD,
    BLANK,
    CONFLICTING,
    LEDGER,
    REPEATED,
    TELEMETRY,
    UNLOCATABLE,
    Case,
    cases,
    is_fault,
    is_good,
)
from tests.invariants.needles import Needles, as_bytes, content
from tests.invariants.runs import Site
from tests.stranger import Outcome, command
from transforms.canonical import canonical
from transforms.decode import Limits, decode_events, decode_ledger
from transforms.locate import UNLOCATABLE as NOWHERE
from transforms.locate import locate
from transforms.verdict import REASONS

pytestmark = pytest.mark.clause("1.1-a")
CASES = cases()
PACK = load_pack()
_SECRET = re.compile(rb"kept-out-[0-9a-f]{8}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@cache
def bytes_of(case: Case) -> tuple[bytes, bool]:
    """The lines that come out of a case's file, and whether it broke off. What is too long is cut."""
    blocks, broke_off = [], False
    with TemporaryDirectory() as folder:
        try:
            for span in spans([str(case.write(Path(folder)))]):
                blocks += read_blocks(span)
        except InputError:
            broke_off = True
    lines = b"".join(blocks).split(b"\n")
    return b"\n".join(line[: MAX_LINE_BYTES + 1] for line in lines), broke_off


def fates(case: Case, data: bytes) -> list[str]:
    """What becomes of each line, in the words of the table; of what an identifier comes to only the first is told."""
    decoded = decode_events(data, Limits.of(PACK)) if case.input == TELEMETRY else decode_ledger(data)
    words = [BLANK] * decoded.lines  # unless one of the loops below says otherwise
    for line, reason in zip(decoded.faults.line.tolist(), decoded.faults.reason.tolist(), strict=True):
        words[line] = REASONS[reason].value
    found = _fates_of_events(decoded) if case.input == TELEMETRY else _fates_of_entries(decoded)
    for line, word in zip(decoded.line.tolist(), found, strict=True):
        words[line] = word
    assert words.count(BLANK) == decoded.blank + getattr(decoded, AHEAD, 0)
    return words


def _fates_of_events(decoded) -> list[str]:
    regions, conflict = locate({s: decoded.columns[f"residency.{s}"] for s in PACK.where.signals}, PACK.where)
    words = np.where(conflict, CONFLICTING, np.where(regions == NOWHERE, UNLOCATABLE, "good")).tolist()
    for each in EVENT_FIELDS:
        if each.handling is not Handling.IDENTIFIER:
            continue
        path, column = each.path, decoded.columns[each.path]
        values, malformed = canonical(each.kind, column)
        for row in np.flatnonzero(malformed).tolist():
            words[row] = "bad_event_id" if path == "event_id" else f"malformed {path}"
        absent = column.is_valid().to_numpy(zero_copy_only=False) & values.is_null().to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(absent & ~malformed).tolist():
            words[row] = f"absent {path}"
    return words


def _fates_of_entries(decoded) -> list[str]:
    kinds = {"device": "android_id", "account": "account_id"}
    subjects = zip(*(decoded.columns[f"subject.{name}"].to_pylist() for name in ("type", "value")), strict=True)
    return ["bad_subject" if canonical(kinds[type_], pa.array([one]))[1][0] else "good" for type_, one in subjects]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.input}/{case.file}")
def test_each_line_becomes_what_the_table_says(case):
    data, broke_off = bytes_of(case)
    expected = ["good" if word == REPEATED else BLANK if word == AHEAD else word for word in case.lines]
    assert fates(case, data) == expected
    assert broke_off == case.breaks_off
    if case.input == LEDGER:
        decoded = decode_ledger(data)
        assert (decoded.lost, decoded.dated_ahead) == (case.lost, case.lines.count(AHEAD))


def test_good_lines_are_as_if_the_bad_ones_were_not_there():
    for case in CASES:
        data, _ = bytes_of(case)
        good = [line for line, word in zip(data.split(b"\n"), case.lines, strict=False) if is_good(word)]
        decode = decode_ledger if case.input == LEDGER else lambda block: decode_events(block, Limits.of(PACK))
        among, alone = decode(data), decode(b"\n".join(good))
        for path, column in among.columns.items():
            kept = column.filter(np.isin(among.line, _places(case)))
            assert kept.equals(alone.columns[path]), (case.file, path)


def _places(case: Case) -> list[int]:
    return [at for at, word in enumerate(case.lines) if is_good(word)]


def test_every_fault_that_there_is_has_a_file():
    met = {word for case in CASES for word in case.lines if is_fault(word)}
    assert met == {reason.value for reason in REASONS}


def test_the_files_and_the_table_are_of_each_other():
    folder = Path(page.__file__).parent
    there = {(path.parent.name, path.name) for input_ in (TELEMETRY, LEDGER) for path in (folder / input_).iterdir()}
    assert there == {(case.input, case.file) for case in CASES if not case.generated}


def test_the_page_is_current():
    said = page.PAGE.read_text(encoding="utf-8")
    assert said == page.written(CASES), "docs/hostile-input.md is not what the table says: run `make reference`"


# --- one run over all of it ---


@dataclass(frozen=True)
class Ran:
    """A run over files of the corpus."""

    site: Site
    outcome: Outcome
    secrets: set[bytes] = field(default_factory=set, repr=False)

    def rows(self) -> dict[tuple[str, str], list[str]]:
        """The records that are stored, by region and dataset."""
        held = self.site.datasets()
        return {
            name: sorted(json.dumps(row, default=repr, sort_keys=True) for row in table.to_pylist())
            for name, table in held.items()
            if name[1] not in (AUDIT, QUARANTINE)
        }


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Ran:
    """All of the corpus that a run gets through."""
    folder = tmp_path_factory.mktemp("hostile")
    site = Site.new(folder / "site")
    assert quarantine(["keygen", f"--deployment={site.file}", f"--out={tmp_path_factory.mktemp('private')}"]) == 0
    secrets: set[bytes] = set()
    for case in CASES:
        if not case.breaks_off:
            case.write(folder)
            secrets |= _secrets(case, bytes_of(case)[0])
    return Ran(site, _ingest(site, folder), secrets)


@pytest.fixture(scope="module")
def clean(hostile, tmp_path_factory) -> Ran:
    """The good lines alone, under the same keys."""
    folder = tmp_path_factory.mktemp("clean")
    site = Site.new(folder / "site", keys_of=hostile.site)
    for input_ in (TELEMETRY, LEDGER):
        (folder / input_).mkdir()
        with open(folder / input_ / "good.ndjson", "wb") as file:
            for case in CASES:
                if case.input == input_ and not case.breaks_off:
                    lines = bytes_of(case)[0].split(b"\n")
                    good = [line for line, word in zip(lines, case.lines, strict=False) if is_good(word)]
                    file.writelines(line.removesuffix(b"\r") + b"\n" for line in good)
    return Ran(site, _ingest(site, folder))


def _ingest(site: Site, folder: Path) -> Outcome:
    given = [f"--events={folder / TELEMETRY}", f"--consents={folder / LEDGER}", f"--deployment={site.file}", "--json"]
    return command(ingest, *given)


def _secrets(case: Case, data: bytes) -> set[bytes]:
    """What the lines of a case bring that nobody may find again: ids, what was planted, and malformed identifiers."""
    found = set(_SECRET.findall(data))
    for line, word in zip(data.split(b"\n"), case.lines, strict=False):
        outcome, _, path = word.partition(" ")
        if outcome == "malformed":
            value = json.loads(line)
            for name in path.split("."):
                value = value[name]
            found.add(value.encode())
    return {value for value in found if len(value) >= 6 and len(set(value)) > 3}  # zeros are found anywhere


def _expected(input_: str) -> Counter:
    return Counter(word for case in CASES if case.input == input_ and not case.breaks_off for word in case.lines)


def test_the_status_tells_of_ledger_lines_that_name_nobody(hostile):
    assert hostile.outcome.status == 3
    assert "Traceback" not in hostile.outcome.err
    lost = sum(case.lost for case in CASES) + _expected(LEDGER)["bad_subject"]
    (fault,) = json.loads(hostile.outcome.out)["faults"]
    assert fault.startswith(f"{lost} ledger lines name no subject")


@pytest.mark.clause("4.1-c")
@pytest.mark.parametrize("input_", [TELEMETRY, LEDGER])
def test_every_line_is_accounted_for(hostile, input_):
    expected, counts = _expected(input_), hostile.outcome.counts
    found = counts.by("outcome", step=input_)
    rejected = Counter({word: count for word, count in expected.items() if is_fault(word)})
    assert (found["lines"], found["blank"]) == (expected.total(), expected[BLANK])
    assert counts.by("reason", step=input_, outcome="quarantined") == rejected
    assert counts.by("reason", step="quarantine", dataset=input_) == rejected
    assert found.get(AHEAD, 0) == expected[AHEAD]
    assert found.get(UNLOCATABLE, 0) == expected[UNLOCATABLE]
    if input_ == TELEMETRY:
        assert found[CONFLICTING] == expected[CONFLICTING]
        assert counts.sum(step="gate", outcome="duplicates") == expected[REPEATED]


def test_good_rows_are_stored_as_if_the_bad_lines_were_not_there(hostile, clean):
    assert clean.outcome.status == 0, clean.outcome.err
    rows = hostile.rows()
    assert rows == clean.rows()
    assert len(rows["eu", "service"]) > 100 and len(rows["eu", "activation"]) > 10


def test_nothing_that_the_lines_brought_is_left_in_the_clear(hostile):
    texts = {value.decode() for value in hostile.secrets if value.isascii()}
    needles = Needles(hostile.secrets | set(as_bytes(texts)))
    assert len(hostile.secrets) > 800
    left = {str(path): path.read_bytes() for path in hostile.site.files()}
    left |= {str(name): content(table) for name, table in hostile.site.datasets().items()}
    left |= {"stdout": hostile.outcome.out.encode(), "stderr": hostile.outcome.err.encode()}
    hits = {where: needles.found(held) for where, held in left.items()}
    assert {where: found for where, found in hits.items() if found} == {}


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("input_", [TELEMETRY, LEDGER])
def test_what_breaks_off_is_seen_by_nobody(hostile, tmp_path, input_):
    """A ledger that breaks off opens nothing, and what stood in telemetry before the break waits for the rest."""
    site = Site.new(tmp_path / "site", keys_of=hostile.site)
    broken = [case for case in CASES if case.input == input_ and case.breaks_off]
    whole = [case for case in CASES if case.input != input_ and case.file in ("crlf.ndjson", "good.ndjson")]
    for case in broken + whole:
        case.write(tmp_path)
    outcome = _ingest(site, tmp_path)
    assert outcome.status == 4
    assert (f"{len(broken)} inputs broke off" if input_ == TELEMETRY else broken[0].file) in outcome.err
    assert not list(tmp_path.glob("site/stores/**/*.parquet"))
