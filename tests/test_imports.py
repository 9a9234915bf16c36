"""Which module may import which, and what the command line may not wait for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.__main__ import COMMANDS

ROOT = Path(__file__).parent.parent
LAYERS = ("schemas", "transforms", "pipelines")  # each may import itself and what stands before it
LARGE = ("apache_beam", "phonenumbers", "numpy", "pyarrow", "pydantic", "yaml", "cryptography")
WITH_ARROW = {"numpy", "pyarrow", "pydantic", "yaml", "cryptography"}
OF_ARROW = {"audit", "check", "ingest", "read", "sample", "scrub"}  # commands whose options, too, are told by these
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
def test_help_waits_for_nothing_large(arguments):
    script = (
        "import sys\n"
        "from pipelines.__main__ import main\n"
        "try:\n"
        "    status = main(sys.argv[1:])\n"
        "except SystemExit as end:\n"
        "    status = end.code or 0\n"
        f"print(*(name for name in {LARGE} if name in sys.modules), status, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=True
    )
    *loaded, status = done.stderr.split()
    assert status == "0" and not set(loaded) - (WITH_ARROW if arguments[0] in OF_ARROW else set())
    assert "usage: douane" in done.stdout


def test_scrubbing_waits_for_what_it_needs_alone():
    """Neither for policies nor for keys; and for the numbers of the world not before something looks like one."""
    script = (
        "import sys\n"
        "from pipelines import scrub\n"
        "from transforms import disguises\n"
        "assert scrub.main(['-']) == 0\n"
        "assert not disguises._stand_for.cache_info().currsize\n"
        f"print(*(name for name in {LARGE} if name in sys.modules), file=sys.stderr)\n"
    )
    line = "mail to a.b@mail.example.org from 192.0.2.17\n"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, input=line, capture_output=True, text=True, timeout=300, check=True
    )
    assert done.stderr.split() == ["numpy", "pyarrow"] and done.stdout == "mail to <EMAIL> from <IP>\n"
