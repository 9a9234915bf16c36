"""`douane sample`: what it writes is deterministic, valid but for the bad share, and like what a fleet sends."""

import collections
import datetime as dt
import gzip
import json
import math
import time

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sample import Sample, main, write_sample
from pipelines.sampling import draws, telemetry
from pipelines.sampling.ndjson import content, encode, escape
from schemas.countries import country_of_mcc
from schemas.fields import (
    EVENT_FIELDS,
    EVENT_TYPES,
    INTEGER,
    LEDGER_FIELDS,
    NUMBER,
    PERMISSION_KINDS,
    SCHEMA_VERSION,
    SOURCES,
    STOP_KINDS,
    STRING,
)

SAMPLE = Sample(events=20_000, devices=4_000, entries=12_000, seed=3)
SMALL = Sample(events=300, devices=50, entries=150)
EEA = ("DE", "ES", "FR", "IS", "IT", "LI", "NL", "NO", "PL", "RO", "SE")  # those of the fleet
REGION = {"CN": "cn", "IN": "in", "RU": "ru", "US": "us"} | dict.fromkeys(EEA, "eu")
PYTHON_TYPE = {STRING: str, INTEGER: int, NUMBER: (int, float)}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("sample")
    (events, consents), canaries = write_sample(SAMPLE, out)
    canaries.write(out / "canaries.json")
    return out, events.read_bytes(), consents.read_bytes()


@pytest.fixture(scope="module")
def events(made):
    read = (read_event(line) for line in made[1].splitlines())
    return [event for event in read if event is not None]


@pytest.fixture(scope="module")
def entries(made):
    return [json.loads(line) for line in made[2].splitlines()]


def value_at(record, path):
    for name in path.split("."):
        record = (record or {}).get(name)
    return record


def fits(field, value):
    if value is None:
        return not field.required
    if field.type in PYTHON_TYPE and (not isinstance(value, PYTHON_TYPE[field.type]) or isinstance(value, bool)):
        return False
    if field.values and value not in field.values:
        return False
    low, high = field.minimum, field.maximum
    return (low is None or value >= low) and (high is None or value <= high)


def refuse(constant):
    raise ValueError("not JSON")


