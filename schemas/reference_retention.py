"""The reference page of retention: for how many days each dataset is kept in each region."""

from collections.abc import Iterator

from schemas.datasets import Dataset, datasets
from schemas.markdown import bullets, code, joined, table
from schemas.policy import Pack

_ABOUT = ("4.4-a", "4.4-b", "4.4-c")  # the clauses of retention


def retention_page(pack: Pack, made: str) -> str:
    """The text of the page; `made` says how it was made."""
    parts = [
        "# Retention",
        made,
        "For how many days rows are kept, by dataset and region: as long as their purpose needs (4.4-a), shorter where "
        "a category of data asks for it, or the law of the region.",
        table(("dataset", "clause", *pack.regions), _rows(pack)),
        "Statistics that were released are about nobody, and stay (4.4-b).",
    ]
    if limits := _limits(pack):
        parts += ["## What the law of a region allows at most", bullets(*limits)]
    if missing := [f"{each.what} ({each.clause})" for each in pack.not_yet if each.clause in _ABOUT]:
        parts += ["## Not built yet", bullets(*missing)]
    return joined(parts)


def _rows(pack: Pack) -> Iterator[list[str]]:
    by_region = {region: pack.effective_for(None, region) for region in pack.regions}
    for name, dataset in datasets(pack).items():
        days = [str(_days(held, dataset)) for held in by_region.values()]
        yield [code(name), pack.purposes[dataset.purpose].clause, *days]


def _days(pack: Pack, dataset: Dataset) -> int:
    return pack.retention_days(dataset.purpose, [column.field.category for column in dataset.columns])


def _limits(pack: Pack) -> list[str]:
    return [
        f"{name}: {days} days of {'any data' if category == 'any' else category}"
        for name, region in pack.regions.items()
        for category, days in region.longest_days.items()
    ]
