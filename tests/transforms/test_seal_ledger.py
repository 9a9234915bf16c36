import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.consent import EVERY_PURPOSE, PERMISSIONS, SEALED_LEDGER, STOPS, Kind, SubjectType
from schemas.pack_files import load_pack
from tests.lines import ANDROID_ID, EXAMPLES, NOW, entry, keystores, ndjson
from tests.strategies import few
from transforms.canonical import canonical
from transforms.consent import Records, judge
from transforms.decode import decode_ledger
from transforms.keyring import open_keyring
from transforms.labels import Labels
from transforms.ledger import Ledger
from transforms.scrub import Scrubber
from transforms.seal import Partition, Seals, shard_of
from transforms.seal_ledger import ACCOUNTS, NOWHERE, STOPPED, UNREADABLE, LedgerSealer

ACCOUNT = EXAMPLES["account_id"]
CN, EU, SHARDS = 0, 3, 3
OF_ACCOUNT = {"type": "account", "value": ACCOUNT}


@pytest.fixture(scope="module")
def seals(tmp_path_factory):
    uris = keystores(tmp_path_factory.mktemp("keys"), {CN: "cn", EU: "eu"})
    return Seals({code: open_keyring(uri) for code, uri in uris.items()})


@pytest.fixture(scope="module")
def sealer(seals):
    """One for all tests: what it remembers of labels may change no result."""
    return LedgerSealer(seals, Partition(SHARDS, None), (CN, EU), EU, Labels(Scrubber()), frozenset({"push", "legal"}))


@pytest.fixture(scope="module")
def sealed(sealer):
    """Seals lines; each has the region of the list, or `eu`."""

    def seal(*lines, regions=None):
        decoded = decode_ledger(b"".join(line if isinstance(line, bytes) else ndjson(line) for line in lines))
        codes = np.full(len(decoded.time), EU) if regions is None else np.array(regions)
        return sealer.seal(decoded, codes)

    return seal


def keys(part):
    return [divmod(key, SHARDS) for key in part.key.tolist()]


def tag_of(seals, kind, value, region):
    return seals.tag(kind, canonical(kind, pa.array([value]))[0], np.array([region]))


def id_of(seals, value, region):
    """An entry's id: sealed for the arrival, and that for the region."""
    return seals.tag("entry_id", tag_of(seals, "entry_id", value, EU), np.array([region]))


def test_an_entry_is_sealed_into_the_schema(sealed, seals):
    valid, unreadable = sealed(
        entry("grant", purposes=["push", "legal", "push"], app="com.example.map", guardian="g-1")
    )
    (row,) = valid.batch.to_pylist()
    assert valid.batch.schema == SEALED_LEDGER
    assert row == {
        "entry_id": id_of(seals, "entry-0", EU)[0].as_py(),
        "subject": tag_of(seals, "android_id", ANDROID_ID, EU)[0].as_py(),
        "subject_type": SubjectType.device,
        "kind": Kind.grant,
        "purposes": "legal,push",
        "app": "com.example.map",
        "policy_version": "2021-01-15",
        "guardian": True,
        "time": NOW,
        "received_time": NOW,
    }
    assert unreadable.batch.schema == SEALED_LEDGER and unreadable.batch.num_rows == 0
    assert (valid.nobody, valid.unlocated, unreadable.nobody) == (0, 0, 0)


@pytest.mark.clause("6-grant")
@pytest.mark.parametrize("kind", sorted(kind.name for kind in STOPS | PERMISSIONS))
def test_a_stop_acts_in_every_region_and_a_permission_in_its_own(sealed, kind):
    valid, _ = sealed(entry(kind))
    assert [region for region, _ in keys(valid)] == ([CN, EU] if Kind[kind] in STOPS else [EU])


@pytest.mark.parametrize("region", [-1, -2, 1])
def test_without_a_region_that_is_served_a_stop_acts_everywhere_and_a_permission_nowhere(sealed, region):
    valid, _ = sealed(entry("withdraw"), entry("grant"), regions=[region, region])
    assert valid.batch["kind"].to_pylist() == [Kind.withdraw] * 2
    assert [code for code, _ in keys(valid)] == [CN, EU]
    assert valid.unlocated == (region == -1)  # another cell knows what to do with its own


def test_a_devices_entry_goes_to_its_shard_and_an_accounts_to_all(sealed, seals):
    valid, _ = sealed(entry("grant"), entry("grant", subject=OF_ACCOUNT))
    device = tag_of(seals, "android_id", ANDROID_ID, EU)
    nobody = pa.nulls(1, pa.binary(16))
    (shard,) = shard_of([nobody, device, nobody], SHARDS).tolist()
    found = list(zip(keys(valid), valid.batch["subject_type"].to_pylist(), strict=True))
    assert sorted(found) == sorted([((EU, shard), 0)] + [((EU, each), 1) for each in range(SHARDS)])
    assert valid.key.tolist() == sorted(valid.key.tolist())


