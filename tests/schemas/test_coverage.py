"""Coverage: what is cited, by whom, and what is missing."""

import textwrap

import pytest

from schemas.clauses import clauses
from schemas.coverage import Cited, coverage, markers, mentions
from schemas.pack_files import DEFAULT_PACK, load_pack, read_sources

PACK = load_pack()
CITED, PROVEN = mentions(read_sources(DEFAULT_PACK)), markers()


@pytest.fixture
def marked(tmp_path):
    """What the markers in a file of tests say."""

    def read(source):
        file = tmp_path / "tests" / "inner" / "test_some.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source), encoding="utf-8")
        return [(each.clause, each.what, each.at) for each in markers(tmp_path / "tests")]

    return read


def without(found, clause):
    return tuple(each for each in found if each.clause != clause)


def test_the_shipped_pack_is_covered():
    rows, findings = coverage(PACK, CITED, PROVEN)
    assert not findings, "\n".join(map(str, findings))
    assert [row.clause.id for row in rows] == list(clauses())


def test_every_duty_about_data_is_in_the_pack():
    """As a rule, as held by code with the place, or as what is not built: none is left out."""
    rows, _ = coverage(PACK, CITED, None)
    silent = [row.clause.id for row in rows if not (row.rules or row.held or row.not_yet)]
    assert not [id_ for id_ in silent if clauses()[id_].about == "data"]


def test_a_clause_says_where_its_rules_and_tests_are():
    rows, _ = coverage(PACK, CITED, PROVEN)
    push = next(row for row in rows if row.clause.id == "1.2-push")
    assert [rule.what for rule in push.rules] == ["purposes.push"]
    assert push.rules[0].at.startswith("purposes.yaml:")
    told = push.as_json()
    assert told["rules"] == [{"place": "purposes.push", "at": push.rules[0].at}]
    assert any(name.startswith("tests/transforms/test_seal.py::test_") for name in told["tests"])


def test_neither_rule_nor_test_is_a_finding():
    alone = PACK.model_copy(update={"held_by_code": (), "not_yet": ()})
    cited, proven = without(CITED, "1.2-ops"), without(PROVEN, "1.2-ops")
    _, findings = coverage(alone, cited, proven)
    assert "1.2-ops" in {finding.clause for finding in findings}
    for one, other in ((CITED, proven), (cited, PROVEN)):
        _, findings = coverage(alone, one, other)
        assert "1.2-ops" not in {finding.clause for finding in findings}


def test_what_is_not_built_yet_is_no_finding():
    (missing,) = [entry for entry in PACK.not_yet if entry.clause == "5.2-access"]
    rows, findings = coverage(PACK, CITED, PROVEN)
    assert next(row.not_yet for row in rows if row.clause.id == "5.2-access") == (missing.what,)
    _, findings = coverage(PACK.model_copy(update={"not_yet": ()}), without(CITED, "5.2-access"), PROVEN)
    assert "5.2-access" in {finding.clause for finding in findings}


def test_a_clause_that_is_not_in_the_list_is_a_finding():
    _, findings = coverage(PACK, (*CITED, Cited("9-z", "purposes.push", "purposes.yaml:7")), PROVEN)
    assert [str(finding) for finding in findings] == [
        "purposes.yaml:7: [9-z] purposes.push cites a clause that is not in the list; correct its id, or add it to "
        "schemas/clauses.yaml"
    ]
    _, findings = coverage(PACK, CITED, (*PROVEN, Cited("9-z", "tests/x.py::test_y", "tests/x.py:3")))
    assert [(finding.at, finding.clause) for finding in findings] == [("tests/x.py:3", "9-z")]


def test_without_tests_nothing_is_said_of_them(tmp_path):
    assert markers(tmp_path / "tests") is None
    rows, findings = coverage(PACK.model_copy(update={"held_by_code": (), "not_yet": ()}), CITED, None)
    assert not findings and not any(row.tests for row in rows)


def test_markers_of_functions_classes_files_and_parameters_are_found(marked):
    source = """
        import pytest
        pytestmark = [pytest.mark.clause("1.1-a")]

        @pytest.mark.clause("1.1-b")
        @pytest.mark.clause("0-a")
        def test_one(): ...

        @pytest.mark.clause("5.3")
        class TestTwo:
            @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.clause("7"))])
            def test_three(self, x): ...
    """
    name = "tests/inner/test_some.py"
    assert marked(source) == [
        ("1.1-a", name, f"{name}:3"),
        ("1.1-b", f"{name}::test_one", f"{name}:5"),
        ("0-a", f"{name}::test_one", f"{name}:6"),
        ("7", f"{name}::TestTwo::test_three", f"{name}:11"),
        ("5.3", f"{name}::TestTwo", f"{name}:9"),
    ]


def test_a_clause_that_is_computed_is_left_open(marked, tmp_path):
    assert [clause for clause, *_ in marked("MARKS = [pytest.mark.clause(each) for each in IDS]")] == [""]
    assert coverage(PACK, CITED, (*PROVEN, *markers(tmp_path / "tests"))) == coverage(PACK, CITED, PROVEN)


def test_nothing_is_imported(marked):
    assert marked("raise SystemExit(1)") == []
