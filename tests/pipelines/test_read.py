"""`douane read`: every format gives the same rows back, to who has the keys and to nobody else."""

import csv
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import read
from tests.stranger import HANDSETS, command


def read_back(prepared, dataset, out, *more, region="eu"):
    given = ("--deployment", prepared.deployment, "--region", region, "--dataset", dataset, "--out", out)
    return command(read, *given, *more)


def rows_of(path):
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def in_words(rows):
    """Rows as every format can tell them: bytes in hexadecimal, null as nothing, times without their notation."""
    return [{name: _word(value) for name, value in row.items()} for row in rows]


def _word(value):
    if isinstance(value, bytes):
        return value.hex()
    word = "" if value is None else str(value)
    return word.replace("T", " ").replace("Z", "+00:00").replace(".000", "") if "2021-" in word else word


@pytest.mark.clause("5.2-port")
@pytest.mark.parametrize("dataset", ["service", "activation", "push", "audit"])
def test_all_formats_tell_the_same_rows(prepared, tmp_path, dataset):
    told = []
    for suffix in read.FORMATS:
        out = tmp_path / f"out{suffix}"
        outcome = read_back(prepared, dataset, out)
        assert (outcome.status, outcome.err) == (0, "")
        told.append(in_words(rows_of(out)))
        assert outcome.out.startswith(f"{len(told[0])} rows of {dataset} in eu written to ")
    assert told[0] and told[0] == told[1] == told[2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.jsonl", "out.parquet"]


@pytest.mark.parametrize("suffix", read.FORMATS)
def test_reveal_brings_sealed_identifiers_back_as_text(prepared, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    columns = ("device_imei", "device_imsi", "device_mac")
    outcome = read_back(prepared, "activation", out, *(word for name in columns for word in ("--reveal", name)))
    assert (outcome.status, outcome.err) == (0, "")
    found = {tuple(row[name] for name in columns) for row in rows_of(out)}
    assert found == {(imei, imsi, mac) for imei, imsi, mac, _ in HANDSETS.values()}

    outcome = read_back(prepared, "push", out, "--reveal", "device_fcm_token")
    assert (outcome.status, outcome.err) == (0, "")
    tokens = [row["device_fcm_token"] for row in rows_of(out)]
    assert sorted(token for token in tokens if token) == sorted(token for *_, token in HANDSETS.values())
    assert len(tokens) == 3  # the third event carried none, and has none


def test_what_is_not_asked_for_stays_sealed(prepared, tmp_path):
    out = tmp_path / "out.csv"
    assert read_back(prepared, "activation", out, "--reveal", "device_imei").status == 0
    text = out.read_text()
    for imei, imsi, mac, _ in HANDSETS.values():
        assert imei in text
        assert imsi not in text and mac not in text
        assert imsi.encode().hex() not in text and mac.replace(":", "") not in text


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("device_android_id", "not reversibly sealed; a token has no way back"),
        ("event_type", "not reversibly sealed"),
        ("received_date", "not reversibly sealed"),
        ("device_oaid", "no such column in activation"),
    ],
)
def test_reveal_of_another_column_is_an_error(prepared, tmp_path, column, wrong):
    outcome = read_back(prepared, "activation", tmp_path / "out.csv", "--reveal", column)
    assert outcome.status == 2
    assert wrong in outcome.err and column in outcome.err and len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("region", "dataset", "out", "wrong"),
    [
        ("eu", "service", "out.xlsx", "end it in one of .parquet, .jsonl, .csv"),
        ("eu", "service", "out", "end it in one of"),
        ("eu", "service", "nowhere/out.csv", "No such file or directory"),
        ("eu", "servise", "out.csv", "region eu holds no rows of dataset 'servise'; it holds: "),
        ("ue", "service", "out.csv", "no region 'ue'; it has cn, in, ru, eu, us, sg"),
    ],
)
def test_what_cannot_be_done_is_told_in_one_line(prepared, tmp_path, region, dataset, out, wrong):
    outcome = read_back(prepared, dataset, tmp_path / out, region=region)
    assert outcome.status == 2
    assert wrong in outcome.err and len(outcome.err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_in_the_way_is_left_alone(prepared, tmp_path):
    (tmp_path / "out.csv").mkdir()
    outcome = read_back(prepared, "service", tmp_path / "out.csv")
    assert (outcome.status, len(outcome.err.splitlines())) == (2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.clause("4.1-c")
@pytest.mark.parametrize("lost", ["keys/eu", "keys/eu/wrapping", "keys/eu/wrapping/dataset-service.key"])
def test_without_the_keys_nothing_is_read(prepared, tmp_path, lost):
    bereft = prepared.copy(tmp_path / "copy")
    path = bereft.folder / lost
    manifest = bereft.folder / "keys/eu/manifest"
    shutil.move(manifest, tmp_path / "manifest")
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.move(tmp_path / "manifest", manifest)
    outcome = read_back(bereft, "service", tmp_path / "out.csv")
    assert outcome.status == 2
    assert "keys" in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.clause("4.1-c")
@pytest.mark.parametrize(("region", "dataset"), [("eu", "service"), ("ru", "activation"), ("eu", "servise")])
def test_without_a_keystore_nobody_is_told_that_there_is_nothing(prepared, tmp_path, region, dataset):
    """Whether the dataset has rows there, or none, or is none."""
    bereft = prepared.copy(tmp_path / "copy")
    shutil.rmtree(bereft.folder / "keys" / region)
    outcome = read_back(bereft, dataset, tmp_path / "out.csv", region=region)
    assert outcome.status == 2
    assert f"no keystore at {bereft.folder / 'keys' / region}" in outcome.err and "holds no rows" not in outcome.err
    assert len(outcome.err.splitlines()) == 1 and not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("suffix", read.FORMATS)
def test_a_dataset_that_holds_no_rows_is_read_as_empty(prepared, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    outcome = read_back(prepared, "activation", out, region="ru")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("0 rows of activation in ru written to ")
    assert rows_of(out) == []
    if suffix != ".jsonl":  # whose lines are all that it has
        columns = pq.read_schema(out).names if suffix == ".parquet" else next(csv.reader(out.open()))
        assert "device_imei" in columns and columns[-1] == "received_date"


@pytest.mark.clause("4.1-c")
def test_a_key_of_another_deployment_is_refused(prepared, tmp_path):
    other = prepared.copy(tmp_path / "copy")
    (other.folder / "keys/eu/wrapping/dataset-service.key").write_bytes(b"\7" * 32)
    outcome = read_back(other, "service", tmp_path / "out.csv")
    assert outcome.status == 2
    assert "is not the one that was used" in outcome.err and len(outcome.err.splitlines()) == 1


def test_another_secret_reveals_nothing(prepared, tmp_path):
    other = prepared.copy(tmp_path / "copy")
    (other.folder / "keys/eu/secrets/reversible/activation/imei.wrapped").unlink()
    outcome = read_back(other, "activation", tmp_path / "out.csv", "--reveal", "device_imei")
    assert outcome.status == 2
    assert "no key 'reversible/activation/imei'" in outcome.err and len(outcome.err.splitlines()) == 1
    assert not (tmp_path / "out.csv").exists()
    assert not (other.folder / "keys/eu/secrets/reversible/activation/imei.wrapped").exists()


@pytest.mark.parametrize("spoil", ["missing", "altered", "cut"])
def test_a_failed_export_leaves_an_older_one_as_it_was(prepared, tmp_path, spoil):
    spoilt = prepared.copy(tmp_path / "copy")
    path = next(spoilt.folder.glob("stores/eu/service/*/*.parquet"))
    content = bytearray(path.read_bytes())
    if spoil == "missing":
        path.unlink()
    else:
        content[10] ^= 1
        path.write_bytes(content if spoil == "altered" else content[:-100])
    out = tmp_path / "out" / "old.csv"
    out.parent.mkdir()
    out.write_text("as it was")
    outcome = read_back(spoilt, "service", out)
    assert outcome.status == 4
    assert "dataset service of region eu cannot be read" in outcome.err and len(outcome.err.splitlines()) == 1
    assert out.read_text() == "as it was"
    assert [path.name for path in out.parent.iterdir()] == ["old.csv"]


def test_hexadecimal_keeps_nulls_and_the_bounds_of_slices():
    values = pa.array([b"skipped", b"\x00\xff", None, b"", b"\x7f"], pa.binary())
    assert read._hex(values.slice(1)).to_pylist() == ["00ff", None, "", "7f"]
    assert read._hex(values.slice(0, 0)).to_pylist() == []
    assert read._hex(pa.array([b"ab", None], pa.binary(2)).slice(1)).to_pylist() == [None]
