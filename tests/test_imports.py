"""Which module may import which, and what the command line may not wait for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
LAYERS = ("schemas", "transforms", "pipelines")  # each may import itself and what stands before it
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The modules that a file imports anywhere in it, by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: imports are absolute"
            found.add(node.module)
    return found


def test_there_is_something_to_look_at():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(LAYERS)
    assert "transforms.seal" in imported(ROOT / "transforms" / "border.py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    layer = LAYERS.index(path.relative_to(ROOT).parts[0])
    forbidden = {*LAYERS[layer + 1 :], "tests", "benchmarks"}
    assert not {name for name in imported(path) if name.partition(".")[0] in forbidden}


@pytest.mark.parametrize("path", [p for p in MODULES if "schemas" in p.parts], ids=lambda path: path.name)
def test_what_data_is_does_not_depend_on_how_it_is_run(path):
    assert not {name for name in imported(path) if name.partition(".")[0] == "apache_beam"}


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)], ids=" ".join)
def test_help_does_not_wait_for_beam(arguments):
    script = (
        "import sys\n"
        "from pipelines.__main__ import main\n"
        "try:\n"
        "    status = main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    status = end.code or 0\n"
        "print('beam' if 'apache_beam' in sys.modules else 'none', status, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.split() == ["none", "0"]
    assert "usage: douane" in done.stdout