def read_event(line):
    """The event of a line, or None if it is bad in any way that the tables of fields and the limits know."""
    try:
        event = json.loads(line.decode("utf-8"), parse_constant=refuse)
        happened, received = (dt.datetime.fromisoformat(event[name]) for name in ("event_time", "received_time"))
        good = (
            all(isinstance(event.get(name, {}), dict) for name in ("residency", "device", "app", "location"))
            and all(fits(field, value_at(event, field.path)) for field in EVENT_FIELDS)
            and event["event_type"] in EVENT_TYPES
            and event["schema_version"] == SCHEMA_VERSION
            and event["source"] in SOURCES
            and received - dt.timedelta(days=30) <= happened <= received + dt.timedelta(minutes=5)
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
    return event if good else None


def region(record):
    signals = record["residency"]
    countries = (
        signals.get("account_country"),
        signals.get("device_region"),
        country_of_mcc().get(signals.get("sim_mcc")),
    )
    return next((REGION.get(country, "sg") for country in countries if country not in (None, "ZZ")), None)


def test_same_arguments_same_bytes(tmp_path):
    for name in ("one", "two"):
        assert main(["--out", str(tmp_path / name), "--events", "900", "--devices", "90", "--compress", "gz"]) == 0
    assert (
        main(
            ["--out", str(tmp_path / "other"), "--events", "900", "--devices", "90", "--compress", "gz", "--seed", "2"]
        )
        == 0
    )
    for name in ("events.ndjson.gz", "consents.ndjson.gz"):
        one, two, other = ((tmp_path / run / name).read_bytes() for run in ("one", "two", "other"))
        assert one == two != other


def test_only_the_bad_share_is_bad(made):
    lines = made[1].splitlines()
    assert len(lines) == SAMPLE.events
    assert sum(read_event(line) is None for line in lines) == round(SAMPLE.events * SAMPLE.bad_share)


def test_no_line_is_bad_without_a_bad_share(tmp_path):
    (path, _), _ = write_sample(Sample(events=1_000, devices=100, entries=0, bad_share=0), tmp_path)
    assert all(read_event(line) for line in path.read_bytes().splitlines())


def test_every_line_can_be_bad(tmp_path):
    (path, _), _ = write_sample(Sample(events=400, devices=40, entries=0, bad_share=1), tmp_path)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 400
    assert not any(read_event(line) for line in lines)


def test_every_kind_of_event_and_source_occurs_with_its_own_object(events):
    assert {event["event_type"] for event in events} == set(EVENT_TYPES)
    assert {event["source"] for event in events} == set(SOURCES)
    assert all(event["event_type"] in event for event in events)


def test_every_field_occurs(events, entries):
    for fields, records in ((EVENT_FIELDS, events), (LEDGER_FIELDS, entries)):
        absent = {field.path for field in fields if all(value_at(record, field.path) is None for record in records)}
        assert not absent


@pytest.mark.clause("6-dc")
def test_regions_have_their_shares_and_some_records_have_none(events):
    shares = collections.Counter(map(region, events))
    expected = {"cn": 0.40, "in": 0.20, "eu": 0.15, "ru": 0.08, "us": 0.07, "sg": 0.10}
    assert {name: shares[name] / len(events) for name in expected} == pytest.approx(expected, abs=0.03)
    assert 0 < shares[None] < 0.02 * len(events)
    countries = {value_at(event, "residency.device_region") for event in events}
    assert {"HK", "TW", "MO", "IS", "LI", "NO", "CH", "GB"} <= countries


def test_some_signals_conflict(events):
    abroad = sum(
        country_of_mcc().get(value_at(event, "residency.sim_mcc"), event["residency"]["device_region"])
        != event["residency"]["device_region"]
        for event in events
    )
    assert 0.005 < abroad / len(events) < 0.08


def test_events_arrive_in_order_but_for_neighbours_and_some_days_late(events):
    received, happened = (
        [dt.datetime.fromisoformat(event[name]).timestamp() for event in events]
        for name in ("received_time", "event_time")
    )
    assert np.all(np.diff(received) > -3.01)
    assert np.any(np.diff(received) < 0)
    delays = np.subtract(received, happened)
    assert 0.03 < np.mean(delays > 3_600) < 0.07
    assert delays.max() > 2 * 86_400
    assert delays.min() >= -120
    days = {event["received_time"][:10] for event in events}
    assert days == {"2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04"}


def test_duplicates_are_copies_half_of_them_received_later(events):
    copies = collections.defaultdict(list)
    for event in events:
        copies[event["event_id"]].append(event)
    repeated = [group for group in copies.values() if len(group) > 1]
    assert 0.012 < len(repeated) / len(events) < 0.018
    later = sum(one["received_time"] != two["received_time"] for one, two in repeated)
    assert 0.35 < later / len(repeated) < 0.65
    for one, two in repeated:
        assert one | {"received_time": None} == two | {"received_time": None}


def test_lines_are_as_long_as_a_fleets(made):
    assert 580 < len(made[1]) / SAMPLE.events < 700
    assert max(map(len, made[1].splitlines())) < 64 * 1024


def test_identifiers_are_well_formed(events):
    def luhn(number):
        doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number))]
        return sum(digit - 9 if digit > 9 else digit for digit in doubled) % 10 == 0

    imeis = {value_at(event, "device.imei") for event in events} - {None}
    assert imeis and all(len(imei) == 15 and luhn(imei) for imei in imeis)
    for event in events:
        imsi, mcc = value_at(event, "device.imsi"), value_at(event, "residency.sim_mcc")
        assert imsi is None or (len(imsi) == 15 and imsi.startswith(str(mcc)))
        oaid, gaid = value_at(event, "device.oaid"), value_at(event, "device.gaid")
        assert oaid is None or gaid is None


@pytest.mark.clause("1.1-a")
def test_no_event_carries_every_identifier(events):
    carried = collections.defaultdict(set)
    for event in events:
        carried[event["event_type"]] |= event.get("device", {}).keys()
    assert "imei" in carried["activation"]
    assert not {"imei", "imsi", "fcm_token"} & carried["app_usage"]
    assert not {"imei", "serial", "mac"} & carried["push_interaction"]
    assert not any("device" in event for event in events if event["source"] == "web")