def test_a_subject_has_unrelated_tags_in_two_regions(sealed):
    valid, _ = sealed(entry("withdraw"), entry("withdraw", subject=OF_ACCOUNT))
    tags = {
        (key[0], row["subject_type"]): row["subject"]
        for key, row in zip(keys(valid), valid.batch.to_pylist(), strict=True)
    }
    assert len(set(tags.values())) == len(tags) == 4


def test_the_spelling_of_a_subject_does_not_matter(sealed):
    spellings = [ANDROID_ID, ANDROID_ID.upper()]
    valid, _ = sealed(*(entry("grant", subject={"type": "device", "value": value}) for value in spellings))
    assert len(set(valid.batch["subject"].to_pylist())) == 1


@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    "purposes, stops, permits",
    [
        (["*"], EVERY_PURPOSE, EVERY_PURPOSE),
        (["push", "*"], EVERY_PURPOSE, EVERY_PURPOSE),
        (["push", "legal", "push", ""], "legal,push", "legal,push"),
        ([], EVERY_PURPOSE, ""),
        ([""], EVERY_PURPOSE, ""),
        ([None], EVERY_PURPOSE, ""),
        (None, EVERY_PURPOSE, ""),
    ],
)
def test_a_stop_that_names_no_purpose_stops_all_and_a_permission_permits_none(sealed, purposes, stops, permits):
    lines = [entry("withdraw", purposes=purposes), entry("grant", purposes=purposes)]
    valid, _ = sealed(*lines)
    found = {row["kind"]: row["purposes"] for row in valid.batch.to_pylist()}
    assert found == {Kind.withdraw: stops, Kind.grant: permits}


@pytest.mark.clause("5.3")
def test_a_purpose_that_nobody_knows_widens_a_stop_and_is_left_out_of_a_permission(sealed):
    """It may be misspelt: a stop must not be lost by that. What was written goes no further."""
    valid, _ = sealed(*(entry(kind, purposes=["push", "pusch"]) for kind in ("withdraw", "grant")))
    found = {row["kind"]: row["purposes"] for row in valid.batch.to_pylist()}
    assert found == {Kind.withdraw: EVERY_PURPOSE, Kind.grant: "push"}
    assert valid.unknown_purposes == 2
    assert sealed(entry("grant", purposes=["push", "*"]))[0].unknown_purposes == 0


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("between", [",", ", ", "\x1f"])
def test_a_name_that_looks_like_a_list_is_one_unknown_name(sealed, between):
    strange = f"push{between}legal"
    valid, _ = sealed(*(entry(kind, purposes=[strange]) for kind in ("withdraw", "grant")))
    found = {row["kind"]: row["purposes"] for row in valid.batch.to_pylist()}
    assert found == {Kind.withdraw: EVERY_PURPOSE, Kind.grant: ""}
    assert valid.unknown_purposes == 2


@pytest.mark.clause("9")
@pytest.mark.parametrize("version", ["newest", "2021", "9999-99-99 ", "2021-01-15T00:00", "２０２１-01-15", "", None])
def test_a_policy_version_that_is_no_date_is_none(sealed, version):
    valid, _ = sealed(entry("grant", policy_version=version))
    assert valid.batch["policy_version"].to_pylist() == [None]


@pytest.mark.clause("7")
@pytest.mark.parametrize(
    "guardian, given", [(True, True), ("ref-81", True), (False, False), (None, False), ("", False)]
)
def test_a_guardian_is_named_or_there_is_none(sealed, guardian, given):
    valid, _ = sealed(entry("grant", guardian=guardian))
    assert valid.batch["guardian"].to_pylist() == [given]


@pytest.mark.clause("7")
@pytest.mark.parametrize("guardian", ["false", "0", 0])
def test_a_denied_guardian_is_none(sealed, guardian):
    valid, _ = sealed(entry("grant", guardian=guardian))
    assert valid.batch["guardian"].to_pylist() == [False]


@pytest.mark.clause("5.3")
def test_a_malformed_application_widens_a_stop_and_voids_a_permission(sealed):
    valid, _ = sealed(*(entry(kind, app="com.example\u0007") for kind in ("withdraw", "grant")))
    assert valid.batch["app"].to_pylist() == [None] * valid.batch.num_rows  # a stop about all, a grant about none


