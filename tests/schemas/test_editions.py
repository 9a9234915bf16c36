"""Which pack is in force when, which packs go together, and what two of them leave of a column."""

import pyarrow as pa
import pytest

from schemas.datasets import datasets
from schemas.editions import Editions, load_editions, newest_of
from schemas.fields import EVENT_TYPES
from schemas.findings import PackError
from schemas.layout import Source, layout
from schemas.pack_files import DEFAULT_PACK
from schemas.policy import Form
from schemas.variants import NONE
from tests.editions import OLD, OLDER, bare, edition, midnight, old, older, write_edition

pytestmark = pytest.mark.clause("9")
PACK = bare()
EDITIONS = Editions((PACK, edition(OLDER, older), edition(OLD, old)))
VARIANTS = EDITIONS.of("eu")


def code(event_type):
    return EVENT_TYPES.index(event_type)


def cut(dataset, column, number):
    places = [each.name for each in datasets(PACK)[dataset].columns]
    return VARIANTS.cuts[dataset][number][places.index(column)]


# --- which pack ---


def test_packs_are_ordered_by_the_day_from_which_they_are_in_force():
    assert [pack.version for pack in EDITIONS.packs] == [OLDER, OLD, DEFAULT_PACK]
    assert EDITIONS.newest == PACK


def in_force(editions, times):
    """The edition of each time, by its place."""
    batch = pa.record_batch({"event_time": pa.array(times, pa.int64())})
    numbers = editions.of("eu").numbers(batch, layout(editions.newest, *editions.earlier)).tolist()
    named = [editions.in_force(time) for time in times]
    assert named == [None if number == NONE else editions.packs[number] for number in numbers]
    return numbers


def test_a_pack_is_in_force_from_midnight_until_the_next_one_is():
    times = [0, *(midnight(version) + by for version in (OLDER, OLD, DEFAULT_PACK) for by in (-1, 0, 1)), 1 << 60]
    assert in_force(EDITIONS, times) == [NONE, NONE, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert in_force(EDITIONS, []) == []
    assert in_force(Editions((PACK,)), times) == [NONE] * 8 + [0] * 3


def test_a_ledger_may_name_the_purposes_of_every_edition_and_no_other():
    assert EDITIONS.purposes == {*PACK.purposes, "given_up"}
    assert Editions((PACK,)).purposes == set(PACK.purposes)


# --- which packs go together ---


def test_packs_are_read_by_name_and_by_folder_in_any_order(tmp_path):
    folder = str(write_edition(tmp_path / "old", OLD, old))
    for names in ([folder, DEFAULT_PACK], [DEFAULT_PACK, folder]):
        assert [pack.version for pack in load_editions(names).packs] == [OLD, DEFAULT_PACK]
        assert newest_of(names) == DEFAULT_PACK and newest_of([folder]) == folder
    with pytest.raises(PackError, match="shipped packs"):
        load_editions([DEFAULT_PACK, "2020-01-01"])


def changed(**changes):
    return lambda rules: rules.update(changes)


def without_us(rules):
    del rules["regions"]["us"], rules["purposes"]["promotion"]["basis"]["us"], rules["collection"]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (edition(DEFAULT_PACK), "two have `version: 2021-01-15`; name one only, or give each its own"),
        (edition(OLD, changed(effective=DEFAULT_PACK)), "two have `effective: 2021-01-15`; name one only"),
        (edition(OLD, changed(version=DEFAULT_PACK)), "two have `version: 2021-01-15`"),
        (edition(OLD, without_us), "the older has no region 'us'; add it there"),
        (
            edition(OLD, lambda rules: rules["limits"].update(ipv4_prefix=16)),
            "packs 2020-06-01 and 2021-01-15: limits.ipv4_prefix differs, and addresses are cut once; give both",
        ),
        (edition(OLD, lambda rules: rules["limits"].update(ipv6_prefix=32)), "limits.ipv6_prefix differs"),
        (
            edition(OLD, lambda rules: rules["limits"].update(text_time="hour")),
            "limits.text_time differs, and times in texts are cut once; give both `day`",
        ),
    ],
)
def test_packs_that_do_not_go_together_are_refused_in_one_line(other, message):
    with pytest.raises(PackError) as told:
        Editions((PACK, other))
    assert message in str(told.value) and "\n" not in str(told.value)


