r"""Rows scrubbed by a table of recognisers until nothing changes, each recogniser on the rows that need it.

While it works, a tag stands between marks (\x01EMAIL\x02 for <EMAIL>, of the same length): no text can bring one along,
no recogniser touches one again, and replacements are counted exactly.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from schemas.recognisers import Recogniser
from transforms import warm
from transforms.pieces import in_pieces, put_together
from transforms.sieve import Sieve
from transforms.validators import VALIDATORS

_OPEN, _CLOSE, _FRESH = "\x01", "\x02", "\x03"  # around a tag; opens one that is new
_ROUNDS = 8
REMOVED = "REMOVED"


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
        self._recognisers = recognisers
        tags = "|".join(sorted({REMOVED, *(recogniser.tag for recogniser in recognisers)}))
        self.tags = f"<({tags})>"
        self.sieve = Sieve([*(recogniser.hint for recogniser in recognisers), self.tags, *beside])
        for recogniser in recognisers:
            re2.compile(recogniser.pattern)

    def settle(self, rows: pa.StringArray, needs: np.ndarray) -> tuple[pa.StringArray, list[Found]]:
        """The rows, scrubbed until nothing changes, and what was found; `needs` is what the sieve says of them.

        What one recogniser replaces can bring out what another one looks for. A row that goes on changing, which takes
        one made for it, is removed.
        """
        needs = needs[: len(self._recognisers) + 1]
        doubtful = np.flatnonzero(needs.any(axis=0))
        settled, found = self._settle(rows.take(pa.array(doubtful)), needs[:, doubtful])
        mask = np.zeros(len(rows), bool)
        mask[doubtful] = True
        return pc.replace_with_mask(rows, mask, settled), [replace(each, rows=doubtful[each.rows]) for each in found]

    def _settle(self, doubtful: pa.StringArray, needs: np.ndarray) -> tuple[pa.StringArray, list[Found]]:
        rows, found = _Rows(doubtful), []
        tagged = np.flatnonzero(needs[-1])
        rows[tagged] = pc.replace_substring_regex(rows[tagged], self.tags, rf"{_OPEN}\1{_CLOSE}")
        for _ in range(_ROUNDS):
            changed = self._sweep(rows, needs, found)
            if not len(changed):
                break
        else:
            rows[changed] = pa.array([f"{_OPEN}{REMOVED}{_CLOSE}"] * len(changed))
            found.append(Found("removed", changed, np.ones(len(changed), np.int64)))
        touched = np.unique(np.concatenate([tagged, *(each.rows for each in found)]))
        rows[touched] = _translated(rows[touched], _OPEN + _CLOSE, "<>")
        return rows[np.arange(len(doubtful))], found

    def _sweep(self, rows: _Rows, needs: np.ndarray, found: list[Found]) -> np.ndarray:
        """The recognisers from top to bottom, each on the rows that need it; which rows have changed.

        What changed is sieved anew at once, so that all is as if each recogniser saw each row.
        """
        changed = np.zeros(needs.shape[1], bool)
        for number, recogniser in enumerate(self._recognisers):
            where = np.flatnonzero(needs[number])
            if not len(where):
                continue
            replaced, counts = _replace(recogniser, rows[where])
            needs[number] = False
            hit = np.flatnonzero(counts)
            if len(hit):
                where, replaced = where[hit], _translated(replaced.take(pa.array(hit)), _FRESH, _OPEN)
                rows[where], needs[:, where] = replaced, self.sieve.flags_of_alike(replaced)[: len(needs)]
                changed[where] = True
                found.append(Found(recogniser.name, where, counts[hit]))
        return np.flatnonzero(changed)


def _replace(recogniser: Recogniser, texts: pa.StringArray) -> tuple[pa.StringArray, np.ndarray]:
    """The texts with fresh tags in them, and how many in each."""
    tag = recogniser.tag
    replacement = recogniser.replacement.replace(f"<{tag}>", f"{_FRESH}{tag}{_CLOSE}")
    if recogniser.accept or recogniser.refuse or recogniser.validator:
        replaced = _replace_accepted(recogniser, replacement, texts)
    else:
        replaced = warm.replaced(texts, recogniser.pattern, replacement)
    return replaced, pc.count_substring(replaced, _FRESH).to_numpy()


def _replace_accepted(recogniser: Recogniser, replacement: str, texts: pa.StringArray) -> pa.StringArray:
    """Each candidate stands there replaced and as it is, and one of the two goes."""
    if not warm.occurs(texts, recogniser.pattern):
        return texts
    pieces, form = in_pieces(texts, recogniser.pattern, replacement, r"\0")
    candidates = np.flatnonzero(form == 2)
    accepted = _accepts(recogniser, pieces.values.take(pa.array(candidates)))
    goes = np.zeros(len(form), bool)
    goes[candidates - ~accepted] = True
    return put_together(pieces, pc.if_else(goes, "", pieces.values))


def _accepts(recogniser: Recogniser, candidates: pa.StringArray) -> np.ndarray:
    accepted = np.ones(len(candidates), bool)
    if recogniser.accept:
        accepted[:] = warm.matched(candidates, recogniser.accept)
    if recogniser.refuse:
        accepted &= ~warm.matched(candidates, recogniser.refuse)
    if recogniser.validator:
        accepted[accepted] = VALIDATORS[recogniser.validator](candidates.filter(pa.array(accepted)))
    return accepted


def _translated(texts: pa.StringArray, signs: str, others: str) -> pa.StringArray:
    """The texts with some signs of ASCII, each of them one byte, for others."""
    _, offsets, data = texts.buffers()
    if not data:
        return texts
    translated = data.to_pybytes().translate(bytes.maketrans(signs.encode(), others.encode()))
    return pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(translated), offset=texts.offset)
