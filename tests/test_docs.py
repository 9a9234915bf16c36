"""What the documents say is shown by a test must be a test that is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
_NAMED = re.compile(r"`(tests/[\w/]+\.py)(?:::([\w:]+))?`")


def documents():
    return sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def names_in(path: Path) -> set[str]:
    """Functions of a file, those of a class as `Class::function`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return found


@pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_test_that_a_document_names_is_there(document):
    missing = []
    for file, name in _NAMED.findall(document.read_text()):
        path = ROOT / file
        if not path.exists() or (name and name not in names_in(path)):
            missing.append(f"{file}::{name}")
    assert not missing


def test_the_table_of_consent_names_tests():
    assert len(_NAMED.findall((ROOT / "docs/consent.md").read_text())) > 30
