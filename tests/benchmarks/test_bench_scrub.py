"""The benchmark of scrubbing: its columns are what they are said to be, and it goes on where Presidio cannot be had."""

import json
import os
from random import Random

import pyarrow as pa
import pytest

from benchmarks import scrub
from transforms.scrub import Scrubber

SIZE = ["--texts", "200", "--runs", "1", "--beside", "2"]


def run(folder):
    threads, cores = pa.cpu_count(), getattr(os, "sched_getaffinity", lambda _: None)(0)
    scrub.main([*SIZE, "--work", str(folder / "work"), "--out", str(folder / "out")])
    pa.set_cpu_count(threads)  # it keeps to one core; who comes after need not
    if cores:
        os.sched_setaffinity(0, cores)
    return json.loads((folder / "out" / "scrub.json").read_text())


def test_columns_hold_as_many_bytes_and_are_clean_or_dirty():
    columns = scrub.columns(Random(1), 200, Scrubber())
    assert {name: len(texts) for name, texts in columns.items()} == {"clean": 200, "dirty": 200, "phone": 200}
    assert all(scrub.BYTES - 3 <= len(text.encode()) <= scrub.BYTES for texts in columns.values() for text in texts)
    changed = {name: Scrubber().scrub(pa.array(texts))[1] for name, texts in columns.items()}
    assert not changed["clean"] and sum(changed["dirty"].values()) >= 50


def test_lines_vary_in_what_varies_and_in_nothing_else():
    line = "10-17 09:31:07.123  1523 W Foo: at a.B.c(B.kt:12) v1.2.345"
    other = scrub.varied(line, Random(1))
    assert other != line and other[:15] == line[:15] and other.endswith(") v1.2.345") and len(other) == len(line)


def test_every_figure_is_written_down_with_the_ratio_to_presidio(tmp_path, monkeypatch, capsys):
    def beside(work, given):
        assert work == tmp_path / "work" and {len(texts) for texts in given.values()} == {2}
        return {name: {"patterns": 900.0, "and phones": 1000.0} for name in given}

    monkeypatch.setattr(scrub, "presidio", beside)
    result = run(tmp_path)
    assert result["presidio"] == scrub.PRESIDIO and set(result["figures"]) == set(scrub.GOALS)
    for each in result["figures"].values():
        assert each["Presidio"] == 900 and each["with phones"] == 1000
        assert each["times"] == pytest.approx(900 / each["scrubber"], rel=0.01)
    assert "900.0" in capsys.readouterr().out


def test_it_says_so_and_goes_on_where_presidio_cannot_be_installed(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError

    monkeypatch.setattr(scrub.venv, "create", refuse)
    result = run(tmp_path)
    assert "SKIPPED: Presidio was not measured" in capsys.readouterr().err
    assert all(set(each) == {"scrubber"} for each in result["figures"].values())
