"""Locks: what waits on the exchange and in state, encrypted with authentication under a key of its region.

Sealed identifiers are the same for all purposes, so whoever reads the runner's shuffle, its state or a savepoint could
join people across purposes; and beside them lie scrubbed text, locations and labels in the clear. A payload is locked
where it is made and opened where it is judged. Between the two a runner carries bytes that tell their length.

    format (1 byte) | salt (16) | nonce (12) | ciphertext | tag (16)          AES-256-GCM

What a payload is - its format, kind, key and the number of shards - is authenticated with it: one that was cut, altered
or put in another's place does not open. The secret is `state` of the region's keyring; destroying it makes all state of
the region unreadable. Random nonces are good for 2**32 payloads (NIST SP 800-38D, 8.3), which a stream gets to within
months: so every worker encrypts under a key of its own, derived from the secret by a salt that it draws (HKDF-SHA-256).
"""

import secrets
import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NoReturn

import numpy as np
import pyarrow as pa
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from transforms.keyring import BORDER, KeyUnavailable, open_keyring

FORMAT = 1  # raised when the bytes of any payload are laid out otherwise
_SALT_BYTES, _NONCE_BYTES, _TAG_BYTES = 16, 12, 16
_HEAD_BYTES = 1 + _SALT_BYTES + _NONCE_BYTES
_SECRET = "state"
_SALTS = 4096  # how many workers' keys are remembered


class StateMismatch(Exception):
    """State, or a piece, that this version or this policy cannot read. The message says why and holds nothing of it."""


class Locks:
    """Locks and opens payloads by key of the exchange, region code × shards + shard. `keys` are keyring URIs by region
    code. Made in `setup()`; does not pickle."""

    def __init__(self, keys: Mapping[int, str], shards: int) -> None:
        self._shards = shards
        self._secrets = {code: open_keyring(uri).secret(_SECRET, BORDER) for code, uri in keys.items()}
        self._salt = secrets.token_bytes(_SALT_BYTES)
        self._cipher = lru_cache(_SALTS)(self._derived)  # by region and salt

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material does not pickle: make the locks where they are used")

    def lock(self, key: int, kind: int, content: bytes | pa.Buffer | np.ndarray) -> bytes:
        """The content, locked. `kind` says what it is: one of the codes in `transforms.exchange`."""
        content = np.frombuffer(content, np.uint8)
        locked = pa.allocate_buffer(_HEAD_BYTES + len(content) + _TAG_BYTES)
        nonce = secrets.token_bytes(_NONCE_BYTES)
        view = np.frombuffer(locked, np.uint8)
        view[:_HEAD_BYTES] = np.frombuffer(bytes([FORMAT]) + self._salt + nonce, np.uint8)
        cipher = self._cipher(key // self._shards, self._salt)
        cipher.encrypt_into(nonce, content, self._bound_to(kind, key), view[_HEAD_BYTES:])
        return locked.to_pybytes()

    def unlock(self, key: int, kind: int, locked: bytes) -> bytes:
        """What was locked under this key, as this kind. Raises `StateMismatch` for a format that this version does not
        know, and `KeyUnavailable` for a payload that is not what it should be."""
        if locked[:1] != bytes([FORMAT]):
            raise StateMismatch(
                "state or a piece was written in another format, by a newer version of this job or by something else: "
                "go on with the version that wrote it"
            )
        salt, nonce = locked[1 : 1 + _SALT_BYTES], locked[1 + _SALT_BYTES : _HEAD_BYTES]
        cipher = self._cipher(key // self._shards, salt)
        try:
            return cipher.decrypt(nonce, memoryview(locked)[_HEAD_BYTES:], self._bound_to(kind, key))
        except (InvalidTag, ValueError):  # a nonce that was cut short is a ValueError
            raise KeyUnavailable(
                f"a payload does not open as kind {kind} of key {key}: it was locked by another secret {_SECRET!r}, "
                "for another key, kind or number of shards, or it is damaged"
            ) from None

    def _derived(self, region: int, salt: bytes) -> AESGCM:
        if region not in self._secrets:
            raise KeyUnavailable(f"no keys for region code {region}: its state belongs to another cell")
        return AESGCM(HKDF(hashes.SHA256(), 32, salt, _SECRET.encode()).derive(self._secrets[region]))

    def _bound_to(self, kind: int, key: int) -> bytes:
        return struct.pack(">BBqq", FORMAT, kind, key, self._shards)
