"""The benchmark of bad lines: a tiny run works, and each fault is the one that it says it is."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import bad_lines
from benchmarks.bad_lines import FAULTS, SHARES, SHORT_FAULTS, spoilt
from schemas.pack_files import load_pack
from tests.lines import event, ndjson
from transforms.decode import Limits, decode_events

GOOD = [line.replace(b": ", b":").replace(b", ", b",") for line in ndjson(*map(event, range(400))).splitlines()]


def faults_of(lines):
    return decode_events(b"\n".join(lines), Limits.of(load_pack())).faults


@pytest.mark.parametrize("reason", FAULTS)
def test_each_fault_is_what_it_is_called(reason):
    assert faults_of(map(FAULTS[reason], GOOD[:5])).counts() == {reason: 5}


@pytest.mark.parametrize(("share", "burst"), [(0.1, 1), (0.1, 20), (0.0025, 1), (1, 1)])
def test_as_many_lines_are_spoilt_as_were_asked_for(share, burst):
    lines = spoilt(np.random.default_rng(1), GOOD, share, burst)
    found = faults_of(lines)
    assert len(lines) == len(GOOD) and len(found.line) == share * len(GOOD)
    assert sum(np.diff(found.line, prepend=-9) > 1) <= max(1, len(found.line) // burst)


def test_none_is_too_long_where_that_is_said():
    lines = spoilt(np.random.default_rng(1), GOOD, 0.1, 1, SHORT_FAULTS)
    assert set(faults_of(lines).counts()) == set(FAULTS) - {"too_long"}


def test_a_tiny_run_writes_every_figure_down(tmp_path, capsys):
    threads, cores = pa.cpu_count(), getattr(os, "sched_getaffinity", lambda _: None)(0)
    size = ["--events", "2000", "--devices", "400", "--runs", "1"]
    bad_lines.main([*size, "--work", str(tmp_path / "work"), "--out", str(tmp_path)])
    pa.set_cpu_count(threads)  # it keeps to one core; who comes after need not
    if cores:
        os.sched_setaffinity(0, cores)
    figures = json.loads((tmp_path / "bad_lines.json").read_text())
    assert figures["lines"] == 2000
    assert [each["share"] for each in figures["shares"]] == [name for name in SHARES for _ in range(3)]
    assert all(each["ratio"] > 0 and each["us_a_line"] > 0 for each in figures["shares"])
    assert [each["share"] for each in figures["whole job"]] == list(SHARES)
    assert all(each["ratio"] > 0 for each in figures["whole job"])
    assert figures["floods"][0]["lines"] == "good" and figures["floods"][0]["ratio_a_byte"] == 1
    table = capsys.readouterr().out
    assert all(f"{each['share']} {each['where']}" in table for each in figures["shares"])
