"""Patterns applied to columns by automata that are kept from call to call.

Arrow compiles a pattern anew in each call, and its automaton grows anew with what it reads; together that takes longer
than to read some thousand rows. So rows are read here as one text, a line each: what no pattern matches in costs no
more than one search. No match reaches over the end of its row, and each row is treated as if it stood alone.

No row is null or has a line break in it. Patterns are in the syntax of RE2; `^` and `$` are the ends of a row.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import compress, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

_MEMORY = 64 << 20  # bytes an automaton, of which it takes what it needs; one that outgrows them grows anew
_GROUP = re.compile(r"\\([0-9])")
_NOWHERE = -1, -1

Spans = Sequence[tuple[int, int]]
"""Where a match begins and ends, and each group of it."""
Accepts = Callable[[pa.StringArray], np.ndarray]


@cache
def kept(pattern: str, captures: bool = False) -> Callable[[bytes, int, int], Spans]:
    """Finds the next match of a pattern in a text, between two places. Raises `re2.error` for a malformed pattern."""
    options = re2.Options()
    options.never_capture, options.max_mem = not captures, _MEMORY
    # The binding itself: what is built around it for each match takes longer than the match.
    binding = re2.compile(f"(?m:{pattern})", options)._regexp
    return partial(binding.Match, binding.Anchor.UNANCHORED)


def joined(rows: pa.StringArray, between: str = "\n") -> bytes:
    """The rows one behind the other."""
    whole = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
    return pc.binary_join(whole, between)[0].as_buffer().to_pybytes()


def rows_of(text: bytes) -> pa.StringArray:
    """The rows that are joined."""
    return pc.split_pattern(pa.array([text], pa.binary()).view(pa.string()), "\n").values


def starts(rows: pa.StringArray, between: int = 1) -> np.ndarray:
    """Where each row begins in what is joined, with so many bytes between two of them."""
    sizes = pc.binary_length(rows).to_numpy() + between
    return np.cumsum(sizes) - sizes


def occurs(text: bytes, pattern: str) -> bool:
    """Whether the pattern may occur in any of the rows that are joined: one search over all of them."""
    return kept(pattern)(text, 0, len(text))[0] != _NOWHERE


def matches(text: bytes, pattern: str, captures: bool = False, once: bool = False) -> Iterator[Spans]:
    """The matches in rows that are joined, from left to right; `once`, only the first of each row."""
    search, begin, end = kept(pattern, captures), 0, len(text)
    while begin <= len(text):
        spans = search(text, begin, end) if begin <= end else [_NOWHERE]
        start, stop = spans[0]
        if start < 0:
            begin, end = end + 1, len(text)
        elif (edge := text.find(b"\n", start, stop)) >= 0:  # it would go on in the next row
            begin, end = start, edge
        else:
            yield spans
            begin = max(stop, start + 1)
            if once:
                begin, end = text.find(b"\n", stop) + 1 or len(text) + 1, len(text)


def rewritten(text: bytes, pattern: str, rewrite: str, accepts: Accepts | None = None, inside: bool = False) -> bytes:
    r"""The rows that are joined, with what the pattern matches and `accepts` passes rewritten: `\0` is all of a match,
    `\1` a group. Where there is nothing of it, what comes back is the text itself.

    `accepts` is given the matches as a column of distinct texts, and tells which of them pass. `inside`, a match that
    does not pass is looked into, once, behind its first group.
    """
    if not occurs(text, pattern):
        return text
    parts = _GROUP.split(rewrite)
    literals = [part.replace(r"\\", "\\").encode() for part in parts[::2]]
    groups = [int(group) for group in parts[1::2]]
    if accepts is None:
        return _put_together(text, matches(text, pattern, captures=any(groups)), literals, groups)
    candidates = [spans[0] for spans in matches(text, pattern)]
    accepted = _accepted(text, candidates, accepts)
    if inside and len(accepted) < len(candidates):
        accepted = sorted(accepted + _accepted(text, _inside(text, pattern, candidates, accepted), accepts))
    # Which groups they have takes so long to tell that it is asked of those alone.
    search = kept(pattern, captures=any(groups))
    return _put_together(text, (search(text, *span) for span in accepted), literals, groups)


def _accepted(text: bytes, spans: list[tuple[int, int]], accepts: Accepts) -> list[tuple[int, int]]:
    if not spans:
        return spans
    distinct = pa.array([text[start:stop] for start, stop in spans], pa.binary()).view(pa.string()).dictionary_encode()
    return list(compress(spans, accepts(distinct.dictionary)[distinct.indices.to_numpy()]))


def _inside(
    text: bytes, pattern: str, candidates: list[tuple[int, int]], accepted: list[tuple[int, int]]
) -> list[tuple[int, int]]:
    """The matches that begin behind the first group of a candidate that was not accepted, and end before the next."""
    passed, found = set(accepted), []
    for (start, stop), (following, _) in pairwise([*candidates, (len(text), len(text))]):
        if (start, stop) in passed:
            continue
        begin = kept(pattern, captures=True)(text, start, stop)[1][1]
        row = text.find(b"\n", stop)
        span = kept(pattern)(text, begin, following if row < 0 else min(following, row))[0]
        if begin <= span[0] < stop:
            found.append(span)
    return found


def _put_together(text: bytes, found: Iterable[Spans], literals: Sequence[bytes], groups: Sequence[int]) -> bytes:
    pieces, end = [], 0
    for spans in found:
        pieces.append(text[end : spans[0][0]])
        for literal, group in zip(literals, groups, strict=False):  # the last literal stands behind all groups
            start, stop = spans[group]
            pieces += (literal, text[start:stop])
        pieces.append(literals[-1])
        end = spans[0][1]
    return b"".join([*pieces, text[end:]]) if pieces else text


def replaced(rows: pa.StringArray, pattern: str, rewrite: str, accepts: Accepts | None = None) -> pa.StringArray:
    """The rows `rewritten`."""
    text = joined(rows)
    new = rewritten(text, pattern, rewrite, accepts)
    return rows if new is text else rows_of(new)


def found(rows: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the rows the pattern occurs in."""
    return found_in(joined(rows), starts(rows), pattern)


def found_in(text: bytes, begin: np.ndarray, pattern: str) -> np.ndarray:
    """`found`, where the rows are joined, and each begins."""
    return _mask(begin, [spans[0][0] for spans in matches(text, pattern, once=True)])


def matched(rows: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the rows, in which line breaks are allowed, the pattern matches from end to end."""
    begin, sizes = starts(rows), pc.binary_length(rows).to_numpy()
    spans = [spans[0] for spans in matches(joined(rows), f"^(?:{pattern})$")]
    start, stop = np.array(spans, np.int64).reshape(-1, 2).T
    return _mask(begin, start[np.isin(start, begin) & np.isin(stop, begin + sizes)])


def _mask(begin: np.ndarray, places: Sequence[int]) -> np.ndarray:
    """In which of the rows there is a place, by where they begin."""
    hit = np.zeros(len(begin), bool)
    if len(begin):  # what joins no rows is an empty row as well
        hit[np.searchsorted(begin, places, side="right") - 1] = True
    return hit
