"""What every reader of JSON must take and must refuse, as it is said of readers in general, and our verdict on each."""

from collections import Counter

import pytest

from tests.transforms.json_cases import cases, spelt, verdict

pytestmark = pytest.mark.clause("1.1-a")
CASES = cases()
# What is refused although it is JSON: a key that is said twice, and U+0000. An LF ends a line wherever it stands.
ON_PURPOSE = {"duplicate_key", "nul_character"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.must}-{case.group}-{case.text[:30]}")
def test_our_verdict(case):
    text = spelt(case.text)
    assert verdict(b'{"x":' + text + b"}") == case.as_value
    assert verdict(text) == case.as_line


def test_what_must_be_refused_is_refused_and_what_must_be_taken_is_taken():
    for case in CASES:
        as_value, as_line = case.as_value.split("+"), case.as_line.split("+")
        if case.must == "n":
            assert "good" not in as_value + as_line, case
        if case.must == "y" and b"\n" not in spelt(case.text):
            assert as_value == ["good"] or as_value[0] in ON_PURPOSE, case
            assert as_line[0] in {"good", "not_an_object", *ON_PURPOSE}, case


def test_there_are_enough_of_each():
    assert Counter(case.must for case in CASES) == {"y": 197, "n": 426, "i": 63}
    assert len({case.text for case in CASES}) == len(CASES)
