"""`douane scrub`: as many lines out as in, as they come, and never a value where something is only told of."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import scrub
from schemas.recognisers import RECOGNISERS

ROOT = Path(__file__).parents[2]
LOG = """Wifi: associated with 00:00:5e:00:53:af, ip=192.0.2.17
java.lang.IllegalStateException: no account for a.b@mail.example.org, imei=490154203237518
    at com.example.app.Sync.run(Sync.java:88)
"""
CLEAN = """Wifi: associated with <MAC>, ip=<IP>
java.lang.IllegalStateException: no account for <EMAIL>, imei=<DEVICE_ID>
    at com.example.app.Sync.run(Sync.java:88)
"""
VALUES = ("00:00:5e", "192.0.2", "a.b@", "mail.example", "490154203237518")
COMMAND = [sys.executable, "-m", "pipelines", "scrub"]


@pytest.fixture
def run(tmp_path, capfdbinary):
    """Runs the command over a file with these bytes: (status, out, err)."""

    def run(content: bytes, *flags: str) -> tuple[int, bytes, str]:
        path = tmp_path / "text"
        path.write_bytes(content)
        status = scrub.main([*flags, str(path)])
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return run


def test_a_log_without_what_identifies_somebody(run):
    assert run(LOG.encode()) == (0, CLEAN.encode(), "")


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"x", b"x\n", b"\r\n\r\n", b"a@b.org\n\n\na@b.org", b"\x0b\x0c\x1c\x85\n"]
)
def test_lines_end_where_they_ended(run, content):
    _, out, _ = run(content)
    assert out.count(b"\n") == content.count(b"\n") and out.endswith(b"\n") == content.endswith(b"\n")
    assert out.count(b"<EMAIL>") == content.count(b"a@b.org")


def test_each_find_is_told_with_its_line_and_clause_and_no_value(run):
    status, out, err = run(b"clean\n" + LOG.encode() + b"x " * 600_000, "--explain", "--counts")
    told = [line.split("\t") for line in out.decode().splitlines()]
    clause = {each.name: each.clause for each in RECOGNISERS}
    assert status == 0 and told == [
        ["line", "recogniser", "tag", "count", "clause"],
        ["2", "ipv4", "<IP>", "1", clause["ipv4"]],
        ["2", "mac", "<MAC>", "1", clause["mac"]],
        ["3", "device_number", "<DEVICE_ID>", "1", clause["device_id"]],
        ["3", "email", "<EMAIL>", "1", clause["email"]],
        ["5", "cut", "", "1", "1.1.1"],
    ]
    assert set(err.removeprefix("douane: ").strip().split(", ")) == {
        *("ipv4 1", "mac 1", "device_number 1", "email 1", "cut 1")
    }
    assert not any(value in out.decode() + err for value in VALUES)


def test_what_is_found_twice_in_a_line_is_one_row(run):
    _, out, _ = run(b"a@b.org c@d.org\n", "--explain")
    assert out.splitlines()[1:] == [b"1\temail\t<EMAIL>\t2\t1.1.1"]


def test_what_is_no_utf8_is_replaced_and_that_is_said(run):
    status, out, err = run(b"caf\xe9 a@b.org\nok\n")
    assert (status, out) == (0, "caf\ufffd <EMAIL>\nok\n".encode())
    assert err == "douane: what was no UTF-8 has been replaced by U+FFFD\n"
    assert run("caf\ufffd\n".encode()) == (0, "caf\ufffd\n".encode(), "")  # it came like this


def test_of_a_line_without_end_the_head_stays(run, monkeypatch):
    """It is the same text however it is read: here it comes in pieces far shorter than the line."""
    monkeypatch.setattr(scrub, "_READ", 10_000)
    words = b"a word " * 200_000
    status, out, _ = run(words + b"\na@b.org\n")
    head, second, end = out.split(b"\n")
    assert (status, second, end) == (0, b"<EMAIL>", b"")
    assert words.startswith(head) and 0 <= (1 << 20) - len(head) < 10


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_cannot_be_read(tmp_path, capfdbinary, name):
    assert scrub.main([str(tmp_path / name)]) == 4
    out, err = capfdbinary.readouterr()
    assert out == b"" and b"cannot be read" in err


RECORDS = b"""otp sent to +1 6
50.253.0644 in time
  upload with eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIx
    MjMifQ.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P7mQ2xY8kLwE failed
-----BEGIN EC PRIVATE KEY-----
V6iXmYieRNDHFywSKqf2rAZSMuGb7PMr4qRImYoLlPPW6volHD4SxhoiI8a/Vs6M
MUvEeBjz
-----END EC PRIVATE KEY-----
\tat com.example.app.Sync.run(Sync.java:88)
pid: 4711 of a@b.org
"""
RECORDS_CLEAN = b"""otp sent to <PHONE>
in time
  upload with <SECRET>
    failed
