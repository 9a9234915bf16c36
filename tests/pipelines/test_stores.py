"""Stores: encrypted for real, bound to their place, replay-safe, and read by what the manifest names."""

from dataclasses import replace

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipelines.deployment import load_deployment, prepare
from pipelines.errors import ConfigurationError
from pipelines.manifest import Entry
from pipelines.shared_files import files_of
from pipelines.stores import commit, open_dataset, retire, stage, sweep, unlocked
from pipelines.whole_files import put_whole
from schemas.datasets import AUDIT, datasets
from schemas.pack_files import load_pack
from tests.stranger import deploy
from transforms.keyring import KeyUnavailable, open_keyring

LOGICAL, DAY = "abc-0-0", "2021-03-01"


def batch(numbers, **more):
    words = pa.array([f"word-{number}" for number in numbers]).dictionary_encode()
    return pa.record_batch({"event_type": words, "service_secretly": pa.array(numbers, pa.int64()), **more})


def write(*file):
    commit([stage(*file, "run")])


@pytest.fixture
def deployment(tmp_path):
    made = load_deployment(deploy(tmp_path, ("eu", "us")))
    for place in made.regions.values():
        prepare(place, lambda _: None)
    return made


@pytest.fixture
def eu(deployment):
    return deployment.place("eu")


def files(place):
    return sorted(path for path in place.store.rglob("*") if path.is_file())


def numbers(dataset, **how):
    return sorted(dataset.to_table(**how)["service_secretly"].to_pylist())


@pytest.mark.clause("4.1-b")
def test_files_are_encrypted_footer_and_all(eu):
    write(eu, "service", DAY, LOGICAL, batch(range(1000)))
    (path,) = files(eu)
    assert path.parent == eu.store / "service" / "received_date=2021-03-01"
    assert path.name.startswith(LOGICAL + ".") and path.suffix == ".parquet"
    content = path.read_bytes()
    assert content[:4] == content[-4:] == b"PARE"
    for plain in (b"service_secretly", b"event_type", b"word-", b"parquet-cpp", b"ARROW", b"schema"):
        assert plain not in content
    with pytest.raises((OSError, pa.ArrowInvalid)):
        pq.read_table(path)


@pytest.mark.clause("4.1-b")
def test_no_two_files_share_a_key_and_no_key_is_stored_open(eu):
    for logical in ("a-0-0", "b-0-0"):
        write(eu, "service", DAY, logical, batch([1]))
    one, two = eu.manifest.entries("service")
    ring = eu.keyring()
    keys = {ring.data_key("service", e.wrapped_key, f"eu/service/{DAY}/{e.file}") for e in (one, two)}
    assert len(keys) == 2
    kept = b"".join(path.read_bytes() for path in eu.manifest_folder.parent.rglob("*") if path.is_file())
    assert not any(key in kept or key.hex().encode() in kept for key in keys)


def test_digests_are_the_rows_and_nobody_can_guess_them(deployment, eu):
    for place, logical, rows in [
        (eu, "a-0-0", batch([1])),
        (eu, "b-0-0", batch([1])),
        (eu, "c-0-0", batch([2])),
        (deployment.place("us"), "a-0-0", batch([1])),
    ]:
        write(place, "service", DAY, logical, rows)
    same, again, other = (entry.digest for entry in eu.manifest.entries("service"))
    (elsewhere,) = (entry.digest for entry in deployment.place("us").manifest.entries("service"))
    write(eu, "legal", DAY, "a-0-0", batch([1]))
    (beside,) = (entry.digest for entry in eu.manifest.entries("legal"))
    assert same == again
    assert len({same, other, elsewhere, beside}) == 4


def test_who_has_the_keys_of_the_audit_alone_can_write_there(eu):
    write(eu, "service", DAY, "a-0-0", batch([1]))
    open_keyring.cache_clear()
    wrapping = eu.manifest_folder.parent / "wrapping"
    for key in wrapping.glob("*.key"):
        key.unlink()
    write(eu, AUDIT, DAY, "access-0", batch([1]))
    assert [path.stem for path in wrapping.iterdir()] == [f"dataset-{AUDIT}"]
    with pytest.raises(KeyUnavailable):
        write(eu, "service", DAY, "b-0-0", batch([1]))


