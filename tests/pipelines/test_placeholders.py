"""A whole run over values that are none: of identifiers and of places. What is counted, and what is stored."""

import json
from collections import Counter

import pytest

from pipelines import ingest
from pipelines.deployment import load_deployment
from pipelines.stores import open_dataset
from tests.lines import EXAMPLES
from tests.stranger import DEVICE, Prepared, command, deploy, entry, event, ndjson

ZEROED = "00000000-0000-0000-0000-000000000000"
PLACES = [  # residency, the region that it comes to, whether its signals conflict
    ({"account_country": "NL"}, "eu", False),
    *(({"account_country": code}, None, False) for code in ("ZZ", "XX", "EU", "UK", "", "nl", "NLD", "China", "T1")),
    *(({"sim_mcc": code}, None, False) for code in (0, 1, 999, 901, -1, "001")),
    ({"account_country": "ZZ", "device_region": "US", "sim_mcc": 901}, "us", False),
    ({"account_country": "CN", "device_region": "RU"}, "cn", True),
    ({"account_country": "RU", "device_region": "CN"}, "cn", True),
    ({"account_country": "US", "device_region": "CN", "sim_mcc": 404}, "in", True),
    ({"account_country": "US", "device_region": "SG"}, "us", True),
    ({}, None, False),
]
BAD = {"imei": "490154203237519", "imsi": "001010123456789", "mac": "ff:ff:ff:ff:ff:ff"}
GOOD = {name: EXAMPLES[name] for name in BAD}


def _events() -> list[dict]:
    made = [event(n, residency=residency) for n, (residency, *_) in enumerate(PLACES, 1)]
    for bad in (*BAD, None):  # of one device each is malformed in turn, in the last nothing
        device = {"android_id": DEVICE, **GOOD, **({bad: BAD[bad]} if bad else {})}
        made.append(event(len(made) + 1, "activation", device=device, activation={"outcome": "succeeded"}))
    ids = {"gaid": EXAMPLES["gaid"], "oaid": EXAMPLES["oaid"]}
    for zeroed in ({}, {"gaid": ZEROED}, {"oaid": ZEROED.replace("-", "")}, {"gaid": "short"}):
        device = {"android_id": DEVICE, **ids, **zeroed}
        made.append(event(len(made) + 1, "ad_interaction", device=device, ad_interaction={"action": "click"}))
    return made


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Prepared:
    folder = tmp_path_factory.mktemp("placeholders")
    (folder / "e.ndjson").write_bytes(ndjson(*_events()))
    (folder / "c.ndjson").write_bytes(ndjson(entry(1, "grant")))
    given = ("--events", folder / "e.ndjson", "--consents", folder / "c.ndjson", "--deployment", deploy(folder))
    outcome = command(ingest, *given, "--json")
    assert outcome.status == 0, outcome.err
    return Prepared(folder, outcome)


def stored(ran, region, dataset):
    return open_dataset(load_deployment(ran.deployment), region, dataset).to_table()


@pytest.mark.clause("6-dc")
def test_what_cannot_be_located_is_counted_and_not_kept(ran):
    told = json.loads(ran.outcome.out)
    nowhere = sum(region is None for _, region, _ in PLACES)
    assert ran.outcome.counts.sum(step="telemetry", outcome="unlocatable") == nowhere == 16
    assert told["faults"] == [] and told["came_in"]["telemetry"]["quarantined"] == 0
    sessions = {region: stored(ran, region, "service").num_rows for region in ("cn", "in", "eu", "us")}
    assert sessions == Counter(region for _, region, _ in PLACES if region)


@pytest.mark.clause("6-cn")
@pytest.mark.clause("6-in")
def test_signals_that_name_several_regions_are_counted(ran):
    assert ran.outcome.counts.sum(step="telemetry", outcome="conflicting") == 4


@pytest.mark.clause("1.2-activation")
def test_malformed_identifiers_are_counted_by_column_and_dropped_alone(ran):
    identifiers = json.loads(ran.outcome.out)["identifiers"]
    malformed = {path: each["malformed"] for path, each in identifiers.items() if each["malformed"]}
    assert malformed == {f"device.{name}": 1 for name in (*BAD, "gaid")}
    rows = stored(ran, "eu", "activation")
    assert rows.num_rows == 4
    assert {name: rows[f"device_{name}"].null_count for name in BAD} == dict.fromkeys(BAD, 1)
    assert rows["device_android_id"].null_count == 0


@pytest.mark.clause("2-adcookie")
def test_a_zeroed_advertising_id_keeps_its_record_out_of_advertising_although_it_is_granted(ran):
    counted = ran.outcome.counts.by(("outcome", "reason"), step="gate", purpose="personalised_ads")
    assert counted == {("opened", ""): 2, ("refused", "opted_out"): 2}
    rows = stored(ran, "eu", "personalised_ads")
    assert (rows.num_rows, rows["device_gaid"].null_count, rows["device_oaid"].null_count) == (2, 1, 0)
