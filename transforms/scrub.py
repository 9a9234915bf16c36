r"""Free text without what identifies somebody: `Scrubber` applies the table of `schemas.recognisers` to a column.

Texts are taken apart into lines, and each distinct line is looked at once: traces of one application repeat them. A
sieve tells which recognisers a line needs; all of it runs in Arrow and numpy, never row by row. While it works, a tag
stands between marks (\x01EMAIL\x02 for <EMAIL>, of the same length): no text can bring one along, no recogniser touches
one again, and replacements are counted exactly.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from schemas.recognisers import MARKS, RECOGNISERS, Recogniser
from transforms.sieve import Sieve

_OPEN, _CLOSE, _FRESH, _EDGE = "\x01", "\x02", "\x03", "\x04"  # around a tag; opens a new tag; around a candidate
_ROUNDS = 8
REMOVED = "REMOVED"
_LONGEST_NUMBER = 19
# What a cut may have split: the last token, with the groups of digits that stand before it.
_LAST_TOKEN = r"[0-9 ().+:-]*\S*\z"


def luhn(numbers: pa.StringArray) -> np.ndarray:
    """Which of the texts, of 19 digits at most, end in their check digit (ISO/IEC 7812-1, annex B); others aside."""
    digits = pc.replace_substring_regex(numbers, r"[^0-9]", "")
    padded = pc.utf8_lpad(digits, _LONGEST_NUMBER, "0").cast(pa.binary(_LONGEST_NUMBER))
    values = np.frombuffer(padded.buffers()[1], np.uint8).reshape(-1, _LONGEST_NUMBER) - ord("0")
    doubled = values[:, -2::-2] * 2
    total = values[:, ::-2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
    return total % 10 == 0


VALIDATORS: dict[str, Callable[[pa.StringArray], np.ndarray]] = {"luhn": luhn}


class _Rows:
    """Rows that change a few at a time: the new ones stand behind the old, since Arrow does nothing else as cheaply."""

    def __init__(self, rows: pa.StringArray):
        self._values, self._places = rows, np.arange(len(rows))

    def __getitem__(self, rows: np.ndarray) -> pa.StringArray:
        return self._values.take(pa.array(self._places[rows]))

    def __setitem__(self, rows: np.ndarray, new: pa.StringArray) -> None:
        self._places[rows] = np.arange(len(self._values), len(self._values) + len(new))
        self._values = pa.concat_arrays([self._values, new])


@dataclass(frozen=True)
class _Found:
    """How often a recogniser replaced something in which rows."""

    name: str
    rows: np.ndarray
    counts: np.ndarray


class Scrubber:
    """Replaces what a table of recognisers finds in a column of texts by typed tags such as `<EMAIL>`.

    It guarantees that each text is treated alone (its neighbours change nothing), that the time is linear in the
    text, that no valid UTF-8 raises, and that scrubbing a second time changes nothing. A value that runs over the end
    of a line is found up to there. It does not find what has neither shape nor key, such as a bare name
    (1.1.1, 1.1.2-log).

    Arrow compiles the patterns that hit anew in each call, some milliseconds in all: pass large columns. A malformed
    pattern raises `re2.error` here.
    """

    def __init__(self, recognisers: tuple[Recogniser, ...] = RECOGNISERS, max_bytes: int = 8192):
        self._recognisers, self._max_bytes = recognisers, max_bytes
        tags = "|".join(sorted({REMOVED, *(recogniser.tag for recogniser in recognisers)}))
        self._tags = f"<({tags})>"
        self._sieve = Sieve([*(recogniser.hint for recogniser in recognisers), self._tags, f"[{MARKS}]"])
        for recogniser in recognisers:
            re2.compile(recogniser.pattern)

    def __reduce__(self):
        return Scrubber, (self._recognisers, self._max_bytes)

    def scrub(self, texts: pa.StringArray) -> tuple[pa.StringArray, dict[str, int]]:
        """The scrubbed texts, null where null, and the number of replacements by name of recogniser.

        A text longer than `max_bytes`, as it comes or once it is scrubbed, is cut before a token; that counts as
        `cut`. A line that keeps changing, which takes a text made for it, becomes `<REMOVED>` and counts as `removed`.
        """
        hits: Counter[str] = Counter()
        present = texts.drop_null()
        scrubbed = self._scrub_texts(present, hits)
        return pc.replace_with_mask(texts, texts.is_valid(), scrubbed), dict(hits)

    def _scrub_texts(self, texts: pa.StringArray, hits: Counter) -> pa.StringArray:
        too_long = self._too_long(texts)
        if too_long is not None:
            texts = pc.replace_with_mask(texts, too_long, self._cut(texts.filter(too_long)))
            hits["cut"] += pc.sum(too_long).as_py()
        if not self._sieve.occurs(texts):
            return texts
        scrubbed = self._scrub_lines(texts, hits)
        # A tag can be longer than what it replaces.
        return scrubbed if self._too_long(scrubbed) is None else self._scrub_texts(scrubbed, hits)

    def _too_long(self, texts: pa.StringArray) -> pa.BooleanArray | None:
        too_long = pc.greater(pc.binary_length(texts), self._max_bytes)
        return too_long if pc.any(too_long).as_py() else None

    def _cut(self, texts: pa.StringArray) -> pa.StringArray:
        # As bytes, since a character may be split too; what is dropped reaches back to a blank, so the rest is UTF-8.
        head = pc.binary_slice(texts.view(pa.binary()), 0, self._max_bytes)
        return pc.replace_substring_regex(head, _LAST_TOKEN, "").view(pa.string())

    def _scrub_lines(self, texts: pa.StringArray, hits: Counter) -> pa.StringArray:
        lines = pc.split_pattern(texts, "\n")
        distinct = lines.values.dictionary_encode()
        rows, found = self._settle(distinct.dictionary)
        times = np.bincount(distinct.indices, minlength=len(rows))
        for each in found:
            hits[each.name] += int(times[each.rows] @ each.counts)
        return pc.binary_join(_with_values(lines, rows.take(distinct.indices)), "\n")

    def _settle(self, distinct: pa.StringArray) -> tuple[pa.StringArray, list[_Found]]:
        """Scrubs until nothing changes: what one recogniser replaces can bring out what another one looks for."""
        rows, found = _Rows(distinct), []
        needs = self._sieve.flags(distinct)
        marked = np.flatnonzero(needs[-1])
        if len(marked):
            rows[marked] = pc.replace_substring_regex(rows[marked], f"[{MARKS}]", " ")
            needs[:, marked] = self._sieve.flags(rows[marked])
        tagged = np.flatnonzero(needs[-2])
        if len(tagged):
            rows[tagged] = pc.replace_substring_regex(rows[tagged], self._tags, rf"{_OPEN}\1{_CLOSE}")
        for _ in range(_ROUNDS):
            changed = self._sweep(rows, needs, found)
            if not len(changed):
                break
        else:
            rows[changed] = pa.array([f"{_OPEN}{REMOVED}{_CLOSE}"] * len(changed))
            found.append(_Found("removed", changed, np.ones(len(changed), np.int64)))
        touched = np.unique(np.concatenate([tagged, *(each.rows for each in found)]))
        rows[touched] = _unmark(rows[touched])
        return rows[np.arange(len(distinct))], found

    def _sweep(self, rows: _Rows, needs: np.ndarray, found: list[_Found]) -> np.ndarray:
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
                where, replaced = where[hit], replaced.take(pa.array(hit))
                rows[where], needs[:, where] = replaced, self._sieve.flags(replaced)
                changed[where] = True
                found.append(_Found(recogniser.name, where, counts[hit]))
        return np.flatnonzero(changed)


def _replace(recogniser: Recogniser, texts: pa.StringArray) -> tuple[pa.StringArray, np.ndarray]:
    """The texts, and how much was replaced in each of them."""
    if recogniser.accept or recogniser.validator:
        return _replace_accepted(recogniser, texts)
    tag = recogniser.tag
    replacement = recogniser.replacement.replace(f"<{tag}>", f"{_FRESH}{tag}{_CLOSE}")
    replaced = pc.replace_substring_regex(texts, recogniser.pattern, replacement)
    counts = pc.count_substring(replaced, _FRESH).to_numpy()
    return pc.replace_substring(replaced, _FRESH, _OPEN), counts


def _replace_accepted(recogniser: Recogniser, texts: pa.StringArray) -> tuple[pa.StringArray, np.ndarray]:
    pieces = pc.split_pattern(pc.replace_substring_regex(texts, recogniser.pattern, rf"{_EDGE}\0{_EDGE}"), _EDGE)
    # A text splits into an odd number of pieces, of which those at odd places are the candidates.
    offsets = pieces.offsets.to_numpy()
    place = np.arange(len(pieces.values)) - np.repeat(offsets[:-1], np.diff(offsets))
    candidates = np.flatnonzero(place % 2)
    accepted = np.zeros(len(pieces.values), bool)
    accepted[candidates] = _accepts(recogniser, pieces.values.take(pa.array(candidates)))
    values = pc.if_else(accepted, f"{_OPEN}{recogniser.tag}{_CLOSE}", pieces.values)
    return pc.binary_join(_with_values(pieces, values), ""), np.add.reduceat(accepted, offsets[:-1], dtype=np.int64)


def _accepts(recogniser: Recogniser, candidates: pa.StringArray) -> np.ndarray:
    accepted = np.ones(len(candidates), bool)
    if recogniser.accept:
        accepted[:] = pc.match_substring_regex(candidates, rf"\A(?:{recogniser.accept})\z")
    if recogniser.validator:
        accepted[accepted] = VALIDATORS[recogniser.validator](candidates.filter(pa.array(accepted)))
    return accepted


def _with_values(lists: pa.ListArray, values: pa.StringArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(lists.offsets, values)


def _unmark(texts: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring(pc.replace_substring(texts, _OPEN, "<"), _CLOSE, ">")
