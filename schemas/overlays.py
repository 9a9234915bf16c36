"""Overlays: what a region or a service closes or narrows of the base pack, and what is collected at all (0-b, 1.2-uep).

An overlay only ever narrows. So nothing depends on the order in which overlays are laid over each other: a record is
judged, and cut, by the narrowest of what the base, its region and its service say. A service's overlay stands above a
region's where both would close a purpose: its clause is told.

    regions/cn.yaml      clause: 6-cn                        services/notes.yaml      clause: 1.2-local
                         purposes:                                                    closed: all
                           security: {clause: 6-cn, basis: consent, columns: {ip: absent}}
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.fields import EVENT_FIELD, EVENT_TYPES, INTEGER, SOURCES, Handling, payload_of
from schemas.model import ClauseId, Days, Edition, Model, Name
from schemas.yaml_files import Place

if TYPE_CHECKING:
    from schemas.policy import Column, Pack, Purpose

ALL = "all"
UNITS = ("second", "minute", "hour", "day")  # of event_time; each cuts at every edge of the next
# What an event says as its `service`: a label that comes through its check as it is.
Service = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class Coarser(Model):
    """How an overlay lets a field go: not at all, as a version's first number, in wider buckets. In YAML `absent`,
    `major` or `{bucket: STEP}`."""

    form: Literal["absent", "major", "bucket"] = Field(description="What is left of the field")
    step: float | None = Field(None, strict=True, gt=0, description="Width of a bucket, in the field's own unit")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"form": value}
        if isinstance(value, dict) and set(value) == {"bucket"}:
            return {"form": "bucket", "step": value["bucket"]}
        if isinstance(value, dict) and "form" not in value:
            raise ValueError("write absent, major or {bucket: STEP}")
        return value

    @model_validator(mode="after")
    def _step_with_bucket(self) -> Self:
        if (self.form == "bucket") != (self.step is not None):
            raise ValueError("write absent, major or {bucket: STEP}")
        return self

    def __str__(self) -> str:
        return _written(self.form, self.step)


class PurposeOverlay(Model):
    """What an overlay narrows of one purpose. What is not said stays as it is."""

    clause: ClauseId
    basis: Literal["consent"] | None = Field(None, description="Consent, whatever basis the base has")
    columns: dict[str, Coarser] = Field({}, description="Fields that go coarser, or not at all")
    without_events: tuple[Literal[EVENT_TYPES], ...] = Field((), description="Event types that it does not receive")
    event_time: Literal[UNITS] | None = Field(None, description="What event_time is cut to, if coarser")
    minors: Literal["excluded"] | None = Field(None, description="Keeps a minor's records out")
    minimum_policy_version: Edition | None = Field(None, description="A later least edition of a consent")
    sources: tuple[Literal[SOURCES], ...] | None = Field(None, description="Those of its sources that may feed it")
    unless: dict[str, tuple[str, ...]] = Field({}, description="More words of a field that keep a record out")
    retention_days: Days | None = Field(None, description="A shorter retention; of a region's overlay alone")


class Overlay(Model):
    """What one region, or one service, closes and narrows."""

    clause: ClauseId
    closed: Literal["all"] | tuple[Name, ...] = Field((), description="Purposes that open for nothing; or `all`")
    purposes: dict[Name, PurposeOverlay] = Field({}, description="What is narrowed of others, by purpose")

    def closes(self, purpose: str) -> bool:
        """Whether the purpose opens for nothing."""
        return self.closed == ALL or purpose in self.closed


class Collection(Model):
    """Records of these event types, in these regions, that serve nothing but contract and legal obligation unless one
    of `admitted_by` is open for them: what a programme collects is not collected without it (1.2-uep)."""

    clause: ClauseId
    events: tuple[Literal[EVENT_TYPES], ...] = Field(min_length=1, description="Event types that it is about")
    regions: tuple[Name, ...] = Field(min_length=1, description="Regions where it holds")
    admitted_by: tuple[Name, ...] = Field(min_length=1, description="Purposes one of which has to be open")


# --- what is left ---


def effective(pack: "Pack", service: str | None, region: str) -> tuple[dict[str, "Purpose"], dict[str, str]]:
    """The purposes of a pack as the overlays of a region and a service leave them, in its order; and of those that an
    overlay closes the clause for which it does."""
    purposes, closed = dict(pack.purposes), {}
    for overlay in filter(None, (pack.by_region.get(region), pack.by_service.get(service))):
        for name in overlay.purposes.keys() & purposes.keys():
            purposes[name] = left_of(purposes[name], overlay.purposes[name])
        closed |= {name: overlay.clause for name in purposes if overlay.closes(name)}
    return purposes, closed


def left_of(purpose: "Purpose", said: PurposeOverlay) -> "Purpose":
    """What an overlay leaves of a purpose. Read again as if it were written so: what is left of a purpose is one."""
    columns = {path: _coarsened(column, said.columns.get(path)) for path, column in purpose.columns.items()}
    events = {
        event: tuple(path for path in paths if columns[path])
        for event, paths in purpose.events.items()
        if event not in said.without_events
    }
    listed = {path for paths in events.values() for path in paths}
    unless = {
        path: (*purpose.unless.get(path, ()), *said.unless.get(path, ())) for path in purpose.unless | said.unless
    }
    sources = purpose.sources if said.sources is None else said.sources
    changes = {
        "basis": {"default": said.basis} if said.basis else purpose.basis,
        "columns": {path: column for path, column in columns.items() if path in listed},
        "events": events,
        "event_time": max(purpose.event_time, said.event_time or UNITS[0], key=UNITS.index),
        "minors": said.minors or purpose.minors,
        "minimum_policy_version": _later(purpose.minimum_policy_version, said.minimum_policy_version),
        "sources": tuple(source for source in purpose.sources if source in sources),
        "unless": {path: tuple(dict.fromkeys(words)) for path, words in unless.items() if payload_of(path) in events},
        "retention_days": min(purpose.retention_days, said.retention_days or purpose.retention_days),
    }
    return type(purpose).model_validate(purpose.model_dump() | changes)


def _coarsened(column: "Column", said: Coarser | None) -> dict | None:
    """A column as YAML has it; None is absent."""
    if said is None or (said.form == "bucket" and column.step and column.step > said.step):
        return column.model_dump()
    return None if said.form == "absent" else said.model_dump()


def _later(one: str | None, other: str | None) -> str | None:
    return max(one or "", other or "") or None


# --- what an overlay may not say ---

Fault = tuple[Place, str]


def overlay_faults(pack: "Pack") -> Iterator[Fault]:
    """What is wrong with the overlays and the rules of collection of a pack: one sentence a fault, with its place."""
    for place, overlay in _placed(pack):
        yield from _of_overlay(place, overlay, pack)
    for region in sorted(pack.by_region.keys() - pack.regions.keys()):
        yield ("by_region", region), f"{region!r} is no region of this pack; use {', '.join(pack.regions)}"
    for service, overlay in pack.by_service.items():
        for name, said in overlay.purposes.items():
            if said.retention_days is not None:
                place = ("by_service", service, "purposes", name, "retention_days")
                yield place, "a dataset has one retention in a region; say it in the region's overlay"
    yield from _beside_each_other(pack)
    for number, rule in enumerate(pack.collection):
        place = ("collection", number)
        yield from _unknown((*place, "regions"), rule.regions, pack.regions, "regions")
        yield from _unknown((*place, "admitted_by"), rule.admitted_by, pack.purposes, "purposes")


def _placed(pack: "Pack") -> Iterator[tuple[Place, Overlay]]:
    for kind, overlays in (("by_region", pack.by_region), ("by_service", pack.by_service)):
        yield from (((kind, name), overlay) for name, overlay in overlays.items())


def _unknown(place: Place, named: Iterable[str], known: dict, what: str) -> Iterator[Fault]:
    if unknown := sorted(set(named) - set(known)):
        yield place, f"it names {unknown}, which are no {what} of this pack; use some of {', '.join(known)}"


def _of_overlay(place: Place, overlay: Overlay, pack: "Pack") -> Iterator[Fault]:
    if not overlay.closed and not overlay.purposes:
        yield place, "it neither closes nor narrows anything; drop it"
    if overlay.closed != ALL:
        yield from _unknown((*place, "closed"), overlay.closed, pack.purposes, "purposes")
    yield from _unknown((*place, "purposes"), overlay.purposes, pack.purposes, "purposes")
    for name, said in overlay.purposes.items():
        own = (*place, "purposes", name)
        if overlay.closes(name):
            yield own, f"the overlay closes {name}, so that nothing else it says of it can matter; say one of both"
        elif not said.model_dump(exclude={"clause"}, exclude_defaults=True):
            yield own, "it narrows nothing; drop it"
        if name in pack.purposes:
            yield from (((*own, *within), fault) for within, fault in _widenings(said, pack.purposes[name]))


def _widenings(said: PurposeOverlay, base: "Purpose") -> Iterator[Fault]:
    """What an overlay says of a purpose that is not narrower than what the base does, or speaks of what it lacks."""
    for path, coarser in said.columns.items():
        if path not in base.columns:
            message = "the base does not give the purpose this field, and an overlay only narrows; drop it"
            yield ("columns", path), message
        elif fault := _not_coarser(coarser, base.columns[path], path):
            yield ("columns", path), fault
    if foreign := [event for event in said.without_events if event not in base.events]:
        yield ("without_events",), f"it names {foreign}, which the purpose does not receive; drop them"
    for path, words in said.unless.items():
        field = EVENT_FIELD.get(path)
        if field is None or not set(words) <= set(field.values) or payload_of(path) not in base.events:
            yield ("unless", path), "use a field with fixed words, of an event type that the purpose receives"
    for key, wider in _WIDER.items():
        ours, theirs = getattr(said, key), getattr(base, key)
        if ours is not None and theirs is not None and wider(ours, theirs):
            ours, theirs = (", ".join(each) if isinstance(each, tuple) else each for each in (ours, theirs))
            yield (key,), f"{ours} is wider than the base's {theirs}, and an overlay only narrows; drop it"


_WIDER: dict[str, Callable[[Any, Any], bool]] = {
    "event_time": lambda ours, theirs: UNITS.index(ours) < UNITS.index(theirs),
    "minimum_policy_version": lambda ours, theirs: ours < theirs,
    "sources": lambda ours, theirs: not set(ours) <= set(theirs),
    "retention_days": lambda ours, theirs: ours > theirs,
}


def _not_coarser(said: Coarser, base: "Column", path: str) -> str | None:
    field, theirs = EVENT_FIELD[path], _written(base.form, base.step)
    if said.form == "absent":
        return None
    fits = {"major": Handling.LABEL, "bucket": Handling.MEASURE}[said.form]
    if field.handling is not fits or base.form not in ("plain", said.form):
        return f"{said} is no coarser form of the base's {theirs}; absent always is"
    if said.step and field.type == INTEGER and said.step % 1:
        return "a whole number: its bucket must be one too"
    if said.step and base.step and not _multiple(said.step, base.step):
        return f"{said} is wider than the base's {theirs}, or cuts across it; use a multiple of {base.step:g}"
    return None


def _beside_each_other(pack: "Pack") -> Iterator[Fault]:
    """Buckets of a region and of a service, of which neither holds the other's whole: a value has one place."""
    for (region, one), (service, other) in product(pack.by_region.items(), pack.by_service.items()):
        for name in one.purposes.keys() & other.purposes.keys():
            theirs = other.purposes[name].columns
            for path, said in one.purposes[name].columns.items():
                steps = said.step, theirs[path].step if path in theirs else None
                if all(steps) and not _multiple(max(steps), min(steps)):
                    place = ("by_service", service, "purposes", name, "columns", path)
                    yield place, f"{theirs[path]} cuts across {said} of by_region.{region}; use a multiple of it"


def _multiple(step: float, of: float) -> bool:
    times = step / of
    return round(times) >= 1 and abs(times - round(times)) < 1e-9


def _written(form: str, step: float | None) -> str:
    """A form as YAML has it."""
    return f"{{bucket: {step:g}}}" if step else str(form)
