"""Texts taken to pieces around what a pattern matches, so that matches can be judged and changed as a column."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.warm import replaced

EDGE = "\x04"  # stands between pieces: no text has one in it


def in_pieces(texts: pa.StringArray, pattern: str, *forms: str) -> tuple[pa.ListArray, np.ndarray]:
    r"""The pieces of each text, none of them null, and what each piece is: 0 between matches, n the nth form of one.

    A match yields one piece for each form, which is a rewrite in the syntax of RE2: `\0` is the match as it stands.
    """
    rewrite = EDGE + EDGE.join(forms) + EDGE
    pieces = pc.split_pattern(replaced(texts, pattern, rewrite), EDGE)
    offsets = pieces.offsets.to_numpy()
    place = np.arange(len(pieces.values)) - np.repeat(offsets[:-1], np.diff(offsets))
    return pieces, place % (len(forms) + 1)


def put_together(pieces: pa.ListArray, values: pa.StringArray) -> pa.StringArray:
    """The texts with other values for their pieces."""
    return pc.binary_join(pa.ListArray.from_arrays(pieces.offsets, values), "")
