"""What keeps datasets apart: words that stay where others become one, and how many records may be told apart (2-log,
2-analytics, 1.1.4-c)."""

from pydantic import Field, field_validator

from schemas.model import ClauseId, Model, Name

OTHER = "<OTHER>"  # what stands for every word that is not listed; no label that the border lets in looks like it


class WordList(Model):
    """Words of a label that many devices share: a column of the form `{listed: NAME}` keeps these alone."""

    clause: ClauseId
    words: tuple[str, ...] = Field(min_length=1, description="The words that stay; every other becomes <OTHER>")

    @field_validator("words")
    @classmethod
    def _each_once(cls, words: tuple[str, ...]) -> tuple[str, ...]:
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise ValueError(f"{twice} are listed twice")
        return words


class Together(Model):
    """Two purposes that the policy does not keep apart: they serve the same thing to the same person."""

    clause: ClauseId
    purposes: tuple[Name, ...] = Field(min_length=2, max_length=2, description="The two")
    why: str = Field(description="What they have to do with each other, in one line")


class Apart(Model):
    """How many records two datasets of different purposes may have in common that their columns single out."""

    clause: ClauseId
    singled_out_percent: float = Field(
        strict=True, ge=0, le=100, description="Most records singled out, in percent of those of which both have a row"
    )
    least_records: int = Field(
        strict=True, gt=0, description="Records that both must have of a sample for it to say anything"
    )
    together: tuple[Together, ...] = Field((), description="Pairs that are measured and not held to it")

    def keeps(self, one: str, other: str) -> bool:
        """Whether two purposes are kept apart."""
        return all({one, other} != set(pair.purposes) for pair in self.together)