def test_some_accounts_are_on_two_devices(events):
    devices = collections.defaultdict(set)
    for event in events:
        if event.get("account_id") and value_at(event, "device.android_id"):
            devices[event["account_id"]].add(event["device"]["android_id"])
    assert max(map(len, devices.values())) > 1


@pytest.mark.clause("5.3")
def test_ledger_holds_every_kind_in_order_of_receipt(entries):
    assert len(entries) == SAMPLE.entries
    assert all(fits(field, value_at(entry, field.path)) for entry in entries for field in LEDGER_FIELDS)
    assert {entry["kind"] for entry in entries} == set(STOP_KINDS + PERMISSION_KINDS)
    received = [entry["received_time"] for entry in entries]
    assert received == sorted(received)
    assert len({entry["entry_id"] for entry in entries}) == len(entries)
    stops = sum(entry["kind"] in STOP_KINDS for entry in entries)
    assert 0.02 < stops / len(entries) < 0.05
    assert {entry["policy_version"] for entry in entries} == {"2021-01-15", "2020-03-01"}


def test_no_permission_is_dated_ahead_of_its_receipt(entries):
    for entry in entries:
        made_at, received = (dt.datetime.fromisoformat(entry[name]) for name in ("time", "received_time"))
        assert made_at - received < dt.timedelta(minutes=2)


def test_about_half_of_the_devices_of_the_ledger_send_events(events, entries):
    devices = {value_at(event, "device.android_id") for event in events} - {None}
    subjects = {entry["subject"]["value"] for entry in entries if entry["subject"]["type"] == "device"}
    assert 0.45 < len(devices & subjects) / len(devices) < 0.60


@pytest.mark.clause("1.2-location")
def test_location_is_granted_by_application(entries):
    scoped = [entry for entry in entries if {"location_services", "find_device"} & set(entry["purposes"])]
    assert scoped and all(entry.get("app") for entry in scoped)
    granted = {(entry["subject"]["value"], entry["app"]) for entry in scoped if entry["kind"] == "grant"}
    taken_back = [entry for entry in scoped if entry["kind"] == "withdraw"]
    assert sum((entry["subject"]["value"], entry["app"]) in granted for entry in taken_back) > len(taken_back) / 2


def test_canaries_are_in_the_files(made):
    out, events, consents = made
    canaries = json.loads((out / "canaries.json").read_text())["canaries"]
    everything = events + consents
    values = [canary["value"] for canary in canaries]
    assert 500 < len(values) == len(set(values)) <= 2_000
    assert all(len(value) >= 7 and value.encode() in everything for value in values)
    wheres = {canary["where"] for canary in canaries}
    assert {
        "device.imei",
        "ip",
        "account_id",
        "event_id",
        "crash.trace",
        "page_view.page",
        "ledger.reference",
    } <= wheres


def test_canaries_are_of_good_lines_only(tmp_path):
    (path, _), canaries = write_sample(Sample(events=300, devices=30, entries=0, bad_share=1), tmp_path)
    assert len(canaries) == 0


@pytest.mark.parametrize(("suffix", "unpack"), [("gz", gzip.decompress), ("zst", None)])
def test_compressed_files_hold_the_same_lines(tmp_path, suffix, unpack):
    unpack = unpack or (lambda packed: zstandard.ZstdDecompressor().decompressobj().decompress(packed))
    plain, _ = write_sample(SMALL, tmp_path)
    packed, _ = write_sample(SMALL, tmp_path, compress=suffix)
    for one, other in zip(plain, packed, strict=True):
        assert other.name == f"{one.name}.{suffix}"
        assert unpack(other.read_bytes()) == one.read_bytes()


@pytest.mark.parametrize(
    "sample", [Sample(0, 1, 0), Sample(1, 1, 1), Sample(7, 3, 5, bad_share=0.5), Sample(10, 2, 400)]
)
def test_tiny_samples_have_the_asked_size(tmp_path, sample):
    (events, consents), _ = write_sample(sample, tmp_path)
    assert events.read_bytes().count(b"\n") == sample.events
    assert consents.read_bytes().count(b"\n") == sample.entries


