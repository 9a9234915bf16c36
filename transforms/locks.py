"""Locks: what waits on the exchange and in state, encrypted with authentication under a key of its region.

Sealed identifiers are the same for all purposes, so whoever reads the runner's shuffle, its state or a savepoint could
join people across purposes; and beside them lie scrubbed text, locations and labels in the clear. A payload is locked
where it is made and opened where it is judged. Between the two a runner carries bytes that tell their length.

    format (1 byte) | nonce (12) | ciphertext | tag (16)          AES-256-GCM

What a payload is - its format, kind, key and the number of shards - is authenticated with it: one that was cut, altered
or put in another's place does not open. The secret is `state` of the region's keyring; destroying it makes all state of
the region unreadable. Nonces are random: one secret is good for 2**32 payloads (NIST SP 800-38D, 8.3).
"""

import secrets
import struct
from collections.abc import Mapping
from typing import NoReturn

import numpy as np
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from transforms.keyring import BORDER, KeyUnavailable, open_keyring

FORMAT = 1  # raised when the bytes of any payload are laid out otherwise
_NONCE_BYTES, _TAG_BYTES = 12, 16
_HEAD_BYTES = 1 + _NONCE_BYTES
_SECRET = "state"


class StateMismatch(Exception):
    """State, or a piece, that this version or this policy cannot read. The message says why and holds nothing of it."""


class Locks:
    """Locks and opens payloads by key of the exchange, region code × shards + shard. `keys` are keyring URIs by region
    code. Made in `setup()`; does not pickle."""

    def __init__(self, keys: Mapping[int, str], shards: int) -> None:
        self._shards = shards
        self._ciphers = {code: AESGCM(open_keyring(uri).secret(_SECRET, BORDER)) for code, uri in keys.items()}

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material does not pickle: make the locks where they are used")

    def lock(self, key: int, kind: int, content: bytes | pa.Buffer | np.ndarray) -> bytes:
        """The content, locked. `kind` says what it is: one of the codes in `transforms.exchange`."""
        content = np.frombuffer(content, np.uint8)
        locked = pa.allocate_buffer(_HEAD_BYTES + len(content) + _TAG_BYTES)
        head = bytes([FORMAT]) + secrets.token_bytes(_NONCE_BYTES)
        view = np.frombuffer(locked, np.uint8)
        view[:_HEAD_BYTES] = np.frombuffer(head, np.uint8)
        self._cipher(key).encrypt_into(head[1:], content, self._bound_to(kind, key), view[_HEAD_BYTES:])
        return locked.to_pybytes()

    def unlock(self, key: int, kind: int, locked: bytes) -> bytes:
        """What was locked under this key, as this kind. Raises `StateMismatch` for a format that this version does not
        know, and `KeyUnavailable` for a payload that is not what it should be."""
        if locked[:1] != bytes([FORMAT]):
            raise StateMismatch(
                "state or a piece was written in another format, by a newer version of this job or by something else: "
                "go on with the version that wrote it"
            )
        nonce, rest = locked[1:_HEAD_BYTES], memoryview(locked)[_HEAD_BYTES:]
        try:
            return self._cipher(key).decrypt(nonce, rest, self._bound_to(kind, key))
        except (InvalidTag, ValueError):  # a nonce that was cut short is a ValueError
            raise KeyUnavailable(
                f"a payload does not open as kind {kind} of key {key}: it was locked by another secret {_SECRET!r}, "
                "for another key, kind or number of shards, or it is damaged"
            ) from None

    def _cipher(self, key: int) -> AESGCM:
        region = key // self._shards
        if region not in self._ciphers:
            raise KeyUnavailable(f"no keys for region code {region}: its state belongs to another cell")
        return self._ciphers[region]

    def _bound_to(self, kind: int, key: int) -> bytes:
        return struct.pack(">BBqq", FORMAT, kind, key, self._shards)
