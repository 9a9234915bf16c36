"""The reference page of recognisers: what is found in free text, what takes its place, and under which clause."""

from schemas.markdown import code, joined, table
from schemas.recognisers import RECOGNISERS, Recogniser

_MADE = "Written by `make reference` from `schemas/recognisers.py`; do not edit."


def recognisers_page() -> str:
    """The text of the page."""
    head = ("recogniser", "becomes", "clause", "finds, for example", "leaves, for example", "judged by")
    return joined(
        (
            "# Recognisers",
            _MADE,
            "What is found in free text, in this order, and the tag that takes its place. An example is changed by its "
            "recogniser, a counter-example by none. [Free text](../free-text.md) tells what stays, what is made coarse "
            "and what is not found, and what was measured. Values are test numbers and reserved names.",
            table(head, map(_row, RECOGNISERS)),
        )
    )


def _row(recogniser: Recogniser) -> tuple[str, ...]:
    return (
        recogniser.name,
        code(f"<{recogniser.tag}>"),
        recogniser.clause,
        _line(recogniser.example),
        _line(recogniser.counter_example),
        recogniser.validator or "",
    )


def _line(text: str) -> str:
    return code(text.replace("\n", "⏎").replace("`", "'"))