@pytest.mark.clause("5.3")
def test_an_application_that_has_to_be_scrubbed_is_nobodys(sealed):
    """Two of them look the same once scrubbed, and a permission for the one must not open the other."""
    ids = "0b8f4c1e-6f0a-4f63-9d0e-2a4f5c7b9e10", "7d3f1c52-90aa-4b1e-8c66-5e0f2b7a9d34"
    one, other = (f"com.example.app {each}" for each in ids)
    cleaned = Labels(Scrubber()).clean(pa.array([one, other]))[1]
    assert len(set(cleaned.to_pylist())) == 1 and "<UUID>" in cleaned[0].as_py()
    valid, _ = sealed(*(entry(kind, app=app) for kind in ("withdraw", "grant") for app in (one, other, "com.example")))
    found = {(row["kind"], row["app"]) for row in valid.batch.to_pylist()}
    assert found == {(kind, app) for kind in (Kind.withdraw, Kind.grant) for app in (None, "com.example")}


def test_an_entry_about_nobody_is_counted_and_acts_nowhere(sealed):
    valid, unreadable = sealed(
        entry("grant"), entry("withdraw", subject={"type": "device", "value": "0000000000000000"})
    )
    assert valid.nobody == 1 and unreadable.nobody == 0
    assert valid.bad_subject.tolist() == [1]  # the row of the input, so that its line can be found
    assert not len(unreadable.bad_subject)
    assert valid.batch["kind"].to_pylist() == [Kind.grant]


@pytest.mark.clause("5.3")
def test_a_rejected_line_restricts_the_subject_that_it_names_everywhere(sealed, seals):
    bad = entry("withdrew", received=NOW)
    valid, unreadable = sealed(bad, entry("grant", number=1))
    assert valid.batch["kind"].to_pylist() == [Kind.grant]
    assert unreadable.nobody == 0
    assert [region for region, _ in keys(unreadable)] == [CN, EU]
    for (region, _), row in zip(keys(unreadable), unreadable.batch.to_pylist(), strict=True):
        assert row["kind"] == Kind.unreadable and row["purposes"] == EVERY_PURPOSE
        assert row["subject"] == tag_of(seals, "android_id", ANDROID_ID, region)[0].as_py()
        assert row["entry_id"] == id_of(seals, "entry-0", region)[0].as_py()
        assert row["received_time"] == 0  # known to every record


@pytest.mark.parametrize(
    "line", [b"nonsense\n", b'{"subject": 7}\n', ndjson(entry("withdrew", subject={"type": "device", "value": "xyz"}))]
)
def test_a_rejected_line_that_names_nobody_is_counted(sealed, line):
    valid, unreadable = sealed(line)
    assert (valid.nobody, unreadable.nobody) == (0, 1)
    assert unreadable.batch.num_rows == 0


def registered(part):
    return [(row["id"].tobytes(), row["place"].item(), row["received"].item()) for row in part.register]


def test_the_register_is_told_where_each_id_lies_and_since_when(sealed, seals):
    other = {"type": "device", "value": "00ff00ff00ff00ff"}
    lines = [
        entry("grant", NOW + 1, number=1),
        entry("grant", NOW + 2, number=2, subject=other),
        entry("grant", NOW + 3, number=3, subject=OF_ACCOUNT),
        entry("grant", NOW + 4, number=4),
        entry("withdraw", NOW + 5, number=5, subject=OF_ACCOUNT),
        entry("grant", number=6, entry_id=""),
        entry("grant", number=7, subject={"type": "device", "value": "zz"}),
    ]
    valid, rejected = sealed(*lines, entry("withdrew", number=8), regions=[EU, CN, EU, -2, CN, EU, EU])
    nobody, ids = pa.nulls(1, pa.binary(16)), [tag_of(seals, "entry_id", f"entry-{n}", EU) for n in range(9)]
    own, others = (
        region * SHARDS + shard_of([nobody, tag_of(seals, "android_id", value, region), nobody], SHARDS).item()
        for value, region in ((ANDROID_ID, EU), (other["value"], CN))
    )
    places = [own, others, ACCOUNTS - EU, NOWHERE, STOPPED]
    assert registered(valid) == [(ids[n][0].as_py(), place, NOW + n) for n, place in enumerate(places, 1)]
    assert registered(rejected) == [(ids[8][0].as_py(), UNREADABLE, 0)]


def test_two_regions_share_no_id(sealed):
    valid, _ = sealed(entry("withdraw"))
    sealed_for = {valid.register["id"].tobytes(), *valid.batch["entry_id"].to_pylist()}
    assert len(sealed_for) == 3  # the arrival's, and one of each region


