r"""Free text without what identifies somebody: `Scrubber` applies the table of `schemas.recognisers` to a column.

Two sieves come first, texts and then the lines of the texts that hit, so that the recognisers see few bytes; all of it
runs in Arrow and numpy, never row by row. While it works, a tag stands between marks (\x01EMAIL\x02 for <EMAIL>, of
the same length): no text can bring one along, no recogniser touches one again, and replacements are counted exactly.
"""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from schemas.recognisers import MARKS, RECOGNISERS, Recogniser
from transforms.validators import VALIDATORS

_OPEN, _CLOSE, _FRESH, _EDGE = "\x01", "\x02", "\x03", "\x04"  # around a tag; opens a new tag; around a candidate
_ROUNDS = 8
REMOVED = "REMOVED"
# What a cut may have split: the last token, with the groups of digits that stand before it.
_LAST_TOKEN = r"[0-9 ().+:-]*\S*\z"


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
        self._max_bytes = max_bytes
        self._recognisers = [(recogniser, re2.compile(recogniser.pattern)) for recogniser in recognisers]
        hints = dict.fromkeys(recogniser.hint for recogniser in recognisers)
        self._suspect = re2.compile("|".join(f"(?:{hint})" for hint in hints))
        self._suspect_or_mark = re2.compile(f"[{MARKS}]|{self._suspect.pattern}")
        tags = {REMOVED, *(recogniser.tag for recogniser in recognisers)}
        self._tags = f"<({'|'.join(sorted(tags))})>"

    def scrub(self, texts: pa.StringArray) -> tuple[pa.StringArray, dict[str, int]]:
        """The scrubbed texts, null where null, and the number of replacements by name of recogniser.

        A text longer than `max_bytes`, as it comes or once it is scrubbed, is cut before a token; that counts as
        `cut`. A line that keeps changing, which takes a text made for it, becomes `<REMOVED>` and counts as `removed`.
        """
        hits: Counter[str] = Counter()
        dirty = pc.or_(self._too_long(texts), _matches(self._suspect_or_mark, texts))
        if not pc.any(dirty).as_py():
            return texts, {}
        dirty = dirty.fill_null(False)
        return pc.replace_with_mask(texts, dirty, self._scrub_texts(texts.filter(dirty), hits)), dict(+hits)

    def _too_long(self, texts: pa.StringArray) -> pa.BooleanArray:
        return pc.greater(pc.binary_length(texts), self._max_bytes)

    def _scrub_texts(self, texts: pa.StringArray, hits: Counter) -> pa.StringArray:
        too_long = self._too_long(texts)
        if pc.any(too_long).as_py():
            texts = pc.replace_with_mask(texts, too_long, self._cut(texts.filter(too_long)))
            hits["cut"] += pc.sum(too_long).as_py()
        lines = pc.split_pattern(texts, "\n")
        scrubbed = pc.binary_join(_with_values(lines, self._scrub_lines(lines.values, hits)), "\n")
        # A tag can be longer than what it replaces.
        return self._scrub_texts(scrubbed, hits) if pc.any(self._too_long(scrubbed)).as_py() else scrubbed

    def _cut(self, texts: pa.StringArray) -> pa.StringArray:
        # As bytes, since a character may be split too; what is dropped reaches back to a blank, so the rest is UTF-8.
        head = pc.binary_slice(texts.view(pa.binary()), 0, self._max_bytes)
        return pc.replace_substring_regex(head, _LAST_TOKEN, "").view(pa.string())

    def _scrub_lines(self, lines: pa.StringArray, hits: Counter) -> pa.StringArray:
        suspect = _matches(self._suspect_or_mark, lines)
        if not pc.any(suspect).as_py():
            return lines
        settled = self._settle(self._mark(lines.filter(suspect)), hits, _ROUNDS)
        return pc.replace_with_mask(lines, suspect, _unmark(settled))

    def _mark(self, lines: pa.StringArray) -> pa.StringArray:
        """The tags of an earlier scrub between marks, after any other use of the marks is gone."""
        clean = pc.replace_substring_regex(lines, f"[{MARKS}]", " ")
        return pc.replace_substring_regex(clean, self._tags, rf"{_OPEN}\1{_CLOSE}")

    def _settle(self, lines: pa.StringArray, hits: Counter, rounds: int) -> pa.StringArray:
        """Scrubs until nothing changes: what one recogniser replaces can bring out what another one looks for."""
        if not rounds:
            hits["removed"] += len(lines)
            return pa.array([f"{_OPEN}{REMOVED}{_CLOSE}"] * len(lines), pa.string())
        scrubbed = lines
        for recogniser, compiled in self._recognisers:
            if _occurs(compiled, scrubbed):
                scrubbed, count = _replace(recogniser, scrubbed)
                hits[recogniser.name] += count
        again = pc.and_(pc.not_equal(lines, scrubbed), _matches(self._suspect, scrubbed))
        if not pc.any(again).as_py():
            return scrubbed
        return pc.replace_with_mask(scrubbed, again, self._settle(scrubbed.filter(again), hits, rounds - 1))


