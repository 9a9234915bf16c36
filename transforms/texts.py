"""Free text as the border lets it in: cut, scrubbed, and its times made coarse, within the pack's limits."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.policy import Limits
from transforms.coarse import coarsen
from transforms.scrub import Found, Scrubber


class Texts:
    """What a column of free text becomes before anything else sees it. One a worker: its automata stay warm."""

    def __init__(self, limits: Limits) -> None:
        self._scrubber = Scrubber(max_bytes=limits.text_bytes)
        self._unit, self._max_bytes = limits.text_time, limits.text_bytes

    def clean(self, texts: pa.StringArray) -> tuple[pa.StringArray, list[Found]]:
        """The texts without what identifies somebody or singles out a run, null where null, and what was found in which
        of them."""
        distinct = texts.dictionary_encode()  # names of pages and messages repeat
        clean, found = self._clean(distinct.dictionary)
        text = distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return clean.take(distinct.indices), [_where_it_repeats(each, text) for each in found]

    def _clean(self, texts: pa.StringArray) -> tuple[pa.StringArray, list[Found]]:
        scrubbed, found = self._scrubber.find(texts)
        coarse = coarsen(scrubbed, self._unit)
        # A tag can be longer than the address in whose place it stands.
        too_long = pc.greater(pc.binary_length(coarse), self._max_bytes)
        rows = np.flatnonzero(np.asarray(too_long))
        if not len(rows):
            return coarse, found
        cut, more = self._scrubber.find(coarse.filter(too_long))
        return pc.replace_with_mask(coarse, too_long, cut), found + [
            replace(each, rows=rows[each.rows]) for each in more
        ]


def _where_it_repeats(found: Found, text: np.ndarray) -> Found:
    """What was found in distinct texts, of all texts that are the same: `text` is the number of each, -1 where null."""
    counts = np.zeros(text.max() + 2, np.int64)  # the last is that of null
    np.add.at(counts, found.rows, found.counts)
    rows = np.flatnonzero(counts[text])
    return Found(found.name, rows, counts[text[rows]])
