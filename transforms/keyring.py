"""Keys: who holds them, how they are wrapped, and how a worker opens them.

Two layers. A `KeyService` holds the keys that wrap (in a cloud they never leave it). A `Keyring` holds everything that
is wrapped: random secrets by name, each made when first asked for and never derived from another, so that destroying
one destroys what it protected and nothing else.

    wrapping key        what it wraps                                     who needs it
    border              sealing keys of (region, kind), of file digests   the job
    purpose-P           token keys of (region, purpose, epoch, kind)      the job
    dataset-D           data keys of D's files, reversible keys of D,     the job, D's readers
                        data keys of the list of what is stopped in D
    dataset-D_orders    data keys of D's queue of orders, its ids         the job, who carries orders out

Key material is opened by a worker in `setup()`; a keyring refuses to be pickled.
"""

import base64
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

BORDER = "border"
_NONCE_BYTES = 12
_DESCRIPTION = "keystore.json"
_WRAPPING = "wrapping"
DISK_THREADS = 16


class KeyUnavailable(Exception):
    """A key cannot be had or does not fit. The message names the key, never its material."""


class KeyService(Protocol):
    """What a key management service must do. `key` names a wrapping key; `context` is bound to what is wrapped."""

    def wrap(self, key: str, plaintext: bytes, context: bytes) -> bytes: ...

    def unwrap(self, key: str, wrapped: bytes, context: bytes) -> bytes: ...

    def destroy(self, key: str) -> None:
        """Makes everything that the key wrapped unreadable, for good."""


class LocalKeyService:
    """Wrapping keys as files of one folder, readable by their owner only: for laptops and tests.

    `wrap` makes a key when it is first asked for, in a keystore that is there; `unwrap` never does.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material does not pickle: open the keyring where it is used")

    def wrap(self, key: str, plaintext: bytes, context: bytes) -> bytes:
        path = self._folder / f"{key}.key"
        if not path.exists():
            _check_there(self._folder.parent)
            create_once(path, secrets.token_bytes(32))
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher(key).encrypt(nonce, plaintext, context)

    def unwrap(self, key: str, wrapped: bytes, context: bytes) -> bytes:
        try:
            return self._cipher(key).decrypt(wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):  # a nonce that was cut short is a ValueError
            raise KeyUnavailable(f"wrapping key {key!r} in {self._folder} is not the one that was used") from None

    def destroy(self, key: str) -> None:
        path = self._folder / f"{key}.key"
        doomed = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        os.rename(path, doomed)  # from here on nobody takes it for a key, whatever happens next
        with open(doomed, "r+b") as file:  # overwritten in place; a journal or a snapshot may still have the old bytes
            file.write(secrets.token_bytes(32))
            file.flush()
            os.fsync(file.fileno())
        doomed.unlink()
        make_durable(path.parent)

    def _cipher(self, key: str) -> AESGCM:
        try:
            return AESGCM((self._folder / f"{key}.key").read_bytes())
        except OSError as error:
            raise KeyUnavailable(f"wrapping key {key!r} cannot be read from {self._folder}: {error.strerror}") from None


class Keyring:
    """The wrapped secrets of one region. Opened secrets stay in this process's memory."""

    def __init__(self, service: KeyService, folder: Path) -> None:
        self._service = service
        self._folder = folder
        self._open: dict[str, bytes] = {}

    def __reduce__(self) -> NoReturn:
        raise TypeError("key material does not pickle: open the keyring where it is used")

    def secret(self, name: str, wrapped_by: str, size: int = 32, *, make: bool = True) -> bytes:
        """The secret of that name, made at random the first time that anybody asks, unless `make` is false: who reads
        must not make a key that opens nothing.

        Two workers that ask at once get the same one: the file is created once, and the loser reads the winner's.
        """
        if name not in self._open:
            path = self._folder / f"{name}.wrapped"
            if not path.exists():
                if not make:
                    raise KeyUnavailable(f"no key {name!r} in {self._folder}")
                create_once(path, self._service.wrap(wrapped_by, secrets.token_bytes(size), name.encode()))
            self._open[name] = self._service.unwrap(wrapped_by, path.read_bytes(), name.encode())
        return self._open[name]

    def make(self, names: Mapping[str, str]) -> None:
        """Makes those of these secrets that there are not yet, side by side: by name, what each is wrapped by. As long
        as one is not on the disk, what it protects must not be: so who needs several in a row asks for all at once."""
        side_by_side(lambda name: self.secret(name, names[name]), [name for name in names if name not in self._open])

    def held(self, below: str) -> list[str]:
        """The names of the secrets that there are below a name."""
        folder = self._folder / below
        return sorted(f"{below}/{path.relative_to(folder).with_suffix('')}" for path in folder.rglob("*.wrapped"))

    def new_data_key(self, dataset: str, context: str) -> tuple[bytes, str]:
        """A fresh key for one file of a dataset, and its wrapped form for the manifest."""
        key = secrets.token_bytes(32)
        wrapped = self._service.wrap(f"dataset-{dataset}", key, context.encode())
        return key, base64.b64encode(wrapped).decode()

    def data_key(self, dataset: str, wrapped: str, context: str) -> bytes:
        """Opens a data key that the manifest holds. Raises `KeyUnavailable` for who lacks the dataset's key."""
        return self._service.unwrap(f"dataset-{dataset}", base64.b64decode(wrapped), context.encode())


