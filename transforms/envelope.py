"""Lines sealed to a key that whoever seals does not have.

The lines of one batch share a random content key, which HPKE (RFC 9180: X25519, HKDF-SHA256, AES-256-GCM) wraps to a
public key. Each line goes under AES-256-GCM with that key, padded to a class of size. What a line is sealed for, and
its row id, are bound to it: elsewhere it does not open. Nothing here says who sealed a line: whoever has the public key
and may write to a store can seal lines of his own.
"""

import secrets
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

import pyarrow as pa
from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from schemas.quarantine import ENVELOPE
from schemas.shape import MAX_LINE_BYTES
from transforms.keyring import KeyUnavailable, create_once

_HPKE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LENGTH_BYTES, _NONCE_BYTES, _TAG_BYTES = 4, 12, 16
_SMALLEST = 256  # of the classes of size; each is twice the one before
_LARGEST = MAX_LINE_BYTES + 1024  # but for this one, of lines that are too long: of each as much is kept


def seal_lines(
    lines: Iterable[bytes], row_ids: list[bytes], recipient: X25519PublicKey, bound_to: str
) -> pa.RecordBatch:
    """The columns ENVELOPE of each line. One HPKE call for all of them."""
    content_key = secrets.token_bytes(32)
    sealed_key = _HPKE.encrypt(content_key, recipient, _info(bound_to))
    cipher = AESGCM(content_key)
    random = secrets.token_bytes(_NONCE_BYTES * len(row_ids))
    nonces = [random[at : at + _NONCE_BYTES] for at in range(0, len(random), _NONCE_BYTES)]
    info, each = _info(bound_to), zip(nonces, lines, row_ids, strict=True)
    payloads = [cipher.encrypt(nonce, _padded(line), info + row_id) for nonce, line, row_id in each]
    columns = (
        [len(payload) - _TAG_BYTES for payload in payloads],
        [key_id(recipient)] * len(row_ids),
        [sealed_key] * len(row_ids),
        nonces,
        payloads,
    )
    arrays = [pa.array(column, field.type) for column, field in zip(columns, ENVELOPE, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=ENVELOPE)


def open_lines(rows: pa.Table, private: X25519PrivateKey, bound_to: str) -> list[bytes | None]:
    """The lines of rows with `row_id` and the columns ENVELOPE, in their order; None where nothing was sealed.

    Raises `KeyUnavailable` if one of them was sealed to another key or for another place, or was altered since.
    """
    ciphers: dict[bytes, AESGCM] = {}
    columns = [rows.column(name).to_pylist() for name in ("row_id", "sealed_key", "nonce", "payload")]
    try:
        return [_opened(ciphers, private, bound_to, *row) for row in zip(*columns, strict=True)]
    except (InvalidTag, ValueError):
        raise KeyUnavailable(f"a line of {bound_to} was sealed to another key, or altered since") from None


def _opened(ciphers: dict[bytes, AESGCM], private: X25519PrivateKey, bound_to: str, row_id, sealed_key, nonce, payload):
    if payload is None:
        return None
    if sealed_key not in ciphers:
        ciphers[sealed_key] = AESGCM(_HPKE.decrypt(sealed_key, private, _info(bound_to)))
    text = ciphers[sealed_key].decrypt(nonce, payload, _info(bound_to) + row_id)
    return text[_LENGTH_BYTES : _LENGTH_BYTES + int.from_bytes(text[:_LENGTH_BYTES])]


def _info(bound_to: str) -> bytes:
    return f"douane quarantine 1\0{bound_to}\0".encode()


def _padded(line: bytes) -> bytes:
    """Length, line, zeros up to the class of size: the size of what is sealed tells no more than the class."""
    needed = _LENGTH_BYTES + len(line)
    size = max(_SMALLEST, 1 << (needed - 1).bit_length())
    if MAX_LINE_BYTES < needed <= _LARGEST:
        size = _LARGEST
    return b"".join((len(line).to_bytes(_LENGTH_BYTES), line, bytes(size - needed)))


def key_id(public: X25519PublicKey) -> bytes:
    """Eight bytes that tell which public key it was."""
    return sha256(public.public_bytes_raw()).digest()[:8]


def create_pair(public_file: Path, private_file: Path) -> None:
    """Makes a pair of keys: both as PEM, the private half readable by its owner only. Replaces no file."""
    private = X25519PrivateKey.generate()
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    # The private half first: a public key without one would lose all that is sealed to it.
    create_once(private_file, private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = read_private(private_file).public_key()
    create_once(public_file, public.public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))


def read_public(path: Path) -> X25519PublicKey | None:
    """A public key, or None where there is no file. Raises `KeyUnavailable` for a file that holds none."""
    if not path.exists():
        return None
    return _read(path, serialization.load_pem_public_key, X25519PublicKey)


def read_private(path: Path) -> X25519PrivateKey:
    """A private key. Raises `KeyUnavailable`."""
    return _read(path, lambda pem: serialization.load_pem_private_key(pem, password=None), X25519PrivateKey)


def _read(path: Path, load, kind: type):
    try:
        key = load(path.read_bytes())
    except OSError as error:
        raise KeyUnavailable(f"{path} cannot be read ({error.strerror})") from None
    except (ValueError, TypeError, UnsupportedAlgorithm):  # a TypeError asks for a password
        key = None
    if not isinstance(key, kind):
        raise KeyUnavailable(f"{path} holds no X25519 key in PEM: bring it back from a backup")
    return key
