import pickle
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from hypothesis import given
from hypothesis import strategies as st

from schemas.fields import EVENT_FIELD, EVENT_FIELDS, EVENT_TYPES, IDENTIFYING, Handling
from schemas.layout import Source, layout
from schemas.pack_files import load_pack
from tests.lines import ANDROID_ID, EXAMPLES, NOW, event, full_event, keystores, ndjson
from tests.strategies import few
from transforms.canonical import canonical
from transforms.columns import runs, scattered
from transforms.conditions import unmet
from transforms.crash_groups import bare_groups, crash_groups
from transforms.decode import Limits, decode_events
from transforms.exchange import pieces
from transforms.ipc import to_ipc
from transforms.keyring import BORDER, open_keyring
from transforms.labels import Labels
from transforms.pseudonymise import reveal
from transforms.scrub import Scrubber
from transforms.seal import EventSealer, Partition, Seals, shard_of
from transforms.texts import Texts

CN, EU = 0, 3
PACK = load_pack()
PLAN = layout(PACK)
DEVICE_IDENTIFIERS = ("imei", "meid", "imsi", "oaid", "gaid", "mac", "serial")
HEAD_OF = {"event_id": "event_id", "device.android_id": "device", "account_id": "account"}


@pytest.fixture(scope="module")
def rings(tmp_path_factory):
    uris = keystores(tmp_path_factory.mktemp("keys"), {CN: "cn", EU: "eu"})
    return {code: open_keyring(uri) for code, uri in uris.items()}


TEXTS = Texts(PACK.limits)


@pytest.fixture(scope="module")
def sealers(rings):
    """One sealer a partition, for all tests: what it remembers may change no result."""
    partitions = (Partition(1, None), Partition(4, 1_000))
    labels = Labels(Scrubber())
    return {p: EventSealer(Seals(rings), PLAN, p, PACK.limits, TEXTS, labels) for p in partitions}


@pytest.fixture(scope="module")
def seal(sealers):
    def of(events, regions=None, partition=Partition(1, None)):  # noqa: B008 (it is frozen)
        decoded = decode_events(ndjson(*events), Limits(300_000, 86_400_000))
        assert len(decoded.event_time) == len(events), "the test's own events must decode"
        codes = np.full(len(events), EU, np.int8) if regions is None else np.array(regions, np.int8)
        return sealers[partition].seal(decoded, codes)

    return of


def value_of(line, path):
    parent, _, leaf = path.rpartition(".")
    return (line.get(parent, {}) if parent else line).get(leaf)


def tag(ring, kind, value):
    """The seal by its definition."""
    mac = CMAC(AES(ring.secret(f"seal/{kind}", BORDER)))
    mac.update(value)
    return mac.finalize()


def canonical_bytes(kind, value):
    return canonical(kind, pa.array([value]))[0][0].as_py()


def cleaned(text):
    return TEXTS.clean(pa.array([text]))[0][0].as_py()


