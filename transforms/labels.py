"""Labels (model, package, version, ...) let in: short, of a plain shape, and with nothing identifying in them.

A label's column has few distinct values, so each distinct value is looked at once and remembered by the worker.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.scrub import Scrubber
from transforms.warm import matched

# Letters, digits and the punctuation of names and versions; no control characters, no quotes, no `@`.
_SHAPE = r"[\pL\pN][\pL\pM\pN ._:/+()\-]*"
_LONGEST = 128  # characters; counted apart, since RE2 unrolls a bounded repetition of whole alphabets
_REMEMBERED = 100_000  # a flood of distinct labels must not fill the memory


class Labels:
    """Cleans label columns. The scrubber takes out what identifies somebody in spite of the plain shape."""

    def __init__(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        self._forget()

    def clean(self, values: pa.StringArray) -> tuple[np.ndarray, pa.StringArray, int]:
        """Encodes a column: (int32 codes, -1 where null or malformed; the clean words; how many were malformed)."""
        codes, words = as_codes(values.dictionary_encode())
        clean = self._cleaned(words)
        if not clean.null_count:
            return codes, clean, 0
        malformed = np.append(clean.is_null().to_numpy(zero_copy_only=False), False)[codes]  # [-1] is the null's
        compact = np.append(np.cumsum(clean.is_valid().to_numpy(zero_copy_only=False)) - 1, -1).astype(np.int32)
        return np.where(malformed, np.int32(-1), compact[codes]), clean.drop_null(), int(malformed.sum())

    def _cleaned(self, distinct: pa.StringArray) -> pa.StringArray:
        new = distinct.filter(pc.invert(pc.is_in(distinct, value_set=self._seen)))
        if len(new):
            if len(self._seen) + len(new) > _REMEMBERED:
                self._forget()
                new = distinct
            short = pc.less_equal(pc.utf8_length(new), _LONGEST)
            shaped = pc.if_else(pc.and_(short, pa.array(matched(new, _SHAPE))), new, pa.scalar(None, pa.string()))
            self._seen = pa.concat_arrays([self._seen, new])
            self._clean = pa.concat_arrays([self._clean, self._scrubber.scrub(shaped)[0]])
        return self._clean.take(pc.index_in(distinct, value_set=self._seen))

    def _forget(self) -> None:
        self._seen = self._clean = pa.array([], pa.string())


def as_codes(encoded: pa.DictionaryArray) -> tuple[np.ndarray, pa.StringArray]:
    """A dictionary column as int32 codes, -1 where null, and its words."""
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return codes, encoded.dictionary.cast(pa.string())
