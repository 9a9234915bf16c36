"""The reference pages: complete, well formed, and the same as what is in the repository."""

import re
from pathlib import Path

import pytest

from schemas import reference
from schemas.clauses import clauses
from schemas.datasets import datasets
from schemas.fields import EVENT_FIELDS, LEDGER_FIELDS
from schemas.pack_files import load_pack
from schemas.recognisers import RECOGNISERS
from schemas.sharing import TransferGrant
from schemas.words import form_in_words

COMMITTED = Path(__file__).parents[2] / "docs" / "reference"
PACK = load_pack()
PAGES = reference.pages(PACK)


def rows_of(page: str) -> list[list[str]]:
    """The cells of every table row of a page, heads and rules included."""
    lines = [line for line in PAGES[page].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_the_committed_page_is_current(page):
    file = COMMITTED / page
    committed = file.read_text(encoding="utf-8") if file.exists() else ""
    assert committed == PAGES[page], f"docs/reference/{page} is not what the code says: run `make reference`"


def test_nothing_else_is_in_the_folder():
    assert {file.name for file in COMMITTED.iterdir()} == set(PAGES)


@pytest.mark.clause("0-a")
def test_every_field_has_one_row_with_its_category_and_sensitivity():
    rows = [row for row in rows_of("fields.md") if row[0].startswith("`")]
    expected = [
        [f"`{field.path}`", str(field.category), str(field.sensitivity)] for field in EVENT_FIELDS + LEDGER_FIELDS
    ]
    assert [[row[0], row[2], row[3]] for row in rows] == expected


@pytest.mark.clause("1.1-a")
def test_every_column_of_every_dataset_is_listed_with_its_form():
    listed = [tuple(row[:3]) for row in rows_of("purposes.md") if len(row) == 5 and row[0].startswith("`")]
    stored = [
        (f"`{column.name}`", f"`{column.field.path}`", form_in_words(column))
        for dataset in datasets(PACK).values()
        for column in dataset.columns
    ]
    assert sorted(listed) == sorted(stored)


@pytest.mark.clause("1.2-ops")
def test_bases_are_those_in_force_in_each_region():
    head, _, *table = [row for row in rows_of("purposes.md") if len(row) == 1 + len(PACK.regions)]
    shown = {(row[0], region): cell for row in table for region, cell in zip(head[1:], row[1:], strict=True)}
    assert shown["operations", "cn"] == shown["operations", "in"] == "consent *"
    assert shown["operations", "eu"] == "legitimate_interest"
    assert {pair: cell.removesuffix(" *") for pair, cell in shown.items()} == {
        (purpose, region): str(PACK.basis(purpose, region)) for purpose in PACK.purposes for region in PACK.regions
    }


@pytest.mark.clause("6-dc")
def test_every_country_stands_once():
    shown = re.findall(r"\b[A-Z]{2}\b", re.sub(r"^.*?: ", "", "\n".join(_country_lines()), flags=re.MULTILINE))
    assert sorted(shown) == sorted(PACK.where.region_of_country)


def _country_lines() -> list[str]:
    return [line for line in PAGES["regions.md"].splitlines() if "of ISO 3166-1" in line]


@pytest.mark.parametrize("page", PAGES)
def test_the_rows_of_a_table_have_as_many_cells_as_its_head(page):
    for table in re.findall(r"(?:^\|.*\n)+", PAGES[page], flags=re.MULTILINE):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


@pytest.mark.clause("4.4-a")
def test_every_dataset_says_how_long_it_is_kept_in_each_region():
    rows = {row[0].strip("`"): row for row in rows_of("retention.md") if row[0].startswith("`")}
    assert list(rows) == list(datasets(PACK))
    for name, dataset in datasets(PACK).items():
        categories = {column.field.category for column in dataset.columns}
        days = [PACK.retention_days(dataset.purpose, categories)] * len(PACK.regions)
        for number, overlay in enumerate(map(PACK.by_region.get, PACK.regions)):
            if overlay and (said := overlay.purposes.get(dataset.purpose)) and said.retention_days:
                days[number] = min(days[number], said.retention_days)
        assert rows[name] == [f"`{name}`", PACK.purposes[dataset.purpose].clause, *map(str, days)]


@pytest.mark.clause("6-grant")
@pytest.mark.clause("3.1-recipient")
@pytest.mark.clause("1.2-combine")
def test_what_leaves_is_listed_and_that_nothing_does_is_said():
    assert not (PACK.transfers.grants or PACK.recipients.entries or PACK.combinations.entries)
    for none in ("Nothing goes from one region to another.", "Nobody else receives anything.", "not brought together."):
        assert none in PAGES["sharing.md"]
    terms = {"clause": "6-grant", "from": "eu", "to": "sg", "purpose": "support", "categories": ("crash_data",)}
    grant = TransferGrant(**terms, instrument="contractual clauses")
    other = PACK.model_copy(update={"transfers": PACK.transfers.model_copy(update={"grants": (grant,)})})
    row = "| eu | sg | support | crash_data | contractual clauses | no end | 6-grant |"
    assert row in reference.pages(other)["sharing.md"]


def test_every_clause_stands_once():
    heads = ("clause", "---")
    assert [row[0] for row in rows_of("clauses.md") if row[0] not in heads] == list(clauses())


def test_another_pack_gives_other_pages():
    column = {"service": PACK.purposes["service"].model_copy(update={"retention_days": 11})}
    other = PACK.model_copy(update={"purposes": {**PACK.purposes, **column}})
    assert "| retention | 11 days |" in reference.pages(other)["purposes.md"]


def test_the_command_writes_the_pages(tmp_path, capsys):
    assert reference.main([str(tmp_path / "new")]) == 0
    assert {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "new").iterdir()} == PAGES
    assert reference.main([]) == reference.main(["--help"]) == 2
    assert "usage" in capsys.readouterr().err


@pytest.mark.clause("1.1.2-log")
def test_every_recogniser_is_listed_with_its_tag_and_clause():
    rows = [row for row in rows_of("recognisers.md") if row[1].startswith("`<")]
    assert [row[:3] for row in rows] == [[r.name, f"`<{r.tag}>`", r.clause] for r in RECOGNISERS]
    assert all(len(row) == 6 and row[3] != "``" and row[4] != "``" for row in rows)
