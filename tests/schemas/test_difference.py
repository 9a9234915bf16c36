"""What a change of a pack opens and closes: in words, by region, and no difference without a word."""

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from schemas.apart import Apart, Together, WordList
from schemas.difference import _placed, difference
from schemas.difference_of_purposes import Said
from schemas.fields import Category
from schemas.model import Model
from schemas.overlays import Collection, Overlay, PurposeOverlay
from schemas.pack_files import load_pack
from schemas.policy import Column, Pack, Purpose
from schemas.sharing import Combination, Recipient, TransferGrant
from tests.editions import bare
from tests.models import models, parts, put

SHIPPED = load_pack()
PACK = bare()  # a change of it holds everywhere


def texts(new: Pack, old: Pack = PACK) -> list[tuple[str, str]]:
    return [(change.kind, str(change)) for change in difference(old, new)]


def edited(name: str, **changes) -> Pack:
    """The pack with other rules of one purpose."""
    rules = PACK.purposes[name].model_dump() | changes
    return put(PACK, ("purposes", name), Purpose.model_validate(rules))


def as_column(name: str, **columns) -> Pack:
    """The pack with other forms of columns of one purpose; `__` is a dot."""
    forms = {path.replace("__", "."): form for path, form in columns.items()}
    return edited(name, columns=PACK.purposes[name].model_dump()["columns"] | forms)


def receiving(name: str, event: str, *more: str, columns=None) -> Pack:
    rules = PACK.purposes[name]
    events = dict(rules.events) | {event: (*rules.events.get(event, ()), *more)}
    return edited(name, events=events, columns=rules.model_dump()["columns"] | (columns or {}))


def without(name: str, path: str) -> Pack:
    rules = PACK.purposes[name]
    events = {event: tuple(p for p in paths if p != path) for event, paths in rules.events.items()}
    columns = {p: column for p, column in rules.model_dump()["columns"].items() if p != path}
    return edited(name, events=events, columns=columns)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        (PACK, []),
        # what a purpose receives
        (
            receiving("support", "crash", "app.sdk_version", columns={"app.sdk_version": "plain"}),
            [("opens", "support now also receives `app.sdk_version` (plain)")],
        ),
        (
            as_column("statistics", crash__trace="text"),
            [("opens", "statistics receives `crash.trace` as text instead of group")],
        ),
        (
            as_column("statistics", crash__trace="fingerprint"),
            [("closes", "statistics receives `crash.trace` as fingerprint instead of group")],
        ),
        (
            receiving("promotion", "push_interaction", "device.model"),
            [("opens", "promotion now also receives `device.model` (plain) of push_interaction")],
        ),
        (
            without("support", "device.model"),
            [("closes", "support no longer receives `device.model` (listed in common_models)")],
        ),
        (
            receiving("support", "session", "event_id", "account_id"),
            [("opens", "support now also receives session (`event_id` token, `account_id` token)")],
        ),
        (
            as_column("support", app__version="plain"),
            [("opens", "support receives `app.version` as plain instead of listed in common_versions")],
        ),
        (
            as_column("service", session__events={"bucket": 200}),
            [("closes", "service receives `session.events` as bucket of 200 instead of bucket of 100")],
        ),
        # on which basis, for whom, for how long
        (
            edited("operations", basis={"default": "legitimate_interest", "eu": "consent"}),
            [("closes", "operations in eu now stands on consent instead of legitimate interest")],
        ),
        (
            edited("promotion", basis={"default": "consent", "us": "opt_out", "sg": "legitimate_interest"}),
            [("opens", "promotion in sg now stands on legitimate interest instead of consent")],
        ),
        (edited("security", retention_days=30), [("closes", "security keeps rows 30 days instead of 90")]),
        (
            edited("operations", retention={"crash_data": 30}),
            [("closes", "operations keeps rows with crash data 30 days instead of 180")],
        ),
        (
            edited("security", event_time="second"),
            [("opens", "security keeps times to the second instead of the minute")],
        ),
        (edited("promotion", minors="included"), [("opens", "promotion now takes minors in")]),
        (
            edited("push", unless={"push_interaction.notice": ()}),
            [("opens", "push no longer keeps out records whose `push_interaction.notice` is promotion")],
        ),
        (
            edited("personalisation", minimum_policy_version="2022-01-01"),
            [("closes", "personalisation now asks for a consent under edition 2022-01-01 or a later one")],
        ),
        (
            edited("service", sources=("device", "web", "partner")),
            [("opens", "service is now also fed by what partner sent")],
        ),
        (
            edited("service", token_epoch="forever"),
            [("opens", "service changes its pseudonyms never instead of every year")],
        ),
        # whole purposes
        (
            put(PACK, ("purposes",), {k: v for k, v in PACK.purposes.items() if k != "support"}),
            [("closes", "support is gone, and receives nothing")],
        ),
        # what is no rule of a purpose
        (put(PACK, ("limits", "text_time"), "hour"), [("opens", "limits.text_time is now hour instead of day")]),
        (put(PACK, ("limits", "oldest_days"), 60), [("opens", "limits.oldest_days is now 60 instead of 30")]),
        (
            put(PACK, ("statistics", "least_devices"), 20),
            [("closes", "statistics.least_devices is now 20 instead of 10")],
        ),
        (
            put(PACK, ("gates",), ()),
            [("opens", "columns of exact_location no longer wait for location_services (1.1.2-loc)")],
        ),
        (
            put(PACK, ("purposes", "push", "title"), "Bring it"),
            [("changes", 'purposes.push.title is now "Bring it" instead of "Deliver system notices"')],
        ),
        (
            put(PACK, ("residency", "signals"), ("device_region", "account_country", "sim_mcc")),
            [
                (
                    "changes",
                    'residency.signals is now ["device_region", "account_country", "sim_mcc"] instead of '
                    '["account_country", "device_region", "sim_mcc"]',
                )
            ],
        ),
    ],
)  # fmt: skip
def test_a_change_in_plain_words(new, expected):
    assert texts(new) == expected