def expected(source, line, ring):
    """What the slot of a source must hold for a line; reversible values are left to `reveal`."""
    field, value = EVENT_FIELD[source.path], value_of(line, source.path)
    if source.form == "seal" and field.handling is Handling.IDENTIFIER:
        return tag(ring, field.kind, canonical_bytes(field.kind, value))
    if field.handling is Handling.TEXT:
        text = cleaned(value)
        if source.form in ("group", "bare"):
            trace, exception = pa.array([text]), pa.array([cleaned(value_of(line, "crash.exception"))])
            keys = crash_groups(trace, exception)
            bare = bare_groups(keys, trace)[0].as_py()
            return bare if source.form == "bare" else tag(ring, "crash_group", keys[0].as_py().encode())
        return tag(ring, "text", text.encode()) if source.form == "seal" else text
    return "203.0.113.0/24" if field.handling is Handling.ADDRESS else value


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("event_type", EVENT_TYPES)
def test_a_row_holds_what_some_purpose_may_receive_of_its_event_type_and_nothing_else(seal, rings, event_type):
    line = full_event(event_type)
    (row,) = seal([line]).batch.to_pylist()
    admitted = set()
    for slot, held in PLAN.slots.items():
        here = [source for source, events in held if EVENT_TYPES.index(event_type) in events]
        assert len(here) <= 1
        if not here:
            assert row[slot] is None
            continue
        (source,) = here
        admitted.add(slot)
        if source.form == "sealed":
            column, field = pa.array([row[slot]], pa.binary()), EVENT_FIELD[source.path]
            back = reveal(column, source.path, source.purpose, rings[EU])
            assert back[0].as_py() == canonical_bytes(field.kind, value_of(line, source.path))
        else:
            assert row[slot] == expected(source, line, rings[EU])
    assert admitted
    for path, name in HEAD_OF.items():
        kind = EVENT_FIELD[path].kind
        assert row[name] == tag(rings[EU], kind, canonical_bytes(kind, value_of(line, path)))
    assert (row["region"], row["event_type"], row["source"]) == (EU, EVENT_TYPES.index(event_type), 0)
    assert (row["event_time"], row["received_time"], row["subject_fault"]) == (NOW, NOW, False)


def test_event_types_of_one_batch_do_not_meet_in_a_shared_slot(seal):
    lines = [full_event(event_type, number) for number, event_type in enumerate(EVENT_TYPES)]
    together = {row["event_id"]: row for row in seal(lines).batch.to_pylist()}
    alone = [seal([line]).batch.to_pylist()[0] for line in lines]
    assert [together[row["event_id"]] for row in alone] == alone


@pytest.mark.clause("1.1.1")
def test_nothing_raw_is_in_the_bytes_that_leave(seal):
    dirty = {"crash__exception": f"imei={EXAMPLES['imei']} of ada@example.org", "crash__trace": "at 203.0.113.77:80"}
    lines = [full_event(t, number, **(dirty if t == "crash" else {})) for number, t in enumerate(EVENT_TYPES)]
    sealed = seal(lines)
    content = b"".join(to_ipc(rows) for *_, rows in pieces(sealed.batch, sealed.key, sealed.window))
    raw = ["ada@example.org", "203.0.113.77", "2001:db8"]
    for line in lines:
        raw += [value for f in EVENT_FIELDS if f.kind and isinstance(value := value_of(line, f.path), str)]
    forms = {form for value in raw for form in (value.encode(), value.upper().encode(), value.encode("utf-16-le"))}
    forms |= {canonical_bytes(kind, value) for kind, value in EXAMPLES.items()}
    forms |= {canonical_bytes("event_id", line["event_id"]) for line in lines}
    assert content and not [form for form in forms if form in content]


def test_what_a_sealed_batch_says_of_itself_holds_no_value(seal):
    sealed = seal([full_event("session")])
    assert ANDROID_ID not in repr(sealed) and "word-" not in repr(sealed)


BAD = {
    "device__imei": "490154203237519",
    "device__imsi": "12",
    "device__mac": "zz:zz",
    "device__android_id": "not hexadecimal",
    "account_id": "with a space",
    "device__model": "<script>",
    "ip": "300.1.1.1",
}


@few
@given(st.lists(st.sampled_from([None, *BAD]), min_size=2, max_size=12))
def test_a_malformed_value_changes_nothing_of_its_neighbours(seal, rings, faults):
    lines = [full_event("activation", n, **({f: BAD[f]} if f else {})) for n, f in enumerate(faults)]
    clean = [full_event("activation", n) for n in range(len(faults))]
    found, reference = ({row["event_id"]: row for row in seal(each).batch.to_pylist()} for each in (lines, clean))
    ids = [tag(rings[EU], "event_id", UUID(line["event_id"]).bytes) for line in clean]
    for event_id, fault in zip(ids, faults, strict=True):
        changed = {name for name, value in reference[event_id].items() if found[event_id][name] != value}
        assert bool(changed) == (fault is not None)
        assert all(found[event_id][name] is None for name in changed - {"subject_fault"})


