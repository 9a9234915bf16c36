"""Which of many patterns may occur in which rows of a column, told by automata that stay warm from call to call.

Arrow compiles a pattern anew in each call, and its automaton grows anew with what it reads; for a whole table of
patterns that takes longer than the reading itself.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

_MEMORY = 128 << 20  # bytes an automaton: one that outgrows them is thrown away and grows again, which is slow
_TOGETHER = 20  # patterns in one automaton: with more of them its states multiply
_BLOCKS = 64, 8, 1  # rows that are read together, and where anything occurs in them, in smaller blocks
_BETWEEN = "\n\n"  # so that nothing reaches over the end of a text
_LONGEST = 0xFFFF

# Rows look alike that have the same of these signs in them.
_SIGNS = ("@%", "=", ":", "+?&", "-", "\"'\\[", "/", ",")
_BIT_OF = bytes(sum(1 << bit for bit, signs in enumerate(_SIGNS) if chr(byte) in signs) for byte in range(256))


class Sieve:
    """Patterns in the syntax of RE2, so that reading is linear. `^` and `$` in them are the ends of a line."""

    def __init__(self, patterns: Sequence[str]):
        lines = [f"(?m:{pattern})" for pattern in patterns]
        self._sets = [
            (start, _set(tuple(lines[start : start + _TOGETHER]))) for start in range(0, len(lines), _TOGETHER)
        ]
        self._size = len(lines)

    def exact_flags(self, rows: pa.StringArray) -> np.ndarray:
        """(patterns, rows) of bool: whether the pattern occurs in the row.

        No row is null or has a line break in it. Rows that look alike are put together, so that there are blocks in
        which few of the patterns occur.
        """
        return self._sorted_flags(rows, _BLOCKS)

    def flags(self, rows: pa.StringArray) -> np.ndarray:
        """`exact_flags`, and those of rows that were read together: true wherever a pattern occurs."""
        return self._sorted_flags(rows, _BLOCKS[:-1])

    def flags_of_alike(self, rows: pa.StringArray) -> np.ndarray:
        """`flags`, of rows that are much alike in the order in which they are."""
        return self._flags(rows, _BLOCKS[:-1])

    def _sorted_flags(self, rows: pa.StringArray, blocks: Sequence[int]) -> np.ndarray:
        flags = np.zeros((self._size, len(rows)), bool)
        if not len(rows):
            return flags
        order = np.argsort(_looks(rows), kind="stable")
        alike = self._flags(rows.take(pa.array(order)), blocks)
        for pattern in np.flatnonzero(alike.any(axis=1)):
            flags[pattern, order[alike[pattern]]] = True
        return flags

    def _flags(self, rows: pa.StringArray, blocks: Sequence[int]) -> np.ndarray:
        text, begin = joined(rows), starts(rows).tolist()
        whole, begin = memoryview(text), [*begin, len(text) + 1]
        flags = np.zeros((self._size, len(rows)), bool)
        for first, together in self._sets:
            spans = [(0, len(rows))]
            for size in blocks:
                spans = [
                    (at, min(at + size, end), hit)
                    for start, end, *_ in spans
                    for at in range(start, end, size)
                    if (hit := together.Match(whole[begin[at] : begin[min(at + size, end)] - 1]))
                ]
            for start, end, hit in spans:
                flags[[first + pattern for pattern in hit], start:end] = True
        return flags


@dataclass(frozen=True, repr=False)
class Lines:
    """Texts as lines: text i has those from `offsets[i]` to `offsets[i + 1]`, line j is `rows[row[j]]`, and `needs` are
    the flags of the rows, which are distinct."""

    offsets: np.ndarray
    row: np.ndarray
    rows: pa.StringArray
    needs: np.ndarray

    @classmethod
    def of(cls, texts: pa.StringArray, flags: Callable[[pa.StringArray], np.ndarray]) -> "Lines":
        split = pc.split_pattern(texts, "\n")
        distinct = split.values.dictionary_encode()
        return cls(
            split.offsets.to_numpy(),
            distinct.indices.to_numpy(),
            distinct.dictionary,
            flags(distinct.dictionary),
        )

    def doubtful(self) -> np.ndarray:
        """By text, whether any row of it has a flag."""
        return np.logical_or.reduceat(self.needs.any(axis=0)[self.row], self.offsets[:-1])

    def only(self, texts: np.ndarray) -> "Lines":
        """Of some of the texts."""
        sizes = np.diff(self.offsets)
        rows, row = np.unique(self.row[np.repeat(texts, sizes)], return_inverse=True)
        offsets = np.append(0, np.cumsum(sizes[texts]))
        return Lines(offsets, row, self.rows.take(pa.array(rows)), self.needs[:, rows])


class Across:
    """Patterns that reach over the end of a line, of which few texts have any."""

    def __init__(self, patterns: Sequence[str]):
        self._any = re2.compile("|".join(patterns), _options())

    def suspects(self, texts: pa.StringArray) -> np.ndarray:
        """Which of the texts, none of them null, any of the patterns occurs in, as a mask.

        One search reads on from text to text.
        """
        buffer, begin = joined(texts, _BETWEEN), starts(texts, len(_BETWEEN)).tolist()
        suspects = np.zeros(len(texts), bool)
        text = -1
        while text + 1 < len(texts) and (hit := self._any.search(buffer, begin[text + 1])):
            text = bisect_right(begin, hit.start()) - 1
            suspects[text] = True
        return suspects


def _options() -> re2.Options:
    options = re2.Options()
    options.max_mem, options.never_capture = _MEMORY, True
    return options


@cache  # tables that share patterns share their automata, which grow slowly
def _set(patterns: tuple[str, ...]) -> re2.Set:
    together = re2.Set.SearchSet(_options())
    for pattern in patterns:
        together.Add(pattern)
    together.Compile()
    return together


def joined(texts: pa.StringArray, between: str = "\n") -> pa.Buffer:
    """The texts, none of them null, one behind the other."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.binary_join(whole, between)[0].as_buffer()


def starts(texts: pa.StringArray, between: int = 1) -> np.ndarray:
    """Where each text begins in what is joined, with so many bytes between two texts."""
    sizes = pc.binary_length(texts).to_numpy() + between
    return np.cumsum(sizes) - sizes


def _looks(rows: pa.StringArray) -> np.ndarray:
    """A number by row: which signs it has, its first byte, and how long it is."""
    text, begin = joined(rows).to_pybytes() + b"\n", starts(rows)
    signs = np.bitwise_or.reduceat(np.frombuffer(text.translate(_BIT_OF), np.uint8), begin)
    first = np.frombuffer(text, np.uint8)[begin]
    length = np.minimum(pc.binary_length(rows).to_numpy(), _LONGEST)
    return signs.astype(np.uint32) << 24 | first.astype(np.uint32) << 16 | length.astype(np.uint32)
