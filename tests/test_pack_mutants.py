"""That the table of decisions notices a rule that is left out: a handful; `python -m tests.pack_mutants` tries all."""

import random

import pytest

from schemas.pack_files import pack_content
from schemas.policy import Pack
from tests.pack_mutants import Mutant, changed, decisions_of, fate, parts, reason

HANDFUL = 8


@pytest.fixture(scope="module")
def decisions(tmp_path_factory):
    return decisions_of(Pack.model_validate(pack_content()), tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def table(decisions):
    return decisions.of(Pack.model_validate(pack_content()))


def test_the_pack_itself_decides_the_same_again(decisions, table):
    assert fate(Mutant("none", pack_content()), decisions, table) == "survived"


@pytest.mark.clause("1.1.2-log")
def test_finer_times_in_texts_are_noticed(decisions, table):
    content = pack_content()
    content["limits"] |= {"text_time": "hour"}
    assert fate(Mutant("limits.text_time = hour", content), decisions, table) == "decided"


@pytest.mark.clause("1.1-a")
def test_no_rule_can_be_left_out_without_a_reason(decisions, table):
    content, survivors = pack_content(), []
    for place, value in random.Random(7).sample(list(parts(content, ())), HANDFUL):
        name = ".".join(map(str, place))
        for how, without in changed(content, place, value):
            mutant = Mutant(f"{name}{how}", without)
            if not reason(mutant.name) and fate(mutant, decisions, table) == "survived":
                survivors.append(mutant.name)
    assert survivors == []
