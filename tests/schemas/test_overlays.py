"""What an overlay may say, what it may not, and what is left of a pack under it."""

import pytest
from pydantic import ValidationError

from schemas.datasets import datasets
from schemas.fields import EVENT_TYPES
from schemas.layout import APPLICATION, SERVICE, layout
from schemas.pack_files import DEFAULT_PACK
from schemas.policy import Basis, Form
from schemas.yaml_files import explain
from tests.editions import bare, edition
from tests.overlays import SERVICES, overlaid, sayings

pytestmark = pytest.mark.clause("0-b")
PACK = bare()


def pack_with(**sections):
    return edition(DEFAULT_PACK, lambda rules: rules.update({"collection": []} | sections))


def of(purpose, **said):
    return {"clause": "6-cn", "purposes": {purpose: {"clause": "6-cn"} | said}}


def fault(**sections):
    with pytest.raises(ValidationError) as told:
        pack_with(**sections)
    return explain(told.value, "pack")


def effective(purpose, service=None, region="cn", **sections):
    return pack_with(**sections).effective_for(service, region).purposes[purpose]


# --- what is left ---


def test_without_overlays_the_pack_stays_as_it_is():
    for region in PACK.regions:
        assert PACK.effective_for("notes", region) == PACK and not PACK.effective_for("notes", region).closed


def test_each_key_narrows_what_it_says_and_nothing_else():
    base = PACK.purposes["security"]
    said = {"basis": "consent", "minors": "excluded", "retention_days": 30, "event_time": "day", "sources": ["web"]}
    said |= {"minimum_policy_version": "2022-01-01", "columns": {"ip": "absent"}, "without_events": ["activation"]}
    for key in said:
        found = effective("security", by_region={"cn": of("security", **{key: said[key]})})
        changed = {name for name in type(base).model_fields if getattr(found, name) != getattr(base, name)}
        also = {"columns": {"columns", "events"}, "without_events": {"columns", "events"}}
        assert changed == also.get(key, {key})
    whole = effective("security", by_region={"cn": of("security", **said)})
    assert whole.basis == {"default": Basis.CONSENT} and (whole.event_time, whole.minors) == ("day", "excluded")
    assert whole.retention_days == 30 and whole.sources == ("web",) and whole.minimum_policy_version == "2022-01-01"
    assert "ip" not in whole.columns and list(whole.events) == ["session", "service_activity"]
    assert "activation.outcome" not in whole.columns  # nothing lists it any more


def test_forms_get_coarser():
    columns = {"device.model": "major", "device_state.cpu_percent": {"bucket": 20}}
    found = effective("device_performance", by_region={"cn": of("device_performance", columns=columns)}).columns
    assert found["device.model"].form is Form.MAJOR
    assert (found["device_state.cpu_percent"].form, found["device_state.cpu_percent"].step) == (Form.BUCKET, 20)


def test_words_that_keep_out_are_added():
    found = effective("push", by_region={"cn": of("push", unless={"push_interaction.notice": ["system", "promotion"]})})
    assert set(found.unless["push_interaction.notice"]) == {"promotion", "system"}


def test_of_a_region_and_a_service_the_narrower_holds_key_by_key():
    name, north, east = "find_device", "location.latitude", "location.longitude"
    absent = {"location.cell_id": "absent"}
    region = of(name, event_time="hour", columns={north: {"bucket": 40}, east: {"bucket": 20}} | absent)
    service = of(name, event_time="day", columns={north: {"bucket": 20}, east: {"bucket": 40}}, minors="excluded")
    found = effective(name, "notes", by_region={"cn": region}, by_service={"notes": service})
    assert (found.event_time, found.minors) == ("day", "excluded")
    assert found.columns[north].step == found.columns[east].step == 40 and not absent.keys() & found.columns.keys()
    assert effective(name, "mail", by_region={"cn": region}, by_service={"notes": service}).event_time == "hour"