def test_malformed_values_are_counted_by_field_and_never_kept(seal):
    sealed = seal([full_event("activation", n, **{name: value}) for n, (name, value) in enumerate(BAD.items())])
    paths = {name.replace("__", ".") for name in BAD}
    assert {path: count for path, count in sealed.malformed.items() if count} == dict.fromkeys(paths, 1)
    assert "<script>" not in repr(sealed.batch.to_pylist())


@pytest.mark.clause("5.3")
@pytest.mark.parametrize(
    "members, fault",
    [
        ({}, False),  # nobody's: only purposes without a subject can open
        ({"account_id": "someone"}, False),
        ({"device__android_id": ANDROID_ID}, False),
        ({"device__android_id": ANDROID_ID, "device__imei": "12"}, False),  # the subject is known; the value is dropped
        ({"device__android_id": "xyz"}, True),
        ({"device__android_id": "0000000000000000"}, True),
        ({"device__android_id": "9774d56d682e549c"}, True),  # what a whole series of handsets shares
        ({"device__android_id": ANDROID_ID, "account_id": "with a space"}, True),
        ({"account_id": ""}, True),
        *(
            ({f"device__{name}": EXAMPLES[name]}, True)
            for name in ("imei", "meid", "imsi", "oaid", "gaid", "mac", "serial")
        ),
        ({"device__fcm_token": EXAMPLES["fcm_token"], "account_id": "someone"}, True),
        ({"device__imei": "malformed"}, True),
        ({"device__model": "M1", "ip": "203.0.113.77"}, False),
    ],
)
def test_a_record_is_at_fault_if_its_subject_is_invalid_or_its_device_has_none(seal, members, fault):
    clean = event(2, device__android_id=ANDROID_ID)
    rows = seal([event(1, **members), clean]).batch
    faults = {row["event_id"]: row["subject_fault"] for row in rows.to_pylist()}
    (own,) = seal([event(1, **members)]).batch.to_pylist()
    assert own["subject_fault"] is fault and faults[own["event_id"]] is fault
    assert sum(faults.values()) == fault


@pytest.mark.clause("2-analytics")
def test_two_regions_have_unrelated_tags_for_the_same_device(seal):
    lines = [full_event("crash", 5), full_event("crash", 5)]
    one, other = seal(lines, [CN, EU]).batch.to_pylist()
    assert (one["region"], other["region"]) == (CN, EU)
    binary = [name for name, value in one.items() if isinstance(value, bytes)]
    assert {"event_id", "device", "account", "token0"} <= set(binary)
    assert not [name for name in binary if one[name] == other[name]]


@pytest.mark.clause("6-cn")
def test_a_piece_holds_the_words_of_its_own_records_only(seal):
    lines = [full_event("crash", n, device__model=f"model-{n}", app__package=f"pkg.n{n}") for n in range(2)]
    sealed = seal(lines, [CN, EU])
    parts = [rows for *_, rows in pieces(sealed.batch, sealed.key, sealed.window)]
    for own, part in enumerate(parts):
        assert part["region"].to_pylist() == [(CN, EU)[own]]
        content = to_ipc(part)
        assert f"model-{own}".encode() in content and f"model-{1 - own}".encode() not in content
        assert f"pkg.n{1 - own}".encode() not in content


@pytest.mark.clause("6-dc")
def test_a_record_without_a_region_is_left_out(seal):
    sealed = seal([event(0), event(1), event(2)], [-1, EU, -2])
    assert sealed.batch.num_rows == len(sealed.key) == len(sealed.window) == 1
    assert sealed.batch.equals(seal([event(1)]).batch)


def test_a_record_without_a_usable_id_is_left_out_and_told(seal):
    bad = [event(0, event_id="no uuid"), event(1, event_id="00000000-0000-0000-0000-000000000000")]
    sealed = seal([bad[0], event(2), bad[1], event(3, event_id="neither")], [CN, EU, EU, -1])
    assert sealed.batch.num_rows == 1
    assert sealed.bad_event_id.tolist() == [0, 2]  # rows of the input, so that their lines can be found
    assert not len(seal([event(2)]).bad_event_id)


