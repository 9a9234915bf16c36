import copy
import pickle
import time

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from transforms.cmac import ColumnCmac, ColumnSiv

KEY = bytes(range(32))
MESSAGE = bytes.fromhex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
    "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
)
AES_128 = "2b7e151628aed2a6abf7158809cf4f3c"
AES_256 = "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"
VECTORS = {
    # RFC 4493, section 4
    (AES_128, 0): "bb1d6929e95937287fa37d129b756746",
    (AES_128, 16): "070a16b46b4d4144f79bdd9dd04a287c",
    (AES_128, 40): "dfa66747de9ae63030ca32611497c827",
    (AES_128, 64): "51f0bebf7e3b9d92fc49741779363cfe",
    # NIST SP 800-38B, appendix D.3, and its later example of 20 bytes
    (AES_256, 0): "028962f61b7bf89efc6b551f4667d983",
    (AES_256, 16): "28a7023f452e8f82bd4bf28d8c37c35c",
    (AES_256, 20): "156727dc0878944a023c1fe03bad6d93",
    (AES_256, 40): "aaf3d8f1de5640c232f5b169b9c911e6",
    (AES_256, 64): "e1992190549f6ed5696a2c056c315410",
}


def oracle(key: bytes, value: bytes | str | None) -> bytes | None:
    if value is None:
        return None
    mac = CMAC(algorithms.AES(key))
    mac.update(value.encode() if isinstance(value, str) else value)
    return mac.finalize()


def pieces(data, column: pa.Array) -> pa.Array:
    start = data.draw(st.integers(0, len(column)))
    return column.slice(start, data.draw(st.integers(0, len(column) - start)))


def with_bytes_under_nulls(rows: list[bytes], valid: list[bool]) -> pa.Array:
    bitmap = pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.binary(len(rows[0])), len(rows), [bitmap, pa.py_buffer(b"".join(rows))])


@pytest.mark.parametrize(("key", "length"), VECTORS)
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), None])
def test_tag_equals_the_published_vectors(key, length, kind):
    values = pa.array([MESSAGE[:length]], kind or pa.binary(length))
    assert ColumnCmac(bytes.fromhex(key)).tag(values).to_pylist() == [bytes.fromhex(VECTORS[key, length])]


@given(
    st.data(),
    st.binary(min_size=32, max_size=32),
    st.sampled_from([pa.string(), pa.large_string(), pa.binary(), pa.large_binary()]),
)
def test_tag_of_any_column_equals_cryptography(data, key, kind):
    is_text = kind in (pa.string(), pa.large_string())
    # 80 characters of up to 4 bytes reach further than 80 bytes: lengths around every block edge up to there occur.
    value = st.text(max_size=80) if is_text else st.binary(max_size=80)
    column = pieces(data, pa.array(data.draw(st.lists(st.none() | value, max_size=30)), kind))
    tags = ColumnCmac(key).tag(column)
    tags.validate(full=True)
    assert tags.type == pa.binary(16)
    assert tags.to_pylist() == [oracle(key, value) for value in column.to_pylist()]


@given(st.data(), st.integers(0, 40))
def test_tag_of_fixed_width_equals_cryptography(data, width):
    value = st.none() | st.binary(min_size=width, max_size=width)
    column = pieces(data, pa.array(data.draw(st.lists(value, max_size=20)), pa.binary(width)))
    assert ColumnCmac(KEY).tag(column).to_pylist() == [oracle(KEY, value) for value in column.to_pylist()]


@pytest.mark.parametrize("length", range(81))
def test_tag_at_every_length(length):
    value = bytes(range(100, 100 + length))
    assert ColumnCmac(KEY).tag(pa.array([b"", value, b"x" * 40])).to_pylist()[1] == oracle(KEY, value)


@given(st.data(), st.integers(1, 16))
def test_untag_finds_the_value_again(data, width):
    value = st.none() | st.binary(min_size=width, max_size=width)
    column = pa.array(data.draw(st.lists(value, max_size=20)), pa.binary(width))
    cmac = ColumnCmac(KEY)
    tags = pieces(data, cmac.tag(column).take(pa.array(np.arange(len(column))[::-1])))
    assert cmac.tag(cmac.untag(tags, width)) == tags
    assert cmac.untag(cmac.tag(column), width) == column


def test_single_blocks_are_permuted():
    every = np.arange(2**16, dtype=np.uint16)
    cmac = ColumnCmac(KEY)
    tags = cmac.tag(pa.Array.from_buffers(pa.binary(2), len(every), [None, pa.py_buffer(every)]))
    assert len(tags.unique()) == len(every)
    assert np.array_equal(np.frombuffer(cmac.untag(tags, 2).buffers()[1], np.uint16), every)


@pytest.mark.clause("2-analytics")
def test_equal_values_share_a_tag_under_one_key_and_none_under_two():
    values = pa.array(["a", "b", "a", "", None])
    one, other = ColumnCmac(KEY).tag(values).to_pylist(), ColumnCmac(KEY[::-1]).tag(values).to_pylist()
    assert one[0] == one[2]
    assert len(set(one[1:4])) == 3
    assert set(one[:4]).isdisjoint(other[:4])


@pytest.mark.parametrize("width", [8, 16, 24])
def test_no_bytes_stay_under_nulls(width):
    cmac = ColumnCmac(KEY)
    tags = cmac.tag(with_bytes_under_nulls([b"a" * width, b"b" * width, b"c" * width], [True, False, True]))
    assert tags.is_valid().to_pylist() == [True, False, True]
    assert bytes(tags.buffers()[1])[16:32] == bytes(16)
    if width <= 16:
        assert bytes(cmac.untag(tags, width).buffers()[1]) == b"a" * width + bytes(width) + b"c" * width