def test_several_chunks_make_one_sample(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.sampling.telemetry.CHUNK", 70)
    (path, _), _ = write_sample(Sample(events=1_000, devices=100, entries=0, bad_share=0.037), tmp_path)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1_000
    assert sum(read_event(line) is None for line in lines) == 37


@pytest.mark.parametrize("wrong", [["--event", "5"], ["--devices", "0"], ["--bad-share", "2"], ["--start", "soon"], []])
def test_wrong_arguments_are_errors(tmp_path, wrong):
    out = ["--out", str(tmp_path)] if wrong else []
    with pytest.raises(SystemExit) as ended:
        main(out + wrong)
    assert ended.value.code == 2


def test_unwritable_folder_is_an_error(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert main(["--out", str(tmp_path / "file")]) == 2
    assert "cannot write" in capsys.readouterr().err


def test_summary_says_what_was_written(tmp_path, capsys):
    arguments = [
        "--out",
        str(tmp_path),
        "--events",
        "50",
        "--devices",
        "10",
        "--canaries",
        str(tmp_path / "canaries.json"),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "50 events of 10 devices" in said
    assert "30 entries" in said
    assert f"{(tmp_path / 'events.ndjson').stat().st_size:,} bytes" in said


def test_twenty_thousand_events_take_less_than_three_seconds(tmp_path):
    began = time.process_time()
    write_sample(SAMPLE, tmp_path)
    assert time.process_time() - began < 3


TEXTS = st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=8))
ROWS = st.lists(st.tuples(TEXTS, st.none() | st.integers(-9, 9), TEXTS, st.lists(st.sampled_from("abc"), min_size=1)))


@given(ROWS)
def test_encoded_columns_read_back_without_their_nulls(rows):
    texts, numbers, words, lists = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [], [])
    escaped = pa.array([text if text is None else escape(text) for text in texts], pa.string())
    labels = pa.array([word if word is None else escape(word) for word in words], pa.string())
    columns = {
        "id": pa.array(range(len(rows)), pa.int64()),
        "deep.text": escaped,
        "deep.number": pa.array(numbers, pa.int64()),
        "word": labels.dictionary_encode(),
        "list": pa.array(lists, pa.list_(pa.string())),
    }
    lines = content(encode(columns)).to_pybytes().decode().split("\n")[:-1]
    expected = []
    for place, (text, number, word, listed) in enumerate(rows):
        deep = {name: value for name, value in (("text", text), ("number", number)) if value is not None}
        record = {"id": place, "deep": deep or None, "word": word, "list": listed}
        expected.append({name: value for name, value in record.items() if value is not None})
    assert [json.loads(line) for line in lines] == expected


@given(st.integers(0, 4_102_444_800_000))
def test_times_are_rfc_3339(milliseconds):
    (text,) = draws.times(np.array([milliseconds])).to_pylist()
    assert math.isclose(dt.datetime.fromisoformat(text).timestamp() * 1000, milliseconds, abs_tol=0.5)
    assert len(text) == 24 and text[10] == "T" and text.endswith("Z")


def test_several_processes_write_what_one_does(tmp_path):
    sample = Sample(events=telemetry.CHUNK + 100, devices=20, entries=10)  # two chunks
    one, planted = write_sample(sample, tmp_path / "one")
    two, known = write_sample(sample, tmp_path / "two", processes=2)
    assert [path.read_bytes() for path in two] == [path.read_bytes() for path in one]
    assert len(known) < len(planted)  # those of the ledger


def test_what_was_planted_is_wholly_known_where_it_is_asked_for(tmp_path, monkeypatch):
    asked = []

    def write(sample, out, compress, processes):
        asked.append(processes)
        return write_sample(sample, out, compress)

    monkeypatch.setattr("pipelines.sample.write_sample", write)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    for more in ([], ["--canaries", str(tmp_path / "canaries.json")]):
        assert main(["--out", str(tmp_path), "--events", "5", "--devices", "2", *more]) == 0
    assert asked == [4, 1]