def test_a_purpose_that_is_new_says_what_it_receives():
    old = put(PACK, ("purposes",), {k: v for k, v in PACK.purposes.items() if k != "support"})
    ((kind, said),) = texts(PACK, old)
    assert kind == "opens"
    assert said.startswith(
        "support is new, on contract: Answer questions and feedback. It receives crash (`event_id` token"
    )


def test_a_basis_is_told_where_it_is_in_force_only():
    """In China and India legitimate interest was consent already."""
    assert texts(edited("operations", basis={"default": "consent"})) == [
        ("closes", "operations in ru, eu, us and sg now stands on consent instead of legitimate interest")
    ]


def test_what_has_no_effect_is_told_by_its_place():
    everywhere = {"default": "contract"} | dict.fromkeys(PACK.regions, "consent")
    old, new = edited("promotion", basis=everywhere), edited("promotion", basis=everywhere | {"default": "consent"})
    assert texts(new, old) == [("changes", "purposes.promotion.basis.default is now consent instead of contract")]


def test_a_grant_opens_and_its_end_closes():
    new = put(PACK, ("transfers", "grants"), (GRANT,))
    said = "go from eu to sg (crash_data; contractual clauses, until 2030-01-01; 6-grant)"
    assert texts(new) == [("opens", f"rows of support may now {said}")]
    assert texts(PACK, new) == [("closes", f"rows of support may no longer {said}")]


def test_a_region_that_comes_or_goes():
    old = put(PACK, ("regions",), {name: of for name, of in PACK.regions.items() if name != "ru"})
    assert ("opens", "region ru is new, and takes records") in texts(PACK, old)
    assert ("closes", "region ru is gone, and takes no records") in texts(old)


def test_of_a_rule_of_collection_only_what_is_new_is_told():
    rule = Collection(clause="1.2-uep", events=("crash",), regions=("cn", "eu"), admitted_by=("user_experience",))
    old, more = put(PACK, ("collection",), (rule,)), ("crash", "session")
    new = put(PACK, ("collection",), (rule.model_copy(update={"events": more, "regions": ("cn",)}),))
    terms = "serves only what needs no consent unless user_experience is open (1.2-uep)"
    assert texts(new, old) == [("opens", f"crash in eu no longer {terms}"), ("closes", f"session in cn now {terms}")]


def test_of_words_that_stay_out_only_what_is_new_is_told():
    first, *others = PACK.not_admitted
    new = put(PACK, ("not_admitted",), (first.model_copy(update={"fields": first.fields[1:]}), *others))
    assert texts(new) == [("opens", f"`{first.fields[0]}` no longer stays out: {first.what} (1.1.1)")]


