"""What a snapshot keeps of a ledger is what the border sends of it."""

from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.consent import SEALED_LEDGER, Kind, SubjectType
from schemas.datasets import LEDGER, LEDGER_IDS
from schemas.editions import Editions
from schemas.pack_files import load_pack
from tests.editions import OLD, edition, old
from tests.lines import ANDROID_ID, EXAMPLES, NOW, entry, keystores, ndjson
from transforms.decode import decode_ledger
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.scrub import Scrubber
from transforms.seal import Partition, Seals
from transforms.seal_ledger import LedgerSealer, SealedLedger
from transforms.snapshot import Snapshotter, as_entries, distinct, nowhere, spread_over, terms

pytestmark = pytest.mark.clause("5.3")

PACK = load_pack()
ONLY = Editions((PACK,))
CODES = {name: PACK.where.code(name) for name in ("cn", "eu")}
CN, EU = CODES["cn"], CODES["eu"]
SUBJECTS = (
    {"type": "device", "value": ANDROID_ID},
    {"type": "device", "value": "00aa11bb22cc33dd"},
    {"type": "account", "value": EXAMPLES["account_id"]},
)
ANY_ENTRY = st.builds(
    entry,
    st.sampled_from(["grant", "withdraw", "restrict", "lift_restriction", "no such kind"]),
    st.sampled_from([NOW - 1, NOW, NOW + 1]),
    number=st.integers(0, 4),
    subject=st.sampled_from(SUBJECTS),
    residency=st.sampled_from([{"account_country": "NL"}, {"account_country": "CN"}, {}]),
    app=st.sampled_from([None, "com.example.map"]),
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return keystores(tmp_path_factory.mktemp("keys"), {code: name for name, code in CODES.items()})


def kept(snapshotter: Snapshotter, *lines: dict) -> dict[int, pa.RecordBatch]:
    """By region, each line a block of its own."""
    parts: dict[tuple, list] = {part: [] for part in snapshotter.parts}
    for line in lines:
        for dataset, region, rows in snapshotter.seal(ndjson(line)):
            parts[dataset, region].append(rows)
    return {region: distinct(LEDGER, of) for (dataset, region), of in parts.items() if dataset == LEDGER}


def as_rows(sealed: SealedLedger) -> set[tuple]:
    return {(key, *row.values()) for key, row in zip(sealed.key.tolist(), sealed.batch.to_pylist(), strict=True)}


def registered_rows(sealed: SealedLedger) -> set[tuple]:
    return {(tuple(id_), *others) for id_, *others in sealed.register.tolist()}


@settings(max_examples=30, deadline=None)
@given(st.lists(ANY_ENTRY, max_size=8), st.integers(1, 5))
def test_spread_over_any_number_of_shards_it_is_what_the_border_sends(keys, lines, shards):
    seals = Seals({code: open_keyring(uri) for code, uri in keys.items()})
    border = LedgerSealer(seals, Partition(shards, None), (CN, EU), EU, Labels(Scrubber()), ONLY.purposes)
    decoded = decode_ledger(ndjson(*lines))
    homes = {"NL": EU, "CN": CN, None: -1}
    regions = np.array([homes[where] for where in decoded.columns["residency.account_country"].to_pylist()], np.int8)
    sent = border.seal(decoded, regions)
    snapshotter = Snapshotter(ONLY, keys, EU, NOW + 1)
    found = [
        spread_over(rows, seals.untag("entry_id", rows.column("entry_id"), region), region, region == EU, shards)
        for region, rows in kept(snapshotter, *lines).items()
    ]
    entries, told = ({*chain(*map(what, found))} for what in (as_rows, registered_rows))
    assert entries == {*chain(*map(as_rows, sent))}
    for dataset, _, rows in snapshotter.seal(ndjson(*lines)):
        if dataset == LEDGER_IDS:
            told |= registered_rows(replace(found[0], register=nowhere(rows)))
    assert told == {*chain(*map(registered_rows, sent))}


def test_entries_are_kept_as_of_a_time_and_lines_that_do_not_read_at_all_times(keys):
    lines = [entry("grant", NOW, number=1), entry("grant", NOW + 1, number=2), entry("withdrew", NOW + 1, number=3)]
    snapshotter = Snapshotter(ONLY, keys, EU, NOW)
    found = kept(snapshotter, *lines)
    assert sorted(found[EU].column("kind").to_pylist()) == [Kind.unreadable, Kind.grant]
    assert found[CN].column("kind").to_pylist() == [Kind.unreadable]
    assert (snapshotter.lines["lines"], snapshotter.lines["entries"], snapshotter.lines["later"]) == (3, 2, 1)
    assert snapshotter.faults == {"unknown_value": 1} and snapshotter.lines["nobody"] == 0


def test_what_is_repeated_is_kept_once_and_in_no_order_of_the_ledger(keys):
    lines = [entry("grant", number=number, subject=subject) for number in range(6) for subject in SUBJECTS]
    once, again = (kept(Snapshotter(ONLY, keys, EU, NOW), *of)[EU] for of in (lines, [*lines[::-1], *lines]))
    assert len(once) == len(lines) and once.equals(again)
    subjects = once.column("subject").to_pylist()
    assert subjects == sorted(subjects)


@pytest.mark.clause("6-dc")
def test_words_of_one_region_do_not_reach_the_part_of_another(keys):
    lines = [
        entry("grant", number=1, app="com.example.eu"),
        entry("grant", number=2, app="com.example.cn", residency={"account_country": "CN"}),
    ]
    found = kept(Snapshotter(ONLY, keys, EU, NOW), *lines)
    assert found[EU].column("app").dictionary.to_pylist() == ["com.example.eu"]
    assert found[CN].column("app").dictionary.to_pylist() == ["com.example.cn"]


def test_nobody_is_counted_and_kept_nowhere(keys):
    snapshotter = Snapshotter(ONLY, keys, EU, NOW)
    found = kept(snapshotter, entry("withdraw", subject={"type": "device", "value": "?"}), {"entry_id": "1"})
    assert [len(rows) for rows in found.values()] == [0, 0]
    assert snapshotter.lines["nobody"] == 2 and sum(snapshotter.faults.values()) == 2


def test_rows_as_a_file_has_them_become_entries_again(keys):
    rows = kept(Snapshotter(ONLY, keys, EU, NOW), entry("grant"), entry("withdraw", number=1, subject=SUBJECTS[2]))[EU]
    words = [c.dictionary_decode() if pa.types.is_dictionary(c.type) else c for c in rows.columns]
    read = pa.RecordBatch.from_arrays([*words, pa.array(["2026-01-01"] * 2)], names=[*rows.schema.names, "date"])
    assert as_entries(read).equals(rows) and as_entries(read).schema == SEALED_LEDGER
    assert set(rows.column("subject_type").to_pylist()) == {SubjectType.device, SubjectType.account}


def test_terms_are_those_of_regions_and_purposes_of_all_editions():
    purposes = dict(PACK.purposes)
    again = PACK.model_copy(update={"version": "2099-01-01", "limits": PACK.limits})
    fewer = PACK.model_copy(update={"purposes": {"lawful": purposes["legal"]} | purposes})
    assert terms(Editions((again,))) == terms(ONLY) != terms(Editions((fewer,)))
    assert terms(Editions((PACK, edition(OLD, old)))) != terms(ONLY)