# --- purposes ---


def test_purposes_are_those_of_the_newest_in_its_order():
    for pack in EDITIONS.earlier:
        assert list(pack.purposes) == list(PACK.purposes)
        assert pack.terms("eu").purposes == PACK.terms("eu").purposes


def missing(number, event_type):
    mask = int(VARIANTS.lacks[number][code(event_type)])
    return {name for bit, name in enumerate(PACK.purposes) if mask >> bit & 1}


def test_what_an_edition_lacks_is_missing_there():
    assert missing(0, "session") == missing(0, "page_view") == {"user_experience"}
    assert missing(1, "session") == {"push", "legal"}
    assert missing(1, "page_view") == {"push", "legal", "operations"}


# --- columns ---


def test_under_the_newest_alone_a_column_is_as_it_says():
    for name, dataset in datasets(PACK).items():
        for column, made in zip(dataset.columns, VARIANTS.cuts[name][2], strict=True):
            assert made.events == column.events and made.gates == {column.gate} - {None}
            assert made.steps == ((column.step,) if column.step else ())
            assert made.major == (column.form is Form.MAJOR)
            assert made.lists == ((PACK.lists[column.among].words,) if column.among else ())
        assert VARIANTS.event_time(dataset.purpose, 2) == PACK.purposes[dataset.purpose].event_time


@pytest.mark.parametrize(
    ("dataset", "column", "events"),
    [
        ("service", "service", {"app_lifecycle"}),  # the older lists it for one event type less
        ("service", "account_id", {"session"} & {"app_lifecycle"}),  # each lists it where the other does not
        ("service", "session_events", set()),  # only the newest has it
        ("activation", "device_imei", set()),  # a pseudonym cannot stand where what is reversible does
        ("user_experience", "crash_trace", set()),  # nor a fingerprint where text does
        ("user_experience", "crash_exception", {"crash"}),
    ],
)
def test_a_column_may_stand_where_both_allow_it(dataset, column, events):
    assert cut(dataset, column, 1).events == {code(event) for event in events}


@pytest.mark.parametrize(("form", "events"), [("group", {code("crash")}), ("fingerprint", set())])
def test_a_crash_is_counted_by_its_group_where_both_tell_it(form, events):
    def told(rules):
        rules["purposes"]["statistics"]["columns"]["crash.trace"] = form
        if form != "group":
            rules["statistics"]["tables"].pop("crashes")

    (counted, _) = Editions((edition(OLD, told), PACK)).of("eu").counted["crash.trace"]
    assert counted.events == events


def test_a_value_is_as_coarse_as_either_says():
    assert cut("operations", "app_usage_foreground_ms", 1).steps == (2_700_000, 3_600_000)
    assert cut("operations", "app_usage_foreground_ms", 0).steps == (3_600_000,)
    assert cut("operations", "device_model", 1).major and not cut("operations", "device_model", 0).major
    assert cut("operations", "app_version", 1).major
    assert (VARIANTS.event_time("security", 1), VARIANTS.event_time("security", 0)) == ("hour", "minute")


def test_the_gates_of_both_must_be_open():
    made = cut("activation_sensitive", "location_cell_id", 0)
    assert made.gates == {"location_services", "find_device"}


# --- the exchange ---


def test_the_exchange_carries_what_an_earlier_edition_asks_of_a_record():
    unasked = edition(DEFAULT_PACK, lambda rules: [rules["purposes"][n].pop("unless") for n in ("promotion", "push")])
    notice = Source("push_interaction.notice", "plain")
    assert notice not in layout(unasked).places
    assert notice in layout(unasked, PACK).places
    scoped = layout(PACK, *EDITIONS.earlier)  # `promotion` was consented to application by application
    (events,) = (e for held, e in scoped.slots[scoped.application] if held == Source("app.package", "plain"))
    assert {code("push_interaction"), code("service_activity")} <= events


def test_with_one_edition_nothing_is_carried_beside():
    assert layout(PACK, *Editions((PACK,)).earlier) == layout(PACK)
