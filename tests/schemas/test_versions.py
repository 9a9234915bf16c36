"""That a version of the schema keeps what senders rely on, and that the tables are those that were released."""

from dataclasses import replace

import pytest

from schemas import versions
from schemas.fields import EVENT_FIELDS, SCHEMA_VERSION
from schemas.versions import TABLES, breaches, described, main, released

MENDING = """
What a version was released with stays. If the change only adds (an optional field, a word, room to a range), raise
SCHEMA_VERSION in schemas/fields.py and run `make schema-version`; if it takes away, give it a new field instead.
"""
NEW = replace(EVENT_FIELDS[-1], path="fold.angle", values=())
PLACES = {field.path: place for place, field in enumerate(EVENT_FIELDS)}


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("table", TABLES)
def test_the_tables_are_those_of_the_newest_version(table):
    was, now = released(table, SCHEMA_VERSION), described(TABLES[table])
    assert not list(breaches(was, now)), MENDING
    assert was == now, MENDING


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize("table", TABLES)
def test_each_version_is_a_successor_of_the_one_before(table):
    found = [released(table, version) for version in range(1, SCHEMA_VERSION + 1)]
    assert not [breach for old, new in zip(found, found[1:], strict=False) for breach in breaches(old, new)], MENDING


def changed(path, /, **more):
    """The table of events with one field otherwise."""
    place = PLACES[path]
    return (*EVENT_FIELDS[:place], replace(EVENT_FIELDS[place], **more), *EVENT_FIELDS[place + 1 :])


SOURCES = EVENT_FIELDS[PLACES["source"]].values


@pytest.mark.clause("1.1-a")
@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (EVENT_FIELDS[:-1], f"{EVENT_FIELDS[-1].path} is gone"),
        (changed("service", path="product"), "service is gone"),
        (changed("service", type="int64"), "service: type was string and is int64"),
        (changed("device.imei", kind="serial"), "device.imei: kind was imei and is serial"),
        (changed("ip", required=True), "ip: required was False and is True"),
        (changed("service", required=False), "service: required was True and is False"),
        (changed("source", values=SOURCES[:-1]), "source: words of its enumeration are gone"),
        (changed("service", values=("browser",)), "service: words of its enumeration are gone"),
        (changed("location.latitude", minimum=-89), "location.latitude: its range is narrower"),
        (changed("location.latitude", maximum=89), "location.latitude: its range is narrower"),
        (changed("service", minimum=0), "service: its range is narrower"),
        (changed("location.mcc", lenient=False), "location.mcc: it was read quoted or not"),
        ((*EVENT_FIELDS, replace(NEW, required=True)), "fold.angle is new and required"),
    ],
)
def test_what_a_successor_may_not_change(table, expected):
    assert expected in list(breaches(described(EVENT_FIELDS), described(table)))


@pytest.mark.parametrize(
    "table",
    [
        (*EVENT_FIELDS, NEW),
        EVENT_FIELDS[::-1],
        changed("source", values=(*SOURCES, "car")),
        changed("source", values=()),
        changed("location.mcc", maximum=9_999),
        changed("location.mcc", maximum=None),
        changed("service", lenient=True),
        changed("service", description="otherwise said"),
    ],
)
def test_what_a_successor_may_change(table):
    assert list(breaches(described(EVENT_FIELDS), described(table))) == []


def test_a_new_version_is_written_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(versions, "RELEASED", tmp_path / "released")
    assert main() == 0
    assert released("events", SCHEMA_VERSION) == described(EVENT_FIELDS)
    assert main() == 2 and "raise SCHEMA_VERSION" in capsys.readouterr().err
