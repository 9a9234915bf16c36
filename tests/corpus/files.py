"""The corpus: files of hostile input beside this one, and the table that says what becomes of each of their lines."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
import zstandard

from schemas.shape import MAX_LINE_BYTES
from tests.lines import entry, event, ndjson

FOLDER = Path(__file__).parent
TELEMETRY, LEDGER = "telemetry", "ledger"
BLANK, CONFLICTING, REPEATED, AHEAD, UNLOCATABLE = "blank", "conflicting", "repeated", "dated_ahead", "unlocatable"
_MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """A file and what becomes of its lines, each in a word (the head of table.yaml explains them)."""

    input: str
    file: str
    what: str
    runs: tuple[str, ...]  # as the table has them: `3 x good` are three lines
    generated: bool = False
    breaks_off: bool = False
    lost: int = 0

    @property
    def lines(self) -> list[str]:
        return [word for run in self.runs for word in _each(run)]

    @property
    def content(self) -> bytes:
        return _GENERATED[self.input, self.file]() if self.generated else (FOLDER / self.input / self.file).read_bytes()

    def write(self, folder: Path) -> Path:
        """The file in a folder of its input."""
        path = folder / self.input / self.file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.content)
        return path


def is_good(word: str) -> bool:
    """Whether a line comes out as a record or an entry, if perhaps without an identifier."""
    return word in ("good", CONFLICTING, REPEATED, UNLOCATABLE) or word.startswith(("malformed ", "absent "))


def is_fault(word: str) -> bool:
    """Whether a line is rejected."""
    return not is_good(word) and word not in (BLANK, AHEAD)


def cases() -> list[Case]:
    """The table."""
    table = yaml.safe_load((FOLDER / "table.yaml").read_text(encoding="utf-8"))
    return [Case(input_, runs=tuple(row.pop("lines")), **row) for input_, rows in table.items() for row in rows]


def _each(run: str) -> Iterator[str]:
    count, by, word = run.partition(" x ")
    return iter([word] * int(count) if by else [run])


def _long(line: bytes, size: int) -> bytes:
    """A line with an unknown field that makes it as long as is asked, its LF aside."""
    head, tail = line.rstrip(b"\n")[:-1] + b',"note":"', b'"}'
    return head + b"a" * (size - len(head) - len(tail)) + tail


def _longest_lines() -> bytes:
    good = [ndjson(event(number)) for number in range(9001, 9006)]
    lines = [good[0].rstrip(), _long(good[1], MAX_LINE_BYTES), _long(good[2], MAX_LINE_BYTES + 1)]
    return b"\n".join([*lines, _long(good[3], MAX_LINE_BYTES) + b"\r", good[4]])


def _with_long_line() -> bytes:
    return ndjson(event(9011)) + b"x" * (16 * _MIB) + b"\n" + ndjson(event(9012))


def _bomb(number: int) -> bytes:
    return ndjson(event(number)) + bytes(32 * _MIB) + b"\n" + ndjson(event(number + 1))


_GENERATED = {
    (TELEMETRY, "longest-lines.ndjson"): _longest_lines,
    (TELEMETRY, "sixteen-megabytes.ndjson"): lambda: _long(ndjson(event(9021)), 16 * _MIB),
    (TELEMETRY, "long-line.ndjson"): _with_long_line,
    (TELEMETRY, "bomb.ndjson.gz"): lambda: gzip.compress(_bomb(9031), 1),
    (TELEMETRY, "bomb.ndjson.zst"): lambda: zstandard.compress(_bomb(9041)),
    (LEDGER, "long-line.ndjson"): lambda: (
        b"".join(
            [
                ndjson(entry(number=1)),
                _long(ndjson(entry(number=2, subject={"type": "device", "value": "2b" * 8})), _MIB),
                b"\n",
            ]
        )
        + ndjson(entry(number=3))
    ),
}
