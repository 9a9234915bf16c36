"""What a pack may have counted, and how the budget of a day is divided."""

import shutil
from fractions import Fraction

import pytest
import yaml

from schemas.fields import EVENT_FIELD, EVENT_TYPES, IDENTIFYING, Category
from schemas.findings import PackError
from schemas.pack_files import SHIPPED, load_pack
from schemas.policy import Form
from schemas.statistics import DEVICES, EVENT_TYPE, EVENTS, release_schema

GOOD = SHIPPED / "2021-01-15"
PACK = load_pack()
RULES = PACK.statistics
TEXTS = ("crash.exception", "crash.trace")


@pytest.fixture
def edited(tmp_path):
    """Loads a copy of the shipped pack after a change to its `statistics`, and to the purpose that is counted."""

    def load(change=None, purpose=None, gates=None):
        folder = tmp_path / "pack"
        shutil.copytree(GOOD, folder)
        content = {name: yaml.safe_load((folder / name).read_text()) for name in ("statistics.yaml", "purposes.yaml")}
        content["policy.yaml"] = yaml.safe_load((folder / "policy.yaml").read_text())
        content["statistics.yaml"]["statistics"] |= change or {}
        content["purposes.yaml"]["purposes"]["statistics"] |= purpose or {}
        content["policy.yaml"]["gates"] += gates or []
        for name, rules in content.items():
            (folder / name).write_text(yaml.safe_dump(rules))
        return load_pack(str(folder))

    return load


def table(*by, **more):
    return {"tables": {"one": {"by": list(by), "measures": ["devices"], "groups_per_device": 1} | more}}


# --- the shipped pack ---


@pytest.mark.clause("1.1.4-b")
def test_the_shipped_pack_counts_by_nothing_that_points_to_somebody():
    columns = PACK.purposes[RULES.purpose].columns
    fields = [EVENT_FIELD[path] for path in RULES.fields if path == EVENT_TYPE or columns[path].form is not Form.GROUP]
    assert fields and not {field.category for field in fields} & (IDENTIFYING | {Category.COARSE_LOCATION})
    assert RULES.least_devices > 1


@pytest.mark.clause("1.1.4-a")
def test_the_shipped_pack_counts_crashes_by_their_group():
    assert [name for name, rules in RULES.tables.items() if "crash.trace" in rules.by] == ["crashes"]
    assert PACK.purposes[RULES.purpose].columns["crash.trace"].form is Form.GROUP


@pytest.mark.clause("1.1.4-c")
def test_what_is_counted_is_stored_by_no_row():
    assert not PACK.purposes[RULES.purpose].stored


def test_the_parts_of_the_budget_add_up_to_the_whole():
    epsilon = delta = Fraction(0)
    for rules in RULES.tables.values():
        budget = RULES.budget(rules)
        epsilon += Fraction(budget.selection_epsilon) + len(rules.measures) * Fraction(budget.measure_epsilon)
        delta += Fraction(budget.selection_delta)
    assert float(epsilon) == pytest.approx(RULES.epsilon, rel=1e-12)
    assert float(delta) == pytest.approx(RULES.delta, rel=1e-12)


def test_sensitivity_is_what_one_device_can_add_on_one_day():
    usage = RULES.tables["usage"]
    assert usage.sensitivity(DEVICES) == usage.groups_per_device
    assert usage.sensitivity(EVENTS) == usage.groups_per_device * usage.events_per_group


def test_a_table_sees_the_event_types_that_list_all_its_fields():
    purpose = PACK.purposes[RULES.purpose]
    for rules in RULES.tables.values():
        seen = {EVENT_TYPES[code] for code in rules.event_types(purpose)}
        assert seen == {
            event for event, paths in purpose.events.items() if all(p in ("event_type", *paths) for p in rules.by)
        }


def test_a_release_has_a_column_for_each_field():
    names = release_schema(RULES).names
    assert names == [
        *("table", "measure", "event_type", "app_package", "app_version", "device_model", "device_os_version"),
        "crash_trace",
        *("value", "interval"),
    ]