def test_of_tokens_no_least_and_greatest_are_written(eu):
    tokens = pa.array([bytes(16), bytes([255]) * 16], pa.binary(16))
    write(eu, "service", DAY, LOGICAL, batch([1, 2], token=tokens, sealed=tokens.cast(pa.binary())))
    path, decryption = unlocked(eu, *files_of(eu.manifest.entries("service")))
    with pq.ParquetFile(path, decryption_properties=decryption) as file:
        group, names = file.metadata.row_group(0), file.schema_arrow.names
    told = {name for place, name in enumerate(names) if group.column(place).is_stats_set}
    assert told == {"event_type", "service_secretly"}


def test_open_by_path_and_by_deployment(tmp_path, deployment, eu):
    write(eu, "service", DAY, LOGICAL, batch([3, 1]))
    for given in (deployment, deployment.path, str(tmp_path / "deployment.yaml")):
        dataset = open_dataset(given, "eu", "service")
        assert dataset.schema.names == ["event_type", "service_secretly", "received_date"]
        assert numbers(dataset) == [1, 3]


def test_the_day_of_receipt_is_a_column_and_prunes(eu, deployment):
    for day, rows in (("2021-03-01", [1]), ("2021-03-02", [2, 3])):
        write(eu, "service", day, LOGICAL, batch(rows))
    dataset = open_dataset(deployment, "eu", "service")
    wanted = pc.field("received_date") == "2021-03-02"
    assert numbers(dataset, filter=wanted) == [2, 3]
    assert set(dataset.to_table()["received_date"].to_pylist()) == {"2021-03-01", "2021-03-02"}
    assert len(list(dataset.get_fragments(filter=wanted))) == 1


def test_duckdb_reads_it_with_filters_pushed_down(eu, deployment):
    write(eu, "service", "2021-03-01", LOGICAL, batch(range(100)))
    write(eu, "service", "2021-03-02", LOGICAL, batch(range(100, 200)))
    connection = duckdb.connect()
    connection.register("service", open_dataset(deployment, "eu", "service"))
    query = """SELECT count(*), min(service_secretly) FROM service
               WHERE service_secretly >= 150 AND received_date = '2021-03-02'"""
    assert connection.sql(query).fetchall() == [(50, 150)]
    plan = connection.sql("EXPLAIN " + query).fetchall()[0][1]
    assert "ARROW_SCAN" in plan and "Filters" in plan


def test_files_of_an_older_schema_are_read_with_the_newer_ones(eu, deployment):
    write(eu, "service", DAY, "a-0-0", batch([1]))
    write(eu, "service", DAY, "b-0-0", batch([2], added=pa.array(["new"])))
    table = open_dataset(deployment, "eu", "service").to_table().sort_by("service_secretly")
    assert table["added"].to_pylist() == [None, "new"]
    assert table.column_names == ["event_type", "service_secretly", "added", "received_date"]
    connection = duckdb.connect()
    connection.register("service", open_dataset(deployment, "eu", "service"))
    assert connection.sql("SELECT added FROM service WHERE added IS NOT NULL").fetchall() == [("new",)]


def test_many_row_groups_come_back_in_order(eu, deployment):
    rows = batch(range(260_000))
    write(eu, "service", DAY, LOGICAL, rows)
    table = open_dataset(deployment, "eu", "service").to_table()
    assert table["service_secretly"].to_pylist() == rows["service_secretly"].to_pylist()


