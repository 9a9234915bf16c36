"""Where the lines of a block stand."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from schemas.shape import MAX_LINE_BYTES

SPACE = b" \t\r"
MOST_LINES = 1 << 17  # at once; no block of records that are worth something has so many

_SEARCHED_BYTES = 1 << 20


def few_lines(block: bytes) -> Iterator[bytes]:
    """A block in parts of at most MOST_LINES: a line takes a thousand bytes of memory, however few it has itself."""
    if line_count(block) <= MOST_LINES:
        yield block
        return
    ends = line_ends(block)[MOST_LINES - 1 :: MOST_LINES] + 1
    for start, end in pairwise([0, *ends.tolist(), len(block)]):
        if start < end:
            yield block[start:end]


def line_count(block: bytes) -> int:
    """How many lines a block of whole lines has; its last may lack its LF."""
    return sum(int(np.count_nonzero(found)) for _, found in _line_feeds(block)) + (block[-1:] not in (b"", b"\n"))


def line_ends(block: bytes) -> np.ndarray:
    """Where each line ends (int64): at its LF, or at the end of a block whose last line has none."""
    parts = [start + np.flatnonzero(found) for start, found in _line_feeds(block)]
    last = np.array([] if block.endswith(b"\n") or not block else [len(block)], np.int64)
    return np.concatenate([*parts, last])


def _line_feeds(block: bytes) -> Iterator[tuple[int, np.ndarray]]:
    """Which bytes are LF. Part by part, or what is compared would fill as much new memory as the block."""
    content = np.frombuffer(block, np.uint8)
    for start in range(0, len(block), _SEARCHED_BYTES):
        yield start, content[start : start + _SEARCHED_BYTES] == ord("\n")


def line_at(block: bytes, ends: np.ndarray, numbers: np.ndarray) -> list[bytes]:
    """The bytes of few lines, by their numbers; `ends` are the block's `line_ends`."""
    starts = np.where(numbers > 0, ends[numbers - 1] + 1, 0)
    return [block[start:end] for start, end in zip(starts.tolist(), ends[numbers].tolist(), strict=True)]


@dataclass(frozen=True, repr=False)
class Layout:
    """Where the lines that are not blank stand in a block; `end` is past the last byte before CR and LF. `ends` are the
    `line_ends` of all lines."""

    start: np.ndarray
    end: np.ndarray
    number: np.ndarray
    plain: np.ndarray  # starts with { and ends with }, and is not too long
    too_long: np.ndarray
    ends: np.ndarray

    def of(self, which: np.ndarray) -> "Layout":
        """Some of these lines."""
        each = (self.start, self.end, self.number, self.plain, self.too_long)
        return Layout(*(values[which] for values in each), self.ends)

    def pieces(self, begin: int, end: int, lines: int, size: int) -> Iterator[tuple[int, int]]:
        """[begin, end) in ranges of at most so many lines, and of about so many bytes."""
        while begin < end:
            full = int(np.searchsorted(self.end, self.start[begin] + size, "right"))
            stop = min(end, begin + lines, max(full, begin + 1))
            yield begin, stop
            begin = stop


def layout_of(block: bytes) -> Layout:
    content = np.frombuffer(block, np.uint8)
    ends = line_ends(block)
    start = np.append(0, ends[:-1] + 1)[: len(ends)]
    number = np.flatnonzero(ends > start)
    start, end = start[number], ends[number]
    too_long = end - start > MAX_LINE_BYTES
    end = end - (content[end - 1] == ord("\r"))
    # If every line is plain no value spans two: JSON has no LF in a string, and none that could stand between } and {.
    plain = (content[start] == ord("{")) & (content[end - 1] == ord("}")) & ~too_long
    blank = [i for i in np.flatnonzero(~plain & ~too_long) if not block[start[i] : end[i]].strip(SPACE)]
    layout = Layout(start, end, number, plain, too_long, ends)
    return layout.of(np.delete(np.arange(len(number)), blank)) if blank else layout


class Lines:
    """The lines of a block that are not blank, as they are to be read: as they stand, or mended. By their places in the
    block's layout."""

    def __init__(self, block: bytes, layout: Layout) -> None:
        self._block, self._start, self._end = block, layout.start, layout.end
        self._stands = np.ones(len(layout.start), bool)
        self._mended: dict[int, bytes] = {}

    def mend(self, i: int, line: bytes) -> None:
        """From here on it reads like this."""
        self._mended[i], self._stands[i] = line, False

    def line(self, i: int) -> bytes:
        """One line."""
        return self._block[self._start[i] : self._end[i]] if self._stands[i] else self._mended[i]

    def of(self, at: np.ndarray) -> list[bytes]:
        """Several lines."""
        places = zip(self._start[at].tolist(), self._end[at].tolist(), strict=True)
        lines = [self._block[start:end] for start, end in places]
        for place in np.flatnonzero(~self._stands[at]).tolist():
            lines[place] = self._mended[int(at[place])]
        return lines

    def text(self, at: np.ndarray) -> bytes:
        """Several lines, in ascending order, one after the other, and maybe blank ones between them. Neighbours in the
        block are copied at once."""
        if not len(at):
            return b""
        apart = (np.diff(at) > 1) | ~self._stands[at[1:]] | ~self._stands[at[:-1]]
        first, last = at[np.append(True, apart)], at[np.append(apart, True)]
        block, places = memoryview(self._block), zip(first.tolist(), self._start[first], self._end[last], strict=True)
        runs = [block[start:end] if self._stands[i] else self._mended[i] for i, start, end in places]
        return b"\n".join(runs) + b"\n"
