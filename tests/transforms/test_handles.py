from unittest import mock

import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.handles import handles, matching

BLOCKS = st.binary(min_size=16, max_size=16)
FEW = st.sampled_from([bytes(16), b"a" * 16, b"b" * 16, b"\xff" * 16])
ROWS = st.lists(st.tuples(st.none() | FEW | BLOCKS, BLOCKS), max_size=20)


def columns(rows, before=0):
    """Both columns, as slices that begin after `before` other rows."""
    rows = [(b"z" * 16, b"y" * 16)] * before + rows
    tokens, events = (pa.array([row[place] for row in rows], pa.binary(16)) for place in (0, 1))
    return tokens.slice(before), events.slice(before)


def by_definition(token, event):
    def p(block):
        return Cipher(AES(bytes.fromhex("243f6a8885a308d313198a2e03707344")), ECB()).encryptor().update(block)

    def xor(one, other):
        return bytes(a ^ b for a, b in zip(one, other, strict=True))

    return None if token is None else xor(p(xor(p(token), event)), p(token))


@unhurried
@given(ROWS, st.integers(0, 3))
def test_a_handle_is_the_hash_of_the_token_tweaked_by_the_event(rows, before):
    found = handles(*columns(rows, before))
    assert found.to_pylist() == [by_definition(*row) for row in rows]
    assert bytes(16) * found.null_count == b"".join(
        found.buffers()[1].to_pybytes()[16 * n : 16 * n + 16] for n, row in enumerate(rows) if row[0] is None
    )


@unhurried
@given(ROWS, st.lists(FEW, unique=True), st.integers(0, 3), st.sampled_from([1, 7, 1 << 16]))
def test_a_token_finds_its_rows_and_no_others(rows, tokens, before, pairs):
    made = handles(*columns(rows, before))
    padded = pa.concat_arrays([pa.array([b"z" * 16] * before, pa.binary(16)), made]).slice(before)
    with mock.patch("transforms.handles._PAIRS", pairs):
        found = matching(padded, columns(rows, before)[1], pa.array(tokens, pa.binary(16)))
    expected = [(row, tokens.index(token)) for row, (token, _) in enumerate(rows) if token in tokens]
    assert sorted(zip(*(side.tolist() for side in found), strict=True)) == expected


@pytest.mark.clause("2-log")
def test_one_subject_has_no_two_handles_alike():
    events = pa.array([number.to_bytes(16, "big") for number in range(1_000)], pa.binary(16))
    same = pa.array([b"the same token. "] * 1_000, pa.binary(16))
    found = set(handles(same, events).to_pylist())
    assert len(found) == 1_000 and not found & {b"the same token. ", *events.to_pylist()}
