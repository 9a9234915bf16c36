"""What is printed for people: one line stays one line, whatever the words in it are."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.tables import aligned, days_listed, printable, wrapped
from tests.strategies import unhurried

words = st.text(st.characters(codec=None), max_size=8)


@unhurried
@given(st.lists(st.tuples(words, words), max_size=4), st.integers(0, 3))
def test_each_row_is_one_line_that_prints(rows, indent):
    lines = aligned(rows, indent)
    assert len(lines) == len(rows)
    assert all(line.isprintable() and len(line.splitlines()) <= 1 for line in lines)


def test_what_prints_stays_as_it_is():
    assert printable("Zürich 東京 <a> \\ 'x'") == "Zürich 東京 <a> \\ 'x'"
    assert printable("a\x1b[31m\r\n\u202eb\u2028\ud800") == "a\\x1b[31m\\r\\n\\u202eb\\u2028\\ud800"
    assert printable(None) == "None" and printable(12) == "12"


def test_columns_stand_below_each_other():
    assert aligned([("a", "9", "x"), ("b\n", "100", "")], indent=2, numbers={1}) == ["  a      9  x", "  b\\n  100"]
    assert aligned([]) == []


@unhurried
@given(st.lists(st.tuples(words, words, words), max_size=4), st.integers(20, 60))
def test_a_wrapped_table_keeps_to_its_width_and_loses_no_word(rows, width):
    lines = wrapped(("one", "two", "three"), rows, width)
    assert all(line.isprintable() and len(line) <= width for line in lines)
    held, shown = (Counter("".join(part)) for part in (_all(rows), lines))
    assert {word: held[word] for word in held if word not in " -"} == {w: shown[w] for w in shown if w not in " -"}


def _all(rows):
    return ["one", "two", "three", *(printable(cell) for row in rows for cell in row)]


def test_what_fits_is_not_wrapped_and_the_widest_gives_way():
    rows = [("a", "some more words here"), ("bbb", "c")]
    assert wrapped(("x", "y"), rows, 80) == ["  x    y", "  ---  --------------------", *aligned(rows, 2)]
    assert wrapped(("x", "y"), rows, 20) == [
        "  x    y", "  ---  -------------", "  a    some more", "       words here", "  bbb  c"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("days", "told"),
    [
        ([], "none"),
        (["2021-03-01"], "2021-03-01"),
        (["2021-03-01", "2021-03-02"], "2021-03-01 and 2021-03-02"),
        (["2021-03-01", "2021-03-02", "2021-03-05"], "2021-03-01 to 2021-03-05 (3 days)"),
    ],
)
def test_days_in_few_words(days, told):
    assert days_listed(days) == told