def _occurs(compiled, texts: pa.StringArray) -> bool:
    """Whether the pattern may match in any of the texts: one search over all of them, and nothing is compiled."""
    present = texts.drop_null()
    joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(present)], pa.int32()), present), "\n")
    return compiled.search(joined[0].as_buffer()) is not None


def _matches(compiled, texts: pa.StringArray) -> pa.BooleanArray:
    if not _occurs(compiled, texts):
        return pa.repeat(pa.scalar(False), len(texts))
    return pc.match_substring_regex(texts, compiled.pattern)


def _replace(recogniser: Recogniser, texts: pa.StringArray) -> tuple[pa.StringArray, int]:
    if recogniser.accept or recogniser.refuse or recogniser.validator:
        return _replace_accepted(recogniser, texts)
    replaced = _substitute(recogniser, recogniser.pattern, texts)
    count = pc.sum(pc.count_substring(replaced, _FRESH)).as_py()
    return pc.replace_substring(replaced, _FRESH, _OPEN), count


def _substitute(recogniser: Recogniser, pattern: str, texts: pa.StringArray) -> pa.StringArray:
    tag = recogniser.tag
    replacement = recogniser.replacement.replace(f"<{tag}>", f"{_FRESH}{tag}{_CLOSE}")
    return pc.replace_substring_regex(texts, pattern, replacement)


def _replace_accepted(recogniser: Recogniser, texts: pa.StringArray) -> tuple[pa.StringArray, int]:
    pieces = pc.split_pattern(pc.replace_substring_regex(texts, recogniser.pattern, rf"{_EDGE}\0{_EDGE}"), _EDGE)
    # A text splits into an odd number of pieces, of which those at odd places are the candidates.
    offsets = pieces.offsets.to_numpy()
    place = np.arange(len(pieces.values)) - np.repeat(offsets[:-1], np.diff(offsets))
    candidates = np.flatnonzero(place % 2)
    accepted = np.zeros(len(pieces.values), bool)
    accepted[candidates] = _accepts(recogniser, pieces.values.take(pa.array(candidates)))
    mask = pa.array(accepted)
    replaced = _substitute(recogniser, rf"\A(?:{recogniser.pattern})\z", pieces.values.filter(mask))
    # What a pattern finds in a text it finds in the candidate alone. If ever it did not, nothing of it is kept.
    whole = f"{_OPEN}{recogniser.tag}{_CLOSE}"
    replaced = pc.if_else(pc.match_substring(replaced, _FRESH), pc.replace_substring(replaced, _FRESH, _OPEN), whole)
    values = pc.replace_with_mask(pieces.values, mask, replaced)
    return pc.binary_join(_with_values(pieces, values), ""), int(accepted.sum())


def _accepts(recogniser: Recogniser, candidates: pa.StringArray) -> np.ndarray:
    accepted = np.ones(len(candidates), bool)
    if recogniser.accept:
        accepted[:] = pc.match_substring_regex(candidates, rf"\A(?:{recogniser.accept})\z")
    if recogniser.refuse:
        accepted &= ~np.asarray(pc.match_substring_regex(candidates, rf"\A(?:{recogniser.refuse})\z"))
    if recogniser.validator:
        accepted[accepted] = VALIDATORS[recogniser.validator](candidates.filter(pa.array(accepted)))
    return accepted


def _with_values(lists: pa.ListArray, values: pa.StringArray) -> pa.ListArray:
    return pa.ListArray.from_arrays(lists.offsets, values)


def _unmark(texts: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring(pc.replace_substring(texts, _OPEN, "<"), _CLOSE, ">")
