r"""Rows scrubbed by a table of recognisers until nothing changes, each recogniser on the rows that need it.

While it works, a tag stands between marks (\x01EMAIL\x02 for <EMAIL>, of the same length): no text can bring one along,
no recogniser touches one again, and replacements are counted exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.recognisers import Recogniser
from transforms.pieces import EDGE
from transforms.sieve import Sieve
from transforms.validators import VALIDATORS
from transforms.warm import joined, kept, matched, replaced, rewritten, rows_of

_OPEN, _CLOSE, _FRESH = "\x01", "\x02", "\x03"  # around a tag; opens one that is new
_TOGETHER = 16  # recognisers whose hints are looked for together
_ROUNDS = 8
REMOVED = "REMOVED"
_NOTHING = pa.array([], pa.string()), np.zeros(0, np.int64)


@dataclass(frozen=True, repr=False)
class Found:
    """How often a recogniser replaced something in which rows."""

    name: str
    rows: np.ndarray
    counts: np.ndarray


class _Rows:
    """Rows that change a few at a time: the new ones stand behind the old, since Arrow does nothing else as cheaply."""

    def __init__(self, rows: pa.StringArray):
        self._values, self._places = rows, np.arange(len(rows))

    def __getitem__(self, rows: np.ndarray) -> pa.StringArray:
        return self._values.take(pa.array(self._places[rows]))

    def __setitem__(self, rows: np.ndarray, new: pa.StringArray) -> None:
        self._places[rows] = np.arange(len(self._values), len(self._values) + len(new))
        self._values = pa.concat_arrays([self._values, new])


class Settler:
    """Applies a table of recognisers to rows: texts without a line break and without marks, none of them null.

    `beside` are patterns that others look for in the same reading. A malformed pattern raises `re2.error`.
    """

    def __init__(self, recognisers: Sequence[Recogniser], beside: Sequence[str] = ()):
        self._groups = [recognisers[start : start + _TOGETHER] for start in range(0, len(recognisers), _TOGETHER)]
        tags = "|".join(sorted({REMOVED, *(recogniser.tag for recogniser in recognisers)}))
        self.tags = f"<({tags})>"
        hints = [[recogniser.hint for recogniser in group] for group in self._groups]
        self.sieve = Sieve([*hints, [self.tags, *beside]])
        for recogniser in recognisers:
            kept(recogniser.pattern)

    def settle(self, rows: pa.StringArray, needs: np.ndarray) -> tuple[pa.StringArray, list[Found]]:
        """The rows, scrubbed until nothing changes, and what was found; `needs` is what the sieve says of them.

        What one recogniser replaces can bring out what another one looks for. A row that goes on changing, which takes
        one made for it, is removed.
        """
        doubtful = np.flatnonzero(needs.any(axis=0))
        settled, found = self._settle(rows.take(pa.array(doubtful)), needs[:, doubtful])
        mask = np.zeros(len(rows), bool)
        mask[doubtful] = True
        return pc.replace_with_mask(rows, mask, settled), [replace(each, rows=doubtful[each.rows]) for each in found]

    def _settle(self, doubtful: pa.StringArray, needs: np.ndarray) -> tuple[pa.StringArray, list[Found]]:
        rows, found = _Rows(doubtful), []
        tagged = np.flatnonzero(needs[-1])
        rows[tagged] = replaced(rows[tagged], self.tags, rf"{_OPEN}\1{_CLOSE}")
        changed = np.ones(len(doubtful), bool)
        for _ in range(_ROUNDS):
            changed = self._sweep(rows, needs, changed, found)
            if not changed.any():
                break
        else:
            removed = np.flatnonzero(changed)
            rows[removed] = pa.array([f"{_OPEN}{REMOVED}{_CLOSE}"] * len(removed))
            found.append(Found("removed", removed, np.ones(len(removed), np.int64)))
        touched = np.unique(np.concatenate([tagged, *(each.rows for each in found)]))
        rows[touched] = _translated(rows[touched], _OPEN + _CLOSE, "<>")
        return rows[np.arange(len(doubtful))], found

    def _sweep(self, rows: _Rows, needs: np.ndarray, live: np.ndarray, found: list[Found]) -> np.ndarray:
        """The recognisers from top to bottom, on the `live` rows that need them; which rows have changed.

        What changed is sieved anew at once, so that all is as if each recogniser saw each row.
        """
        changed = np.zeros(len(live), bool)
        for group, need in zip(self._groups, needs, strict=False):
            where = np.flatnonzero(need & live)
            text = joined(rows[where])
            for recogniser in group if len(where) else ():
                new, counts = _replaced(recogniser, text)
                hit = np.flatnonzero(counts)
                if not len(hit):
                    continue
                at, new = where[hit], _translated(new.take(pa.array(hit)), _FRESH, _OPEN)
                rows[at], needs[:, at], changed[at] = new, self.sieve.flags(new), True
                found.append(Found(recogniser.name, at, counts[hit]))
                where = np.flatnonzero(need & live)
                text = joined(rows[where])
        return changed


def _replaced(recogniser: Recogniser, text: bytes) -> tuple[pa.StringArray, np.ndarray]:
    """The rows that are joined, with fresh tags in them, and how many in each; nothing where nothing is replaced."""
    tag = recogniser.tag
    judged = recogniser.accept or recogniser.refuse or recogniser.validator
    replacement = recogniser.replacement.replace(f"<{tag}>", f"{_FRESH}{tag}{_CLOSE}")
    new = rewritten(
        text, recogniser.pattern, replacement, partial(_accepts, recogniser) if judged else None, recogniser.inside
    )
    if new is text:
        return _NOTHING
    rows = rows_of(new)
    return rows, pc.count_substring(rows, _FRESH).to_numpy()


def _accepts(recogniser: Recogniser, candidates: pa.StringArray) -> np.ndarray:
    accepted = np.ones(len(candidates), bool)
    if recogniser.accept:
        accepted &= matched(candidates, recogniser.accept)
    if recogniser.refuse:
        accepted &= ~matched(candidates, recogniser.refuse)
    if recogniser.validator:
        accepted[accepted] = VALIDATORS[recogniser.validator](candidates.filter(pa.array(accepted)))
    return accepted


def unmarked(texts: pa.StringArray) -> pa.StringArray:
    """The texts, none of them null, with blanks for marks that they bring along."""
    return _translated(texts, _OPEN + _CLOSE + _FRESH + EDGE, " " * 4)


def _translated(texts: pa.StringArray, signs: str, others: str) -> pa.StringArray:
    """The texts with some signs of ASCII, each of them one byte, for others."""
    _, offsets, data = texts.buffers()
    data = data.to_pybytes() if data else b""
    if not any(sign in data for sign in signs.encode()):
        return texts
    translated = data.translate(bytes.maketrans(signs.encode(), others.encode()))
    return pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(translated), offset=texts.offset)
