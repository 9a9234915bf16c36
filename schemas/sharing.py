"""What may leave a region, the company or a service, by name (6-grant, 3.1-recipient, 1.2-combine).

A pack must have each of these sections, though it be empty: that nothing leaves is a rule then, and not an omission.
There is no kind of recipient for those to whom data would be sold or whom it would advertise for (3-sale, 3.1.4).
"""

from datetime import date
from typing import Literal

from pydantic import Field

from schemas.fields import Category
from schemas.model import ClauseId, Model, Name, Word


class TransferGrant(Model):
    """One way across a border: rows of one purpose, in some categories, under a named legal instrument, for a time."""

    clause: ClauseId
    origin: Name = Field(alias="from", description="Region whose store the rows lie in")
    to: Name = Field(description="Region that receives them")
    purpose: Name = Field(description="Purpose that they are for")
    categories: tuple[Category, ...] = Field(min_length=1, description="Data categories that may go")
    instrument: str | None = Field(None, description="The legal instrument, by name: contractual clauses, a decision")
    until: date | None = Field(None, description="The last day on which it holds")


class Transfers(Model):
    """Every transfer from one region to another that the law permits (6-grant). None but these is possible."""

    clause: ClauseId
    grants: tuple[TransferGrant, ...] = Field(description="Each way across a border; none: nothing is transferred")


class Recipient(Model):
    """Somebody else who receives data for one purpose, under contract (3.1-recipient)."""

    clause: ClauseId
    name: Word = Field(description="Who it is")
    kind: Literal["group", "processor", "named_by_person"] = Field(description="What it is to the controller")
    region: Name = Field(description="Region whose rows it receives")
    purpose: Name = Field(description="Purpose that they are for")
    categories: tuple[Category, ...] = Field(min_length=1, description="Data categories that it needs")
    instrument: str | None = Field(None, description="The contract, by name")
    until: date | None = Field(None, description="The last day on which it holds")


class Recipients(Model):
    """Everybody who receives data (3.1-recipient). Nobody else does."""

    clause: ClauseId
    entries: tuple[Recipient, ...] = Field(description="Each recipient; none: nobody receives anything")


class Combination(Model):
    """Services whose data may be brought together, under a control of its own (1.2-combine)."""

    clause: ClauseId
    services: tuple[Word, ...] = Field(min_length=2, description="Services, as events name them")
    purposes: tuple[Name, ...] = Field(min_length=1, description="Purposes in which they are combined")
    control: Name = Field(description="The purpose, on consent, that must be open for it")


class Combinations(Model):
    """Every combination of services (1.2-combine). None but these is meant."""

    clause: ClauseId
    entries: tuple[Combination, ...] = Field(description="Each combination; none: services stay apart")


class NotAdmitted(Model):
    """Data that must not come at all: no field may be made for it."""

    clause: ClauseId
    what: str = Field(description="What it is, in a few words")
    fields: tuple[Word, ...] = Field(min_length=1, description="Paths, or the first words of paths, that stay unknown")
