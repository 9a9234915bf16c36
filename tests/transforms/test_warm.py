import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms import warm

ROWS = st.lists(st.lists(st.sampled_from(["ab", "b", "1", " ", "é", "x=", "\\"]), max_size=6).map("".join), max_size=9)
# Some would go on in the next row, if it were read on.
REWRITES = [
    ("(a)(b)?", r"<\1\2>"),
    ("b+", r"[\0]"),
    ("^x(=)", r"\1"),
    ("1$", ""),
    ("(?:(1)|(b))", r"\2\1"),
    ("[^=]{2}", "-"),
    (r"(^|[^\w])b(\s|$)", r"\1_\2"),
    (r"\\+", r"/\\"),
    (r"\bb\b|1\B", "."),
]


@unhurried
@given(ROWS, st.sampled_from(REWRITES))
def test_each_row_is_rewritten_as_if_it_stood_alone(rows, rewrite):
    alone = [pc.replace_substring_regex(pa.array([row]), *rewrite)[0].as_py() for row in rows]
    assert warm.replaced(pa.array(rows, pa.string()), *rewrite).to_pylist() == alone


@unhurried
@given(ROWS, st.sampled_from(REWRITES))
def test_a_pattern_is_found_in_the_rows_that_have_it(rows, rewrite):
    pattern, column = rewrite[0], pa.array(rows, pa.string())
    assert warm.found(column, pattern).tolist() == [re2.search(pattern, row) is not None for row in rows]
    assert warm.matched(column, pattern).tolist() == [re2.fullmatch(pattern, row) is not None for row in rows]
    if warm.found(column, pattern).any():
        assert warm.occurs(warm.joined(column), pattern)


@unhurried
@given(ROWS, st.sampled_from(REWRITES))
def test_what_is_accepted_is_rewritten_and_nothing_else(rows, rewrite):
    column = pa.array(rows, pa.string())
    all_of_them = warm.replaced(column, *rewrite, lambda found: np.ones(len(found), bool))
    assert all_of_them.equals(warm.replaced(column, *rewrite))
    assert warm.replaced(column, *rewrite, lambda found: np.zeros(len(found), bool)) is column


def test_each_distinct_match_is_judged_once():
    judged = []

    def long_enough(found):
        judged.extend(found.to_pylist())
        return pc.greater(pc.binary_length(found), 1).to_numpy(zero_copy_only=False)

    assert warm.replaced(pa.array(["bb b", "bb"]), "(b)b*", r"<\1>", long_enough).to_pylist() == ["<b> b", "<b>"]
    assert judged == ["bb", "b"]


def test_of_no_rows_none_has_a_pattern():
    none = pa.array([], pa.string())
    assert warm.found(none, "").tolist() == warm.matched(none, "").tolist() == []


def test_rows_without_the_pattern_come_back_as_they_are():
    rows = pa.array(["ab", "c"])
    assert warm.replaced(rows, "x", "y") is rows


def test_of_each_row_the_first_match_is_told_once():
    assert [spans[0] for spans in warm.matches(b"bb\na\n\nb b", "b", once=True)] == [(0, 1), (6, 7)]


def test_a_line_of_a_text_is_not_all_of_it():
    assert warm.matched(pa.array(["ab\nab", "ab", ""]), "(?:ab)*").tolist() == [False, True, True]


@pytest.mark.parametrize(("pattern", "occurs"), [("^b", True), ("a$", True), ("^c", False), ("ab", False)])
def test_the_ends_of_a_row_are_ends(pattern, occurs):
    assert warm.occurs(warm.joined(pa.array(["a", "bc"])), pattern) is occurs


def test_where_rows_begin_in_what_is_joined_and_that_they_come_back():
    rows = pa.array(["a", "", "éé"])
    assert warm.joined(rows) == "a\n\néé".encode() and warm.starts(rows).tolist() == [0, 2, 3]
    assert warm.rows_of(warm.joined(rows)).equals(rows)


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        (["x=x=ab", "x=b"], ["x=x=<>", "x=<>"]),
        (["x=x=", "x=b x=x=1"], ["x=x=", "x=<> x=x=<>"]),
        (["x=x=x=b"], ["x=x=x=b"]),  # once
    ],
)
def test_what_does_not_pass_is_looked_into_behind_its_first_group(rows, left):
    def holds_no_pair(found):
        return pc.invert(pc.starts_with(found, "x=x")).to_numpy(zero_copy_only=False)

    text = warm.joined(pa.array(rows))
    rewritten = warm.rewritten(text, "(x=)[^ ]+", r"\1<>", holds_no_pair, inside=True)
    assert warm.rows_of(rewritten).to_pylist() == left
    assert warm.rewritten(text, "(x=)[^ ]+", r"\1<>", lambda found: np.zeros(len(found), bool), inside=True) is text
