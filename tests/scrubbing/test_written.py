"""What is reached on lines written by hand is not lost again."""

import pytest

from tests.scrubbing.texts import Labelled, Part, Role
from tests.scrubbing.written import NAMES, Outcome, judged, over_scrubbed, recall, written

REACHED = {"first": 0.95, "second": 0.95, "third": 0.92}
LEAST = {"first": (350, 200), "second": (350, 200), "third": (290, 120)}  # values, and texts without one
OVER_SCRUBBED = 0.01  # what is asked for, at most


@pytest.mark.clause("1.1.1")
@pytest.mark.parametrize("name", NAMES)
def test_what_is_reached_on_a_corpus_is_held(name):
    outcomes = judged(name)
    assert recall(outcomes) >= REACHED[name] and over_scrubbed(outcomes) <= OVER_SCRUBBED


@pytest.mark.parametrize("name", NAMES)
def test_a_corpus_is_large_and_its_texts_differ(name):
    texts = written(name)
    assert len({text.text for text in texts}) == len(texts)
    values, clean = LEAST[name]
    assert sum(len(text.secrets) for text in texts) >= values and sum(not text.secrets for text in texts) >= clean


def test_shares_count_values_and_clean_texts():
    kept, secret = Part(Role.KEPT, "x "), Part(Role.SECRET, "jansen", "name")
    with_values = Labelled((kept, secret, secret), ("jansen",) * 2)
    outcomes = [Outcome(with_values, "x", (secret,), True), Outcome(Labelled((kept,)), "x", (), False)]
    outcomes += [Outcome(Labelled((kept,)), "", (), True)]
    assert recall(outcomes) == 0.5 and over_scrubbed(outcomes) == 0.5
