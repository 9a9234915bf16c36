"""Coverage: for each clause the rules of a pack that cite it, the code that holds it, and the tests that prove it.

Tests say what they prove by `@pytest.mark.clause("id")`. They are read, not imported.
"""

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.clauses import Clause, clauses
from schemas.findings import Finding
from schemas.held_by_code import HeldByCode
from schemas.pack_files import Sources
from schemas.policy import Pack
from schemas.yaml_files import Place

TESTS = Path(__file__).parents[1] / "tests"  # in a checkout; an installed package has none
_NO_RULES = ("held_by_code", "not_yet")


@dataclass(frozen=True)
class Cited:
    """One mention of a clause: by a part of the pack, or by a test. `at` is its file and line."""

    clause: str
    what: str
    at: str


@dataclass(frozen=True)
class Covered:
    """What there is for one clause."""

    clause: Clause
    rules: tuple[Cited, ...]
    held: tuple[HeldByCode, ...]
    tests: tuple[Cited, ...]
    not_yet: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return {
            "clause": self.clause.id,
            "section": self.clause.section,
            "about": self.clause.about,
            "duty": self.clause.duty,
            "rules": [{"place": rule.what, "at": rule.at} for rule in self.rules],
            "held_by_code": [{"module": held.module, "how": held.how} for held in self.held],
            "tests": [test.what for test in self.tests],
            "not_yet": list(self.not_yet),
        }


def mentions(sources: Sources) -> tuple[Cited, ...]:
    """Every part of a pack that names a clause, in the order of its files."""
    return tuple(
        Cited(clause, ".".join(map(str, place)), sources.at.get((*place, "clause"), ""))
        for place, clause in _naming(sources.content, ())
    )


def _naming(part: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(part, dict):
        if "clause" in part:
            yield place, str(part["clause"])
        for key, inner in part.items():
            yield from _naming(inner, (*place, key))
    elif isinstance(part, list):
        for index, inner in enumerate(part):
            yield from _naming(inner, (*place, index))


def markers(folder: Path = TESTS) -> tuple[Cited, ...] | None:
    """Every clause that a test under the folder is marked with, once for each test; None where there is no folder. Of a
    marker whose clause is computed it is empty: that is known to who runs the test, and not to who reads it."""
    if not folder.is_dir():
        return None
    found = []
    for file in sorted(folder.rglob("*.py")):
        name = str(file.relative_to(folder.parent))
        for test, call in _markers(ast.parse(file.read_text(encoding="utf-8")), name):
            words = [str(arg.value) if isinstance(arg, ast.Constant) else "" for arg in call.args]
            found += [Cited(word, test, f"{name}:{call.lineno}") for word in words]
    return tuple(found)


def _markers(node: ast.AST, name: str) -> Iterator[tuple[str, ast.Call]]:
    """Each `mark.clause(...)` below a node, with the test, class or file that it stands on."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call) and ast.unparse(child.func).endswith("mark.clause"):
            yield name, child
        own = isinstance(child, ast.FunctionDef | ast.ClassDef)
        yield from _markers(child, f"{name}::{child.name}" if own else name)


def coverage(
    pack: Pack, cited: Sequence[Cited], proven: Sequence[Cited] | None
) -> tuple[tuple[Covered, ...], list[Finding]]:
    """What there is for each clause of the list, in its order, and what is wrong with that. `cited` is what `mentions`
    gives, `proven` what `markers` gives."""
    ruling = [rule for rule in cited if rule.what.partition(".")[0] not in _NO_RULES]
    found = tuple(
        Covered(
            clause,
            tuple(rule for rule in ruling if rule.clause == clause.id),
            tuple(held for held in pack.held_by_code if held.clause == clause.id),
            tuple(test for test in proven or () if test.clause == clause.id),
            tuple(missing.what for missing in pack.not_yet if missing.clause == clause.id),
        )
        for clause in clauses().values()
    )
    bare = _uncovered(found) if proven is not None else ()
    return found, [*bare, *_unknown((*cited, *(proven or ())))]


def _uncovered(found: Sequence[Covered]) -> Iterator[Finding]:
    for each in found:
        if not (each.rules or each.held or each.tests or each.not_yet):
            remedy = "write a rule for it, name the module that holds it, or say under not_yet what is missing"
            yield Finding("coverage", (), each.clause.id, f"nothing holds it ({each.clause.duty})", remedy)


def _unknown(mentions: Sequence[Cited]) -> Iterator[Finding]:
    for mention in mentions:
        if mention.clause and mention.clause not in clauses():
            message = f"{mention.what} cites a clause that is not in the list"
            remedy = "correct its id, or add it to schemas/clauses.yaml"
            yield Finding("coverage", (), mention.clause, message, remedy, mention.at)
