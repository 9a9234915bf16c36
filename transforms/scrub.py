r"""Free text without what identifies somebody: `Scrubber` applies the table of `schemas.recognisers` to a column.

Texts are taken apart into lines, and each distinct line is looked at once: traces of one application repeat them. Next
to a line stand its variants: undisguised, and joined with what follows. Where more is found in a variant, it takes the
line's place. All of it runs in Arrow and numpy, never row by row.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.recognisers import RECOGNISERS, Recogniser
from transforms import disguises, warm, wrapped
from transforms.settle import REMOVED, Found, Settler, unmarked
from transforms.sieve import Across, Lines

_ROUNDS = 8
_HIDES, _HIDES_STILL = "|".join(disguises.HINTS), "|".join([*disguises.HINTS, disguises.REST])
# What a cut may have split: the last token, with the groups of digits that stand before it.
_LAST_TOKEN = r"[0-9 ().,+:-]*\S*\z"


def counted(found: Iterable[Found]) -> dict[str, int]:
    """How often each was found in all."""
    hits: Counter[str] = Counter()
    for each in found:
        hits[each.name] += int(each.counts.sum())
    return dict(hits)


class Scrubber:
    """Replaces what a table of recognisers finds in a column of texts by typed tags such as `<EMAIL>`.

    It guarantees that each text is treated alone (its neighbours change nothing), that the time is linear in the
    text, that no valid UTF-8 raises, and that scrubbing a second time changes nothing. It does not find what has
    neither shape nor key, such as a bare name (1.1.1, 1.1.2-log).

    A call takes some milliseconds whatever it is given, so pass large columns. A malformed pattern raises `re2.error`
    here.
    """

    def __init__(self, recognisers: tuple[Recogniser, ...] = RECOGNISERS, max_bytes: int = 8192):
        self._recognisers, self._max_bytes = recognisers, max_bytes
        self._settler = Settler(recognisers, [*disguises.HINTS, disguises.REST])
        self._across = Across(wrapped.HINTS)
        self._sieve = self._settler.sieve

    def __reduce__(self):
        return Scrubber, (self._recognisers, self._max_bytes)

    def scrub(self, texts: pa.StringArray) -> tuple[pa.StringArray, dict[str, int]]:
        """The scrubbed texts, null where null, and the number of replacements by name of recogniser.

        A text longer than `max_bytes`, as it comes or once it is scrubbed, is cut before a token; that counts as
        `cut`. A line that keeps changing, which takes a text made for it, becomes `<REMOVED>` and counts as `removed`.
        """
        scrubbed, found = self.find(texts)
        return scrubbed, counted(found)

    def find(self, texts: pa.StringArray) -> tuple[pa.StringArray, list[Found]]:
        """As `scrub`, with what was replaced in which of the texts; a name may come more than once."""
        found: list[Found] = []
        scrubbed = self._scrub(texts.drop_null(), found)
        if texts.null_count:
            rows = np.flatnonzero(texts.is_valid().to_numpy(zero_copy_only=False))
            scrubbed = pc.replace_with_mask(texts, texts.is_valid(), scrubbed)
            found = _at(rows, found)
        return scrubbed, found

    def _scrub(self, texts: pa.StringArray, found: list[Found]) -> pa.StringArray:
        too_long = self._too_long(texts)
        if too_long is not None:
            texts = pc.replace_with_mask(texts, too_long, self._cut(texts.filter(too_long)))
            rows = np.flatnonzero(too_long.to_numpy(zero_copy_only=False))
            found.append(Found("cut", rows, np.ones(len(rows), np.int64)))
        given, texts = texts, unmarked(texts)
        lines = Lines.of(texts, self._sieve.flags) if len(texts) else None
        suspects = lines.doubtful() | self._across.suspects(texts) if lines else np.zeros(0, bool)
        suspects |= texts is not given and np.asarray(pc.not_equal(texts, given))
        if not suspects.any():
            return texts
        scrubbed, found_in_suspects = self._scrub_lines(lines.only(suspects), _ROUNDS)
        found += _at(np.flatnonzero(suspects), found_in_suspects)
        texts = pc.replace_with_mask(texts, suspects, scrubbed)
        # A tag can be longer than what it replaces.
        return texts if self._too_long(scrubbed) is None else self._scrub(texts, found)

    def _too_long(self, texts: pa.StringArray) -> pa.BooleanArray | None:
        too_long = pc.greater(pc.binary_length(texts), self._max_bytes)
        return too_long if pc.any(too_long).as_py() else None

    def _cut(self, texts: pa.StringArray) -> pa.StringArray:
        # As bytes, since a character may be split too; what is dropped reaches back to a blank, so the rest is UTF-8.
        head = pc.binary_slice(texts.view(pa.binary()), 0, self._max_bytes)
        return pc.replace_substring_regex(head, _LAST_TOKEN, "").view(pa.string())

    def _scrub_lines(self, lines: Lines, rounds: int) -> tuple[pa.StringArray, list[Found]]:
        offsets, row, rows, needs = lines.offsets, lines.row, lines.rows, lines.needs
        joints = wrapped.joints(offsets, row, rows, needs[:-1].any(axis=0))
        beside = pa.concat_arrays([joints.joined, joints.token])
        settled, found = self._settler.settle(
            pa.concat_arrays([rows, beside]), np.hstack([needs, self._sieve.flags(beside)])
        )
        hidden, bare, found_bare = self._undisguise(rows, np.flatnonzero(needs[-1]), settled)
        found += [replace(each, rows=each.rows + len(settled)) for each in found_bare]
        shown = np.arange(len(rows))
        shown[hidden] = len(settled) + np.arange(len(hidden))
        shown = shown[row]
        over = self._goes_over(settled, joints, row, len(rows))
        shown[joints.first[over]] = len(rows) + np.flatnonzero(over)
        moved = over[joints.run]
        written = self._part(pa.concat_arrays([settled, bare]).take(pa.array(shown)), joints, over)

        text = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        stays = np.ones(len(row), bool)
        stays[joints.line[moved]] = False
        by_text = list(_by_text(found, shown[stays], text[stays], len(settled) + len(bare)))
        changed = shown >= len(rows)
        if not rounds:
            where = np.flatnonzero(changed)
            written = _put(written, where, pa.array([f"<{REMOVED}>"] * len(where), pa.string()))
            by_text.append(Found("removed", text[where], np.ones(len(where), np.int64)))
        scrubbed = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), written), "\n")
        if not rounds or not changed.any():
            return scrubbed, by_text
        # In what was hidden, or stood apart, there may be more of it.
        again = np.logical_or.reduceat(changed, offsets[:-1])
        more, found_more = self._scrub_lines(Lines.of(scrubbed.filter(pa.array(again)), self._sieve.flags), rounds - 1)
        return pc.replace_with_mask(scrubbed, again, more), by_text + _at(np.flatnonzero(again), found_more)

    def _undisguise(
        self, rows: pa.StringArray, hidden: np.ndarray, settled: pa.StringArray
    ) -> tuple[np.ndarray, pa.StringArray, list[Found]]:
        """Of the rows that may hide something those of which less is left if they are undisguised before they are
        scrubbed than if they are only now; what is left then, and what was found."""
        hidden = hidden[warm.found(rows.take(pa.array(hidden)), _HIDES)]
        hidden = hidden[warm.found(settled.take(pa.array(hidden)), _HIDES_STILL)]
        if not len(hidden):
            return hidden, settled.slice(0, 0), []
        disguised, plain = rows.take(pa.array(hidden)), disguises.undisguised(settled.take(pa.array(hidden)))
        # A value in groups may be known by its groups alone, or only once they are joined.
        forms = pa.concat_arrays([disguises.spelt_out(disguised), disguises.undisguised(disguised)])
        bare, found = self._settler.settle(forms, self._sieve.flags(forms))
        left = self._left(bare).reshape(2, -1)
        better = left.min(axis=0) < self._left(plain)
        chosen = (left.argmin(axis=0) * len(hidden) + np.arange(len(hidden)))[better]
        places = np.full(len(forms), -1)
        places[chosen] = np.arange(len(chosen))
        kept = [(each, places[each.rows] >= 0) for each in found]
        found = [Found(each.name, places[each.rows[mine]], each.counts[mine]) for each, mine in kept]
        return hidden[better], bare.take(pa.array(chosen)), found

    def _goes_over(self, settled: pa.StringArray, joints: wrapped.Joints, row: np.ndarray, rows: int) -> np.ndarray:
        """By run: whether less is left of the lines joined than of the line and the tokens each for itself."""
        joined = settled.slice(rows, len(joints.first))
        tokens = settled.slice(rows + len(joints.first), len(joints.token))
        first = settled.take(pa.array(row[joints.first]))
        ended = np.asarray(pc.match_substring_regex(first, rf"{self._settler.tags}[.,;:!?)\]}}\"']*$"))
        return joints.over(self._left(first), ended, self._left(tokens), self._left(joined))

    def _part(self, lines: pa.StringArray, joints: wrapped.Joints, over: np.ndarray) -> pa.StringArray:
        """The lines with what remains of those whose tokens went over to another; what stands behind the value in the
        last token stays in its line."""
        if not over.any():
            return lines
        last = np.append(joints.run[1:] != joints.run[:-1], True)
        first, moved = joints.first[over], over[joints.run]
        joined, tags = lines.take(pa.array(first)), self._settler.tags.replace("(", "(?P<tag>")
        value, _, tail = pc.extract_regex(joined, f"^(?P<value>.*{tags})(?P<tail>.*)$").flatten()
        token = joints.token.filter(pa.array(moved & last))
        stays = pc.less(pc.binary_length(tail), pc.binary_length(token)).fill_null(False)
        lines = _put(lines, first, pc.if_else(stays, value, joined))
        tails = pa.array([""]).take(pa.array(np.zeros(moved.sum(), int)))
        tails = _put(tails, np.flatnonzero(last[moved]), pc.if_else(stays, tail, ""))
        lead, rest = (column.filter(pa.array(moved)) for column in (joints.lead, joints.rest))
        rest = pc.if_else(pc.equal(tails, ""), pc.ascii_ltrim(rest, " \t"), rest)
        return _put(lines, joints.line[moved], pc.binary_join_element_wise(lead, tails, rest, ""))

    def _left(self, rows: pa.StringArray) -> np.ndarray:
        """How many bytes of each row are no tag."""
        return pc.binary_length(pc.replace_substring_regex(rows, self._settler.tags, "")).to_numpy()


def _by_text(found: Iterable[Found], shown: np.ndarray, text: np.ndarray, variants: int) -> Iterator[Found]:
    """What was found in variants of lines, of the texts that have the lines: `shown` and `text` are by line."""
    touched = np.zeros(variants, bool)
    for each in found:
        touched[each.rows] = True
    dirty = touched[shown]  # few, so that a recogniser costs little here
    shown, text = shown[dirty], text[dirty]
    for each in found:
        counts = np.zeros(variants, np.int64)
        counts[each.rows] = each.counts
        hit = counts[shown] > 0
        if hit.any():
            yield Found(each.name, text[hit], counts[shown[hit]])


def _at(rows: np.ndarray, found: Iterable[Found]) -> list[Found]:
    """What was found in some rows of a column, by their places in it."""
    return [replace(each, rows=rows[each.rows]) for each in found]


def _put(values: pa.StringArray, places: np.ndarray, new: pa.StringArray) -> pa.StringArray:
    mask = np.zeros(len(values), bool)
    mask[places] = True
    return pc.replace_with_mask(values, mask, new) if len(places) else values
