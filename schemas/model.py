"""What the models of a policy pack have in common."""

from collections.abc import Iterable
from datetime import date
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from schemas.yaml_files import Place


class Misfit(ValueError):
    """What a validator finds in a part of what it was given. `place` leads there from the whole."""

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.each = ((place, message),)


class Misfits(ValueError):
    """The same, of several parts: `each` is a place and what is said of it."""

    def __init__(self, each: Iterable[tuple[Place, str]]) -> None:
        self.each = tuple(each)
        super().__init__("; ".join(message for _, message in self.each))


class Model(BaseModel):
    """Unknown keys are errors, and nothing changes after it was loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _word(value: Any) -> str:
    """YAML reads a bare date as a date."""
    return value.isoformat() if isinstance(value, date) else value


def _day(word: str) -> str:
    try:
        if date.fromisoformat(word).isoformat() == word:
            return word
    except ValueError:
        pass
    raise ValueError('this is no date; write one such as "2021-01-15"')


Word = Annotated[str, BeforeValidator(_word)]
ClauseId = Annotated[Word, Field(description="The clause of the policy that asks for it")]
# An edition is named after a day, so that editions can be compared as text: the ledger has no other names for them.
Edition = Annotated[
    str, BeforeValidator(_word), AfterValidator(_day), WithJsonSchema({"type": "string", "format": "date"})
]
# A region, purpose or table names a folder, a key and a word of the ledger.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
# Never `yes`, which YAML reads as true and Python as 1; a century is more than any law asks for.
Days = Annotated[int, Field(strict=True, gt=0, le=36_525)]
