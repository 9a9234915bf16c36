"""How much the scrubber finds, and what it takes that it should leave: `python -m tests.scrubbing.measure`.

Every kind of value is labelled in its contexts, planted in traces plain, and planted in every disguise that it can
have; texts without anybody in them must stay as they are. `--write` puts the tables into docs/free-text.md, `--misses`
tells what went wrong. The same seed and sizes give the same tables.
"""

import argparse
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import pyarrow as pa

from schemas.markdown import table
from tests.scrubbing.cases import clean_traces, negatives, planted, positives
from tests.scrubbing.disguises import DISGUISES
from tests.scrubbing.judge import lines_lost, remains
from tests.scrubbing.texts import Labelled
from tests.scrubbing.values import KINDS
from transforms.coarse import coarsen
from transforms.scrub import Scrubber

PAGE = Path(__file__).parents[2] / "docs" / "free-text.md"
MEASURED = re.compile(r"(?<=<!-- measured -->\n).*(?=<!-- end of what is measured -->)", re.DOTALL)
LABELLED, PLAIN = "labelled", "plain"
RECALL, RECALL_OF_A_KIND, OVER_SCRUBBED = 0.995, 0.99, 0.01  # what is asked for


@dataclass(frozen=True)
class Sizes:
    """How many texts are made a kind: labelled and alike, planted plain, planted in each disguise."""

    labelled: int = 40
    plain: int = 20
    disguised: int = 8


@dataclass(frozen=True)
class Case:
    """A text, what kind of value is in it or seems to be, and how it was made (`LABELLED`, `PLAIN`, a disguise)."""

    text: Labelled
    kind: str
    how: str


@dataclass(frozen=True)
class Outcome:
    """What became of a case, or of a line of one, and whether it is as it should be."""

    case: Case
    before: str
    after: str
    good: bool


@dataclass(frozen=True)
class Measured:
    """What became of each text with a value, of the text around that, of each text that looks like one with a value,
    and of each line of the clean traces."""

    values: list[Outcome]
    around: list[Outcome]
    alike: list[Outcome]
    clean: list[Outcome]


def share(outcomes: Iterable[Outcome]) -> float:
    """How many of them are good; all of none."""
    good = [outcome.good for outcome in outcomes]
    return sum(good) / len(good) if good else 1.0


def of_kind(outcomes: Iterable[Outcome], kind: str) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.case.kind == kind]


def made_in(outcomes: Iterable[Outcome], ways: Iterable[str]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.case.how in ways]


def with_values(seed: int, sizes: Sizes) -> list[Case]:
    """Texts with values in them. Each kind and way draws from a seed of its own, so that a new one moves no other."""
    cases = []
    for kind in KINDS:
        rng = partial(_rng, seed, kind)
        cases += [Case(text, kind, LABELLED) for text in positives(kind, rng(LABELLED), sizes.labelled)]
        cases += [Case(planted(kind, draw, None), kind, PLAIN) for draw in [rng(PLAIN)] * sizes.plain]
        for how in (name for name, (_, kinds) in DISGUISES.items() if kind in kinds):
            cases += [Case(planted(kind, draw, how), kind, how) for draw in [rng(how)] * sizes.disguised]
    return cases


def alike(seed: int, sizes: Sizes) -> list[Case]:
    """Texts that look as if there were values in them."""
    texts = {kind: negatives(kind, _rng(seed, kind, "alike"), sizes.labelled) for kind in KINDS}
    return [Case(text, kind, "alike") for kind in KINDS for text in texts[kind]]


def _rng(*what: object) -> Random:
    return Random("/".join(map(str, what)))


def measure(seed: int = 1, sizes: Sizes = Sizes(), scrubber: Scrubber | None = None) -> Measured:  # noqa: B008
    """Scrubs all cases and judges what is left of them."""
    scrubbed = partial(_scrubbed, scrubber or Scrubber())
    values = scrubbed(with_values(seed, sizes))
    return Measured(
        values=[Outcome(case, case.text.text, now, not remains(case.text, now)) for case, now in values],
        around=[_whole(case, now) for case, now in values],
        alike=[_whole(case, now) for case, now in scrubbed(alike(seed, sizes))],
        clean=[
            outcome
            for case, now in scrubbed([Case(text, "clean", "clean") for text in clean_traces()])
            for outcome in _by_line(case, now)
        ],
    )


