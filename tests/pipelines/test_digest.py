"""Digest: the numbers that text, JSON and page share add up to the counts that they are made of."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines import digest as digest_module
from pipelines.deployment import load_deployment
from pipelines.digest import as_data, released_days
from pipelines.errors import InputError
from schemas.fields import EVENT_TYPES
from schemas.tallies import Totals
from tests.counted import PACK, counted, digested
from tests.stranger import REGIONS, deploy

RECORDS = {"eu": 30, "us": 3}


def test_a_run_that_reconciles():
    found = digested(counted(RECORDS))
    assert found.reconciles and found.faults == []
    assert all(check.left == check.right and not check.broken for check in found.checks)
    assert found.received == ["2021-03-01T00:00+00:00"] * 2
    came = found.came_in["telemetry"]
    assert came["lines"] == came["quarantined"] + came["decoded"] == 3 + 33 * len(EVENT_TYPES)
    assert came["judged"] == came["decoded"] and came["blank"] == came["foreign"] == 0
    assert {name: region.judged for name, region in found.by_region.items()} == {
        name: RECORDS.get(name, 0) * len(EVENT_TYPES) for name in REGIONS
    }
    assert found.by_region["eu"].days_released == ["2021-02-27"]


def test_every_decision_is_told_once():
    totals = counted(RECORDS)
    found = digested(totals)
    assert list(found.purposes) == list(PACK.purposes)
    for name, purpose in found.purposes.items():
        assert purpose.opened == totals.sum(step="gate", outcome="opened", purpose=name)
        assert purpose.refused == sum(reason.count for reason in purpose.reasons)
        assert purpose.opened == purpose.stored + purpose.erased + purpose.counted
        assert (purpose.title, purpose.clause) == (PACK.purposes[name].title, PACK.purposes[name].clause)
    assert sum(reason.count for reason in found.reasons) == totals.sum(step="gate", outcome="refused")
    assert all(reason.clause for reason in found.reasons)
    assert sum(region.stored for region in found.by_region.values()) == totals.sum(step="store", outcome="stored")


def test_what_identified_somebody_and_what_did_not():
    (path,) = (found := digested(counted(RECORDS))).identifiers
    of = found.identifiers[path]
    assert (path, of.carried, of.replaced, of.left_behind, of.malformed) == ("device.imei", 9, 4, 3, 2)
    assert found.scrubbed == {"crash": {"email": 5}}
    (rejected,) = found.quarantine["telemetry"]
    assert (rejected.reason, rejected.clause, rejected.count, rejected.outcomes) == (
        "not_json",
        "1.1-a",
        3,
        {"kept": 3},
    )
    assert found.quarantine["ledger"] == []


@pytest.mark.clause("0-b")
def test_the_overlays_of_the_edition_are_named():
    found = digested(counted(RECORDS))
    assert found.overlays == {"regions": ["cn", "eu", "in", "ru", "sg", "us"], "services": ["notes"]}


def test_what_is_lost_is_told():
    found = digested(counted(RECORDS, lost=2))
    assert not found.reconciles
    (fault,) = found.faults
    (check,) = (check for check in found.checks if check.broken)
    assert fault == str(check.broken[0])
    assert check.left - check.right == 2 and check.holding == 0


def test_of_a_stream_that_goes_on_only_its_own_checks_are_told():
    found = digested(counted(RECORDS, lost=2), ended=False)
    assert found.reconciles and found.checks == [] and not found.ended


def test_json_has_the_form_that_is_described():
    totals = counted(RECORDS, lost=2)
    data = json.loads(json.dumps(as_data(digested(totals), totals)))
    assert (data["format"], data["reconciles"], len(data["faults"])) == (1, False, 1)
    words = set(re.findall(r"[a-z_]+", digest_module.__doc__))
    assert data.keys() <= words and data["by_region"]["eu"].keys() <= words and data["purposes"]["push"].keys() <= words
    assert set(data["checks"][0]) == {"title", "left", "right", "checked", "holding"}
    assert sum(count["count"] for count in data["counts"]) == sum(totals.table["count"].to_pylist())
    assert Totals(pa.Table.from_pylist(data["counts"])).sum(step="gate", outcome="judged") == 33 * len(EVENT_TYPES)


def release(folder, day: str, run: str) -> None:
    path = folder / f"day={day}" / "release.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table({"value": [1]}).replace_schema_metadata({"day": day, "run": run}), path)


def test_the_days_that_a_run_released(tmp_path):
    place = load_deployment(deploy(tmp_path, ("eu",))).place("eu")
    for day, run in (("2021-03-02", "b"), ("2021-03-01", "b"), ("2021-02-28", "a")):
        release(place.statistics, day, run)
    assert released_days([place], "b") == {"eu": ["2021-03-01", "2021-03-02"]}
    assert released_days([place], "c") == {"eu": []}
    (place.statistics / "day=2021-03-01" / "release.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"day=2021-03-01.*is damaged"):
        released_days([place], "b")
