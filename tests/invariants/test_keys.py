"""Who lacks a region's keys reads nothing of it; who destroys a file's key has destroyed every copy of the file."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from pipelines.errors import ConfigurationError
from pipelines.manifest import Entry
from pipelines.stores import commit, open_dataset, stage
from tests.invariants.runs import Site, command

DATASET = "operations"


@pytest.fixture
def site(first_run, tmp_path) -> Site:
    return first_run.site.copy(tmp_path / "site")


def read(site: Site, region: str):
    out = site.folder / f"{region}.jsonl"
    arguments = ("--deployment", str(site.file), "--region", region, "--dataset", DATASET, "--out", str(out))
    return command("pipelines", "read", *arguments), out


def is_refused(process, out, *words: str) -> bool:
    message = process.stderr.strip().splitlines()[-1]
    told = message.startswith("douane read: ") and all(word in message for word in words)
    return process.returncode == 2 and told and "Traceback" not in process.stderr and not out.exists()


@pytest.mark.clause("4.1-b")
def test_a_process_without_the_keys_of_a_region_reads_nothing_of_it_and_all_of_the_others(site):
    shutil.move(site.folder / "keys" / "eu", site.folder / "elsewhere")
    assert is_refused(*read(site, "eu"))
    process, out = read(site, "us")
    assert process.returncode == 0
    assert len(out.read_text().splitlines()) == site.datasets()["us", DATASET].num_rows


@pytest.mark.clause("4.1-b")
def test_the_manifest_without_the_keys_opens_nothing(site):
    keys = site.folder / "keys" / "eu"
    for part in ("wrapping", "secrets", "keystore.json"):
        shutil.move(keys / part, site.folder / part)
    assert is_refused(*read(site, "eu"), "no keystore")


@pytest.mark.clause("4.1-b")
def test_who_holds_the_keys_of_one_dataset_reads_no_other(site):
    wrapping = site.folder / "keys" / "eu" / "wrapping"
    for key in wrapping.glob("*.key"):
        if key.stem != "dataset-service":
            key.unlink()
    assert is_refused(*read(site, "eu"), f"dataset-{DATASET}")
    assert open_dataset(site.file, "eu", "service").count_rows() > 0


@pytest.mark.clause("4.1-b")
def test_the_keys_of_another_region_open_nothing(site):
    keys = site.folder / "keys"
    shutil.rmtree(keys / "eu" / "wrapping")
    shutil.copytree(keys / "us" / "wrapping", keys / "eu" / "wrapping")
    assert is_refused(*read(site, "eu"), "is not the one that was used")


@pytest.mark.clause("6-eea")
def test_a_file_does_not_open_in_another_place(site):
    """Even with its own key: its region, dataset and name are bound to it."""
    entry = next(entry for entry in site.place("eu").manifest.entries(DATASET) if entry.file)
    path = site.place("eu").store / DATASET / f"received_date={entry.received_date}" / entry.file
    bound_to = f"eu/{DATASET}/{entry.file}"
    key = site.place("eu").keyring().data_key(DATASET, entry.wrapped_key, bound_to)

    def rows(place: str) -> int:
        properties = pe.create_decryption_properties(key, aad_prefix=place.encode())
        return pq.read_table(path, decryption_properties=properties).num_rows

    assert rows(bound_to) == entry.rows
    for place in (f"us/{DATASET}/{entry.file}", f"eu/support/{entry.file}", f"eu/{DATASET}/other.parquet"):
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
        key = place.keyring().data_key(DATASET, other.wrapped_key, f"eu/{DATASET}/{other.file}")
        properties = pe.create_decryption_properties(key, aad_prefix=f"eu/{DATASET}/{entry.file}".encode())
        with pytest.raises(OSError):
            pq.read_table(copy, decryption_properties=properties)
    if others:
        assert site.datasets()["eu", DATASET].num_rows == before - entry.rows
    else:
        with pytest.raises(ConfigurationError, match="holds no rows"):
            open_dataset(site.file, "eu", DATASET)

    files = set(site.files())
    again = pa.record_batch({"event_type": ["crash"]})
    commit([stage(place, DATASET, entry.received_date, entry.logical, again)])
    assert set(site.files()) == files, "no writer may replace it"
    assert place.manifest.erased(DATASET, entry.received_date, entry.logical)


def test_a_keystore_that_is_missing_is_not_made_anew_over_data(site, sample):
    shutil.move(site.folder / "keys" / "eu", site.folder / "elsewhere")
    arguments = (f"--events={sample.events}", f"--consents={sample.consents}", f"--deployment={site.file}")
    process = command("pipelines", "ingest", *arguments)
    assert process.returncode == 2 and "Traceback" not in process.stderr
    assert "no keystore" in process.stderr and not (site.folder / "keys" / "eu").exists()


def test_a_keystore_of_another_region_is_refused(site, sample):
    description = site.folder / "keys" / "eu" / "keystore.json"
    description.write_text(json.dumps({"format": 1, "region": "us"}))
    arguments = (f"--events={sample.events}", f"--consents={sample.consents}", f"--deployment={site.file}")
    process = command("pipelines", "ingest", *arguments)
    assert process.returncode == 2 and "belongs to region us" in process.stderr
