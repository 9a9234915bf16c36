"""`douane scrub`: any text without what identifies somebody, by the recognisers that the job itself uses.

Each line is a text of its own, so that what follows a log (`adb logcat | douane scrub -`) is given line by line as it
comes, in bounded memory, and is the same however it comes. There are as many lines out as in. Times are cut to the
day, and numbers of processes are counted within their line.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.command import INTERRUPTED, OK, guarded, parser, say
from pipelines.errors import InputError
from schemas.recognisers import RECOGNISERS
from transforms.coarse import coarsen
from transforms.scrub import REMOVED, Found, Scrubber, counted

_READ = 1 << 20  # bytes read at once, if so many are there
_LONGEST = 1 << 20  # bytes of a line; what is longer is cut
_CLAUSE = "1.1.1"  # of what no recogniser names: a line that is removed, or cut
# By name of what was found: the tag in its place, and the clause that asks for it.
_TOLD = {r.name: (f"<{r.tag}>", r.clause) for r in RECOGNISERS} | {
    "removed": (f"<{REMOVED}>", _CLAUSE),
    "cut": ("", _CLAUSE),
}
_TAGS = "|".join(sorted({re.escape(tag) for tag, _ in _TOLD.values() if tag}))
_MARK, _PLAIN = "\x1b[1;31m", "\x1b[0m"


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, 4 if the input cannot be read, 130 if it was interrupted."""
    arguments = parser("scrub", "Replace what identifies somebody in a text by tags such as <EMAIL>, line by line.")
    arguments.add_argument("text", metavar="FILE|-", help="UTF-8 text; `-` is standard input")
    explain = "print, in place of the text, what was found in which line, and the clause that asks for its removal"
    arguments.add_argument("--explain", action="store_true", help=explain)
    arguments.add_argument("--counts", action="store_true", help="at the end, say on stderr what was found how often")
    arguments.epilog = "On a terminal tags stand out in colour, unless NO_COLOR is set. A line over 1 MiB is cut."
    options = arguments.parse_args(argv)
    return guarded("scrub", lambda: _scrub(options))


def _scrub(options) -> int:
    give = _Explained() if options.explain else _Scrubbed(sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    scrubber, counts, foreign = Scrubber(max_bytes=_LONGEST), Counter(), False
    status = OK
    try:
        for block in _blocks(options.text):
            text = block.decode(errors="replace")
            foreign = foreign or "\ufffd" in text and text.encode() != block
            lines = pc.split_pattern(pa.array([text]), "\n").values
            scrubbed, found = scrubber.find(lines)
            counts.update(counted(found))
            sys.stdout.buffer.write(give(coarsen(scrubbed), found).encode())
            sys.stdout.buffer.flush()
    except KeyboardInterrupt:  # how one stops following a log
        status = INTERRUPTED
    if foreign:
        say("what was no UTF-8 has been replaced by U+FFFD")
    if options.counts:
        say(", ".join(f"{name} {count:,}" for name, count in counts.most_common()) or "nothing was found")
    return status


class _Scrubbed:
    """The text itself."""

    def __init__(self, coloured: bool) -> None:
        self._coloured = coloured

    def __call__(self, lines: pa.StringArray, found: list[Found]) -> str:
        if self._coloured and found:
            rows = np.zeros(len(lines), bool)
            rows[np.concatenate([each.rows for each in found])] = True
            marked = pc.replace_substring_regex(lines.filter(pa.array(rows)), _TAGS, rf"{_MARK}\0{_PLAIN}")
            lines = pc.replace_with_mask(lines, rows, marked)
        return "\n".join(lines.to_pylist())


class _Explained:
    """What was found, a row for each line and recogniser, never a value. Lines are counted from 1."""

    def __init__(self) -> None:
        self._before, self._head = 0, "line\trecogniser\ttag\tcount\tclause\n"

    def __call__(self, lines: pa.StringArray, found: list[Found]) -> str:
        finds: Counter[tuple[int, str]] = Counter()
        for each in found:
            for row, count in zip(each.rows.tolist(), each.counts.tolist(), strict=True):
                finds[self._before + row + 1, each.name] += count
        head, self._head = self._head, ""
        self._before += len(lines) - 1  # a block ends in a line break, and so in an empty line, but for the last
        return head + "".join(_told(*find, count) for find, count in sorted(finds.items()))


def _told(line: int, name: str, count: int) -> str:
    tag, clause = _TOLD[name]
    return f"{line}\t{name}\t{tag}\t{count}\t{clause}\n"


def _blocks(path: str) -> Iterator[bytes]:
    """Whole lines with their line breaks, as soon as they are there. Of a line that is too long only the head comes."""
    try:
        with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
            rest = b""
            while chunk := file.read1(_READ):
                block, newline, rest = (rest + chunk).rpartition(b"\n")
                rest = rest[: _LONGEST + 1]
                if newline:
                    yield block + newline
            if rest:
                yield rest
    except OSError as error:
        what = "standard input" if path == "-" else path
        raise InputError(f"{what} cannot be read ({error.strerror})") from None


if __name__ == "__main__":
    sys.exit(main())