-----BEGIN EC PRIVATE KEY-----
<SECRET>

-----END EC PRIVATE KEY-----
\tat com.example.app.Sync.run(Sync.java:88)
pid: 1 of <EMAIL>
"""


@pytest.mark.parametrize("size", [7, 100, 1 << 20])
def test_a_value_over_several_lines_of_a_record_goes_however_it_comes(run, monkeypatch, size):
    monkeypatch.setattr(scrub, "_READ", size)
    assert run(RECORDS)[1] == RECORDS_CLEAN


def test_what_only_a_record_shows_is_told_with_its_first_line(run):
    told = [line.split("\t")[:3] for line in run(RECORDS, "--explain")[1].decode().splitlines()[1:]]
    assert told[-1:] == [["10", "email", "<EMAIL>"]] and {line for line, *_ in told} == {"1", "5", "10"}


def test_a_record_that_never_ends_is_cut_and_loses_no_line(run, monkeypatch):
    monkeypatch.setattr(scrub, "_RECORD", 500)
    lines = ["-----BEGIN PRIVATE KEY-----", *("not for ada@example.org" for _ in range(200))]
    out = run("\n".join(lines).encode())[1].decode().split("\n")
    assert out[1:] == ["not for <EMAIL>"] * 200


@given(st.lists(st.sampled_from([b"", b" x", b"y", b"-----BEGIN A", b"-----END A", b"z 1"]), max_size=9), st.booleans())
def test_records_are_whole_whatever_blocks_they_come_in(lines, ended):
    content = b"\n".join(lines) + b"\n" * ended
    cut = content.rfind(b"\n") + 1
    by_line = [line + b"\n" for line in content[:cut].split(b"\n")[:-1]] + [content[cut:]] * (cut < len(content))
    for blocks in (by_line, [content[:cut], content[cut:]]):
        given_back = list(scrub._records(block for block in blocks if block))
        assert b"".join(record for record, _ in given_back) == content
        texts = [text for record, starts in given_back for text in _texts(record, starts)]
        assert texts == _texts(content, scrub._starts(content.split(b"\n"))) if content else not texts


def _texts(lines: bytes, starts) -> list[bytes]:
    lines = lines.split(b"\n")
    texts = [b"\n".join(lines[a:b]) for a, b in zip(starts, [*starts[1:], len(lines)], strict=True)]
    return [text.removesuffix(b"\n") for text in texts if text]


@given(st.binary(max_size=60), st.integers(1, 20))
def test_lines_come_whole_and_nothing_is_lost(tmp_path_factory, content, size):
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scrub, "_READ", size)
        blocks = list(scrub._blocks(str(path)))
    assert b"".join(blocks) == content
    assert all(block.endswith(b"\n") for block in blocks[:-1])


def test_a_line_is_given_as_soon_as_it_is_there():
    process = subprocess.Popen([*COMMAND, "-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
    with process:
        for _ in range(2):
            process.stdin.write(b"from a@b.org\nhalf of")
            assert process.stdout.readline().endswith(b"from <EMAIL>\n")  # while the input is still open
        process.stdin.close()
        assert process.stdout.read() == b"half of"
    assert process.returncode == 0


def test_who_has_seen_enough_hears_no_complaint():
    given = subprocess.Popen(
        [*COMMAND, "-"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    given.stdout.close()
    _, err = given.communicate(b"a@b.org\n" * 100_000)
    assert (given.returncode, err) == (0, b"")


@pytest.mark.parametrize(("no_colour", "shown"), [("", b"\x1b[1;31m<EMAIL>\x1b[0m <IP>"), ("1", b"<EMAIL> <IP>")])
def test_on_a_terminal_finds_stand_out(tmp_path, no_colour, shown):
    """A tag that came with a line in which nothing was found is no find."""
    path = tmp_path / "text"
    path.write_bytes(b"a@b.org\n<IP>\n")
    reader, terminal = pty.openpty()
    subprocess.run(
        [*COMMAND, str(path)], cwd=ROOT, stdout=terminal, env={**os.environ, "NO_COLOR": no_colour}, check=True
    )
    os.close(terminal)
    assert os.read(reader, 1000).replace(b"\r\n", b" ").strip() == shown


def test_it_does_not_wait_for_beam():
    ran = subprocess.run(
        [sys.executable, "-X", "importtime", *COMMAND[1:], "-"],
        cwd=ROOT,
        input=b"a@b.org",
        capture_output=True,
        check=True,
    )
    assert ran.stdout == b"<EMAIL>" and b"apache_beam" not in ran.stderr