def test_no_record_is_an_empty_batch_of_the_same_columns(seal):
    sealed = seal([event(0)], [-1])
    assert sealed.batch.num_rows == 0 and sealed.batch.schema.names == PLAN.schema.names


def test_the_batch_has_the_layouts_schema(seal):
    assert seal([full_event(t, n) for n, t in enumerate(EVENT_TYPES)]).batch.schema.equals(PLAN.schema)


@few
@given(st.lists(st.tuples(st.integers(0, 3_999), st.sampled_from([CN, EU]), st.sampled_from("abcdef0")), max_size=30))
def test_rows_are_sorted_by_key_and_window_and_a_subject_has_one_shard(seal, drawn):
    lines = [
        event(n, received=NOW + ms, device__android_id=who * 16) if who != "0" else event(n, received=NOW + ms)
        for n, (ms, _, who) in enumerate(drawn)
    ]
    if not lines:
        return
    sealed = seal(lines, [region for _, region, _ in drawn], Partition(4, 1_000))
    places = list(zip(sealed.key.tolist(), sealed.window.tolist(), strict=True))
    assert places == sorted(places) and len(places) == len(lines)
    shards = {}
    for (key, window), row in zip(places, sealed.batch.to_pylist(), strict=True):
        assert (key // 4, window) == (row["region"], row["received_time"] // 1_000)
        shards.setdefault((row["region"], row["device"] or row["event_id"]), set()).add(key % 4)
    assert all(len(found) == 1 for found in shards.values())


def test_a_shard_is_the_devices_else_the_accounts_else_the_events():
    def tags(*values):
        return pa.array([None if v is None else v.to_bytes(8, "little") + bytes(8) for v in values], pa.binary(16))

    events, devices, accounts = tags(1, 1, 1, 1), tags(2, 2, None, None), tags(3, None, 3, None)
    assert shard_of([events, devices, accounts], 5).tolist() == [2, 2, 3, 1]
    assert shard_of([t.slice(1) for t in (events, devices, accounts)], 5).tolist() == [2, 3, 1]


def test_what_was_carried_sealed_and_scrubbed_is_counted(seal):
    lines = [
        event(0, "crash", crash__exception="ada@example.org", device__android_id=ANDROID_ID, device__serial="AB-1234"),
        event(1, "crash", crash__exception="plain", account_id="someone"),
    ]
    sealed = seal(lines)
    carried = {path: count for path, count in sealed.carried.items() if count}
    assert carried == {"event_id": 2, "device.android_id": 1, "device.serial": 1, "account_id": 1, "crash.exception": 2}
    assert set(sealed.carried) == {f.path for f in EVENT_FIELDS if f.category in IDENTIFYING}
    counted = {path: count for path, count in sealed.sealed.items() if count}
    assert counted == {"event_id": 2, "device.android_id": 1, "account_id": 1}
    assert sealed.scrubbed == {("crash", "email"): 1}  # once, however many purposes get it


def test_what_was_found_and_what_was_cut_is_counted_by_event_type(seal):
    """A page, a host and a trace are cleaned together, and told apart in what is counted."""
    sealed = seal(
        [
            event(0, "page_view", page_view__page="https://example.org/?to=a@b.org"),
            event(1, "crash", crash__exception="a@b.org", crash__trace="c@d.org e@f.org"),
            event(2, "network_request", network_request__host="192.0.2.17:80"),
            event(3, "crash", crash__trace="word " * 4_000),
        ]
    )
    assert sealed.scrubbed == {
        ("page_view", "email_pair"): 1,
        ("crash", "email"): 3,
        ("network_request", "ipv4"): 1,
        ("crash", "cut"): 1,
    }


@pytest.mark.clause("1.1.2-log")
def test_traces_of_one_crash_have_one_seal_and_pages_their_own(seal):
    def sealed(*traces, exception=None):
        lines = [event(n, "crash", crash__trace=trace, crash__exception=exception) for n, trace in enumerate(traces)]
        return seal(lines).batch.column(PLAN.places[Source("crash.trace", "group")]).to_pylist()

    crash = "java.io.IOException: {} is away\n\tat com.example.Sync.run(Sync.java:{})"
    one, same, other = sealed(crash.format("a@b.org", 12), crash.format("c@d.org", 13), crash.replace("run", "go"))
    assert one == same != other
    frames = crash.partition("\n")[2]
    assert sealed(frames, exception="java.io.IOException: x") == sealed(frames, exception="java.io.IOException: y")
    assert sealed(frames, exception="java.io.IOException: x") != sealed(frames, exception="java.io.EOFException: x")


@pytest.mark.clause("1.1.4-b")
def test_a_group_to_count_by_goes_by_its_name_alone(seal, monkeypatch):
    made = []

    def counted(*columns):
        made.append(1)
        return crash_groups(*columns)

    monkeypatch.setattr("transforms.sealed_rows.crash_groups", counted)
    crash = "java.io.IOException: {} is away\n\tat com.example.Sync.run(Sync.java:{})"
    traces = [crash.format("a@b.org", 12), "Ada is away", crash.format("c@d.org", 13), None]
    sealed = seal([event(n, "crash", crash__trace=trace) for n, trace in enumerate(traces)]).batch
    slot = sealed.column(PLAN.places[Source("crash.trace", "bare")])
    name = "java.io.IOException at com.example.Sync.run"
    assert slot.to_pylist() == [name, None, name, None] and slot.dictionary.to_pylist() == [name]
    assert made == [1]  # of the seal and the name together


def test_keys_do_not_travel(rings):
    seals = Seals(rings)
    seals.tag("imei", pa.array(["1"]), np.array([EU]))
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(seals)


@given(st.lists(st.integers(-2, 2), max_size=30))
def test_runs_cover_everything_once(codes):
    found = list(runs(np.array(codes, np.int64)))
    assert [code for code, start, stop in found for _ in range(start, stop)] == codes
    assert all(one[0] != other[0] and one[2] == other[1] for one, other in zip(found, found[1:], strict=False))


@given(st.lists(st.sampled_from([None, 0, 1, 2]), min_size=1, max_size=30))
def test_scattered_parts_stand_where_they_belong(owners):
    parts = [
        (
            np.flatnonzero([o == owner for o in owners]),
            pa.array([f"{owner}-{i}" for i, o in enumerate(owners) if o == owner], pa.string()),
        )
        for owner in range(3)
    ]
    found = scattered(parts, len(owners)).to_pylist()
    assert found == [None if owner is None else f"{owner}-{place}" for place, owner in enumerate(owners)]


@pytest.mark.clause("2-adcookie")
@pytest.mark.parametrize("zeros", ["00000000-0000-0000-0000-000000000000", "0" * 32])
@pytest.mark.parametrize("path", ["oaid", "gaid"])
def test_a_zeroed_advertising_id_is_told_to_the_gate(seal, path, zeros):
    lines = [event(0, "ad_interaction"), event(1, "ad_interaction", **{f"device__{path}": zeros})]
    assert sorted(seal(lines).batch["zeroed"].to_pylist()) == [False, True]


@pytest.mark.clause("1.1-b")
@pytest.mark.clause("1.2-push")
def test_promotional_notices_do_not_serve_push_and_system_notices_do_not_serve_promotion(seal):
    words = enumerate(("system", "promotion"))
    lines = [event(n, "push_interaction", push_interaction__notice=word) for n, word in words]
    lines.append(event(2, "push_interaction"))
    batch = seal(lines).batch
    masks, names = unmet(batch, PACK, PLAN)["not_for_purpose"], list(PACK.purposes)
    closed = [{name for bit, name in enumerate(names) if int(mask) >> bit & 1} for mask in masks]
    assert sorted(closed, key=sorted) == [set(), {"promotion"}, {"push"}]