@pytest.mark.clause("1.2-local")
def test_what_is_closed_stays_listed_and_has_the_clause_of_the_uppermost_overlay():
    closing = {"by_region": {"cn": {"clause": "6-cn", "closed": ["push"]}}}
    closing["by_service"] = {"notes": {"clause": "1.2-local", "closed": "all"}}
    pack = pack_with(**closing)
    assert pack.effective_for(None, "cn").closed == {"push": "6-cn"} and not pack.effective_for(None, "eu").closed
    local = pack.effective_for("notes", "cn")
    assert list(local.purposes) == list(PACK.purposes) and local.closed == dict.fromkeys(PACK.purposes, "1.2-local")


def test_random_overlays_leave_purposes_that_allow_no_more():
    for editions in (overlaid(seed) for seed in range(9)):
        for pack in editions.packs:
            for service in (None, *SERVICES):
                for name, left in pack.effective_for(service, "eu").purposes.items():
                    base = pack.purposes[name]
                    assert set(left.columns) <= set(base.columns) and set(left.sources) <= set(base.sources)
                    assert all(set(paths) <= set(base.events[event]) for event, paths in left.events.items())
                    assert left.retention_days <= base.retention_days
                    assert left == base or sayings(pack, "eu", service, name)


# --- schema, layout and handles are the base's ---


def test_readers_see_the_same_columns_with_overlays_or_without():
    for editions in (overlaid(seed) for seed in range(9)):
        assert {n: d.schema for n, d in datasets(editions.newest).items()} == {
            n: d.schema for n, d in datasets(PACK).items()
        }


@pytest.mark.clause("5.2-erase")
def test_where_a_token_may_be_absent_rows_are_found_by_a_handle():
    columns = {"device.android_id": "absent", "event_id": "absent"}
    found = datasets(pack_with(by_region={"cn": of("operations", columns=columns)}))["operations"]
    assert found.hidden == ("device_handle", "account_handle", "event_token")
    assert datasets(PACK)["operations"].hidden == ("account_handle",)


def test_the_service_travels_where_services_are_told_apart_and_only_there():
    apart = layout(pack_with(by_service={"notes": {"clause": "1.2-local", "closed": "all"}}))
    (held,) = (held for name, held in apart.slots.items() if name == apart.places[SERVICE])
    assert held == ((SERVICE, frozenset(range(12))),)
    assert layout(pack_with(by_region={"cn": of("security", basis="consent")})) == layout(PACK)
    assert apart.places.keys() == layout(PACK).places.keys()


def test_the_application_travels_where_what_admits_a_record_goes_by_it():
    rule = {"clause": "1.2-uep", "events": ["session"], "regions": ["eu"], "admitted_by": ["location_services"]}
    session, plan = EVENT_TYPES.index("session"), layout(pack_with(collection=[rule]))
    assert session in dict(plan.slots[plan.application])[APPLICATION]
    assert session not in dict(layout(PACK).slots[layout(PACK).application])[APPLICATION]


# --- what is refused ---

