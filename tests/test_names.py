"""No rule of the shipped pack is in the code: none of its regions and purposes is named there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.pack_files import load_pack

pytestmark = pytest.mark.clause("0-b")

ROOT = Path(__file__).parent.parent
PACK = load_pack()

# Names that are words of ordinary sentences, too: they are looked for as whole literals alone.
ENGLISH = {"in", "us", "service", "activation", "security", "support", "legal", "push", "promotion", "research"}
ENGLISH |= {"statistics"}
# Words of the code that are also names in the shipped pack, and what they mean there.
ALLOWED = {
    "schemas/fields.py": {
        "service": "a field of an event",
        "activation": "an event type",
        "promotion": "a word of push_interaction.notice",
    },
    "schemas/clauses.yaml": {"cn": "the id of a clause", "ru": "the id of a clause"},
    "schemas/difference.py": {"service": "a field of an event"},
    "schemas/difference_of_sections.py": {"statistics": "the pack's section of that name"},
    "schemas/in_force.py": {"service": "a field of an event"},
    "schemas/layout.py": {"service": "a field of an event"},
    "schemas/policy.py": {"statistics": "a folder of a region's store"},
    "schemas/statistics.py": {"statistics": "the pack's section of that name"},
    "transforms/statistics.py": {"statistics": "a step of the counts"},
    "transforms/tallies.py": {"statistics": "a step of the counts"},
    "transforms/reconcile.py": {"statistics": "a step of the counts"},
    "pipelines/statistics_store.py": {"statistics": "a step of the counts"},
    "pipelines/checked.py": {"service": "a field of an event"},
    "pipelines/digest.py": {"statistics": "a step of the counts"},
    "pipelines/profile.py": {"statistics": "a step of the run"},
    "pipelines/statistics.py": {"statistics": "the command"},
    "pipelines/__main__.py": {"statistics": "the command"},
    "pipelines/deployment.py": {"statistics": "a folder of a region's store"},
    "pipelines/sampling/events.py": {"service": "a field of an event", "activation": "an event type"},
    "pipelines/sampling/payloads.py": {"activation": "an event type"},
    "pipelines/sampling/histories.py": dict.fromkeys(
        ("user_experience", "operations", "device_performance", "statistics", "personalisation", "personalised_ads")
        + ("location_services", "find_device", "promotion", "push", "research", "security"),
        "a sample's people hold consents of the shipped pack",
    ),
}


def words_of(path: Path) -> Iterator[str]:
    """What a file of ours names: the literals of Python, whole, and their words as far as they are not plain English;
    the keys and values of YAML; what a template has in quotation marks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".j2":
        yield from re.findall(r"""["']([a-z_]+)["']""", text)
        return
    for literal in _literals(text) if path.suffix == ".py" else _leaves(yaml.safe_load(text)):
        yield literal
        yield from set(re.findall(r"\b[a-z_]+\b", literal)) - ENGLISH


def _literals(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef)
    described = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, owners)}
    literals = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return (value for value in literals if isinstance(value, str) and value not in described)


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield str(value)


def ours() -> list[Path]:
    files = (path for layer in ("schemas", "transforms", "pipelines") for path in (ROOT / layer).rglob("*"))
    packs = ROOT / "schemas" / "packs"
    return sorted(
        p for p in files if p.suffix in (".py", ".yaml", ".yml", ".j2") and packs not in p.parents and p.is_file()
    )


def test_no_name_of_the_shipped_pack_is_in_the_code():
    names = {*PACK.regions, *PACK.purposes}
    found = {str(path.relative_to(ROOT)): names & set(words_of(path)) for path in ours()}
    assert {file: words for file, words in found.items() if words} == {file: set(of) for file, of in ALLOWED.items()}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "x = {'eu': 1}"),
        ("a.py", "def f(x):\n    return f'--dataset operations --of {x} in eu'"),
        ("a.yaml", "google: {eu: [x]}"),
        ("a.yaml", "a: [b, eu]"),
        ("a.j2", '{{ x["eu"] }}'),
    ],
)
def test_that_search_finds_a_name_where_it_may_stand(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert "eu" in set(words_of(tmp_path / name))


def test_that_search_looks_at_every_file_and_not_at_what_is_said_of_it(tmp_path):
    assert len(ours()) > 120 and {path.suffix for path in ours()} == {".py", ".yaml", ".j2"}
    (tmp_path / "a.py").write_text('"""Such as eu."""\n\n\ndef f():\n    """Of operations in eu."""\n    return "in x"')
    assert not {"eu", "operations", "in"} & set(words_of(tmp_path / "a.py"))
