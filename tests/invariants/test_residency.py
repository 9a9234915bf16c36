"""No row of a region, nor a word of one, is under another region's root (clause 6)."""

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest
from apache_beam.testing.util import assert_that

from pipelines.deployment import load_deployment, prepare
from pipelines.sinks import RegionalStore
from schemas.datasets import (
    AUDIT,
    ORDERS_SUFFIX,
    QUARANTINE,
    SENSITIVE_SUFFIX,
    STOPPED_SUFFIX,
    datasets,
    opened_by,
)
from schemas.fields import EVENT_TYPES
from schemas.pack_files import load_pack
from tests.invariants.crowd import LABEL
from tests.invariants.runs import REGIONS, Site, ingest
from tests.tallied import plain
from transforms import for_purpose
from transforms.for_purpose import RECEIVED, REGION, ROWS

pytestmark = [
    pytest.mark.clause("6-cn"),
    pytest.mark.clause("6-ru"),
    pytest.mark.clause("6-in"),
    pytest.mark.clause("6-eea"),
    pytest.mark.clause("6-dc"),
]


def test_each_row_is_in_the_region_where_its_record_belongs(judged):
    seen = set()
    for (region, dataset), table in judged.held.items():
        if dataset in (AUDIT, QUARANTINE) or dataset.endswith((SENSITIVE_SUFFIX, ORDERS_SUFFIX, STOPPED_SUFFIX)):
            continue
        homes = {label.split(".")[1] for label in table[LABEL].unique().to_pylist()}
        assert homes == {region}, dataset
        seen |= homes
    assert seen == set(REGIONS)


def test_a_sensitive_row_is_beside_the_row_that_it_belongs_to(judged):
    apart = [name for name in judged.held if name[1].endswith(SENSITIVE_SUFFIX)]
    assert apart
    for region, dataset in apart:
        beside = judged.held[region, dataset.removesuffix(SENSITIVE_SUFFIX)]
        assert set(judged.held[region, dataset]["event_id"].to_pylist()) <= set(beside["event_id"].to_pylist())


def test_no_file_carries_a_word_of_another_region_in_its_dictionary(judged):
    words = {region: dictionaries(judged.run.site, region) for region in REGIONS}
    assert all(len(found) > 10 for found in words.values())
    for region, found in words.items():
        assert {word.split(".")[1] for word in found} == {region}


def dictionaries(site: Site, region: str, column: str = LABEL) -> set[str]:
    """The words on the dictionary pages of a region's files, also those that no row uses."""
    place, found = site.place(region), set()
    for dataset in place.manifest.datasets():
        for entry in place.manifest.entries(dataset):
            if not entry.file or dataset in (AUDIT, QUARANTINE):
                continue
            bound_to = f"{region}/{dataset}/{entry.received_date}/{entry.file}"
            key = place.keyring().data_key(opened_by(dataset), entry.wrapped_key, bound_to)
            path = place.store / dataset / f"received_date={entry.received_date}" / entry.file
            keys = pe.create_decryption_properties(key, aad_prefix=bound_to.encode())
            if column in pq.read_schema(path, decryption_properties=keys).names:
                file = pq.ParquetFile(path, decryption_properties=keys, read_dictionary=[column])
                chunks = file.read(columns=[column])[column].chunks
                found.update(word for chunk in chunks for word in chunk.dictionary.to_pylist())
    return found


def test_every_signal_alone_and_every_conflict_was_among_the_records(judged):
    homes = {tuple(record["line"]["residency"]) for record in judged.crowd.records}
    assert len(homes) >= 6  # which signals there were
    assert len({record["region"] for record in judged.crowd.records}) == len(REGIONS)


@pytest.fixture
def refused(tmp_path) -> Site:
    """A store of `ru` that was given three rows, the second of them of another region."""
    site, pack = Site.new(tmp_path / "site"), load_pack()
    for place in load_deployment(site.file).regions.values():
        prepare(place, say=lambda _: None)
    home, abroad, activation = pack.where.code("ru"), pack.where.code("us"), EVENT_TYPES.index("activation")
    schema = datasets(pack)["legal"].schema
    columns = {name: pa.nulls(3, type_) for name, type_ in zip(schema.names, schema.types, strict=True)}
    columns["event_type"] = pa.array([activation] * 3, pa.int8())
    columns["device_sales_channel"] = pa.array(["r.ru.1", "r.us.2", "r.ru.3"]).dictionary_encode()
    columns |= {REGION: pa.array([home, abroad, home], pa.int8()), RECEIVED: pa.array([0, 0, 0])}
    rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
    places = {pack.where.code(name): place for name, place in load_deployment(site.file).regions.items()}
    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        forged = pipeline | beam.Create([(("legal", (home, 0, 0)), rows)]).with_output_types(ROWS)
        assert_that(forged | RegionalStore(places, "0123456789abcdef", "run"), _are_told_apart)
    return site


def _are_told_apart(tallies):
    assert plain(tallies) == {
        ("ru", "store", "foreign", "legal"): 1,
        ("ru", "store", "stored", "activation", "legal", "legal"): 2,
    }


def test_the_store_refuses_a_foreign_row_and_keeps_the_others(refused):
    held = refused.datasets()
    assert set(held) == {("ru", "legal")}
    assert held["ru", "legal"]["device_sales_channel"].to_pylist() == ["r.ru.1", "r.ru.3"]


def test_a_refused_row_leaves_no_word_behind(refused):
    assert dictionaries(refused, "ru", "device_sales_channel") == {"r.ru.1", "r.ru.3"}


def test_a_run_in_which_a_row_was_foreign_does_not_reconcile(sample, tmp_path, monkeypatch, capsys):
    """The first row of each lot claims another region, as it would after a mistake between the gate and the store."""
    original = for_purpose.for_purpose

    def mistaken(judged, dataset, pack, plan):
        rows = original(judged, dataset, pack, plan)
        codes = rows.column(REGION).to_numpy().copy()
        codes[:1] = (codes[:1] + 1) % len(REGIONS)
        return rows.set_column(rows.schema.get_field_index(REGION), REGION, pa.array(codes))

    monkeypatch.setattr(for_purpose, "for_purpose", mistaken)
    few = tmp_path / "few.ndjson"
    few.write_bytes(b"".join(sample.lines[:60]))
    run = ingest(Site.new(tmp_path / "site"), [few], [sample.consents])
    assert run.status == 3
    assert "rows were refused at a store of another region" in capsys.readouterr().out
