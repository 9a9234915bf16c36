import pyarrow as pa
import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import unhurried
from transforms.sieve import Sieve, joined, starts

PATTERNS = [r"\bab\b", "[0-9]{3}", "^x", "y$", "é", "a.c", *(f"q{number}z" for number in range(20))]
SIEVE = Sieve(PATTERNS, across=[r"p\nq"])
ROWS = st.lists(
    st.lists(st.sampled_from(["ab", "a", "c", " ", "1", "22", "x", "y", "é", "q7z", "q19z", "="]), max_size=6).map(
        "".join
    ),
    max_size=80,
)


@unhurried
@given(ROWS)
def test_no_pattern_occurs_where_there_is_no_flag(rows):
    flags = SIEVE.flags(pa.array(rows, pa.string()))
    assert flags.shape == (len(PATTERNS), len(rows))
    for pattern, flagged in zip(PATTERNS, flags, strict=True):
        assert not [row for row, flag in zip(rows, flagged, strict=True) if not flag and re2.search(pattern, row)]


def test_rows_that_do_not_look_alike_are_flagged_apart():
    flags = SIEVE.flags(pa.array(["ab"] * 200 + ["=123"] + ["-"] * 200))
    assert flags[0].sum() < 210 and flags[1].sum() < 10 and not flags[2].any()


@unhurried
@given(ROWS)
def test_suspects_are_all_texts_with_something_in_them(texts):
    suspects = SIEVE.suspects(pa.array(texts, pa.string()))
    found = [any(re2.search(pattern, text) for pattern in PATTERNS) for text in texts]
    assert not [text for text, suspect, hit in zip(texts, suspects, found, strict=True) if hit and not suspect]


@pytest.mark.parametrize(("texts", "suspects"), [(["p\nq"], [True]), (["p", "q"], [False, False]), ([], [])])
def test_what_reaches_over_a_line_does_not_reach_over_a_text(texts, suspects):
    assert SIEVE.suspects(pa.array(texts, pa.string())).tolist() == suspects


def test_a_few_suspects_are_told_from_the_rest():
    texts = ["-"] * 100
    texts[40] = texts[99] = "ab"
    assert SIEVE.suspects(pa.array(texts)).nonzero()[0].tolist() == [40, 99]


def test_a_malformed_pattern_is_refused():
    with pytest.raises(re2.error):
        Sieve(["("])


def test_where_texts_begin_in_what_is_joined():
    texts = pa.array(["a", "", "éé"])
    assert bytes(joined(texts)) == "a\n\néé".encode() and starts(texts).tolist() == [0, 2, 3]
