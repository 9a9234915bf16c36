"""Patterns applied to columns: by Arrow, or by automata that are kept where it takes these less.

Arrow compiles a pattern anew in each call, which takes as long as some hundred rows do one by one.
"""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from transforms.sieve import joined

_FEW, _SHORT = 50, 16_384  # rows, and bytes of all of them: in a long one there may be many matches


@cache
def _kept(pattern: str, captures: bool):
    options = re2.Options()
    options.never_capture = not captures
    return re2.compile(f"(?m:{pattern})", options)


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
    substitute, new = _kept(pattern, True).sub, rewrite.replace(r"\0", r"\g<0>").encode()
    few = [substitute(new, text) for text in texts.view(pa.binary()).to_pylist()]
    return pa.array(few, pa.binary()).view(pa.string())


def matched(texts: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the lines, none of them null, the pattern matches from end to end."""
    if not _few(texts):
        return np.asarray(pc.match_substring_regex(texts, rf"\A(?:{pattern})\z"))
    match = _kept(pattern, False).fullmatch
    return np.array([match(text) is not None for text in texts.view(pa.binary()).to_pylist()], bool)
