"""The command line: one line for what is wrong, an exit status that says which kind, and a quick `--help`."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import __main__ as douane
from pipelines.__main__ import COMMANDS
from pipelines.command import guarded, parser
from pipelines.errors import ConfigurationError, InputError
from schemas.findings import PackError
from tests.stranger import command
from transforms.keyring import KeyUnavailable


def test_without_a_command():
    told, asked = command(douane), command(douane, "--help")
    assert (told.status, asked.status) == (2, 0)
    assert told.out == asked.out
    assert all(f"  {name} " in asked.out for name in douane.COMMANDS)


def test_a_misspelt_command():
    near, far = command(douane, "ingset"), command(douane, "zzz")
    assert (near.status, near.out, near.err) == (2, "", "douane: no command 'ingset'; did you mean 'ingest'?\n")
    assert (far.status, far.err) == (2, f"douane: no command 'zzz'; commands: {', '.join(COMMANDS)}\n")


@pytest.mark.parametrize("name", douane.COMMANDS)
def test_help_of_every_command(name):
    outcome = command(douane, name, "--help")
    assert outcome.status == 0
    assert outcome.out.startswith(f"usage: douane {name} ")
    assert outcome.err == ""


@pytest.mark.parametrize("arguments", [["-m", "pipelines"], ["-m", "pipelines.ingest"], ["-m", "pipelines.read"]])
def test_help_is_quick_and_each_command_is_a_module(arguments):
    """Importing Beam takes most of a second, so no way to `--help` may do it."""
    given = [sys.executable, "-X", "importtime", *arguments, "--help"]
    ran = subprocess.run(given, capture_output=True, text=True, cwd=Path(douane.__file__).parents[1])
    assert ran.returncode == 0
    assert ran.stdout.startswith("usage: douane")
    assert "apache_beam" not in ran.stderr


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigurationError("say what to do"), 2),
        (PackError("say what to do"), 2),
        (KeyUnavailable("say what to do"), 2),
        (InputError("say what to do"), 4),
    ],
)
def test_known_errors_are_one_line_and_a_status(capsys, error, status):
    def fail():
        raise error

    assert guarded("ingest", fail) == status
    assert capsys.readouterr() == ("", "douane ingest: say what to do\n")


@pytest.mark.clause("1.1-a")
def test_of_what_was_not_foreseen_the_place_is_told_and_not_the_message(capsys):
    """A library may quote what it was given."""

    def fail():
        command(douane, "--help")
        raise type("Odd", (ValueError,), {})("4f1d-canary") from KeyError("4f1d-canary")

    assert guarded("ingest", fail) == 1
    out, err = capsys.readouterr()
    assert out == "" and "4f1d" not in err
    assert err.startswith("douane ingest: failed: Odd at tests/pipelines/test_command.py:") and err.count("\n") == 1
    assert " in fail; its message is not shown" in err


def test_what_the_system_says_is_told(capsys):
    def fail():
        raise OSError(errno.EIO, "4f1d-canary")

    assert guarded("ingest", fail) == 1
    assert "OSError, Input/output error, at " in (err := capsys.readouterr().err) and "4f1d" not in err


def test_an_interruption_is_one_line(capsys):
    def fail():
        raise KeyboardInterrupt

    assert guarded("ingest", fail) == 130
    assert capsys.readouterr() == ("", "douane ingest: interrupted\n")


@pytest.mark.parametrize("status", [0, 3])
def test_a_status_passes_through(status):
    assert guarded("ingest", lambda: status) == status


def test_no_flag_is_guessed_from_its_beginning():
    strict = parser("read", "what it does")
    strict.add_argument("--deployment")
    with pytest.raises(SystemExit) as ended:
        strict.parse_args(["--deploy", "x"])
    assert ended.value.code == 2
