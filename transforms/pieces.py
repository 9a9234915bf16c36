"""Texts taken to pieces around what a pattern matches, so that matches can be judged and changed as a column."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.warm import replaced

EDGE = "\x04"  # stands between pieces: no text has one in it


def in_pieces(texts: pa.StringArray, pattern: str) -> tuple[pa.ListArray, pa.BooleanArray]:
    """The pieces of each text, none of them null, and which of all pieces are matches."""
    pieces = pc.split_pattern(replaced(texts, pattern, rf"{EDGE}\0{EDGE}"), EDGE)
    offsets = pieces.offsets.to_numpy()
    place = np.arange(len(pieces.values)) - np.repeat(offsets[:-1], np.diff(offsets))
    return pieces, pa.array(place % 2 == 1)


def put_together(pieces: pa.ListArray, values: pa.StringArray) -> pa.StringArray:
    """The texts with other values for their pieces."""
    return pc.binary_join(pa.ListArray.from_arrays(pieces.offsets, values), "")
