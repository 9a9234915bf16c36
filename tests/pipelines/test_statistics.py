"""`douane statistics`: what was released, listed and printed, by whoever has the files and no key."""

import json
import shutil

import pyarrow as pa
import pytest

from pipelines import statistics
from pipelines.deployment import load_deployment
from pipelines.statistics_store import _facts, _put_once
from schemas.pack_files import load_pack
from schemas.statistics import RELEASE, release_schema
from tests.stranger import command, deploy

PACK = load_pack()
RULES = PACK.statistics
SCHEMA = release_schema(RULES)
SHOWN = [
    ("active", "devices", {}, 10_204, 24),
    ("usage", "devices", {"event_type": "crash", "app_package": "com.example.map"}, 812, 288),
    ("usage", "events", {"event_type": "crash", "app_package": "com.example.map"}, 1_950, 5_752),
    ("usage", "devices", {"event_type": "app_usage", "app_package": None}, 5_321, 288),
    ("usage", "events", {"event_type": "app_usage", "app_package": None}, 31_000, 5_752),
]


def rows_of(shown):
    rows = [
        {"table": table, "measure": measure, "value": value, "interval": interval, **words}
        for table, measure, words, value, interval in shown
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


@pytest.fixture
def released(tmp_path):
    """Two days of eu, one of us; no keys anywhere."""
    file = deploy(tmp_path, ("eu", "us", "sg"))
    regions = load_deployment(file).regions
    for region, day, shown in (("eu", "2021-03-01", SHOWN), ("eu", "2021-03-02", SHOWN[:1]), ("us", "2021-03-01", [])):
        facts = {**_facts(RULES), "policy": PACK.version, "region": region, "day": day, "run": "abc"}
        path = regions[region].statistics / RELEASE.format(day=day)
        _put_once(path, rows_of(shown).replace_schema_metadata(facts))
    assert not (tmp_path / "keys").exists()
    return file


def ask(file, *arguments):
    return command(statistics, "--deployment", file, *arguments)


@pytest.mark.clause("3.1.4")
def test_without_a_day_the_releases_are_listed(released):
    outcome = ask(released)
    assert outcome.status == 0 and not outcome.err
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["region", "day", "groups", "epsilon", "delta", "policy"],
        ["eu", "2021-03-01", "3", "1", "1e-08", "2021-01-15"],
        ["eu", "2021-03-02", "1", "1", "1e-08", "2021-01-15"],
        ["us", "2021-03-01", "0", "1", "1e-08", "2021-01-15"],
    ]
    assert [line.split()[0] for line in ask(released, "--region", "us").out.splitlines()] == ["region", "us"]


@pytest.mark.clause("1.1.4-b")
def test_numbers_come_with_their_interval_the_largest_first(released):
    outcome = ask(released, "--region", "eu", "--day", "2021-03-01")
    lines = [line.rstrip() for line in outcome.out.splitlines()]
    assert "epsilon 1 and delta 1e-08" in lines[0]
    assert lines[2:6] == ["  active", "    devices  95 %", "     10,204  ± 24", ""]
    assert lines[6].startswith("  usage by event_type and app.package")
    assert lines[7:10] == [
        "    event_type  app.package      devices   95 %  events     95 %",
        "    app_usage   -                  5,321  ± 288  31,000  ± 5,752",
        "    crash       com.example.map      812  ± 288   1,950  ± 5,752",
    ]
    assert lines.count("    no group is large enough") == 3


def test_one_table_of_all_days(released):
    outcome = ask(released, "--table", "active")
    heads = [line.split("  ")[0] for line in outcome.out.splitlines() if line.startswith(("eu", "us"))]
    assert heads == ["eu 2021-03-01", "eu 2021-03-02", "us 2021-03-01"]
    assert "usage" not in outcome.out and outcome.out.count("10,204") == 2


def test_json_is_for_machines(released):
    listed = json.loads(ask(released, "--json").out)
    assert listed[0] == {
        **{"region": "eu", "day": "2021-03-01", "groups": 3, "epsilon": 1.0, "delta": 1e-8, "policy": "2021-01-15"}
    }
    values = json.loads(ask(released, "--day", "2021-03-01", "--table", "usage", "--json").out)
    assert len(values) == 4 and values[0] == {
        "region": "eu",
        "day": "2021-03-01",
        "table": "usage",
        "group": {"event_type": "app_usage", "app.package": None},
        "measure": "devices",
        "value": 5_321,
        "interval": 288,
    }


def test_nothing_released_is_said_and_is_no_error(tmp_path):
    outcome = ask(deploy(tmp_path))
    assert outcome.status == 0 and "nothing is released yet" in outcome.out
    assert json.loads(ask(deploy(tmp_path), "--json").out) == []


@pytest.mark.parametrize(
    "arguments, remedy",
    [
        (("--day", "2021-03-09"), "nothing is released for --day 2021-03-09"),
        (("--table", "usages"), "no such table; there are: active, usage, versions, models"),
        (("--region", "sg", "--table", "usage"), "nothing is released for --region sg"),
        (("--region", "mars"), "no region 'mars'"),
        (("--day", "yesterday"), "write it as YYYY-MM-DD"),
        (("--days", "2021-03-01"), "--days"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(released, arguments, remedy):
    outcome = ask(released, *arguments)
    assert outcome.status == 2 and not outcome.out
    assert remedy in outcome.errors[-1]


def test_a_damaged_release_is_named(released):
    place = load_deployment(released).regions["eu"].statistics
    (place / RELEASE.format(day="2021-03-01")).write_bytes(b"PAR1 no longer")
    outcome = ask(released)
    assert outcome.status == 4 and "day=2021-03-01" in outcome.errors[-1]
    shutil.rmtree(place / "day=2021-03-01")
    assert ask(released).status == 0