def _scrubbed(scrubber: Scrubber, cases: Sequence[Case]) -> list[tuple[Case, str]]:
    texts = pa.array([case.text.text for case in cases], pa.string())
    return list(zip(cases, coarsen(scrubber.scrub(texts)[0]).to_pylist(), strict=True))


def _whole(case: Case, scrubbed: str) -> Outcome:
    return Outcome(case, case.text.text, scrubbed, not lines_lost(case.text, scrubbed))


def _by_line(case: Case, scrubbed: str) -> list[Outcome]:
    lines, now, lost = case.text.text.split("\n"), scrubbed.split("\n"), lines_lost(case.text, scrubbed)
    now += [""] * (len(lines) - len(now))
    return [Outcome(case, line, now[place], place not in lost) for place, line in enumerate(lines)]


def tables(found: Measured) -> str:
    """What was measured, in Markdown."""
    disguised = [outcome for outcome in found.values if outcome.case.how in DISGUISES]
    by_kind = [
        [
            kind.replace("_", " "),
            *map(_count, (made_in(mine, [LABELLED]), made_in(mine, [PLAIN]), made_in(mine, DISGUISES))),
            _percent(share(mine)),
            _count(of_kind(found.alike, kind)),
        ]
        for kind in KINDS
        for mine in [of_kind(found.values, kind)]
    ]
    by_disguise = [
        [f"`{how}`", _count(mine), _percent(share(mine))] for how in DISGUISES for mine in [made_in(disguised, [how])]
    ]
    sums = [
        ["values that are gone", _count(found.values), _percent(share(found.values)), f"{RECALL:.1%}"],
        ["the same, of the kind that is found least", "", _percent(worst(found)), f"{RECALL_OF_A_KIND:.0%}"],
        [
            "lines of clean traces that kept every word",
            _count(found.clean),
            _percent(share(found.clean)),
            f"{1 - OVER_SCRUBBED:.0%}",
        ],
        [
            "look-alikes that kept every word",
            _count(found.alike),
            _percent(share(found.alike)),
            f"{1 - OVER_SCRUBBED:.0%}",
        ],
        ["texts that lost nothing but the value", _count(found.around), _percent(share(found.around)), ""],
    ]
    return "\n\n".join(
        (
            table(["measured", "of", "share", "asked for, at least"], sums),
            table(["value", "labelled", "in traces", "disguised", "recall", "look-alikes left"], by_kind),
            table(["disguise", "found", "recall"], by_disguise),
        )
    )


def worst(found: Measured) -> float:
    """The recall of the kind that is found least."""
    return min(share(of_kind(found.values, kind)) for kind in KINDS)


def _count(outcomes: Sequence[Outcome]) -> str:
    return f"{sum(outcome.good for outcome in outcomes):,} of {len(outcomes):,}" if outcomes else "–"


def _percent(value: float) -> str:
    return f"{value:.1%}" if value < 1 else "100%"


def faults(found: Measured) -> str:
    """Everything that went wrong, a text before and after: for who mends the scrubber."""
    of = {"missed": found.values, "lost beside a value": found.around, "lost": found.alike, "lost, clean": found.clean}
    return "\n".join(
        f"{what}: {outcome.case.kind}, {outcome.case.how}\n- {outcome.before!r}\n+ {outcome.after!r}"
        for what, outcomes in of.items()
        for outcome in outcomes
        if not outcome.good
    )


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="tests.scrubbing.measure", description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(%(default)s)")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="as many cases (%(default)s)")
    parser.add_argument("--misses", action="store_true", help="tell each text that is not as it should be")
    parser.add_argument("--write", action="store_true", help=f"write the tables of {PAGE.name}")
    given = parser.parse_args(argv)
    found = measure(given.seed, Sizes(*(given.times * size for size in vars(Sizes()).values())))
    if given.write:
        PAGE.write_text(
            MEASURED.sub(lambda _: f"\n{tables(found)}\n\n", PAGE.read_text(encoding="utf-8")), encoding="utf-8"
        )
    if given.misses:
        print(faults(found))
    print(tables(found))


if __name__ == "__main__":
    main()