def opened(parts, seals, pack, region=EU):
    """The purposes open for a record of the device, received after everything."""
    entries = pa.Table.from_batches([part.batch.filter(pa.array(part.key // SHARDS == region)) for part in parts])
    terms = pack.terms(pack.where.regions[region])
    later = pa.array([NOW + 10_000_000])
    device = tag_of(seals, "android_id", ANDROID_ID, region)
    records = Records(device, pa.nulls(1, pa.binary(16)), np.zeros(1, bool), later, later, pa.nulls(1, pa.string()))
    mask = int(judge(records, Ledger.build(entries, terms), terms, "all").open[0])
    return {name for bit, name in enumerate(terms.purposes) if mask >> bit & 1}


OTHER = {"type": "device", "value": "00ff00ff00ff00ff"}


@pytest.mark.clause("5.3")
def test_a_correction_under_the_same_id_ends_a_restriction(sealed, seals):
    pack = load_pack()
    bad = entry("withdrew")
    assert not opened(sealed(bad), seals, pack)
    assert opened(sealed(bad, entry("grant", NOW + 1)), seals, pack)


@pytest.mark.clause("5.3")
@pytest.mark.parametrize("id_", ["a 10", "№ 7/ä", "-", "0"])
def test_an_entry_id_is_any_text(sealed, seals, id_):
    bad = entry("withdrew", entry_id=id_)
    assert not opened(sealed(bad), seals, load_pack())
    assert not opened(sealed(bad, entry("grant", NOW + 1, entry_id=id_ + "0")), seals, load_pack())
    assert opened(sealed(bad, entry("grant", NOW + 1, entry_id=id_)), seals, load_pack())


def test_two_odd_ids_are_two_ids(sealed):
    valid, rejected = sealed(
        *(entry(kind, entry_id=id_) for kind in ("grant", "withdrew") for id_ in ("a 10", "b 10", "a10", "A 10"))
    )
    ids = valid.batch["entry_id"].to_pylist()
    assert len(set(ids)) == len(ids) == 4
    in_eu = rejected.batch.filter(pa.array(rejected.key // SHARDS == EU))["entry_id"].to_pylist()
    assert sorted(in_eu) == sorted(ids)


@pytest.mark.clause("5.3")
def test_an_empty_id_is_none(sealed, seals):
    bad = entry("withdrew", entry_id="")
    assert not opened(sealed(bad, entry("grant", NOW + 1, entry_id="")), seals, load_pack())


@pytest.mark.clause("5.3")
def test_an_entry_with_an_odd_id_corrects_nobody_elses(sealed, seals):
    """A restriction whose line has no id is never lifted by another person's entry."""
    bad = entry("withdrew")
    del bad["entry_id"]
    stranger = entry("object", NOW + 1, subject=OTHER, entry_id="not an id")
    assert opened(sealed(bad, stranger), seals, load_pack()) == opened(sealed(bad), seals, load_pack())


@pytest.mark.clause("5.3")
def test_a_stop_with_an_odd_id_voids_nobody_elses_grant(sealed, seals):
    mine = entry("grant", entry_id="my id")
    stranger = entry("withdraw", subject=OTHER, entry_id="not an id")
    assert opened(sealed(mine, stranger), seals, load_pack()) == opened(sealed(mine), seals, load_pack())


@pytest.mark.clause("1.1-a")
def test_nothing_raw_is_in_what_is_sealed(sealed):
    named = [
        entry(kind, subject=subject, reference="case-4711")
        for kind in ("grant", "erase")
        for subject in (entry()["subject"], OF_ACCOUNT)
    ]
    parts = sealed(*named, ndjson(entry("withdrew", number=77)))
    secrets = [ANDROID_ID, ACCOUNT, "case-4711", "entry-0", "entry-77", bytes.fromhex(ANDROID_ID)]
    for part in parts:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, part.batch.schema) as writer:
            writer.write_batch(part.batch)
        content = sink.getvalue().to_pybytes()
        assert part.batch.num_rows
        assert not [s for s in secrets if (s if isinstance(s, bytes) else s.encode()) in content]
        assert ANDROID_ID not in repr(part)


@few
@given(
    st.lists(
        st.tuples(st.sampled_from(["grant", "withdraw", "erase"]), st.sampled_from(["good", "bad", "account", "line"])),
        max_size=12,
    )
)
def test_every_line_is_sealed_or_counted(sealer, lines):
    made = []
    for number, (kind, what) in enumerate(lines):
        subject = {"good": entry()["subject"], "account": OF_ACCOUNT}.get(what, {"type": "device", "value": "zz"})
        made.append(b"nonsense\n" if what == "line" else ndjson(entry(kind, number=number, subject=subject)))
    decoded = decode_ledger(b"".join(made))
    valid, unreadable = sealer.seal(decoded, np.full(len(decoded.time), EU))
    assert valid.nobody == len(valid.bad_subject) == sum(what == "bad" for _, what in lines)
    bad = [number for number, (_, what) in enumerate(lines) if what == "bad"]
    assert decoded.line[valid.bad_subject].tolist() == bad
    assert unreadable.nobody == sum(what == "line" for _, what in lines)
    places = sum(
        (1 if what == "good" else SHARDS) * (1 if kind == "grant" else 2)
        for kind, what in lines
        if what in ("good", "account")
    )
    assert valid.batch.num_rows == places