@pytest.mark.clause("6-dc")
def test_a_file_that_was_moved_does_not_open(eu, deployment):
    """Neither under another name or day, nor as another dataset, nor in another region, whatever its manifest says."""
    us = deployment.place("us")
    write(eu, "service", DAY, LOGICAL, batch([1]))
    (entry,), (path,) = eu.manifest.entries("service"), files(eu)
    moved = [
        (eu, replace(entry, logical="other-0-0", file="other-0-0.f00.parquet")),
        (eu, replace(entry, received_date="2021-03-02")),
        (us, entry),
        (eu, replace(entry, dataset="legal")),
    ]
    for place, claim in moved:
        target = place.store / claim.dataset / f"received_date={claim.received_date}" / claim.file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        place.manifest.put(claim)
        with pytest.raises(KeyUnavailable):
            open_dataset(deployment, place.region, claim.dataset).to_table()
        place.manifest.put(replace(claim, rows=0, file=None, wrapped_key=None))  # so that each is alone in the test
    assert numbers(open_dataset(deployment, "eu", "service")) == [1]


@pytest.mark.clause("6-dc")
@pytest.mark.parametrize("day, name", [(DAY, "other-0-0"), ("2021-03-02", LOGICAL)])
def test_the_place_is_bound_to_the_content_and_not_to_the_key_alone(eu, deployment, day, name):
    """Who re-wraps the very key of a file for another name or day still cannot make it pass for that."""
    write(eu, "service", DAY, LOGICAL, batch([1]))
    (entry,), (path,) = eu.manifest.entries("service"), files(eu)
    ring = eu.keyring()
    key = ring.data_key("service", entry.wrapped_key, f"eu/service/{DAY}/{entry.file}")
    file = f"{name}.f00.parquet"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transforms.keyring.secrets.token_bytes", lambda size: key if size == 32 else bytes(size))
        _, wrapped = ring.new_data_key("service", f"eu/service/{day}/{file}")
    eu.manifest.put(replace(entry, rows=0, file=None, wrapped_key=None))
    eu.manifest.put(replace(entry, received_date=day, logical=name, file=file, wrapped_key=wrapped))
    put_whole(eu.store / "service" / f"received_date={day}" / file, path.read_bytes())
    with pytest.raises(OSError, match="(?i)decrypt|tag|footer"):
        open_dataset(deployment, "eu", "service").to_table()


def test_an_altered_file_does_not_open(eu, deployment):
    write(eu, "service", DAY, LOGICAL, batch(range(100)))
    (path,) = files(eu)
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(OSError):
        open_dataset(deployment, "eu", "service").to_table()


def test_a_dataset_of_the_pack_that_holds_no_rows_is_empty(deployment):
    for name, described in datasets(load_pack()).items():
        dataset = open_dataset(deployment, "eu", name)
        assert dataset.schema == described.schema.append(pa.field("received_date", pa.string()))
        assert dataset.to_table().schema == dataset.schema and dataset.count_rows() == 0
    assert name in datasets(load_pack()) and dataset.count_rows(filter=pc.field("received_date") > "") == 0
    connection = duckdb.connect()
    connection.register("legal", open_dataset(deployment, "eu", "legal"))
    assert connection.sql("SELECT count(*), max(received_date) FROM legal").fetchall() == [(0, None)]


@pytest.mark.clause("4.1-b")
@pytest.mark.parametrize("dataset", ["service", "servise"])
def test_who_has_no_keys_is_not_told_that_there_is_nothing(eu, deployment, dataset):
    (eu.manifest_folder.parent / "keystore.json").unlink()
    with pytest.raises(KeyUnavailable, match="no keystore"):
        open_dataset(deployment, "eu", dataset)


def test_what_is_not_there_is_told(eu, deployment):
    with pytest.raises(ConfigurationError, match="region eu holds no rows of dataset 'servise'; it holds: nothing"):
        open_dataset(deployment, "eu", "servise")
    write(eu, "service", DAY, LOGICAL, batch([1]))
    with pytest.raises(ConfigurationError, match="dataset 'servise'; it holds: service"):
        open_dataset(deployment, "eu", "servise")
    with pytest.raises(ConfigurationError, match="no region 'de'"):
        open_dataset(deployment, "de", "service")


