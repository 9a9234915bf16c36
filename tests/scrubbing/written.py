"""Lines written by hand in the manner of many programs: how the scrubber does on what no formula made.

A corpus has one text a line, in the signs of `texts`: the value in «kind|value» has to go, and a text without one has
to keep its words. ⏎ and ⇥ stand for the end of a line and a tab. `python -m tests.scrubbing.written NAME` tells faults.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from tests.scrubbing.judge import lines_lost, remains
from tests.scrubbing.texts import CORPORA, Labelled, Part, Role, parse
from transforms.coarse import coarsen
from transforms.scrub import Scrubber

NAMES = ("first", "second", "third")
_SIGNS = str.maketrans("⏎⇥", "\n\t")


@dataclass(frozen=True)
class Outcome:
    """A text, what it was scrubbed to, which of its values can still be read, and whether it lost a word."""

    text: Labelled
    scrubbed: str
    left: tuple[Part, ...]
    lost: bool

    @property
    def values(self) -> list[Part]:
        return [part for part in self.text.parts if part.role is Role.SECRET]


def written(name: str) -> list[Labelled]:
    """The texts of a corpus; a part that has to go knows its kind."""
    lines = (CORPORA / f"written_{name}.txt").read_text(encoding="utf-8").splitlines()
    return [_labelled(line.translate(_SIGNS)) for line in lines]


def _labelled(line: str) -> Labelled:
    parts = tuple(replace(part, role=Role.SECRET) if part.role is Role.PLACE else part for part in parse(line))
    return Labelled(parts, tuple(part.text for part in parts if part.role is Role.SECRET))


def judged(name: str) -> list[Outcome]:
    """Scrubs a corpus as the job does, and judges each value apart."""
    texts = written(name)
    column = pa.array([text.text for text in texts], pa.string())
    return [_outcome(*each) for each in zip(texts, coarsen(Scrubber().scrub(column)[0]).to_pylist(), strict=True)]


def _outcome(text: Labelled, scrubbed: str) -> Outcome:
    secret = [part for part in text.parts if part.role is Role.SECRET]
    left = tuple(part for part in secret if remains(replace(text, secrets=(part.text,)), scrubbed))
    return Outcome(text, scrubbed, left, bool(lines_lost(text, scrubbed)))


def recall(outcomes: Sequence[Outcome]) -> float:
    """The share of the values that are gone."""
    return 1 - sum(len(each.left) for each in outcomes) / sum(len(each.values) for each in outcomes)


def over_scrubbed(outcomes: Sequence[Outcome]) -> float:
    """The share of the texts without a value that lost a word."""
    clean = [each.lost for each in outcomes if not each.values]
    return sum(clean) / len(clean)


def main(name: str) -> None:
    outcomes = judged(name)
    for each in outcomes:
        if each.left or each.lost:
            fault = ", ".join(f"{part.kind} {part.text!r}" for part in each.left) or "lost"
            print(f"{fault}\n- {each.text.text!r}\n+ {each.scrubbed!r}")
    print(f"{name}: recall {recall(outcomes):.1%}, over-scrubbed {over_scrubbed(outcomes):.1%}")


if __name__ == "__main__":
    main(*sys.argv[1:])