ONLY = "and an overlay only narrows"
SECURITY = "by_region.cn.purposes.security"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"columns": {"app.package": "absent"}}, f"{SECURITY}.columns.app.package: the base does not give the purpose"),
        ({"columns": {"ip": "major"}}, f"{SECURITY}.columns.ip: major is no coarser form of the base's network"),
        ({"columns": {"account_id": {"bucket": 2}}}, "{bucket: 2} is no coarser form of the base's token"),
        ({"columns": {"ip": "plain"}}, "Input should be 'absent', 'major' or 'bucket'"),
        ({"columns": {"ip": "bucket"}}, "write absent, major or {bucket: STEP}"),
        ({"event_time": "second"}, f"{SECURITY}.event_time: second is wider than the base's minute, {ONLY}"),
        ({"retention_days": 91}, f"{SECURITY}.retention_days: 91 is wider than the base's 90, {ONLY}"),
        ({"sources": ["device", "partner"]}, f"{SECURITY}.sources: device, partner is wider than the base's device"),
        (
            {"without_events": ["crash"]},
            f"{SECURITY}.without_events: it names ['crash'], which the purpose does not re",
        ),
        (
            {"unless": {"push_interaction.notice": ["system"]}},
            f"{SECURITY}.unless.push_interaction.notice: use a field",
        ),
        ({"unless": {"service_activity.action": ["shout"]}}, f"{SECURITY}.unless.service_activity.action: use a field"),
        ({"basis": "opt_out"}, "Input should be 'consent'"),
        ({"minors": "included"}, "Input should be 'excluded'"),
        ({}, f"{SECURITY}: it narrows nothing; drop it"),
    ],
)
def test_what_is_not_narrower_is_refused_in_one_sentence(said, message):
    told = fault(by_region={"cn": of("security", **said)})
    assert message in told and "\n" not in told


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        (
            {"by_region": {"cn": of("device_performance", columns={"device_state.cpu_percent": {"bucket": 4}})}},
            "columns.device_state.cpu_percent: {bucket: 4} is wider than the base's {bucket: 5}, or cuts across it",
        ),
        (
            {"by_region": {"cn": of("device_performance", columns={"device_state.memory_mb": {"bucket": 256.5}})}},
            "columns.device_state.memory_mb: a whole number: its bucket must be one too",
        ),
        (
            {"by_region": {"cn": of("device_performance", columns={"device.os_version": {"bucket": 2}})}},
            "columns.device.os_version: {bucket: 2} is no coarser form of the base's major; absent always is",
        ),
        (
            {"by_region": {"cn": of("personalisation", minimum_policy_version="2020-01-01")}},
            "minimum_policy_version: 2020-01-01 is wider than the base's 2021-01-15, and an overlay only narrows",
        ),
        ({"by_region": {"xx": of("push", basis="consent")}}, "by_region.xx: 'xx' is no region of this pack"),
        ({"by_region": {"cn": of("pull", basis="consent")}}, "by_region.cn.purposes: it names ['pull'], which are no "),
        ({"by_region": {"cn": {"clause": "6-cn"}}}, "by_region.cn: it neither closes nor narrows anything; drop it"),
        (
            {"by_region": {"cn": {"clause": "6-cn", "closed": ["pull"]}}},
            "by_region.cn.closed: it names ['pull'], which are",
        ),
        (
            {"by_region": {"cn": of("push", basis="consent") | {"closed": "all"}}},
            "by_region.cn.purposes.push: the overlay closes push, so that nothing else it says of it can matter",
        ),
        (
            {"by_service": {"notes": of("push", retention_days=3)}},
            "by_service.notes.purposes.push.retention_days: a dataset has one retention in a region; say it in the reg",
        ),
        ({"by_service": {"my notes": of("push", basis="consent")}}, "String should match pattern"),
        (
            {
                "by_region": {"cn": of("service", columns={"session.events": {"bucket": 200}})},
                "by_service": {"notes": of("service", columns={"session.events": {"bucket": 300}})},
            },
            "by_service.notes.purposes.service.columns.session.events: {bucket: 300} cuts across {bucket: 200} of",
        ),
        (
            {"collection": [{"clause": "x", "events": [], "regions": ["eu"], "admitted_by": ["push"]}]},
            "at least 1 must stand",
        ),
        (
            {"collection": [{"clause": "x", "events": ["crash"], "regions": ["xx"], "admitted_by": ["push"]}]},
            "collection.0.regions: it names ['xx'], which are no regions of this pack",
        ),
        (
            {"collection": [{"clause": "x", "events": ["crash"], "regions": ["eu"], "admitted_by": ["pull"]}]},
            "collection.0.admitted_by: it names ['pull'], which are no purposes of this pack",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(sections, message):
    assert message in fault(**sections)