def test_a_repeated_write_counts_once(eu, deployment):
    for _ in range(3):
        write(eu, "service", DAY, LOGICAL, batch([1, 2]))
    assert numbers(open_dataset(deployment, "eu", "service")) == [1, 2]
    assert len(files(eu)) == 3
    assert sweep(eu, "abc") == 2
    assert len(files(eu)) == 1
    assert numbers(open_dataset(deployment, "eu", "service")) == [1, 2]


def test_nobody_sees_a_file_before_it_is_committed(eu, deployment):
    staged = stage(eu, "service", DAY, LOGICAL, batch([1]), "run")
    assert len(files(eu)) == 1
    assert open_dataset(deployment, "eu", "service").count_rows() == 0
    commit([staged])
    assert numbers(open_dataset(deployment, "eu", "service")) == [1]


def test_a_sweep_leaves_other_inputs_alone(eu):
    for logical in ("abc-0-0", "xyz-0-0"):
        write(eu, "service", DAY, logical, batch([1]))
        write(eu, "service", DAY, logical, batch([1]))
    assert sweep(eu, "abc") == 1
    assert sorted(path.name[:3] for path in files(eu)) == ["abc", "xyz", "xyz"]


def test_rows_that_are_gone_leave_an_empty_entry(eu, deployment):
    write(eu, "service", DAY, LOGICAL, batch([1]))
    write(eu, "service", DAY, LOGICAL, batch([]))
    (entry,) = eu.manifest.entries("service")
    assert (entry.rows, entry.file, entry.wrapped_key) == (0, None, None)
    assert open_dataset(deployment, "eu", "service").count_rows() == 0
    assert sweep(eu, "abc") == 1 and not files(eu)


def test_what_an_earlier_run_left_is_retired_and_nothing_else(deployment, eu):
    """Of the same input, whatever its dataset, day and lot; not what this run stored, nor another input's."""
    us = deployment.place("us")
    for place, dataset, day, logical, run in [
        (eu, "service", "2021-03-01", "abc-0-0", "old"),
        (eu, "legal", "2021-03-02", "abc-1-7", "older"),
        (eu, "service", "2021-03-01", "abc-1-0", "new"),
        (eu, "service", "2021-03-01", "xyz-0-0", "old"),
        (us, "service", "2021-03-01", "abc-0-0", "old"),
    ]:
        commit([stage(place, dataset, day, logical, batch([1]), run)])
    retire(eu, "abc", "new")
    held = [e for name in eu.manifest.datasets() for e in eu.manifest.entries(name)]
    assert {(e.logical, e.run, e.rows, e.wrapped_key is None) for e in held} == {
        ("abc-0-0", "new", 0, True),
        ("abc-1-7", "new", 0, True),
        ("abc-1-0", "new", 1, False),
        ("xyz-0-0", "old", 1, False),
    }
    assert sweep(eu, "abc") == 2
    assert numbers(open_dataset(deployment, "eu", "service")) == [1, 1]
    assert open_dataset(deployment, "eu", "legal").count_rows() == 0
    assert numbers(open_dataset(deployment, "us", "service")) == [1]


@pytest.mark.clause("5.2-erase")
def test_retiring_leaves_a_tombstone(eu):
    eu.manifest.put(Entry("service", DAY, LOGICAL, 0, "old", erased=True))
    retire(eu, "abc", "new")
    assert [(e.erased, e.run) for e in eu.manifest.entries("service")] == [(True, "old")]


@pytest.mark.clause("5.2-erase")
def test_what_was_erased_stays_so(eu):
    write(eu, "service", DAY, LOGICAL, batch([1]))
    eu.manifest.put(Entry("service", DAY, LOGICAL, 0, erased=True))
    sweep(eu, "abc")
    write(eu, "service", DAY, LOGICAL, batch([1]))
    assert not files(eu)
    assert eu.manifest.erased("service", DAY, LOGICAL)
    assert [entry.erased for entry in eu.manifest.entries("service")] == [True]
