"""What is checked of a policy pack as a whole: each rule finds its faults, and says what to change."""

from collections.abc import Callable, Iterator
from datetime import date

from schemas.findings import Finding
from schemas.held_by_code import without_module
from schemas.policy import Pack

Rule = Callable[[Pack, date], Iterator[Finding]]
RULES: tuple[Rule, ...] = (without_module,)


def findings(pack: Pack, today: date) -> Iterator[Finding]:
    """Everything that is wrong with a pack on a day."""
    for rule in RULES:
        yield from rule(pack, today)