def test_a_region_that_rows_may_leave():
    new = put(PACK, ("regions", "in", "transfers"), "granted")
    assert texts(new) == [("opens", "rows of in may now leave it under a grant")]
    assert texts(PACK, new) == [("closes", "rows of in may leave it under no grant any more")]


def test_a_table_and_a_pair_that_come_and_go():
    table = PACK.statistics.tables["active"]
    new = put(PACK, ("statistics", "tables"), dict(PACK.statistics.tables) | {"again": table})
    assert texts(new) == [("opens", "statistics table again is new, and counts devices in all")]
    assert texts(PACK, new) == [("closes", "statistics table again is gone; it counted devices in all")]
    pair = Together(clause="2-log", purposes=("legal", "push"), why="a trial")
    new = put(PACK, ("apart", "together"), (*PACK.apart.together, pair))
    said = "single out more than the bound in common: a trial (2-log)"
    assert texts(new) == [("opens", f"rows of legal and push may now {said}")]


def test_what_an_overlay_leaves_unsaid_is_no_difference():
    new = put(PACK, ("by_region",), {"eu": Overlay(clause="6-eea", closed=("legal",))})
    assert texts(new) == [("closes", "legal in eu opens for nothing any more")]
    said = PurposeOverlay(clause="6-eea", minors="excluded")
    new = put(PACK, ("by_service",), {"news": Overlay(clause="6-eea", purposes={"legal": said})})
    assert texts(new) == [("closes", "legal now leaves minors out, for service news")]


# --- where it holds ---

REGIONS = ["cn", "eu", "us"]
IN_ALL, IN_CN = {(None, region) for region in REGIONS}, {(None, "cn")}


@pytest.mark.parametrize(
    ("where", "services", "expected"),
    [
        (IN_ALL, [], ["push is other"]),
        (IN_CN, [], ["push in cn is other"]),
        (IN_CN | {(None, "us")}, [], ["push in cn and us is other"]),
        # a service is named only where it differs from the others
        (IN_ALL | {("news", region) for region in REGIONS}, ["news"], ["push is other"]),
        (IN_ALL, ["news"], ["push is other, but not for service news"]),
        (IN_ALL, ["news", "maps"], ["push is other, but not for service news or maps"]),
        ({("news", region) for region in REGIONS}, ["news"], ["push is other, for service news"]),
        ({("news", "cn")}, ["news"], ["push in cn is other, for service news"]),
        (
            IN_ALL | {("news", "cn")},
            ["news"],
            ["push is other, but not for service news", "push in cn is other, for service news"],
        ),
    ],
)
def test_what_holds_everywhere_is_said_once(where, services, expected):
    said = Said("changes", "push", "is other", ())
    assert [str(change) for change in _placed(said, where, REGIONS, [None, *services])] == expected


def test_packs_without_a_region_in_common_are_compared_all_the_same():
    old = put(PACK, ("regions",), {"cn": PACK.regions["cn"]})
    new = put(PACK, ("regions",), {"eu": PACK.regions["eu"]})
    assert texts(new, old) == [
        ("opens", "region eu is new, and takes records"),
        ("closes", "region cn is gone, and takes no records"),
    ]


def test_what_overlays_narrow_is_told_where_they_hold():
    said = texts(SHIPPED, PACK)
    assert {kind for kind, _ in said} <= {"closes", "changes"}
    shorter = "operations in cn, in and eu keeps rows 90 days instead of 180"
    assert ("closes", f"{shorter}, but not for service notes") in said
    assert ("closes", "support opens for nothing any more, for service notes") in said


# --- every field ---

GRANT = TransferGrant(
    **{"clause": "6-grant", "from": "eu", "to": "sg", "purpose": "support", "categories": ("crash_data",)},
    instrument="contractual clauses",
    until=date(2030, 1, 1),
)
RECIPIENT = Recipient(
    **{"clause": "3.1-recipient", "name": "repairs", "kind": "processor", "region": "eu", "purpose": "support"},
    categories=("crash_data",),
    instrument="contract 7",
    until=date(2030, 1, 1),
)
COMBINATION = Combination(
    clause="1.2-combine", services=("news", "themes"), purposes=("personalisation",), control="personalisation"
)

