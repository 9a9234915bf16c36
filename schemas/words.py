"""Parts of a policy in plain words, as the reference pages and `douane check` say them."""

from collections.abc import Iterable

from schemas.datasets import DatasetColumn
from schemas.markdown import number
from schemas.policy import Column


def form_in_words(column: Column | DatasetColumn) -> str:
    """How a field goes into a dataset."""
    if column.step is not None:
        return f"{column.form} of {number(column.step)}"
    return f"{column.form} in {column.among}" if column.among else str(column.form)


def listed(words: Iterable[str], last: str = "and") -> str:
    """Words as a sentence lists them."""
    *others, end = tuple(words) or ("nothing",)
    return f"{', '.join(others)} {last} {end}" if others else end
