"""`douane scrub`: any text without what identifies somebody, by the recognisers that the job itself uses.

A line is looked at alone and with its record: the lines behind it that are indented, that stand between `BEGIN` and
`END`, or in which its last value may go on. There are as many lines out as in, and memory is bounded. The last record
waits for the line that ends it, but not longer than the input pauses, so that what follows a log (`adb logcat | douane
scrub -`) is given as it comes. Times are cut to the day, and numbers of processes are counted within their line.
"""

import os
import re
import select
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from pipelines.command import INTERRUPTED, OK, guarded, parser, say
from pipelines.errors import InputError
from schemas.recognisers import RECOGNISERS
from transforms import wrapped
from transforms.coarse import coarsen
from transforms.scrub import REMOVED, Found, Scrubber, counted

_READ = 1 << 20  # bytes read at once, if so many are there
_LONGEST = 1 << 20  # bytes of a line; what is longer is cut
_RECORD = 1 << 16  # bytes; a longer one ends there, so that one that is never closed holds nothing up
_PAUSE = 0.2  # seconds
_NEAR = 80  # bytes on both sides of the end of a line that tell whether a value may go over it
_GOES_OVER = re2.compile("|".join(wrapped.HINTS))
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
        for block, starts in _records(_blocks(options.text)):
            text = block.decode(errors="replace")
            foreign = foreign or "\ufffd" in text and text.encode() != block
            lines = pc.split_pattern(pa.array([text]), "\n").values
            scrubbed, found = _find(scrubber, lines, starts)
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


def _find(scrubber: Scrubber, lines: pa.StringArray, starts: np.ndarray) -> tuple[pa.StringArray, list[Found]]:
    """The scrubbed lines, and what was found in which of them; records begin at the lines `starts`.

    Where more is found in a record than in its lines apart, that counts, as found in its first line.
    """
    size = np.diff(starts, append=len(lines))
    first, size = starts[size > 1], size[size > 1]
    record = np.full(len(lines), -1)  # of each line that is not a record of its own
    inside = np.repeat(first - np.cumsum(size) + size, size) + np.arange(size.sum())
    record[inside] = np.repeat(np.arange(len(first)), size)
    offsets = pa.array(np.append(0, np.cumsum(size)), pa.int32())
    records = pc.binary_join(pa.ListArray.from_arrays(offsets, lines.take(pa.array(inside))), "\n")
    scrubbed, found = scrubber.find(pa.concat_arrays([lines, records]))

    apart, together = scrubbed.slice(0, len(lines)), scrubbed.slice(len(lines))
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, apart.take(pa.array(inside))), "\n")
    whole = pc.equal(pc.count_substring(together, "\n"), pa.array(size - 1, pa.int32()))  # not cut
    better = np.append(np.asarray(pc.and_(pc.not_equal(joined, together), whole)), False)
    replaced = better[record]
    new = pc.split_pattern(together.filter(pa.array(better[:-1])), "\n").values
    told = np.append(np.where(replaced, -1, np.arange(len(lines))), np.where(better[:-1], first, -1))
    found = [(each, told[each.rows] >= 0) for each in found]
    found = [replace(each, rows=told[each.rows[mine]], counts=each.counts[mine]) for each, mine in found if mine.any()]
    return pc.replace_with_mask(apart, replaced, new), found


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


def _records(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, np.ndarray]]:
    """Whole records, and the numbers of the lines at which they begin; an empty block ends the one that is open."""
    held = b""
    for block in blocks:
        held += block
        lines = held.split(b"\n")
        starts = _starts(lines)
        if block and not lines[-1]:
            last = starts[-2]  # the line behind the last line break is none
            head = sum(map(len, lines[:last])) + last
            if head:
                yield held[:head], starts[:-1]
            held = held[head:]
        elif held:
            yield held, starts
            held = b""
    if held:
        yield held, _starts(held.split(b"\n"))


def _starts(lines: list[bytes]) -> np.ndarray:
    """The numbers of the lines that belong to none before them; the first is one, and the last if it is empty."""
    starts, inside, size = [0], False, 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        belongs = inside or line[:1] in (b" ", b"\t") or (number and _goes_over(lines[number - 1], line))
        if number and not (belongs and size <= _RECORD):
            starts.append(number)
            inside, size = False, len(line) + 1
        inside = (inside or b"-----BEGIN " in line) and b"-----END " not in line
    if len(lines) > 1 and not lines[-1] and starts[-1] < len(lines) - 1:
        starts.append(len(lines) - 1)
    return np.array(starts)


def _goes_over(line: bytes, following: bytes) -> bool:
    return _GOES_OVER.search(line[-_NEAR:] + b"\n" + following[:_NEAR]) is not None


def _blocks(path: str) -> Iterator[bytes]:
    """Whole lines with their line breaks, as soon as they are there, and an empty block where the input pauses.

    Of a line that is too long only the head comes.
    """
    try:
        with open(0 if path == "-" else path, "rb", buffering=0, closefd=path != "-") as file:
            rest = b""
            while chunk := file.read(_READ):
                block, newline, rest = (rest + chunk).rpartition(b"\n")
                rest = rest[: _LONGEST + 1]
                if newline:
                    yield block + newline
                    if not select.select([file], [], [], _PAUSE)[0]:
                        yield b""
            if rest:
                yield rest
    except OSError as error:
        what = "standard input" if path == "-" else path
        raise InputError(f"{what} cannot be read ({error.strerror})") from None


if __name__ == "__main__":
    sys.exit(main())