def test_a_pack_without_statistics_loads(tmp_path):
    shutil.copytree(GOOD, tmp_path / "pack", ignore=shutil.ignore_patterns("statistics.yaml"))
    assert load_pack(str(tmp_path / "pack")).statistics is None


# --- packs that are wrong ---


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("path", [path for path, field in EVENT_FIELD.items() if field.category in IDENTIFYING])
def test_nothing_is_counted_by_what_points_to_somebody(edited, path):
    with pytest.raises(PackError, match=rf"statistics\.tables\.one\.by: \[1\.1\.4-b\] {path} points to somebody"):
        edited(table(path), {"columns": {path: "fingerprint"}, "events": {"crash": [path]}} if path in TEXTS else {})


@pytest.mark.clause("1.1.4-d")
@pytest.mark.parametrize(
    "change, purpose, gates, place, remedy",
    [
        (table("device.sales_channel"), {}, [], "statistics.tables.one.by", "not among the columns of the purpose"),
        (table("nonsense"), {}, [], "statistics.tables.one.by", "not among the columns of the purpose"),
        (
            table("location.mcc"),
            {"columns": {"location.mcc": "plain"}, "events": {"location": ["location.mcc"]}},
            [],
            "statistics.tables.one.by",
            "goes as 'plain'; use fields of few words",
        ),
        (
            table("crash.trace"),
            {},
            [{"clause": "1.1-a", "categories": ["free_text"], "purpose": "location_services"}],
            "statistics.tables.one.by",
            "stands behind a gate",
        ),
        (
            table("app.package"),
            {},
            [{"clause": "1.1-a", "categories": ["application_use"], "purpose": "location_services"}],
            "statistics.tables.one.by",
            "stands behind a gate",
        ),
        (
            table("app.package", "device.model"),
            {"columns": {"app.package": "plain", "device.model": "plain"}}
            | {"events": {"crash": ["app.package"], "session": ["device.model"]}},
            [],
            "statistics.tables.one.by",
            "no event type of the purpose lists all",
        ),
        (table("app.package", "app.package"), {}, [], "statistics.tables.one", "by names one thing twice"),
        (table("app.package", measures=[]), {}, [], "statistics.tables.one.measures", "at least 1"),
        (table("app.package", measures=["people"]), {}, [], "statistics.tables.one.measures", "'devices' or 'events'"),
        (table("app.package", measures=["events"]), {}, [], "statistics.tables.one", "give events_per_group"),
        (table("app.package", events_per_group=3), {}, [], "statistics.tables.one", "give events_per_group"),
        (table("app.package", groups_per_device=0), {}, [], "tables.one.groups_per_device", "greater than 0"),
        (table(groups_per_device=2), {}, [], "statistics.tables.one", "there is one group"),
        ({"epsilon": 0}, {}, [], "statistics.epsilon", "greater than 0"),
        ({"epsilon": 11}, {}, [], "statistics.epsilon", "less than or equal to 10"),
        ({"delta": 0}, {}, [], "statistics.delta", "greater than 0"),
        ({"delta": 0.001}, {}, [], "statistics.delta", "less than or equal to"),
        ({"least_devices": 1}, {}, [], "statistics.least_devices", "greater than 1"),
        ({"grace_hours": -1}, {}, [], "statistics.grace_hours", "greater than or equal to 0"),
        ({"tables": {}}, {}, [], "statistics.tables", "at least 1"),
        ({"purpose": "nobody"}, {}, [], "statistics.purpose", "no purpose of this pack"),
        ({"purpose": "operations"}, {}, [], "statistics.purpose", "write `stored: false`"),
        ({}, {"subject": ["account"]}, [], "purposes.statistics.subject", "the subject `device`"),
    ],
)
def test_wrong_statistics_are_told_in_one_message(edited, change, purpose, gates, place, remedy):
    with pytest.raises(PackError) as refusal:
        edited(change, purpose, gates)
    assert place in str(refusal.value) and remedy in str(refusal.value)
