"""Who lacks a region's keys reads nothing of it; who destroys a file's key has destroyed every copy of the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from pipelines import ingest, read
from pipelines.manifest import Entry
from pipelines.stores import commit, open_dataset, stage
from tests.invariants.runs import Site, command

DATASET = "operations"


@pytest.fixture
def site(first_run, tmp_path) -> Site:
    return first_run.site.copy(tmp_path / "site")


def arguments(site: Site, region: str, out: Path) -> list[str]:
    return ["--deployment", str(site.file), "--region", region, "--dataset", DATASET, "--out", str(out)]


@pytest.fixture
def refusal(site, tmp_path, capsys) -> Callable[[], str]:
    """Tries to read a dataset of `eu`, which must fail in an orderly way, and returns what it is told."""

    def tried() -> str:
        out = tmp_path / "out.jsonl"
        assert read.main(arguments(site, "eu", out)) == 2
        assert not out.exists()
        (message,) = capsys.readouterr().err.splitlines()
        return message

    return tried


@pytest.mark.clause("4.1-b")
def test_a_process_without_the_keys_of_a_region_reads_nothing_of_it_and_all_of_the_others(site, tmp_path):
    rows = site.datasets()["us", DATASET].num_rows
    shutil.move(site.folder / "keys" / "eu", site.folder / "elsewhere")
    without = command("pipelines", "read", *arguments(site, "eu", tmp_path / "eu.jsonl"))
    assert without.returncode == 2 and without.stderr.splitlines()[-1].startswith("douane read: ")
    assert "Traceback" not in without.stderr and not (tmp_path / "eu.jsonl").exists()
    other = command("pipelines", "read", *arguments(site, "us", tmp_path / "us.jsonl"))
    assert other.returncode == 0 and len((tmp_path / "us.jsonl").read_text().splitlines()) == rows


@pytest.mark.clause("4.1-b")
def test_the_manifest_without_the_keys_opens_nothing(site, refusal):
    keys = site.folder / "keys" / "eu"
    for part in ("wrapping", "secrets", "keystore.json"):
        shutil.move(keys / part, site.folder / part)
    assert "no keystore" in refusal()


@pytest.mark.clause("4.1-b")
def test_who_holds_the_keys_of_one_dataset_reads_no_other(site, refusal):
    wrapping = site.folder / "keys" / "eu" / "wrapping"
    for key in wrapping.glob("*.key"):
        if key.stem != "dataset-service":
            key.unlink()
    assert f"dataset-{DATASET}" in refusal()
    assert open_dataset(site.file, "eu", "service").count_rows() > 0


@pytest.mark.clause("4.1-b")
def test_the_keys_of_another_region_open_nothing(site, refusal):
    keys = site.folder / "keys"
    shutil.rmtree(keys / "eu" / "wrapping")
    shutil.copytree(keys / "us" / "wrapping", keys / "eu" / "wrapping")
    assert "is not the one that was used" in refusal()


@pytest.mark.clause("6-eea")
def test_a_file_does_not_open_in_another_place(site):
    """Even with its own key: its region, dataset, date and name are bound to it."""
    entry = next(entry for entry in site.place("eu").manifest.entries(DATASET) if entry.file)
    path = site.place("eu").store / DATASET / f"received_date={entry.received_date}" / entry.file
    date = entry.received_date
    bound_to = f"eu/{DATASET}/{date}/{entry.file}"
    key = site.place("eu").keyring().data_key(DATASET, entry.wrapped_key, bound_to)

    def rows(place: str) -> int:
        properties = pe.create_decryption_properties(key, aad_prefix=place.encode())
        return pq.read_table(path, decryption_properties=properties).num_rows

    assert rows(bound_to) == entry.rows
    for place in (
        f"us/{DATASET}/{date}/{entry.file}",
        f"eu/support/{date}/{entry.file}",
        f"eu/{DATASET}/1999-01-01/{entry.file}",
        f"eu/{DATASET}/{date}/other.parquet",
    ):
        with pytest.raises(OSError):
            rows(place)


@pytest.mark.clause("5.2-erase")
def test_a_tombstone_makes_every_copy_of_a_file_unreadable_for_good(site, tmp_path):
    place = site.place("eu")
    backup = shutil.copytree(place.store, tmp_path / "backup")
    before = site.datasets()["eu", DATASET].num_rows
    entry = next(entry for entry in place.manifest.entries(DATASET) if entry.file)

    assert place.manifest.put(Entry(DATASET, entry.received_date, entry.logical, rows=0, erased=True))

    left = b"".join(path.read_bytes() for path in place.manifest_folder.rglob("*") if path.is_file())
    assert entry.wrapped_key.encode() not in left, "no copy of the key is left to open the backup with"
    others = [other for other in place.manifest.entries(DATASET) if other.file]
    copy = backup / DATASET / f"received_date={entry.received_date}" / entry.file
    for other in others:
        key = place.keyring().data_key(DATASET, other.wrapped_key, f"eu/{DATASET}/{other.received_date}/{other.file}")
        bound_to = f"eu/{DATASET}/{entry.received_date}/{entry.file}"
        properties = pe.create_decryption_properties(key, aad_prefix=bound_to.encode())
        with pytest.raises(OSError):
            pq.read_table(copy, decryption_properties=properties)
    if others:
        assert site.datasets()["eu", DATASET].num_rows == before - entry.rows
    else:
        assert open_dataset(site.file, "eu", DATASET).count_rows() == 0

    files = set(site.files())
    again = pa.record_batch({"event_type": ["crash"]})
    commit([stage(place, DATASET, entry.received_date, entry.logical, again, entry.run)])
    assert set(site.files()) == files, "no writer may replace it"
    assert place.manifest.erased(DATASET, entry.received_date, entry.logical)


def test_a_keystore_that_is_missing_or_of_another_region_is_refused_before_anything_is_done(site, sample, capsys):
    inputs = [f"--events={sample.events}", f"--consents={sample.consents}", f"--deployment={site.file}"]
    keys = site.folder / "keys" / "eu"
    shutil.move(keys, site.folder / "elsewhere")
    assert ingest.main(inputs) == 2
    assert "no keystore" in capsys.readouterr().err and not keys.exists(), "none is made anew over data"

    shutil.move(site.folder / "elsewhere", keys)
    (keys / "keystore.json").write_text(json.dumps({"format": 1, "region": "us"}))
    assert ingest.main(inputs) == 2
    assert "belongs to region us" in capsys.readouterr().err
