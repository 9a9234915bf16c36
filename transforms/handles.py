"""Handles: what finds the rows of a subject whose token does not stand in them, and says nothing before it has to.

An account's stop concerns the rows of its devices, but the account's token beside a device's would join the devices of
a person. So a row holds a hash of the token that is tweaked by the row's own event: no two rows share a handle, and
only who is given the token, by an order, can tell which handles were made with it.

    handle = p(p(token) ^ event) ^ p(token)         p: AES-128 under a fixed key

This is the tweakable Matyas-Meyer-Oseas hash of Guo, Katz, Wang and Yu, "Efficient and Secure Multiparty Computation
from Fixed-Key Block Ciphers" (IEEE S&P 2020); the token is 128 bits under a secret key, so it cannot be guessed.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from transforms.columns import tag_blocks

_BLOCK = 16
_PAIRS = 1 << 16  # of a row and a token, looked at together: what stays in the cache
# Not a secret: the first digits of pi, so that nobody can have chosen it.
_PERMUTATION = Cipher(algorithms.AES(bytes.fromhex("243f6a8885a308d313198a2e03707344")), modes.ECB())


def handles(tokens: pa.FixedSizeBinaryArray, events: pa.FixedSizeBinaryArray) -> pa.FixedSizeBinaryArray:
    """The handle of each row, null where the token is. Events are tokens too, none of them null."""
    hidden = _permuted(tag_blocks(tokens))
    found = _permuted(hidden ^ tag_blocks(events))
    found ^= hidden
    bitmap = None
    if tokens.null_count:
        valid = pc.is_valid(tokens).to_numpy(zero_copy_only=False)
        found[~valid] = 0
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(_BLOCK), len(tokens), [bitmap, pa.py_buffer(found)])


def matching(
    found: pa.FixedSizeBinaryArray, events: pa.FixedSizeBinaryArray, tokens: pa.FixedSizeBinaryArray
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs (row, token), by their places, of a handle and the token that made it. No token is null; the work is
    one AES block a pair."""
    rows = np.flatnonzero(pc.is_valid(found).to_numpy(zero_copy_only=False))
    theirs, blocks, hidden = tag_blocks(found)[rows], tag_blocks(events)[rows], _permuted(tag_blocks(tokens))
    at_once = max(1, _PAIRS // max(1, len(rows)))
    pairs = [_equal(theirs, blocks, hidden[start : start + at_once], start) for start in range(0, len(hidden), at_once)]
    row, token = (np.concatenate([pair[side] for pair in pairs] or [rows[:0]]) for side in (0, 1))
    return rows[row], token


def _equal(theirs: np.ndarray, blocks: np.ndarray, hidden: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    ours = np.empty((len(hidden), len(blocks), 2), np.uint64)
    for half in (0, 1):  # broadcasting rows of two words would be many times slower
        np.bitwise_xor(blocks[:, half], hidden[:, half, None], out=ours[:, :, half])
    ours = _permuted(ours.reshape(-1, 2)).reshape(ours.shape)
    token, row = np.nonzero(ours[:, :, 0] ^ hidden[:, 0, None] == theirs[:, 0])  # hardly any pair has one half alone
    both = ours[token, row, 1] ^ hidden[token, 1] == theirs[row, 1]
    return row[both], token[both] + start


def _permuted(blocks: np.ndarray) -> np.ndarray:
    # OpenSSL wants room for one block less a byte behind the result.
    result = np.empty(blocks.nbytes + _BLOCK - 1, np.uint8)
    _PERMUTATION.encryptor().update_into(np.ascontiguousarray(blocks).reshape(-1).view(np.uint8), result)
    return result[: blocks.nbytes].view(np.uint64).reshape(-1, 2)
