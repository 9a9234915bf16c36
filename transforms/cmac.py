"""Keyed tags and reversible ciphertexts of whole Arrow columns.

`ColumnCmac` is AES-CMAC (RFC 4493, NIST SP 800-38B), computed for a column at a time: one XOR and one AES-ECB call
serve all rows, and each further block of the longer values costs one call more. `ColumnSiv` is AES-SIV (RFC 5297)
for identifiers that are too long to be reversed as one block.

Both are deterministic, as a pseudonym must be: whoever sees two tags under one key learns whether the values are
equal. What keeps purposes and regions apart is that each has a key of its own.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

BLOCK = 16

# A block is two uint64. By how many bytes a value has in its last block, 0 to 16: which bytes of the block are its own.
_KEEP = np.tril(np.full((BLOCK + 1, BLOCK), 0xFF, np.uint8), -1).view(np.uint64)

_OFFSETS = {
    pa.string(): np.int32,
    pa.binary(): np.int32,
    pa.large_string(): np.int64,
    pa.large_binary(): np.int64,
}


class _KeyHolder:
    """Something that holds a key and therefore never travels: workers build their own in `setup()`."""

    __slots__ = ()

    def __reduce__(self):
        raise TypeError("key material does not pickle")


class ColumnCmac(_KeyHolder):
    """AES-CMAC of each value of a column under one key of 32 bytes (16 for AES-128, which only test vectors use).

    For values of one length of up to 16 bytes the tag is a permutation of the padded block: no two values share a tag,
    and `untag` finds the value again. For longer values a collision is as unlikely as for any 128-bit MAC.
    """

    __slots__ = ("_cipher", "_last")

    def __init__(self, key: bytes):
        if len(key) not in (16, 32):
            raise ValueError("an AES-CMAC key has 32 bytes (or 16, for AES-128)")
        self._cipher = Cipher(algorithms.AES(key), modes.ECB())
        whole = _doubled(self._cipher.encryptor().update(bytes(BLOCK)))
        self._last = _last_masks(whole, _doubled(whole))

    def tag(self, values: pa.Array) -> pa.FixedSizeBinaryArray:
        """Return the 16-byte tag of each value; a null stays null, with zero bytes under it.

        `values` is a string, binary or fixed-size binary array of any width, sliced or not; text is taken as its UTF-8
        bytes. Work is in proportion to the blocks that there are, however unevenly they are spread over the rows.
        Raises TypeError for any other type.
        """
        valid = _validity(values)
        kind = values.type
        if pa.types.is_fixed_size_binary(kind) and 0 < kind.byte_width <= BLOCK:
            return _column(self._tag_short(_fixed_rows(values)), valid)
        return _column(self._tag_long(*_spans(values, valid)), valid)

    def untag(self, tags: pa.FixedSizeBinaryArray, width: int) -> pa.FixedSizeBinaryArray:
        """Return the values of exactly `width` (1 to 16) bytes whose tags these are; a null stays null.

        Raises ValueError if a tag is not one of a value of that width under this key. At 16 bytes there is no padding
        to tell by: any tag opens, and under a wrong key it opens to noise.
        """
        if not 1 <= width <= BLOCK:
            raise ValueError("only values of 1 to 16 bytes can be found again from their tags")
        if tags.type != pa.binary(BLOCK):
            raise TypeError(f"tags are fixed_size_binary[16], not {tags.type}")
        valid = _validity(tags)
        blocks = _run(self._cipher.decryptor(), _fixed_rows(tags))
        rows = _xored(blocks, self._last[width]).view(np.uint8)
        padded = rows if valid is None else rows[valid]
        if padded[:, width:].any():
            raise ValueError("tags of another key or of values of another width")
        cut = _items(rows[:, :width]).copy().view(np.uint8).reshape(-1, width)
        return _column(cut, valid)

    def _tag_short(self, rows: np.ndarray) -> np.ndarray:
        # rows: (n, width) uint8, width 1 to 16 -> (n, 2) uint64
        width = rows.shape[1]
        if width < BLOCK:
            padded = np.zeros((len(rows), BLOCK), np.uint8)
            _items(padded[:, :width])[:] = _items(rows)
            rows = padded
        return _run(self._cipher.encryptor(), _xored(rows.view(np.uint64), self._last[width]))

    def _tag_long(self, data: np.ndarray, starts: np.ndarray, left: np.ndarray) -> np.ndarray:
        # One turn a block position, over the rows that still have bytes: a long value is alone in its later turns.
        encryptor = self._cipher.encryptor()
        windows = np.ndarray((len(data) - BLOCK + 1,), f"V{BLOCK}", data, strides=(1,))  # a block from any byte on
        tags = np.empty((len(starts), 2), np.uint64)
        rows, state = np.arange(len(starts)), np.zeros_like(tags)
        while rows.size:
            blocks = windows[starts].view(np.uint64).reshape(-1, 2)
            ending = np.flatnonzero(left <= BLOCK)
            size = left.take(ending)
            last = (blocks.take(ending, axis=0) & _KEEP.take(size, axis=0)) ^ self._last.take(size, axis=0)
            _items(blocks)[ending] = _items(last)
            blocks ^= state
            state = _run(encryptor, blocks)
            if ending.size:
                _items(tags)[rows.take(ending)] = _items(state.take(ending, axis=0))
                more = np.flatnonzero(left > BLOCK)
                rows, starts, left, state = (part.take(more, axis=0) for part in (rows, starts, left, state))
            starts, left = starts + BLOCK, left - BLOCK
        return tags


class ColumnSiv(_KeyHolder):
    """AES-256-SIV of each value of a column under one key of 64 bytes, for identifiers longer than a block.

    Equal values have equal ciphertexts; a ciphertext is 16 bytes longer than its value, so the length shows.
    """

    __slots__ = ("_siv",)

    def __init__(self, key: bytes):
        if len(key) != 64:
            raise ValueError("an AES-SIV key has 64 bytes")
        self._siv = AESSIV(key)

    def encrypt(self, values: pa.Array) -> pa.BinaryArray:
        """Return the ciphertext of each value; a null stays null."""
        return _each_distinct(values, self._siv.encrypt)

    def decrypt(self, values: pa.Array) -> pa.BinaryArray:
        """Return the value of each ciphertext; a null stays null.

        Raises ValueError if one was altered or made under another key.
        """
        try:
            return _each_distinct(values, self._siv.decrypt)
        except InvalidTag:
            raise ValueError("ciphertexts of another key, or altered ones") from None


def _each_distinct(values: pa.Array, cipher) -> pa.BinaryArray:
    coded = values.cast(pa.binary()).dictionary_encode()
    results = pa.array([cipher(value, None) for value in coded.dictionary.to_pylist()], pa.binary())
    return results.take(coded.indices)


def _doubled(block: bytes) -> bytes:
    # Multiplication by x in GF(2^128), by which RFC 4493 derives its two subkeys.
    number = int.from_bytes(block, "big") << 1
    if number >> 128:
        number ^= (1 << 128) | 0x87
    return number.to_bytes(BLOCK, "big")


def _last_masks(whole: bytes, partial: bytes) -> np.ndarray:
    # By how many bytes a value has in its last block: the padding and the subkey that are XORed into that block.
    masks = np.empty((BLOCK + 1, BLOCK), np.uint8)
    masks[:BLOCK] = np.frombuffer(partial, np.uint8)
    masks[BLOCK] = np.frombuffer(whole, np.uint8)
    masks[np.arange(BLOCK), np.arange(BLOCK)] ^= 0x80
    return masks.view(np.uint64)


def _xored(blocks: np.ndarray, mask: np.ndarray) -> np.ndarray:
    # Half by half: broadcasting a mask of two words makes numpy loop over rows of two, many times slower.
    result = np.empty_like(blocks)
    np.bitwise_xor(blocks[:, 0], mask[0], out=result[:, 0])
    np.bitwise_xor(blocks[:, 1], mask[1], out=result[:, 1])
    return result


def _run(context: CipherContext, blocks: np.ndarray) -> np.ndarray:
    # blocks: (n, 16 bytes) -> (n, 2) uint64. OpenSSL wants room for one block less a byte behind the result.
    result = np.empty(blocks.nbytes + BLOCK - 1, np.uint8)
    context.update_into(blocks.reshape(-1).view(np.uint8), result)
    return result[: blocks.nbytes].view(np.uint64).reshape(-1, 2)


def _items(rows: np.ndarray) -> np.ndarray:
    # (n, width) -> (n,), each row one item that numpy copies whole; a view
    return rows.view(f"V{rows.shape[1] * rows.itemsize}")[:, 0]


def _validity(values: pa.Array) -> np.ndarray | None:
    return pc.is_valid(values).to_numpy(zero_copy_only=False) if values.null_count else None


def _fixed_rows(values: pa.FixedSizeBinaryArray) -> np.ndarray:
    # (n, width) uint8, without a copy
    width = values.type.byte_width
    count = len(values) * width
    return np.frombuffer(values.buffers()[1] or b"", np.uint8, count, values.offset * width).reshape(len(values), width)


def _spans(values: pa.Array, valid: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # The bytes of a column with a block of zeros behind them, and where each value starts and how long it is.
    if pa.types.is_fixed_size_binary(values.type):
        bounds = np.arange(len(values) + 1, dtype=np.int64) * values.type.byte_width
        data = _fixed_rows(values).reshape(-1)
    elif values.type not in _OFFSETS:
        raise TypeError(f"only text and binary columns can be tagged, not {values.type}")
    elif not len(values):  # Arrow lets an empty column go without its one offset
        bounds, data = np.zeros(1, np.int64), np.zeros(0, np.uint8)
    else:
        dtype = np.dtype(_OFFSETS[values.type])
        _, offsets, content = values.buffers()
        bounds = np.frombuffer(offsets, dtype, len(values) + 1, values.offset * dtype.itemsize).astype(np.int64)
        data = np.frombuffer(content or b"", np.uint8)[bounds[0] : bounds[-1]]
        bounds -= bounds[0]
    lengths = np.diff(bounds)
    if valid is not None:
        lengths[~valid] = 0  # whatever bytes lie under a null are neither read nor paid for
    return np.concatenate([data, np.zeros(BLOCK, np.uint8)]), bounds[:-1], lengths


def _column(rows: np.ndarray, valid: np.ndarray | None) -> pa.FixedSizeBinaryArray:
    # rows: (n, any) of any dtype, changed in place -> a column without bytes under its nulls
    width = rows.shape[1] * rows.itemsize
    bitmap = None
    if valid is not None:
        _items(rows)[~valid] = bytes(width)
        bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(rows), [bitmap, pa.py_buffer(rows)])
