import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms import warm

LINES = st.lists(st.lists(st.sampled_from(["ab", "b", "1", " ", "é", "x=", "\\"]), max_size=6).map("".join), max_size=9)
REWRITES = [("(a)(b)?", r"<\1\2>"), ("b+", r"[\0]"), ("^x(=)", r"\1"), ("1$", ""), ("(?:(1)|(b))", r"\2\1")]


@unhurried
@given(LINES, st.sampled_from(REWRITES))
def test_a_few_lines_are_treated_as_many_are(lines, rewrite):
    few, many = pa.array(lines, pa.string()), pa.array(lines + ["ab"] * 300, pa.string())
    assert warm.replaced(few, *rewrite).to_pylist() == warm.replaced(many, *rewrite).to_pylist()[: len(lines)]
    assert warm.found(few, rewrite[0]).tolist() == warm.found(many, rewrite[0]).tolist()[: len(lines)]
    assert warm.matched(few, rewrite[0]).tolist() == warm.matched(many, rewrite[0]).tolist()[: len(lines)]


def test_lines_without_the_pattern_come_back_as_they_are():
    lines = pa.array(["ab", "c"])
    assert warm.replaced(lines, "x", "y") is lines


@pytest.mark.parametrize(("pattern", "occurs"), [("^b", True), ("a$", True), ("^c", False), ("ab", False)])
def test_the_ends_of_a_line_are_ends(pattern, occurs):
    assert warm.occurs(pa.array(["a", "bc"]), pattern) is occurs
