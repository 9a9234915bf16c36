"""Which of many patterns may occur in which rows of a column, told by automata that stay warm from call to call.

Arrow compiles a pattern anew in each call, and its automaton grows anew with what it reads; for a whole table of
patterns that takes longer than the reading itself.
"""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

_MEMORY = 128 << 20  # bytes an automaton: one that outgrows them is thrown away and grows again, which is slow
_TOGETHER = 20  # patterns in one automaton: with more of them its states multiply
_BLOCK, _PART = 32, 4  # rows that are read together, and again where anything occurs in them
_RARE = 3  # of so many texts one
_BETWEEN = "\n\n"  # so that nothing reaches over the end of a text

# Rows look alike that have the same of these signs in them.
_SIGNS = ("@%", "=", ":", "+?&", "-", "\"'\\[", "/", ",")
_BIT_OF = bytes(sum(1 << bit for bit, signs in enumerate(_SIGNS) if chr(byte) in signs) for byte in range(256))


class Sieve:
    """Patterns in the syntax of RE2, so that reading is linear. `^` and `$` in them are the ends of a line.

    `across` are patterns that reach over the end of a line; only `suspects` looks for them.
    """

    def __init__(self, patterns: Sequence[str], across: Sequence[str] = ()):
        options = re2.Options()
        options.max_mem, options.never_capture = _MEMORY, True
        lines = [f"(?m:{pattern})" for pattern in patterns]
        self._any = re2.compile("|".join(dict.fromkeys([*lines, *across])), options)
        self._sets = [
            (start, _set(lines[start : start + _TOGETHER], options)) for start in range(0, len(lines), _TOGETHER)
        ]
        self._size = len(lines)

    def suspects(self, texts: pa.StringArray) -> np.ndarray:
        """Which of the texts, none of them null, any of the patterns may occur in, as a mask.

        One search reads on from text to text; where most texts are suspects, it stops and takes the rest for such.
        """
        buffer, begin = joined(texts, _BETWEEN), starts(texts, len(_BETWEEN)).tolist()
        suspects = np.zeros(len(texts), bool)
        text = -1
        for _ in range(len(texts) // _RARE + 1):
            hit = self._any.search(buffer, begin[text + 1]) if text + 1 < len(texts) else None
            if hit is None:
                return suspects
            text = bisect_right(begin, hit.start()) - 1
            suspects[text] = True
        suspects[text:] = True
        return suspects

    def flags(self, rows: pa.StringArray) -> np.ndarray:
        """(patterns, rows) of bool: false where the pattern does not occur in the row.

        No row is null or has a line break in it. Rows that look alike are put together, and read in blocks in which
        few of the patterns occur; all rows of a block are flagged for what occurs in one of them.
        """
        flags = np.zeros((self._size, len(rows)), bool)
        if not len(rows):
            return flags
        order = np.argsort(_looks(rows), kind="stable")
        alike = self.flags_of_alike(rows.take(pa.array(order)))
        for pattern in np.flatnonzero(alike.any(axis=1)):
            flags[pattern, order[alike[pattern]]] = True
        return flags

    def flags_of_alike(self, rows: pa.StringArray) -> np.ndarray:
        """The `flags` of rows that are much alike, in the order in which they are."""
        text, begin = joined(rows), starts(rows).tolist()
        whole, begin = memoryview(text), [*begin, len(text)]
        flags = np.zeros((self._size, len(rows)), bool)
        for first, patterns in self._sets:
            for block in range(0, len(rows), _BLOCK):
                end = min(block + _BLOCK, len(rows))
                if not patterns.Match(whole[begin[block] : begin[end]]):
                    continue
                for part in range(block, end, _PART):
                    stop = min(part + _PART, end)
                    hit = patterns.Match(whole[begin[part] : begin[stop]]) or ()
                    flags[[first + pattern for pattern in hit], part:stop] = True
        return flags


def _set(patterns: Sequence[str], options: re2.Options) -> re2.Set:
    together = re2.Set.SearchSet(options)
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
    """A number by row: which signs it has, and its first byte."""
    text, begin = joined(rows).to_pybytes() + b"\n", starts(rows)
    signs = np.bitwise_or.reduceat(np.frombuffer(text.translate(_BIT_OF), np.uint8), begin)
    return signs.astype(np.uint16) << 8 | np.frombuffer(text, np.uint8)[begin]
