import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lines import keystores
from tests.strategies import unhurried
from transforms.exchange import HELD, LEDGER, SEEN, TELEMETRY
from transforms.ipc import from_ipc, to_buffer
from transforms.keyring import BORDER, KeyUnavailable, open_keyring
from transforms.locks import FORMAT, Locks, StateMismatch

SHARDS = 4
KEY = 2 * SHARDS + 1  # region 2, shard 1


@pytest.fixture(scope="module")
def uris(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {2: "eu", 5: "us"})


@pytest.fixture(scope="module")
def locks(uris):
    return Locks(uris, SHARDS)


@unhurried
@given(st.binary(max_size=300), st.sampled_from([TELEMETRY, LEDGER, HELD, SEEN]), st.integers(0, SHARDS - 1))
def test_what_was_locked_opens(locks, content, kind, shard):
    for region in (2, 5):
        key = region * SHARDS + shard
        assert locks.unlock(key, kind, locks.lock(key, kind, content)) == content


def test_whatever_lies_in_memory_is_locked_alike(locks):
    numbers = np.arange(7, dtype=np.uint64)
    for content in (numbers.tobytes(), pa.py_buffer(numbers.tobytes()), numbers, numbers[:0], pa.py_buffer(b"")):
        opened = locks.unlock(KEY, SEEN, locks.lock(KEY, SEEN, content))
        assert opened == np.frombuffer(content, np.uint64).tobytes()
    batch = pa.record_batch({"number": pa.array(numbers)})
    locked = locks.lock(KEY, TELEMETRY, to_buffer(batch))
    assert type(locked) is bytes  # no other type passes the coder
    assert from_ipc(locks.unlock(KEY, TELEMETRY, locked)).equals(batch)


@pytest.mark.clause("6-cn")
def test_nothing_of_the_content_is_in_what_is_locked(locks):
    content = b"0123456789abcdef" * 100
    first, second = (locks.lock(KEY, LEDGER, content) for _ in range(2))
    assert first != second  # equal contents are not seen to be equal
    assert len(first) == len(content) + 45
    for locked in (first, second):
        assert all(content[at : at + 4] not in locked for at in range(16))


def test_every_worker_has_a_key_of_its_own_that_others_can_derive(uris, locks):
    """Random nonces under one key would not last for the life of a stream."""
    locked = [Locks(uris, SHARDS).lock(KEY, LEDGER, b"content") for _ in range(20)]
    assert len({payload[1:17] for payload in locked}) == 20
    assert {locks.unlock(KEY, LEDGER, payload) for payload in locked} == {b"content"}


def test_another_region_has_another_secret(uris):
    secrets = {open_keyring(uri).secret("state", BORDER, make=False) for uri in uris.values()}
    assert len(secrets) == len(uris)


@pytest.mark.parametrize("key, kind", [(KEY + 1, LEDGER), (5 * SHARDS + 1, LEDGER), (KEY, TELEMETRY)])
def test_what_is_put_in_anothers_place_does_not_open(locks, key, kind):
    locked = locks.lock(KEY, LEDGER, b"content of a payload")
    with pytest.raises(KeyUnavailable, match=f"kind {kind} of key {key}") as error:
        locks.unlock(key, kind, locked)
    assert "content" not in str(error.value)


def test_another_number_of_shards_is_another_place(locks, uris):
    key = 10  # of region 2 among four shards a region, and among five
    with pytest.raises(KeyUnavailable, match="number of shards"):
        Locks(uris, 5).unlock(key, LEDGER, locks.lock(key, LEDGER, b"content"))


def test_the_state_of_another_cell_does_not_open(locks):
    with pytest.raises(KeyUnavailable, match="region code 3: its state belongs to another cell"):
        locks.unlock(3 * SHARDS, LEDGER, locks.lock(KEY, LEDGER, b"content"))


@unhurried
@given(st.data())
def test_a_damaged_payload_does_not_open(locks, data):
    locked = bytearray(locks.lock(KEY, LEDGER, b"content"))
    at = data.draw(st.integers(1, len(locked) - 1))
    locked[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(KeyUnavailable):
        locks.unlock(KEY, LEDGER, bytes(locked))
    with pytest.raises(KeyUnavailable):
        locks.unlock(KEY, LEDGER, bytes(locked[:at]))


def test_another_format_is_refused_by_name(locks):
    locked = locks.lock(KEY, LEDGER, b"content")
    for first in (bytes([FORMAT + 1]), b"\x00", b""):
        with pytest.raises(StateMismatch, match="newer version") as error:
            locks.unlock(KEY, LEDGER, first + locked[1:] if first else b"")
        assert "content" not in str(error.value)


def test_locks_stay_in_their_process(locks):
    with pytest.raises(TypeError, match="does not pickle"):
        pickle.dumps(locks)
    assert "AESGCM" not in repr(locks)
