"""The clauses that packs, code, audit and tests cite: each a duty of the privacy policy, from `clauses.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from pydantic import Field, TypeAdapter

from schemas.model import Model, Word
from schemas.yaml_files import read_yaml


class _Entry(Model):
    id: Word
    about: Literal["data", "organisation"]
    duty: str


class _Section(Model):
    section: str
    clauses: tuple[_Entry, ...] = Field(min_length=1)


@dataclass(frozen=True)
class Clause:
    """One duty, in one line. `about` is `data` for a rule about what becomes of data, `organisation` for one about how
    a company works."""

    id: str
    section: str
    about: str
    duty: str


@cache
def clauses() -> Mapping[str, Clause]:
    """Every clause by its id, in the policy's order."""
    read = TypeAdapter(tuple[_Section, ...]).validate_python(read_yaml(Path(__file__).with_name("clauses.yaml")))
    found = [Clause(each.id, part.section, each.about, each.duty) for part in read for each in part.clauses]
    by_id = {clause.id: clause for clause in found}
    if len(by_id) < len(found):
        raise ValueError("clauses.yaml has two clauses of one id")
    return MappingProxyType(by_id)
