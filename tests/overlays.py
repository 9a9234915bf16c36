"""Overlays made at random, each narrower than the pack that it is laid over; and what they say, read one by one."""

import random
from collections.abc import Callable
from functools import cache

from schemas.editions import Editions
from schemas.fields import EVENT_FIELD, EVENT_TYPES, INTEGER, Handling, payload_of
from schemas.pack_files import DEFAULT_PACK
from schemas.policy import Form, Pack
from tests.editions import OLD, OLDER, edition, old, older

SERVICES = ("notes", "mail")  # that have overlays
OTHERS = ("browser", "<EMAIL> at home")  # one has no overlay, and which one the other is cannot be told
_UNITS = ("second", "minute", "hour", "day")
_UNLESS = {"push_interaction.notice": ("system", "promotion"), "app_lifecycle.state": ("install", "remove")}


def any_overlays(seed: int) -> Callable[[dict], None]:
    """Changes rules of a pack: overlays of every region and of two services, and what is collected of event types."""

    def change(rules: dict) -> None:
        draw, bare = random.Random(seed), Pack.model_validate(rules)
        rules["by_region"] = {region: _overlay(draw, bare, True) for region in bare.regions}
        rules["by_service"] = {service: _overlay(draw, bare, False) for service in SERVICES}
        rules["collection"] = [
            {
                "clause": "1.2-uep",
                "events": draw.sample(EVENT_TYPES, 3),
                "regions": draw.sample(list(bare.regions), 4),
                "admitted_by": draw.sample(list(bare.purposes), 2),
            }
            for _ in range(2)
        ]

    return change


def both(*changes: Callable[[dict], None]) -> Callable[[dict], None]:
    return lambda rules: [change(rules) for change in changes]


@cache
def overlaid(seed: int) -> Editions:
    """Three editions, each with overlays of its own; in the older ones of some seeds services are not told apart."""
    packs = [
        edition(DEFAULT_PACK, any_overlays(seed)),
        edition(OLD, both(old, any_overlays(seed + 1))),
        edition(OLDER, both(older, any_overlays(seed + 2))),
    ]
    if seed % 3 == 1:
        packs[1:] = [pack.model_copy(update={"by_service": {}}) for pack in packs[1:]]
    if seed % 3 == 2:
        packs[:2] = [pack.model_copy(update={"by_service": {}}) for pack in packs[:2]]
    return Editions(tuple(packs))


def _overlay(draw: random.Random, pack: Pack, of_region: bool) -> dict:
    if draw.random() < 0.05:
        return {"clause": "1.2-local", "closed": "all"}
    closed, *narrowed = draw.sample(list(pack.purposes), 9)
    said = {name: _narrowed(draw, pack.purposes[name], of_region) for name in narrowed}
    return {"clause": "0-b", "closed": [closed], "purposes": said}


def _narrowed(draw: random.Random, purpose, of_region: bool) -> dict:
    unless = {path: [draw.choice(words)] for path, words in _UNLESS.items() if payload_of(path) in purpose.events}
    said = {
        "basis": "consent",
        "columns": {
            path: _coarser(draw, path, column) for path, column in purpose.columns.items() if draw.random() < 0.3
        },
        "without_events": [draw.choice(list(purpose.events))],
        "event_time": draw.choice(_UNITS[_UNITS.index(purpose.event_time) :]),
        "minors": "excluded",
        "minimum_policy_version": draw.choice([purpose.minimum_policy_version or OLD, "2022-01-01"]),
        "sources": draw.sample(purpose.sources, draw.choice([0, 1, len(purpose.sources)])),
        "unless": unless,
    }
    if of_region:
        said["retention_days"] = draw.randint(1, purpose.retention_days)
    kept = draw.sample(list(said), 3)
    return {"clause": "0-b", "event_time": purpose.event_time} | {key: said[key] for key in kept}


def _coarser(draw: random.Random, path: str, column) -> str | dict:
    handling, choices = EVENT_FIELD[path].handling, ["absent"]
    if handling is Handling.LABEL and column.form in (Form.PLAIN, Form.MAJOR):  # a listed one is all or nothing
        choices.append("major")
    if handling is Handling.MEASURE:  # powers of two: those of a region and of a service are multiples of each other
        whole = 1 if EVENT_FIELD[path].type == INTEGER else 0.5
        choices.append({"bucket": (column.step or whole) * draw.choice([1, 2, 8])})
    return draw.choice(choices)


def laid_over(pack: Pack, region: str, service: str | None) -> list:
    """The overlays that speak of a record."""
    return [each for each in (pack.by_region.get(region), pack.by_service.get(service)) if each]


def sayings(pack: Pack, region: str, service: str | None, purpose: str) -> list:
    """What they say of one purpose."""
    return [each.purposes[purpose] for each in laid_over(pack, region, service) if purpose in each.purposes]


def untold(service: str | None, *packs: Pack) -> bool:
    """Whether nothing may open for a record, since it might be of a service that has an overlay in one of its packs."""
    return any(pack.by_service for pack in packs) and (service is None or "<" in service)
