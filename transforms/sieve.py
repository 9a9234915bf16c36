"""Which of many patterns may occur in which rows of a column, told by automata that stay warm from call to call.

Arrow compiles a pattern anew in each call, and its automaton grows anew with what it reads; for a whole table of
patterns that takes longer than the reading itself.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

_MEMORY = 64 << 20  # bytes an automaton: one that outgrows them is thrown away and grows again, which is slow
_BLOCK = 64  # rows that are read together

# Rows look alike that have the same of these signs in them; "\x80" is any byte beyond ASCII.
_SIGNS = (
    ("@%", "=", ":", "+", "?&", "\"'", "\\", "#<"),
    ("-", ".", "/", "([{", ",;", "_", "0123456789", "\x80"),
)


def _bits(signs: tuple[str, ...]) -> bytes:
    """The bit of its sign for each byte."""
    bits = np.zeros(256, np.uint8)
    for place, sign in enumerate(signs):
        bits[list(sign.encode("latin-1"))] = 1 << place
    bits[0x80:] = bits[0x80]
    return bits.tobytes()


_TABLES = [_bits(signs) for signs in _SIGNS]


class Sieve:
    """Patterns in the syntax of RE2, so that reading is linear. `^` and `$` in them are the ends of a row."""

    def __init__(self, patterns: Sequence[str]):
        options = re2.Options()
        options.max_mem = _MEMORY
        lines = [f"(?m:{pattern})" for pattern in patterns]
        self._any = re2.compile("|".join(dict.fromkeys(lines)), options)
        self._each = re2.Set.SearchSet(options)
        for line in lines:
            self._each.Add(line)
        self._each.Compile()
        self._size = len(lines)

    def occurs(self, texts: pa.StringArray) -> bool:
        """Whether any of the patterns may occur in any of the texts; the search ends at the first that does."""
        return self._any.search(_joined(texts.drop_null())) is not None

    def flags(self, rows: pa.StringArray) -> np.ndarray:
        """(patterns, rows) of bool: false where the pattern does not occur in the row.

        No row is null or has a line break in it. Rows that look alike are read together, in blocks in which few of the
        patterns occur; all rows of a block are flagged for what occurs in one of them.
        """
        flags = np.zeros((self._size, len(rows)), bool)
        if not len(rows):
            return flags
        order = np.argsort(_looks(rows), kind="stable")
        alike = rows.take(pa.array(order))
        joined = memoryview(_joined(alike))
        edges = [*_starts(alike)[::_BLOCK].tolist(), len(joined)]
        for block, (start, end) in enumerate(zip(edges, edges[1:], strict=False)):
            hit = self._each.Match(joined[start:end])
            if hit:
                flags[np.ix_(hit, order[block * _BLOCK : (block + 1) * _BLOCK])] = True
        return flags


def _joined(texts: pa.StringArray) -> pa.Buffer:
    """The texts, none of them null, with a line break behind each but the last."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(texts)], pa.int32()), texts)
    return pc.binary_join(whole, "\n")[0].as_buffer()


def _starts(texts: pa.StringArray) -> np.ndarray:
    """Where each text begins in what is joined."""
    sizes = pc.binary_length(texts).to_numpy() + 1
    return np.cumsum(sizes) - sizes


def _looks(rows: pa.StringArray) -> np.ndarray:
    joined, starts = _joined(rows).to_pybytes() + b"\n", _starts(rows)
    first, second = (np.bitwise_or.reduceat(np.frombuffer(joined.translate(t), np.uint8), starts) for t in _TABLES)
    return first.astype(np.uint16) << 8 | second
