"""The benchmark of consent: a tiny run works and writes down every figure."""

import json
import os

import numpy as np
import pyarrow as pa
import pytest

from benchmarks import consent
from transforms.held_ledger import HeldLedger


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    size = ["--records", "3000", "--entries", "2000", "4000", "--windows", "100", "--hot", "300", "--runs", "1"]
    threads, cores = pa.cpu_count(), getattr(os, "sched_getaffinity", lambda _: None)(0)
    consent.main([*size, "--out", str(folder)])
    pa.set_cpu_count(threads)  # it keeps to one core; who comes after need not
    if cores:
        os.sched_setaffinity(0, cores)
    return json.loads((folder / "consent.json").read_text())


def test_every_figure_is_written_down(result):
    assert set(result) == {"bounded", "stream of 2000 entries", "stream of 4000 entries", "hot subject"}
    bounded = result["bounded"]
    both = bounded["build_ns_a_record"] + bounded["judge_ns_a_record"]
    assert bounded["both_ns_a_record"] == pytest.approx(both, abs=1.5)
    stream = result["stream of 4000 entries"]
    assert stream["firing_100_s"] == pytest.approx(
        sum(stream[f"{step}_100_s"] for step in ("about", "build", "judge")), abs=1e-3
    )
    assert 50 < stream["state_mb_a_million"] < 100
    assert 0 < stream["entries_left"] < 1
    assert result["hot subject"]["entries_left"] < 300


def test_the_ledger_that_is_drawn_is_one():
    draw = np.random.default_rng(1)
    devices = consent.tags(draw, 100)
    entries = consent.ledger_of(draw, devices[draw.integers(0, 100, 500)], (0, 300))
    held = HeldLedger.empty().merged([entries])
    assert held.rows.num_rows == 500
    asked = consent.records_of(draw, devices, 600_000)
    assert held.about(asked.device, asked.account, consent.NOW + 600_000).num_rows == 500
