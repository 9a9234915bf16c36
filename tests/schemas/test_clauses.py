"""The list of clauses: each once, and all that code cites are in it."""

import re
from pathlib import Path

import schemas
from schemas.clauses import clauses
from schemas.orders import CLAUSE_OF_STOP
from schemas.quarantine import CLAUSE_OF_FAULT
from schemas.recognisers import RECOGNISERS

# What holds for an id of the policy: its section, and where a section has several duties a word.
_ID = re.compile(r"\d(\.\d){0,2}(-[a-z]+)?")


def test_every_clause_has_one_line_of_duty_and_a_section():
    for id_, clause in clauses().items():
        assert clause.id == id_ and _ID.fullmatch(id_), id_
        assert clause.about in ("data", "organisation") and clause.section
        assert 10 < len(clause.duty) <= 90 and "\n" not in clause.duty
    assert len(clauses()) == 75


def test_what_code_cites_is_in_the_list():
    cited = {*CLAUSE_OF_STOP.values(), *CLAUSE_OF_FAULT.values(), *(each.clause for each in RECOGNISERS)}
    assert cited <= set(clauses())
    assert Path(schemas.__file__).with_name("clauses.yaml").exists()
