"""Which of many patterns may occur in which rows of a column, and texts as lines.

Patterns are looked for in groups: all of them in one automaton have so many states that the processor reads them from
its memory, and each by itself costs a reading.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.warm import found_in, joined, kept, starts

_BETWEEN = "\n\n"  # so that nothing reaches over the end of a text


class Sieve:
    """Groups of patterns, in which `^` and `$` are the ends of a row. Raises `re2.error` for a malformed one."""

    def __init__(self, groups: Sequence[Sequence[str]]):
        self._patterns = ["|".join(f"(?:{pattern})" for pattern in group) for group in groups]
        for pattern in self._patterns:
            kept(pattern)

    def flags(self, rows: pa.StringArray) -> np.ndarray:
        """(groups, rows) of bool: whether any pattern of the group occurs in the row, none of them null."""
        text, begin = joined(rows), starts(rows)
        return np.array([found_in(text, begin, pattern) for pattern in self._patterns])


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
        self._any = kept("|".join(patterns))

    def suspects(self, texts: pa.StringArray) -> np.ndarray:
        """Which of the texts, none of them null, any of the patterns occurs in, as a mask.

        One search reads on from text to text.
        """
        buffer, begin = joined(texts, _BETWEEN), starts(texts, len(_BETWEEN)).tolist()
        suspects = np.zeros(len(texts), bool)
        text = -1
        while text + 1 < len(texts) and (start := self._any(buffer, begin[text + 1], len(buffer))[0][0]) >= 0:
            text = bisect_right(begin, start) - 1
            suspects[text] = True
        return suspects
