"""Patterns applied to columns: by Arrow, or to a few rows by automata that are kept.

Arrow compiles a pattern anew in each call, which takes as long as some hundred rows do one by one.
"""

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

_FEW = 30  # rows

_kept = cache(re2.compile)


def replaced(texts: pa.StringArray, pattern: str, rewrite: str) -> pa.StringArray:
    r"""The texts, none of them null, with what the pattern matches rewritten: `\0` is all of it, `\1` a group."""
    if len(texts) > _FEW:
        return pc.replace_substring_regex(texts, pattern, rewrite)
    substitute, new = _kept(pattern).sub, rewrite.replace(r"\0", r"\g<0>").encode()
    few = [substitute(new, text) for text in texts.view(pa.binary()).to_pylist()]
    return pa.array(few, pa.binary()).view(pa.string())


def matched(texts: pa.StringArray, pattern: str) -> np.ndarray:
    """Which of the texts, none of them null, the pattern matches from end to end."""
    if len(texts) > _FEW:
        return np.asarray(pc.match_substring_regex(texts, rf"\A(?:{pattern})\z"))
    match = _kept(pattern).fullmatch
    return np.array([match(text) is not None for text in texts.view(pa.binary()).to_pylist()], bool)
