"""Generalise: values made as coarse as the policy pack says for a purpose (1.1-a, 2-analytics)."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.apart import OTHER

MILLISECONDS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000, "day": 86_400_000}


def cut_time(times: pa.Int64Array, unit: str) -> pa.TimestampArray:
    """Milliseconds since the epoch, cut down to the start of their second, minute, hour or day (UTC)."""
    step = MILLISECONDS[unit]
    cut = times.to_numpy() // step * step
    return pa.array(cut).cast(pa.timestamp("ms")).cast(pa.timestamp("ms", tz="UTC"))


def bucket(values: pa.Array, step: float) -> pa.Array:
    """Numbers cut down to a multiple of `step`; the type stays."""
    steps = pc.round(pc.divide(values.cast(pa.float64()), step), ndigits=9)  # 0.29 / 0.01 is a little less than 29
    return pc.round(pc.multiply(pc.floor(steps), step), ndigits=9).cast(values.type)


def major(words: pa.StringArray) -> pa.StringArray:
    """Versions cut to their first number: `14.0.3` is 14, `V12.5` is 12; null where there is none."""
    # Without a class of letters in the pattern: to compile one takes longer than to apply it.
    parts = pc.extract_regex(words, r"^(?P<before>[^0-9]{0,3})(?P<number>[0-9]{1,9})")
    before = pc.struct_field(parts, "before")
    lettered = pc.or_(pc.equal(before, ""), pc.utf8_is_alpha(before))
    return pc.if_else(lettered, pc.struct_field(parts, "number"), pa.scalar(None, pa.string()))


def listed(words: pa.StringArray, kept: Sequence[str]) -> pa.StringArray:
    """The words that are among `kept`; every other is `<OTHER>`, and null stays null."""
    stays = pc.or_kleene(pc.is_in(words, value_set=pa.array(kept, pa.string())), pc.is_null(words))
    return pc.if_else(stays, words, pa.scalar(OTHER))


def compact(labels: pa.DictionaryArray, words: pa.StringArray | None = None) -> pa.DictionaryArray:
    """A label column whose dictionary holds just the words that its rows use, each once, sorted.

    `words` replaces the dictionary, entry by entry; an entry replaced by null makes its rows null.
    """
    distinct = (labels.dictionary if words is None else words).dictionary_encode()
    renumbered = np.append(distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False), -1).astype(np.int32)
    codes = renumbered[labels.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
    used = np.zeros(len(distinct.dictionary) + 1, bool)
    used[codes] = True
    used[-1] = False  # where the nulls went
    kept = np.flatnonzero(used)
    words = distinct.dictionary.take(pa.array(kept))
    order = pc.sort_indices(words)
    dense = np.full(len(used), -1, np.int32)
    dense[kept[order.to_numpy()]] = np.arange(len(kept))
    return pa.DictionaryArray.from_arrays(pa.array(dense[codes], mask=codes < 0), words.take(order))
