"""Patterns applied to columns: by Arrow, or by automata that are kept where it takes these less.

Arrow compiles a pattern anew in each call, and its automaton grows anew with what it reads, which takes as long as some
hundred rows do one by one.
"""

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from transforms.sieve import joined

_FEW, _SHORT = 200, 32_768  # rows, and bytes of all of them: in a long one there may be many matches
_MEMORY = 32 << 20  # bytes an automaton, of which it takes what it needs
_GROUP = re.compile(r"\\([0-9])")


@cache
def _kept(pattern: str, captures: bool):
    options = re2.Options()
    options.never_capture, options.max_mem = not captures, _MEMORY
    return re2.compile(f"(?m:{pattern})", options)


@cache
def _parts(rewrite: str) -> tuple[Sequence[bytes], Sequence[int]]:
    r"""What stands in a rewrite before each of its groups and behind the last, and the numbers of the groups."""
    parts = _GROUP.split(rewrite)
    return [part.encode() for part in parts[::2]], [int(group) for group in parts[1::2]]


def _few(texts: pa.StringArray) -> bool:
    return len(texts) <= _FEW and (pc.sum(pc.binary_length(texts)).as_py() or 0) <= _SHORT


def occurs(texts: pa.StringArray, pattern: str) -> bool:
    """Whether the pattern may occur in any of the lines, none of them null: one search over all of them."""
    return _kept(pattern, False).search(joined(texts)) is not None


def replaced(texts: pa.StringArray, pattern: str, rewrite: str) -> pa.StringArray:
    r"""The lines, none of them null, with what the pattern matches rewritten: `\0` is all of it, `\1` a group."""
    if not occurs(texts, pattern):
        return texts
    if not _few(texts):
        return pc.replace_substring_regex(texts, pattern, rewrite)
    literals, groups = _parts(rewrite)
    matches = _kept(pattern, any(groups)).finditer
    few = [_rewritten(text, matches(text), literals, groups) for text in texts.view(pa.binary()).to_pylist()]
    return pa.array(few, pa.binary()).view(pa.string())


def _rewritten(text: bytes, matches, literals: Sequence[bytes], groups: Sequence[int]) -> bytes:
    pieces, end = [], 0
    for match in matches:
        start, stop = match.span()
        pieces.append(text[end:start])
        for literal, group in zip(literals, groups, strict=False):  # the last literal stands behind all groups
            pieces += (literal, text[start:stop] if group == 0 else match[group] or b"")
        pieces.append(literals[-1])
        end = stop
    pieces.append(text[end:])
    return b"".join(pieces)


def matched(texts: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the lines, none of them null, the pattern matches from end to end."""
    if not _few(texts):
        return np.asarray(pc.match_substring_regex(texts, rf"\A(?:{pattern})\z"))
    match = _kept(pattern, False).fullmatch
    return np.array([match(text) is not None for text in texts.view(pa.binary()).to_pylist()], bool)


def found(texts: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the lines, none of them null, the pattern occurs in."""
    if not _few(texts):
        return np.asarray(pc.match_substring_regex(texts, pattern))
    search = _kept(pattern, False).search
    return np.array([search(text) is not None for text in texts.view(pa.binary()).to_pylist()], bool)