COLLECTION = Collection(clause="1.2-uep", events=("page_view",), regions=("eu",), admitted_by=("user_experience",))
NARROWED = PurposeOverlay(
    clause="6-eea",
    basis="consent",
    columns={"device.os_version": "absent", "network_request.duration_ms": {"bucket": 500}},
    without_events=("page_view",),
    event_time="day",
    minors="excluded",
    minimum_policy_version="2021-01-15",
    sources=("device",),
    retention_days=30,
)
SYSTEM_ONLY = PurposeOverlay(clause="6-eea", unless={"push_interaction.action": ("dismissed",)})
OVERLAY = Overlay(clause="6-eea", closed=("promotion",), purposes={"push": SYSTEM_ONLY, "operations": NARROWED})
CLOSING = Overlay(clause="1.2-local", closed="all")

TOGETHER = Together(clause="2-analytics", purposes=("push", "support"), why="one thing")


def rich() -> Pack:
    """A pack in which every model stands once at least, and every field of it has a value."""
    pack = put(PACK, ("transfers", "grants"), (GRANT,))
    pack = put(pack, ("recipients", "entries"), (RECIPIENT,))
    pack = put(pack, ("combinations", "entries"), (COMBINATION,))
    pack = put(pack, ("purposes", "operations", "retention"), {Category.CRASH_DATA: 30})
    pack = put(pack, ("collection",), (COLLECTION,))
    pack = put(pack, ("lists",), {"few": WordList(clause="2-analytics", words=("com.a", "com.b"))})
    pack = put(pack, ("purposes", "research", "columns", "app.package"), Column(form="listed", among="few"))
    pack = put(
        pack, ("apart",), Apart(clause="2-analytics", singled_out_percent=5, least_records=100, together=(TOGETHER,))
    )
    pack = put(pack, ("by_region",), {"eu": OVERLAY})
    pack = put(pack, ("by_service",), {"notes": CLOSING})
    return put(pack, ("regions", "eu", "longest_days"), {"any": 4000})


RICH = rich()


def other(value: Any, annotation: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, Model):
        return None
    if isinstance(value, Enum):
        return next(member for member in type(value) if member is not value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple):
        return value[:-1] if value else (annotation_words(annotation) or ("some",))[:1]
    if isinstance(value, dict):
        return _with_other_end(value)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d{2}-\d{2}", value):
        return (date.fromisoformat(value) + timedelta(1)).isoformat()
    if isinstance(value, str):
        words = annotation_words(annotation)
        none = () if value == "all" else None
        return next((word for word in words if word != value), none if words else f"{value} more")
    return value + timedelta(1) if isinstance(value, date) else value * 2


def _with_other_end(value: dict) -> dict:
    """Without its last key where that holds a model, else with another value there."""
    *keys, last = value
    rest = {key: value[key] for key in keys}
    return rest if isinstance(value[last], Model) else rest | {last: other(value[last], None)}


def annotation_words(annotation: Any) -> tuple[str, ...]:
    """The words that a type of field allows, if they are fixed."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    return tuple(word for part in get_args(annotation) for word in annotation_words(part))


def edits() -> Iterator[tuple[tuple, str, Model]]:
    """Of every field of every model some places where it has a value that can be another. What is a model itself is
    edited by its own fields."""
    done: Counter = Counter()
    for path, part in parts(RICH):
        for name, field in type(part).model_fields.items():
            empty = getattr(part, name) in (None, {})
            if done[type(part), name] < 3 and not empty and not is_model(field):
                done[type(part), name] += 1
                yield path, name, part


def is_model(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, Model)


EDITS = list(edits())


def test_every_field_of_every_model_is_edited():
    done = {(type(part), name) for _, name, part in EDITS}
    fields = {(model, name): field for model in models() for name, field in model.model_fields.items()}
    assert not [each for each, field in fields.items() if each not in done and not is_model(field)]


@pytest.mark.parametrize("model", sorted({type(part) for *_, part in EDITS}, key=lambda model: model.__name__))
def test_no_difference_goes_without_a_word(model):
    for path, name, part in EDITS:
        if type(part) is model:
            new = put(RICH, (*path, name), other(getattr(part, name), model.model_fields[name].annotation))
            there, back = difference(RICH, new), difference(new, RICH)
            assert there and back, (path, name)
            opposite = {"opens": "closes", "closes": "opens", "changes": "changes"}
            assert {change.kind for change in there} == {opposite[change.kind] for change in back}, (path, name)


def test_the_same_is_no_difference():
    assert difference(RICH, RICH) == () == difference(SHIPPED, load_pack())
