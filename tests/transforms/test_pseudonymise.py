import pickle
from datetime import UTC, datetime
from functools import cache

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.testing.util import assert_that
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from schemas.datasets import HANDLE, SUBJECT_FIELD, datasets
from schemas.editions import Editions
from schemas.fields import EVENT_FIELD
from schemas.layout import layout
from schemas.pack_files import load_pack
from schemas.policy import Form
from tests.judged import judged_batch
from tests.lines import EXAMPLES, keystores
from tests.strategies import few, seeds
from transforms.canonical import canonical
from transforms.cmac import ColumnCmac
from transforms.for_purpose import ORDER, RECEIVED, REGION, ROWS, SUBJECTS, for_purpose
from transforms.keyring import KeyUnavailable, LocalKeyService, open_keyring
from transforms.pseudonymise import Pseudonymise, pseudonymise, reveal, revealable
from transforms.seal import Seals, sealer

PACK = load_pack()
PLAN = layout(PACK)
DATASETS = datasets(PACK)
PSEUDONYMS = (Form.TOKEN, Form.FINGERPRINT)
EU = 3


def key_of(kind, epoch):
    return f"{kind} {epoch}".encode().ljust(32, b".")


@cache
def token_of(kind, epoch):
    return ColumnCmac(key_of(kind, epoch))


def token(kind, epoch, value):
    """The token by its definition."""
    if value is None:
        return None
    mac = CMAC(AES(key_of(kind, epoch)))
    mac.update(value)
    return mac.finalize()


def split(name, seed=1, rows=40):
    opened = (1 << len(PACK.purposes)) - 1
    return for_purpose(judged_batch(PACK, rows, seed, opened=opened), DATASETS[name], Editions((PACK,)).of("eu"), PLAN)


def permuted(block):
    return Cipher(AES(bytes.fromhex("243f6a8885a308d313198a2e03707344")), ECB()).encryptor().update(block)


def xor(one, other):
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def handle(subject, event):
    """The handle by its definition."""
    if subject is None:
        return None
    return xor(permuted(xor(permuted(subject), event)), permuted(subject))


def expected(rows, dataset, epoch):
    forms = {column.name: column for column in dataset.columns}
    found = []
    for row in rows.to_pylist():
        day = datetime.fromtimestamp(row[RECEIVED] / 1000, UTC)
        label = {"month": f"{day:%Y-%m}", "year": f"{day:%Y}", "forever": "forever"}[epoch]
        event = token("event_id", label, row[ORDER])
        made = {
            name: token(forms[name].field.kind or "text", label, value)
            if name in forms and forms[name].form in PSEUDONYMS
            else value
            for name, value in row.items()
            if name not in (ORDER, *SUBJECTS)
        }
        for subject in dataset.handles:
            kind = SUBJECT_FIELD[subject].kind
            made[HANDLE[subject]] = handle(token(kind, label, row[subject]), event)
        # Tokens are compared as numbers of this machine: any fixed order that says nothing will do.
        place = int.from_bytes(event[:8], "little")
        found.append(((day.date(), place), made))
    return [made for _, made in sorted(found, key=lambda pair: pair[0])]


@few
@given(seeds, st.sampled_from(list(DATASETS)), st.sampled_from(["month", "year", "forever"]))
def test_tokens_are_the_cmac_of_the_sealed_block_and_rows_are_ordered_by_them(seed, name, epoch):
    rows = split(name, seed)
    found = pseudonymise(rows, DATASETS[name], token_of, epoch)
    assert found.schema.names == [*DATASETS[name].schema.names, *DATASETS[name].hidden, REGION, RECEIVED]
    assert found.to_pylist() == expected(rows, DATASETS[name], epoch)


@few
@given(seeds)
def test_the_order_of_arrival_is_forgotten(seed):
    rows = split("operations", seed)
    shuffled = rows.take(pa.array(np.random.default_rng(seed).permutation(rows.num_rows)))
    one, other = (pseudonymise(each, DATASETS["operations"], token_of, "year") for each in (rows, shuffled))
    assert one.to_pylist() == other.to_pylist()


@pytest.mark.clause("2-analytics")
def test_no_sealed_value_goes_on():
    for name, dataset in DATASETS.items():
        rows = split(name)
        found = pseudonymise(rows, dataset, token_of, "year")
        sealed = set(rows.column(ORDER).to_pylist())
        tokens = set()
        for column in dataset.columns:
            if column.form in PSEUDONYMS:
                sealed |= set(rows.column(column.name).to_pylist())
                tokens |= set(found.column(column.name).to_pylist())
        for subject in dataset.handles:
            sealed |= set(rows.column(subject).to_pylist())
            tokens |= set(found.column(HANDLE[subject]).to_pylist())
        assert not (sealed & tokens) - {None}


