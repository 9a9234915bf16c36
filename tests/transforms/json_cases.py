"""Cases for readers of JSON, as data: `json_cases.tsv` beside this file.

Each has a text, whether every reader must take it (y), must refuse it (n) or may do either (i), and our verdict on it
as the value of an unknown field and as a whole line. In a text %XX is a byte, and <3*[> stands for [[[.
`python -m tests.transforms.json_cases` writes the verdicts anew; what it may not change, the tests know.
"""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote_to_bytes

from schemas.fields import EVENT_FIELDS
from transforms.lines import parse
from transforms.verdict import REASONS

TABLE = Path(__file__).with_suffix(".tsv")
_TIMES = re.compile(r"<(\d+)\*([^>]*)>")


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    must: str
    group: str
    as_value: str
    as_line: str
    text: str


def cases() -> list[Case]:
    """The table."""
    with open(TABLE, encoding="utf-8", newline="") as file:
        rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        next(rows)
        return [Case(*row) for row in rows]


def spelt(text: str) -> bytes:
    """The bytes that a text of the table stands for."""
    return unquote_to_bytes(_TIMES.sub(lambda found: found[2] * int(found[1]), text))


def verdict(block: bytes) -> str:
    """What becomes of the lines: `good`, `blank`, or why one is rejected; of several, joined by +."""
    parsed = parse(block, EVENT_FIELDS)
    words = ["blank"] * parsed.lines
    for line in parsed.line.tolist():
        words[line] = "good"
    for line, code in zip(parsed.faults.line.tolist(), parsed.faults.reason.tolist(), strict=True):
        words[line] = REASONS[code].value
    return "+".join(words)


def _written_anew() -> str:
    """The table with our verdicts as they are now: for who changes one on purpose."""
    head = TABLE.read_text(encoding="utf-8").splitlines()[0]
    rows = [
        (case.must, case.group, verdict(b'{"x":' + spelt(case.text) + b"}"), verdict(spelt(case.text)), case.text)
        for case in cases()
    ]
    return "\n".join([head, *("\t".join(row) for row in rows)]) + "\n"


if __name__ == "__main__":
    TABLE.write_text(_written_anew(), encoding="utf-8")
