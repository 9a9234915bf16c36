"""The reference page of clauses: each duty, the rules of the pack for it, the module that holds it, what is missing."""

from itertools import groupby

from schemas.coverage import Covered, coverage, mentions
from schemas.markdown import code, joined, table
from schemas.pack_files import Sources
from schemas.policy import Pack


def clauses_page(pack: Pack, made: str) -> str:
    """The text of the page; `made` says how it was made."""
    rows, _ = coverage(pack, mentions(Sources(pack.model_dump(mode="json"))), None)
    parts = [
        "# Clauses",
        made,
        "What the privacy policy asks for, in our words, and where it is held: by a rule of the pack, or by the code. "
        "`douane check --coverage` names the tests of each as well. A duty *of the organisation* is about how a "
        "company works, which a pipeline cannot keep alone.",
    ]
    for section, of in groupby(rows, lambda row: row.clause.section):
        head = ("clause", "duty", "rules of the pack", "held by code", "not built yet")
        parts += [f"## {section}", table(head, map(_row, of))]
    return joined(parts)


def _row(covered: Covered) -> tuple[str, ...]:
    clause = covered.clause
    return (
        clause.id,
        clause.duty + (" *(of the organisation)*" if clause.about == "organisation" else ""),
        ", ".join(code(rule.what) for rule in covered.rules),
        "; ".join(f"{code(held.module)}: {held.how}" for held in covered.held),
        "; ".join(covered.not_yet),
    )
