import stat
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from schemas.quarantine import ENVELOPE
from schemas.shape import MAX_LINE_BYTES
from tests.strategies import few, unhurried
from transforms.envelope import create_pair, key_id, open_lines, read_private, read_public, seal_lines
from transforms.keyring import KeyUnavailable

PRIVATE = X25519PrivateKey.generate()
PUBLIC = PRIVATE.public_key()
PLACE = "eu/telemetry"
TAG = 16


def ids(lines: list[bytes]) -> list[bytes]:
    return [number.to_bytes(16) for number in range(len(lines))]


def sealed(lines: list[bytes], place: str = PLACE) -> pa.Table:
    rows = seal_lines(lines, ids(lines), PUBLIC, place)
    return pa.Table.from_batches([rows]).append_column("row_id", pa.array(ids(lines), pa.binary(16)))


def with_column(rows: pa.Table, name: str, values: list) -> pa.Table:
    at = rows.schema.get_field_index(name)
    return rows.set_column(at, name, pa.array(values, rows.schema.field(name).type))


@unhurried
@given(st.lists(st.binary(max_size=2_000), max_size=6))
def test_lines_come_back_as_they_were(lines):
    assert open_lines(sealed(lines), PRIVATE, PLACE) == lines


@few
@given(st.integers(0, MAX_LINE_BYTES + 1))
def test_the_size_of_a_payload_is_one_of_few(length):
    rows = sealed([b"x" * length])
    (size,) = rows["bytes"].to_pylist()
    assert size in {256 << power for power in range(9)} | {65 << 10}
    assert size >= length + 4 and (size == 256 or size < 2 * (length + 4))
    assert len(rows["payload"][0].as_py()) == size + TAG


@pytest.mark.parametrize(
    ("length", "size"),
    [
        (0, 256),
        (252, 256),
        (253, 512),
        (MAX_LINE_BYTES - 4, 64 << 10),
        (MAX_LINE_BYTES - 3, 65 << 10),
        (MAX_LINE_BYTES + 1, 65 << 10),
        (MAX_LINE_BYTES + 1020, 65 << 10),
        (MAX_LINE_BYTES + 1021, 128 << 10),
    ],
)
def test_classes_of_size(length, size):
    assert sealed([b"x" * length])["bytes"].to_pylist() == [size]


def test_nothing_of_a_line_can_be_seen_and_no_two_rows_look_alike():
    rows = sealed([b"the same", b"the same"])
    assert rows.select(ENVELOPE.names).schema.equals(ENVELOPE)
    assert b"the same" not in b"".join(value for name in ("sealed_key", "payload") for value in rows[name].to_pylist())
    assert pc.count_distinct(rows["payload"]).as_py() == pc.count_distinct(rows["nonce"]).as_py() == 2
    assert rows["key_id"].unique().to_pylist() == [key_id(PUBLIC)]


def test_a_batch_has_one_content_key_and_the_next_another():
    first, second = sealed([b"a", b"b"]), sealed([b"a", b"b"])
    assert pc.count_distinct(first["sealed_key"]).as_py() == 1
    assert first["sealed_key"][0] != second["sealed_key"][0]
    assert open_lines(pa.concat_tables([first, second]), PRIVATE, PLACE) == [b"a", b"b", b"a", b"b"]


def test_a_row_without_payload_has_no_line():
    rows = sealed([b"a", b"b"])
    rows = with_column(rows, "payload", [None, rows["payload"][1].as_py()])
    assert open_lines(rows, PRIVATE, PLACE) == [None, b"b"]


def test_another_key_opens_nothing():
    with pytest.raises(KeyUnavailable, match="eu/telemetry was sealed to another key"):
        open_lines(sealed([b"a"]), X25519PrivateKey.generate(), PLACE)


@pytest.mark.parametrize("place", ["us/telemetry", "eu/ledger"])
def test_a_line_opens_only_where_it_was_put(place):
    with pytest.raises(KeyUnavailable):
        open_lines(sealed([b"a"]), PRIVATE, place)


@pytest.mark.parametrize("name", ["row_id", "sealed_key", "nonce", "payload"])
@few
@given(data=st.data())
def test_an_altered_row_does_not_open_and_the_error_holds_no_value(name, data):
    rows = sealed([b"secret words"])
    (value,) = rows[name].to_pylist()
    at = data.draw(st.integers(0, 8 * len(value) - 1))
    altered = (int.from_bytes(value) ^ (1 << at)).to_bytes(len(value))
    with pytest.raises(KeyUnavailable) as caught:
        open_lines(with_column(rows, name, [altered]), PRIVATE, PLACE)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


@pytest.mark.parametrize("name", ["sealed_key", "payload"])
def test_what_was_cut_short_does_not_open(name):
    with pytest.raises(KeyUnavailable):
        open_lines(with_column(sealed([b"a"]), name, [b"short"]), PRIVATE, PLACE)


def test_lines_of_two_rows_cannot_be_exchanged():
    rows = sealed([b"a", b"b"])
    swapped = with_column(rows, "row_id", rows["row_id"].to_pylist()[::-1])
    with pytest.raises(KeyUnavailable):
        open_lines(swapped, PRIVATE, PLACE)


@dataclass
class Pair:
    public: Path
    private: Path


@pytest.fixture
def pair(tmp_path) -> Pair:
    made = Pair(tmp_path / "keys" / "quarantine.pub", tmp_path / "private" / "eu.pem")
    create_pair(made.public, made.private)
    return made


def test_a_pair_fits_and_its_private_half_is_its_owners_alone(pair):
    public, private = read_public(pair.public), read_private(pair.private)
    assert key_id(public) == key_id(private.public_key())
    assert stat.S_IMODE(pair.private.stat().st_mode) == 0o600
    assert b"PRIVATE" not in pair.public.read_bytes()


def test_a_private_key_is_never_replaced(pair):
    before = pair.private.read_bytes()
    pair.public.unlink()
    create_pair(pair.public, pair.private)
    assert pair.private.read_bytes() == before
    assert key_id(read_public(pair.public)) == key_id(read_private(pair.private).public_key())


def test_no_public_key_is_none_and_no_private_key_an_error(tmp_path):
    assert read_public(tmp_path / "quarantine.pub") is None
    with pytest.raises(KeyUnavailable, match="eu.pem cannot be read"):
        read_private(tmp_path / "eu.pem")


def test_what_is_no_key_is_an_error_that_names_the_file(pair):
    content = pair.private.read_bytes()
    with pytest.raises(KeyUnavailable, match="eu.pem holds no X25519 key"):
        read_public(pair.private)
    with pytest.raises(KeyUnavailable, match="quarantine.pub holds no X25519 key"):
        read_private(pair.public)
    pair.private.write_bytes(content[:40])
    with pytest.raises(KeyUnavailable) as caught:
        read_private(pair.private)
    assert content[28:40].decode() not in str(caught.value)
