"""A slice of the fuzzing in every test run, and controls: that the targets can fail."""

import random

import pyarrow.compute as pc
import pytest

from tests.fuzz import targets
from tests.fuzz.mutate import worse
from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import TARGETS

BLOCKS, LINES = 3, 150


@pytest.mark.parametrize("target", TARGETS)
def test_what_mutation_starts_from(target):
    TARGETS[target](b"\n".join(seeds_of(target)))


@pytest.mark.parametrize("target", TARGETS)
def test_a_slice(target):
    draw, seeds = random.Random(f"{target} 8"), seeds_of(target)
    for _ in range(BLOCKS):
        TARGETS[target](b"\n".join(worse(draw, draw.choice(seeds), seeds) for _ in range(LINES)))


class _Marker:
    """Scrubs by adding something, each time again."""

    def scrub(self, texts):
        return pc.binary_join_element_wise(texts, "!", ""), {}


_RUSSIAN = b'{"residency":{"account_country":"RU"}}'
FAULTS = {  # what a target calls, and a mistake in it
    "events": (
        "decode_events",
        lambda of: lambda block, *given: of(block.replace(b'"launches"', b'"lunches"'), *given),
    ),
    "ledger": ("decode_ledger", lambda of: lambda block, *given: of(block.replace(b'"erase"', b'"close"'), *given)),
    "identifiers": ("canonical", lambda of: lambda kind, values: tuple(part[::-1] for part in of(kind, values))),
    "times": ("parse_times", lambda of: lambda values: tuple(part[::-1] for part in of(values))),
    "rejected": ("locate_lines", lambda of: lambda lines, where: of(lines if len(lines) > 1 else [_RUSSIAN], where)),
    "files": ("read_blocks", lambda of: lambda span: list(of(span))[1:]),
    "texts": ("_scrubber", lambda of: _Marker),
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_mistake_is_found(target, monkeypatch):
    name, mistaken = FAULTS[target]
    monkeypatch.setattr(targets, name, mistaken(getattr(targets, name)))
    with pytest.raises(AssertionError):
        TARGETS[target](b"\n".join(seeds_of(target)))
