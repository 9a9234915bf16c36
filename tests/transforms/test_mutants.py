"""That the random histories notice a change of the rule: a handful of mutants; `python -m tests.mutants` makes all."""

import random

import pytest

from tests.mutants import EQUIVALENT, caught, mutants, trials

HANDFUL = 12
OF_SINGLE_CASES = {  # about subjects with very many entries: test_consent.py has the histories that notice these
    "ledger._superseded: kinds(Kind.adult, Kind.unreadable) -> kinds(Kind.unreadable)",
    "ledger._superseded: kinds(Kind.adult, Kind.unreadable) -> kinds(Kind.adult)",
    "consent._intervals: kinds(Kind.erase) -> kinds()",
}


@pytest.fixture(scope="module")
def some_trials():
    return list(trials(8))


@pytest.fixture(scope="module")
def made():
    return mutants()


def test_the_rule_itself_is_not_caught(some_trials):
    assert not caught(None, some_trials)


def test_kinds_and_reasons_that_are_ignored_are_noticed(made, some_trials):
    found = [each for each in made if each.category in ("kind ignored", "reason removed")]
    found = [each for each in found if each.name not in EQUIVALENT and each.name not in OF_SINGLE_CASES]
    assert len(found) > HANDFUL
    survivors = [each.name for each in random.Random(7).sample(found, HANDFUL) if not caught(each, some_trials)]
    assert survivors == []


def test_of_other_mutants_most_are_noticed(made, some_trials):
    found = [each for each in made if each.category not in ("kind ignored", "reason removed")]
    sample = random.Random(8).sample([each for each in found if each.name not in EQUIVALENT], HANDFUL)
    assert sum(caught(each, some_trials) for each in sample) > 0.7 * HANDFUL


def test_what_is_listed_as_equivalent_is_made(made):
    assert EQUIVALENT.keys() <= {each.name for each in made}
