import numpy as np
import pyarrow as pa
import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.sieve import Across, Lines, Sieve

GROUPS = [[r"\bab\b", "[0-9]{3}"], ["^x", "y$", "é"], ["a.c", *(f"q{number}z" for number in range(20))]]
SIEVE, ACROSS = Sieve(GROUPS), Across([r"p\nq", "ab"])
ROWS = st.lists(
    st.lists(st.sampled_from(["ab", "a", "c", " ", "1", "22", "x", "y", "é", "q7z", "q19z", "="]), max_size=6).map(
        "".join
    ),
    max_size=80,
)


@unhurried
@given(ROWS)
def test_a_row_is_flagged_for_the_groups_of_which_a_pattern_occurs_in_it(rows):
    flags = SIEVE.flags(pa.array(rows, pa.string()))
    assert flags.tolist() == [[any(re2.search(pattern, row) for pattern in group) for row in rows] for group in GROUPS]


def test_a_row_among_many_is_flagged_alone():
    flags = SIEVE.flags(pa.array(["y"] * 200 + ["=123"] + ["-"] * 200))
    assert flags[0].nonzero()[0].tolist() == [200] and flags[1].sum() == 200 and not flags[2].any()


@unhurried
@given(ROWS)
def test_suspects_are_the_texts_with_something_in_them(texts):
    suspects = ACROSS.suspects(pa.array(texts, pa.string()))
    assert suspects.tolist() == ["ab" in text for text in texts]


@pytest.mark.parametrize(("texts", "suspects"), [(["p\nq"], [True]), (["p", "q"], [False, False]), ([], [])])
def test_what_reaches_over_a_line_does_not_reach_over_a_text(texts, suspects):
    assert ACROSS.suspects(pa.array(texts, pa.string())).tolist() == suspects


def test_a_few_suspects_are_told_from_the_rest():
    texts = ["-"] * 100
    texts[40] = texts[99] = "ab"
    assert ACROSS.suspects(pa.array(texts)).nonzero()[0].tolist() == [40, 99]


@unhurried
@given(ROWS.map(lambda rows: ["\n".join(rows[at : at + 3]) for at in range(0, len(rows), 3)] or [""]))
def test_texts_are_their_lines_and_so_are_some_of_them(texts):
    lines = Lines.of(pa.array(texts, pa.string()), SIEVE.flags)
    assert _whole(lines) == texts
    some = np.arange(len(texts)) % 2 == 0
    assert _whole(lines.only(some)) == texts[::2]
    assert lines.only(some).doubtful().tolist() == lines.doubtful()[::2].tolist()


def _whole(lines):
    rows = lines.rows.take(pa.array(lines.row)).to_pylist()
    return ["\n".join(rows[begin:end]) for begin, end in zip(lines.offsets, lines.offsets[1:], strict=False)]


def test_a_malformed_pattern_is_refused():
    with pytest.raises(re2.error):
        Sieve([["("]])