def test_untag_looks_at_no_byte_under_a_null():
    tag = oracle(KEY, b"12345678")
    tags = with_bytes_under_nulls([tag, b"?" * 16], [True, False])
    assert ColumnCmac(KEY).untag(tags, 8).to_pylist() == [b"12345678", None]


@pytest.mark.parametrize("width", [1, 7, 9, 15])
def test_untag_refuses_other_widths_and_other_keys(width):
    tags = ColumnCmac(KEY).tag(pa.array([b"secret-8"], pa.binary(8)))
    with pytest.raises(ValueError, match="another width") as wrong:
        ColumnCmac(KEY).untag(tags, width)
    assert "secret" not in str(wrong.value)
    with pytest.raises(ValueError):
        ColumnCmac(KEY[::-1]).untag(tags, 8)


def test_a_column_without_rows():
    cmac = ColumnCmac(KEY)
    without_offset = pa.StringArray.from_buffers(0, pa.py_buffer(b""), pa.py_buffer(b""))
    for empty in (
        without_offset,
        pa.array([], pa.large_string()),
        pa.array([], pa.binary(16)),
        pa.array([], pa.binary(6)),
    ):
        assert cmac.tag(empty) == pa.array([], pa.binary(16))
    assert cmac.untag(pa.array([], pa.binary(16)), 6) == pa.array([], pa.binary(6))


def test_one_long_value_does_not_make_its_neighbours_dear():
    short = [f"{i:08}" for i in range(25_000)]
    cmac = ColumnCmac(KEY)
    started = time.process_time()
    tags = cmac.tag(pa.array([*short, "x" * 65_536]))
    # 4096 turns over all rows would take ten seconds and more.
    assert time.process_time() - started < 3
    assert tags[-1].as_py() == oracle(KEY, "x" * 65_536)
    assert tags[0].as_py() == oracle(KEY, short[0])


def test_what_cannot_be_tagged_is_refused():
    cmac = ColumnCmac(KEY)
    for column in (pa.array([7]), pa.array([], pa.int64())):
        with pytest.raises(TypeError, match="int64"):
            cmac.tag(column)
    with pytest.raises(TypeError):
        cmac.untag(pa.array([b"12345678"], pa.binary(8)), 8)
    for width in (0, 17):
        with pytest.raises(ValueError):
            cmac.untag(pa.array([], pa.binary(16)), width)
    for key in (b"", bytes(24), bytes(31), bytes(64)):
        with pytest.raises(ValueError):
            ColumnCmac(key)
    for key in (bytes(32), bytes(48)):
        with pytest.raises(ValueError):
            ColumnSiv(key)


@given(st.lists(st.none() | st.binary(max_size=60), max_size=20), st.binary(min_size=64, max_size=64))
def test_siv_decrypts_what_it_encrypted(values, key):
    siv, column = ColumnSiv(key), pa.array(values, pa.binary())
    sealed = siv.encrypt(column)
    assert sealed.type == pa.binary()
    assert siv.decrypt(sealed) == column
    assert siv.encrypt(column) == sealed
    assert len(sealed.unique()) == len(column.unique())


@given(st.binary(min_size=16, max_size=80))
def test_siv_is_that_of_rfc_5297(value):
    mac_key, counter_key = KEY, KEY[::-1]
    # S2V of one string of a block or more (section 2.4): the CMAC of the string with D XORed into its end.
    end = int.from_bytes(value[-16:], "big") ^ int.from_bytes(oracle(mac_key, bytes(16)), "big")
    synthetic = oracle(mac_key, value[:-16] + end.to_bytes(16, "big"))
    # Counter mode from there, the 31st and 63rd bit cleared (section 2.5).
    start = int.from_bytes(synthetic, "big") & ~(1 << 31 | 1 << 63)
    text = Cipher(algorithms.AES(counter_key), modes.CTR(start.to_bytes(16, "big"))).encryptor().update(value)
    assert ColumnSiv(mac_key + counter_key).encrypt(pa.array([value])).to_pylist() == [synthetic + text]


def test_siv_takes_text_and_slices_and_keeps_nothing_under_nulls():
    siv = ColumnSiv(KEY + KEY[::-1])
    sealed = siv.encrypt(pa.array(["left out", "token", None, "token"]).slice(1))
    assert siv.decrypt(sealed).to_pylist() == [b"token", None, b"token"]
    assert sealed[0] == sealed[2]
    assert sealed.buffers()[2].size == 2 * (5 + 16)


def test_siv_refuses_altered_ciphertexts_and_other_keys():
    siv = ColumnSiv(KEY + KEY[::-1])
    [sealed] = siv.encrypt(pa.array(["dGVzdA:APA91b"])).to_pylist()
    for wrong, opener in ((sealed[:-1] + b"\0", siv), (sealed[:10], siv), (sealed, ColumnSiv(KEY[::-1] + KEY))):
        with pytest.raises(ValueError, match="another key") as refused:
            opener.decrypt(pa.array([wrong]))
        assert "APA91b" not in str(refused.value)


@pytest.mark.parametrize("holder", [ColumnCmac(KEY), ColumnSiv(KEY + KEY)])
def test_key_material_neither_pickles_nor_shows(holder):
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="key material does not pickle"):
            attempt(holder)
    assert not hasattr(holder, "__dict__")
    shown = repr(holder) + str(holder)
    assert KEY.hex() not in shown and str(KEY)[2:-1] not in shown and str(list(KEY))[1:-1] not in shown
