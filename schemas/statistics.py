"""Statistics that leave (1.1.4-b): what a pack lets be counted, how much one device may weigh, how exact it may be.

The unit that is protected is all that one device did in one region on one day of event time. Whatever is released of a
day is, taken together, (epsilon, delta)-differentially private towards it, by basic composition: the budget is divided
equally over the tables, and within a table over the choice of the groups that are shown and each measure. Epsilons add
up; delta is spent by the choice of groups alone. A device that is active on many days weighs in each of them anew.
That there is a release of a region and day at all is not protected: it tells that somebody was active there.

    a release, one Parquet file a region and day, created once: see `RELEASE`
    table measure event_type app_package ...   value   interval (half the width of the 95 % interval of the noise)
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from schemas.fields import CRASH_GROUP, EVENT_FIELD, EVENT_TYPES, IDENTIFYING, Handling
from schemas.fields import Field as EventField
from schemas.model import ClauseId, Misfit, Model, Name

if TYPE_CHECKING:
    from schemas.policy import Pack, Purpose

EVENT_TYPE = "event_type"  # the one field of `by` that is no column of the purpose
DEVICES, EVENTS = "devices", "events"
RELEASE = "day={day}/release.parquet"  # under a region's folder of statistics
RELEASES = RELEASE.format(day="*")
CONFIDENCE = 0.95


class StatisticsTable(Model):
    """One table: by which fields events are grouped, and how much of it one device may move on one day."""

    by: tuple[str, ...] = Field(description="Fields whose values together name a group; none: all are one group")
    measures: tuple[Literal["devices", "events"], ...] = Field(min_length=1, description="What is counted in a group")
    groups_per_device: int = Field(
        strict=True, gt=0, le=1_000, description="Most groups that a device counts in on one day"
    )
    events_per_group: int | None = Field(
        None, strict=True, gt=0, le=100_000, description="Most events of a device in one group"
    )

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        for what, listed in (("by", self.by), ("measures", self.measures)):
            if len(set(listed)) < len(listed):
                raise ValueError(f"{what} names one thing twice")
        if (EVENTS in self.measures) != (self.events_per_group is not None):
            raise ValueError("give events_per_group if, and only if, `events` is measured")
        if not self.by and self.groups_per_device > 1:
            raise ValueError("without `by` there is one group: groups_per_device is 1")
        return self

    def event_types(self, purpose: "Purpose") -> frozenset[int]:
        """Codes of the event types that the table sees: those whose allow-list names all fields of `by`."""
        fields = set(self.by) - {EVENT_TYPE}
        return frozenset(EVENT_TYPES.index(event) for event, paths in purpose.events.items() if fields <= set(paths))

    def sensitivity(self, measure: str) -> int:
        """By how much one device can change all values of a measure on one day, taken together (L1)."""
        return self.groups_per_device * (self.events_per_group or 1 if measure == EVENTS else 1)


@dataclass(frozen=True)
class Budget:
    """A table's part of the whole."""

    selection_epsilon: float
    selection_delta: float
    measure_epsilon: float  # for each measure


class Statistics(Model):
    """What is released of each region and day, and under which privacy budget."""

    clause: ClauseId
    purpose: str = Field(description="The purpose whose records are counted; none of them is stored")
    epsilon: float = Field(
        strict=True, gt=0, le=10, description="Of all that is released, for one device, region and day"
    )
    delta: float = Field(strict=True, gt=0, le=1e-6, description="Likewise")
    grace_hours: float = Field(strict=True, ge=0, le=24 * 365, description="How long after its end a day is held open")
    least_devices: int = Field(
        strict=True, gt=1, le=1_000_000, description="A group of fewer devices is never shown, whatever chance says"
    )
    tables: dict[Name, StatisticsTable] = Field(min_length=1, description="What is counted, by the name of a table")

    @property
    def fields(self) -> tuple[str, ...]:
        """The paths of all fields by which something is grouped."""
        return tuple(dict.fromkeys(path for table in self.tables.values() for path in table.by))

    def budget(self, table: StatisticsTable) -> Budget:
        """Equal parts: one for each table, in it one for the choice of groups and one for each measure."""
        part = self.epsilon / len(self.tables) / (1 + len(table.measures))
        return Budget(part, self.delta / len(self.tables), part)

    def half_width(self, table: StatisticsTable, measure: str) -> int:
        """Half the width of the interval around a noisy value in which the exact one lies with 95 % probability: the
        noise is Laplace's, with a scale of sensitivity / epsilon, brought to a whole number."""
        scale = table.sensitivity(measure) / self.budget(table).measure_epsilon
        return math.ceil(-scale * math.log(1 - CONFIDENCE))

    def check(self, pack: "Pack") -> None:
        """Raises ValueError if something that points to a person, or that the purpose may not have, were counted by
        (1.1.4-b, 1.1.4-c)."""
        purpose = pack.purposes.get(self.purpose)
        if purpose is None:
            raise Misfit(f"{self.purpose!r} is no purpose of this pack; name one", "statistics", "purpose")
        if purpose.stored:
            what = f"{self.purpose} is stored by row; write `stored: false` there"
            raise Misfit(what, "statistics", "purpose")
        if others := sorted(name for name, of in pack.purposes.items() if not of.stored and name != self.purpose):
            what = f"purposes {others} are not stored, and only {self.purpose} is counted: drop `stored: false`"
            raise Misfit(what, "purposes", others[0], "stored")
        if "device" not in purpose.subject:
            what = f"{self.purpose} must need the subject `device`, which is what is bounded"
            raise Misfit(what, "purposes", self.purpose, "subject")
        for name, table in self.tables.items():
            for fault in _unfit(table, purpose, pack):
                raise Misfit(fault, "statistics", "tables", name, "by")


def may_group(field: EventField) -> bool:
    """Whether anything can be counted by a field: by few words, or by what crashes have in common."""
    return field.kind == CRASH_GROUP or (field.handling is Handling.LABEL and field.category not in IDENTIFYING)


def _unfit(table: StatisticsTable, purpose: "Purpose", pack: "Pack") -> Iterator[str]:
    """Why a table may not be by its fields. A number, a fingerprint or an address could be anybody's own; the words of
    a label, and crash groups, may be without end as well, but are shown only where the partition selection finds many
    devices behind one (`least_devices`), and each device is counted under so many of them and no more."""
    for path in table.by:
        field = EVENT_FIELD.get(path)
        if path == EVENT_TYPE:
            continue
        grouped = path in purpose.columns and purpose.columns[path].form == "group"
        if field is not None and field.category in IDENTIFYING and not grouped:
            yield f"{path} points to somebody ({field.category}); nothing is ever counted by it; drop it"
        elif path not in purpose.columns:
            yield f"{path} is not among the columns of the purpose; add it there, or drop it"
        elif not grouped and (field.handling is not Handling.LABEL or purpose.columns[path].among):
            yield f"{path} goes as {purpose.columns[path].form.value!r}; use fields of few words (plain, major, group)"
        elif pack.gate_of(field):
            yield f"{path} stands behind a gate and may be null for a reason that is not public"
    if not table.event_types(purpose):
        yield "no event type of the purpose lists all of these fields"


def release_schema(statistics: Statistics) -> pa.Schema:
    """The columns of a release. A group's column is null where the record had no such word, and in tables that are not
    by it."""
    groups = [pa.field(EVENT_FIELD[path].column, pa.string()) for path in statistics.fields]
    head = [pa.field("table", pa.string()), pa.field("measure", pa.string())]
    return pa.schema([*head, *groups, pa.field("value", pa.int64()), pa.field("interval", pa.int64())])