def create_once(path: Path, content: bytes) -> None:
    """Puts a file in place whole, readable by its owner only, unless it exists already."""
    attempt = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        make_folder(path.parent, 0o700)
        descriptor = os.open(attempt, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # somebody was faster: theirs counts, and may not be on the disk yet
            os.link(attempt, path)
        make_durable(path.parent)
    except OSError as error:
        raise KeyUnavailable(f"{path.parent} cannot be written ({error.strerror}): no key can be kept there") from None
    finally:
        with suppress(OSError):  # as a rule it is not there
            attempt.unlink()


def side_by_side(function: Callable, *items: Iterable) -> list[Any]:
    """What a function that waits for the disk returns for each of these, as `map` has it. Several wait at once: one
    after the other they would take longer than the rest of a run. Raises what the first that fails has raised."""
    with ThreadPoolExecutor(DISK_THREADS) as threads:
        return list(threads.map(function, *items))


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Makes a folder, and those above it that are missing, for good."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        folder.mkdir(mode, exist_ok=True)
        make_durable(folder.parent)


def make_durable(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk. A file under no name is lost all the same."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def local_folder(uri: str) -> Path:
    """The folder of a `local:PATH` key URI. Raises ValueError for any other kind."""
    scheme, _, path = uri.partition(":")
    if scheme != "local" or not path:
        raise ValueError(f"keys {uri!r}: only local:PATH is available")
    return Path(path)


@lru_cache(maxsize=64)
def open_keyring(uri: str) -> Keyring:
    """The keyring of a region, for this process. Raises `KeyUnavailable` where there is none."""
    folder = local_folder(uri)
    _check_there(folder)
    return Keyring(LocalKeyService(folder / _WRAPPING), folder / "secrets")


def _check_there(keystore: Path) -> None:
    """Raises `KeyUnavailable` for a keystore that is not there, or not there any more: keys that were made anew in its
    place would be taken for its own when it comes back."""
    if not (keystore / _DESCRIPTION).exists():
        raise KeyUnavailable(f"no keystore at {keystore}: its keys are needed to go on")


def region_of_keystore(uri: str) -> str | None:
    """The region that a keystore was made for, or None where there is no keystore."""
    description = local_folder(uri) / _DESCRIPTION
    if not description.exists():
        return None
    try:
        return json.loads(description.read_text())["region"]
    except (ValueError, KeyError, TypeError):
        raise KeyUnavailable(f"{description} is damaged: bring the keystore back from a backup") from None


def create_keystore(uri: str, region: str) -> None:
    """Makes an empty keystore for a region."""
    create_once(local_folder(uri) / _DESCRIPTION, json.dumps({"format": 1, "region": region}).encode())


def has_wrapping_key(uri: str, key: str) -> bool:
    """Whether the keystore holds this wrapping key."""
    return (local_folder(uri) / _WRAPPING / f"{key}.key").exists()
