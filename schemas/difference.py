"""What a change of a policy pack opens and closes, in plain words: for who has to agree to it.

It is told of the policy in force, for each service with an overlay in each region, so that it does not matter which
file says a thing. What holds everywhere is said once. What the two packs say differently without any effect on what is
in force is told as well, by its place: no difference goes without a word.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from schemas.difference_of_purposes import CHANGES, CLOSES, OPENS, InForce, Kind, Said, began, differences, ended, more
from schemas.difference_of_sections import of_regions, of_sections, of_tables
from schemas.policy import Pack
from schemas.words import listed
from schemas.yaml_files import Place

KINDS = (OPENS, CLOSES, CHANGES)
_OVERLAYS = ("by_service", "by_region")  # in the order of a context
_ENTRY = "an entry"  # what stands in the place of an entry of a list, in its leaf
# Numbers by which more, or less, comes through.
_MORE_OPENS = frozenset(
    [
        *("future_minutes", "oldest_days", "text_bytes", "ipv4_prefix", "ipv6_prefix", "quarantine_percent"),
        *("epsilon", "delta", "groups_per_device", "events_per_group", "singled_out_percent", "longest_days"),
    ]
)
_LESS_OPENS = frozenset(["least_devices"])
_MORE_WORDS_OPEN = frozenset(["words", "measures", "by"])

Context = tuple[str | None, str]  # (service or None, region)


@dataclass(frozen=True)
class Change:
    """One difference. Without regions it holds in all; `service` is None for what holds for services in general, but
    for those in `but_for`."""

    kind: Kind
    about: str
    what: str
    regions: tuple[str, ...] = ()
    service: str | None = None
    but_for: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f" in {listed(self.regions)}" if self.regions else ""
        service = f", for service {self.service}" if self.service else ""
        rest = f", but not for service {listed(self.but_for, 'or')}" if self.but_for else ""
        return f"{self.about}{where} {self.what}{service}{rest}"

    def as_json(self) -> dict[str, Any]:
        return {
            "about": self.about,
            "what": self.what,
            "regions": list(self.regions),
            "service": self.service,
            "but_for": list(self.but_for),
            "text": str(self),
        }


def difference(old: Pack, new: Pack) -> tuple[Change, ...]:
    """Every difference between two packs: first what opens, then what closes, then what else changes."""
    regions = [region for region in new.regions if region in old.regions]
    services = [None, *dict.fromkeys((*old.by_service, *new.by_service))]
    said: dict[Said, set[Context]] = {}
    shut: dict[Context, set[str]] = {}
    for service in services:
        for region in regions:
            was, now = old.effective_for(service, region), new.effective_for(service, region)
            shut[service, region] = was.closed.keys() & now.closed.keys()
            for each in _of_purposes(was, now, region):
                said.setdefault(each, set()).add((service, region))
    everywhere = {(service, region) for service in services for region in regions}
    for each, region in of_sections(old, new):
        where = {at for at in everywhere if at[1] == region} if region else everywhere
        said.setdefault(each, set()).update(where)
    said |= dict.fromkeys((*of_regions(old, new), *of_tables(old, new)), everywhere)
    said |= dict.fromkeys(_of_the_rest(old, new, said), everywhere)
    for each, where in said.items():  # what opens for nothing, before and after, is no exception
        where |= {at for at in everywhere - where if each.about in shut[at] and (None, at[1]) in where}
    changes = [change for each, where in said.items() for change in _placed(each, where, regions, services)]
    return tuple(change for kind in KINDS for change in changes if change.kind == kind)


def narrowed(pack: Pack, service: str | None, region: str) -> Iterator[Said]:
    """What an overlay narrows: that of a region as against the base, that of a service as against the region."""
    below = pack if service is None else pack.effective_for(None, region)
    yield from _of_purposes(below, pack.effective_for(service, region), region)


def _placed(said: Said, where: set[Context], regions: list[str], services: list[str | None]) -> Iterator[Change]:
    """What is said, with where it holds: for services in general, and for each that differs from these."""
    of = {service: tuple(region for region in regions if (service, region) in where) for service in services}
    general = of.pop(None)

    def some(at: tuple[str, ...]) -> tuple[str, ...]:
        return () if len(at) == len(regions) else at

    if general or not regions:
        but_for = tuple(str(service) for service, at in of.items() if at != general)
        yield Change(said.kind, said.about, said.what, some(general), None, but_for)
    for service, at in of.items():
        if at and at != general:
            yield Change(said.kind, said.about, said.what, some(at), service)


# --- what is in force ---


def _of_purposes(old: Pack, new: Pack, region: str) -> Iterator[Said]:
    was, now = _open(old, region), _open(new, region)
    for name in dict.fromkeys((*new.purposes, *old.purposes)):
        if name in was and name in now:
            yield from differences(was[name], now[name])
        elif name in now and name in old.purposes:
            yield Said(OPENS, name, "is closed no longer", (("closed",),))
        elif name in was and name in new.purposes:
            yield Said(CLOSES, name, "opens for nothing any more", (("closed",),))
        elif name in now:
            yield began(now[name])
        elif name in was:
            yield ended(name)


def _open(pack: Pack, region: str) -> dict[str, InForce]:
    shut = pack.closed
    return {
        name: InForce(name, purpose, pack.basis(name, region))
        for name, purpose in pack.purposes.items()
        if name not in shut
    }


# --- all the rest, by its place ---


def _of_the_rest(old: Pack, new: Pack, said: Mapping[Said, set[Context]]) -> Iterator[Said]:
    """What stands otherwise in the two packs, and nothing that is said has told of."""
    was, now = (dict(_leaves(pack.model_dump(mode="json"), ())) for pack in (old, new))
    for place in dict.fromkeys((*now, *was)):
        before, after = was.get(place, _NOTHING), now.get(place, _NOTHING)
        if before != after and not _told(place, _NOTHING in (before, after), said):
            yield _leaf(place, before, after)


_NOTHING = object()


def _leaves(part: Any, place: Place) -> Iterator[tuple[Place, Any]]:
    """Each part that has no parts, by its place. A list of words is one; an entry of a list stands at its content. What
    is empty is as good as what is not there."""
    if isinstance(part, dict):
        for key, inner in part.items():
            yield from _leaves(inner, (*place, key))
    elif isinstance(part, list) and any(isinstance(each, dict) for each in part):
        for each in part:
            yield (*place, json.dumps(each, ensure_ascii=False)), _ENTRY
    elif part is not None and part != []:
        yield place, part


def _told(place: Place, appears: bool, said: Mapping[Said, set[Context]]) -> bool:
    """Whether something was said of a part. The clause of a part that comes or goes with what was said needs no word of
    its own."""
    overlay: Place = ()
    if place[0] in _OVERLAYS:
        overlay, place = place[:2], place[2:]
    place = tuple("events" if key == "without_events" else key for key in place)
    if appears and (overlay or len(place) > 1) and place[-1] == "clause":
        place = place[:-1]
    return any(
        _around(told, place) and (not overlay or any(_lies_in(overlay, context) for context in where))
        for each, where in said.items()
        for told in each.places
    )


def _lies_in(overlay: Place, context: Context) -> bool:
    return context[_OVERLAYS.index(str(overlay[0]))] == overlay[1]


def _around(one: Place, other: Place) -> bool:
    return all(mine == its for mine, its in zip(one, other, strict=False))


def _leaf(place: Place, was: Any, now: Any) -> Said:
    about = ".".join(map(str, place))
    if _ENTRY in (was, now):
        about = ".".join(map(str, place[:-1]))
        return Said(CHANGES, about, f"{'now' if now == _ENTRY else 'no longer'} holds {place[-1]}", (place,))
    if isinstance(was, list) and isinstance(now, list) and set(was) != set(now):
        gained, lost = ([f"{word}" for word in one if word not in other] for one, other in ((now, was), (was, now)))
        said = [f"now also holds {listed(gained)}"] * bool(gained) + [f"no longer holds {listed(lost)}"] * bool(lost)
        return Said(_kind_of_words(place, gained, lost), about, " and ".join(said), (place,))
    what = f"is now {_shown(now)} instead of {_shown(was)}"
    return Said(_kind_of_number(place, was, now), about, what, (place,))


def _kind_of_words(place: Place, gained: list[str], lost: list[str]) -> Kind:
    if place[-1] not in _MORE_WORDS_OPEN or (gained and lost):
        return CHANGES
    return OPENS if gained else CLOSES


def _kind_of_number(place: Place, was: Any, now: Any) -> Kind:
    if place == ("limits", "text_time"):
        return OPENS if now == "hour" else CLOSES
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (was, now)):
        return CHANGES
    keys = frozenset(map(str, place))
    if keys & _MORE_OPENS:
        return more(was, now)
    return more(now, was) if keys & _LESS_OPENS else CHANGES


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    return value if isinstance(value, str) and " " not in value else json.dumps(value, ensure_ascii=False)
