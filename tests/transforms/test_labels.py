import unicodedata

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import few, label_columns
from transforms.labels import Labels


class Scrub:
    """Stands in for a `Scrubber`: takes `secret` out of words, and remembers what it was shown."""

    def __init__(self):
        self.shown = []

    def scrub(self, values):
        self.shown += values.to_pylist()
        return pc.replace_substring(values, "secret", "<SECRET>"), {}


def decoded(codes, words):
    assert codes.dtype == np.int32
    return [None if code < 0 else words[code].as_py() for code in codes.tolist()]


def is_label(word):
    """Letters, digits and a little punctuation, beginning with a letter or digit, 128 characters at most."""
    kinds = [unicodedata.category(character)[0] for character in word]
    fits = all(kind in "LMN" or char in " ._:/+()-" for kind, char in zip(kinds, word, strict=True))
    return 0 < len(word) <= 128 and kinds[0] in "LN" and fits


# RE2 and Python know different editions of Unicode: characters that one of them has not assigned are left aside.
characters = st.characters(codec="utf-8", exclude_categories=["Cn", "Co"], max_codepoint=0x2FFF)


@few
@given(st.lists(st.none() | st.text(characters, max_size=6) | st.text("aé. ", min_size=126, max_size=130)))
def test_a_word_is_kept_if_its_characters_are_those_of_names_and_versions(values):
    codes, words, malformed = Labels(Scrub()).clean(pa.array(values, pa.string()))
    assert decoded(codes, words) == [value if value is not None and is_label(value) else None for value in values]
    assert malformed == sum(value is not None and not is_label(value) for value in values)


@pytest.mark.parametrize(
    "word", ["", " a", "a@b", "a\n", "a\0b", 'a"', "a'b", "<a>", "-a", "a" * 129, "a\u202eb", "{a}"]
)
def test_a_malformed_word_becomes_null_and_its_neighbours_stay(word):
    codes, words, malformed = Labels(Scrub()).clean(pa.array(["x", word, None, "y", word]))
    assert decoded(codes, words) == ["x", None, None, "y", None]
    assert malformed == 2
    assert word not in words.to_pylist()


@pytest.mark.clause("1.1.1")
def test_identifiers_are_scrubbed_out_of_words():
    codes, words, malformed = Labels(Scrub()).clean(pa.array(["model secret", "model", "secret"]))
    assert decoded(codes, words) == ["model <SECRET>", "model", "<SECRET>"]
    assert malformed == 0


@few
@given(st.lists(label_columns, max_size=3))
def test_what_came_before_changes_nothing(columns):
    labels = Labels(Scrub())
    for column in columns:
        codes, words, malformed = labels.clean(column)
        fresh_codes, fresh_words, fresh_malformed = Labels(Scrub()).clean(column)
        assert decoded(codes, words) == decoded(fresh_codes, fresh_words)
        assert malformed == fresh_malformed
        assert set(words.to_pylist()) <= set(column.to_pylist())  # no word of another column


def test_each_distinct_word_is_looked_at_once():
    scrub = Scrub()
    labels = Labels(scrub)
    for _ in range(3):
        labels.clean(pa.array(["one", "two", None, "one"]))
    assert scrub.shown == ["one", "two"]


def test_a_flood_of_words_is_forgotten_and_answers_stay_right():
    labels = Labels(Scrub())
    labels.clean(pa.array(["first", "@second"]))
    for start in range(0, 250_000, 50_000):
        flood = pc.binary_join_element_wise("flood", pa.array(np.arange(start, start + 50_000)).cast(pa.string()), "-")
        codes, words, malformed = labels.clean(flood)
        assert words.take(pa.array(codes)).equals(flood) and malformed == 0
    codes, words, malformed = labels.clean(pa.array(["first", "@second"]))
    assert decoded(codes, words) == ["first", None] and malformed == 1


@pytest.mark.parametrize("values", [[], [None, None], ["@"]])
def test_a_column_without_words(values):
    codes, words, _ = Labels(Scrub()).clean(pa.array(values, pa.string()))
    assert decoded(codes, words) == [None] * len(values) and len(words) == 0
