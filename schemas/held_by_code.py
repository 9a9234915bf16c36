"""Duties that no line of a pack expresses: those that the code holds, each with the module that does it, and those that
nothing holds yet. A pack says both, so that whoever reads it misses nothing and believes nothing that is not so."""

from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import Field

from schemas.findings import Finding
from schemas.model import ClauseId, Model

if TYPE_CHECKING:
    from schemas.policy import Pack


class HeldByCode(Model):
    """A duty that no line of a pack expresses, since it is how the code works."""

    clause: ClauseId
    module: str = Field(
        pattern=r"^(schemas|transforms|pipelines)\.[a-z][a-z0-9_]*$", description="The module that does it, dotted"
    )
    how: str = Field(description="What it does for the duty, in one line")


class NotYet(Model):
    """What a clause asks for and nothing does yet, wholly or in part."""

    clause: ClauseId
    what: str = Field(description="What is missing, in one line")


def without_module(pack: "Pack", today: date) -> Iterator[Finding]:
    """Duties that are said to be held by a module that is not there. Nothing but packages is imported to know that."""
    for number, held in enumerate(pack.held_by_code):
        if find_spec(held.module) is None:
            message = f"{held.module} is no module of this version"
            remedy = "name the module that holds the duty, or say under not_yet what is missing"
            yield Finding("without_module", ("held_by_code", number, "module"), held.clause, message, remedy)