def test_a_dataset_without_rows_keeps_its_columns():
    for name, dataset in DATASETS.items():
        found = pseudonymise(split(name, rows=0), dataset, token_of, "year")
        assert found.num_rows == 0 and found.schema.names == [*dataset.schema.names, *dataset.hidden, REGION, RECEIVED]


@pytest.fixture
def uris(tmp_path):
    return keystores(tmp_path, {0: "cn", EU: "eu"})


@pytest.mark.clause("2-log")
def test_two_purposes_two_regions_and_two_epochs_share_no_token(uris):
    """One device's records, everywhere and at all times under one sealed value: no two datasets can be joined by it."""
    same = b"sealed the same."
    elements = []
    for name, dataset in DATASETS.items():
        rows = split(name, rows=80)
        for column in dataset.columns:
            if column.form in PSEUDONYMS:
                every = pa.array([same] * rows.num_rows, pa.binary(16))
                rows = rows.set_column(rows.schema.get_field_index(column.name), column.name, every)
        elements += [((name, (region, 0, 0)), rows) for region in uris]

    def unrelated(actual):
        owner = {}
        assert len(actual) == len(elements)
        for (name, lot), rows in actual:
            purpose = DATASETS[name].purpose
            months = PACK.purposes[purpose].token_epoch == "month"
            for column in DATASETS[name].columns:
                if column.form in PSEUDONYMS:
                    kind = column.field.kind or "text"
                    for value, received in zip(
                        *(rows.column(c).to_pylist() for c in (column.name, RECEIVED)), strict=True
                    ):
                        date = datetime.fromtimestamp(received / 1000, UTC)
                        domain = purpose, lot[0], kind, date.year, months and date.month
                        assert owner.setdefault(value, domain) == domain
        assert len({domain[3] for domain in owner.values()}) == 2  # the rows span a New Year
        assert len(owner) == len(set(owner.values()))  # and within a domain the device is one

    with beam.Pipeline(runner="FnApiRunner") as pipeline:
        rows = pipeline | beam.Create(elements).with_output_types(ROWS)
        assert_that(rows | Pseudonymise(PACK, uris), unrelated)


def test_the_transform_carries_where_keys_are_and_no_key(uris):
    ring = open_keyring(uris[EU])
    secret = ring.secret("token/push/2026/android_id", "purpose-push")
    assert secret not in pickle.dumps(Pseudonymise(PACK, uris))


@pytest.mark.clause("1.2-activation")
@pytest.mark.parametrize("path", ["device.imei", "device.imsi", "device.mac", "device.fcm_token"])
def test_what_a_purpose_needs_itself_comes_back_for_its_reader_alone(tmp_path, path):
    uri = keystores(tmp_path, {EU: "eu"})[EU]
    ring, kind = open_keyring(uri), EVENT_FIELD[path].kind
    purpose = "push" if path == "device.fcm_token" else "activation"
    values, _ = canonical(kind, pa.array([EXAMPLES[kind], None, "malformed!"]))
    sealed = Seals({EU: ring}).reversibly(purpose, kind, values, np.full(3, EU))
    assert sealed.null_count == 2 and values[0].as_py() not in sealed[0].as_py()
    assert reveal(sealed, path, purpose, ring).to_pylist() == values.to_pylist()

    other = sealer(ring, "legal", kind)(values).cast(pa.binary())
    assert other[0] != sealed[0]  # another purpose, another key

    LocalKeyService(tmp_path / "eu" / "wrapping").destroy(f"dataset-{purpose}")
    open_keyring.cache_clear()
    with pytest.raises(KeyUnavailable, match=f"dataset-{purpose}"):
        reveal(sealed, path, purpose, open_keyring(uri))


def test_only_reversible_columns_can_be_revealed():
    found = {
        (name, column.name): revealable(column.name, column.type)
        for name, dataset in DATASETS.items()
        for column in dataset.columns
    }
    reversible = {
        (name, column.name): column.field.path
        for name, dataset in DATASETS.items()
        for column in dataset.columns
        if column.form is Form.SEALED
    }
    assert {key: path for key, path in found.items() if path} == reversible
    assert reversible
