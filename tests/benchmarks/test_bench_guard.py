"""No step suddenly takes twice its share of the job; and if one did, this would fail."""

import json
import random
import subprocess
import sys

import pytest

from benchmarks import guard
from pipelines.profile import STEPS

EXPECTED = json.loads(guard.SHARES.read_text())
LARGE = [step for step, share in EXPECTED.items() if share >= guard.LEAST]


def shares(**times):
    """What is measured if these steps take so many times what they took."""
    return guard.shares([{step: share * times.get(step, 1) for step, share in EXPECTED.items()}])


def test_no_step_takes_twice_its_share_and_one_that_is_slowed_down_is_found(tmp_path):
    script = [sys.executable, "-m", "tests.benchmarks.slowed", str(tmp_path), "for_purpose"]
    done = subprocess.run(script, check=True, capture_output=True, text=True)
    *said, last = done.stdout.splitlines()
    told = json.loads(last)
    assert told["status"] == 0, "\n".join(said)
    assert "for_purpose" in told["slowed"]


def test_shares_are_of_the_steps_that_there_are():
    assert set(EXPECTED) == set(guard.COMPARED) < set(STEPS)
    assert sum(EXPECTED.values()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("step", LARGE)
def test_a_step_that_takes_twice_as_long_is_found_however_large_it_is(step):
    assert guard.grown(shares(**{step: 2}), EXPECTED) == {step: pytest.approx(2, rel=0.1)}


def test_noise_is_not_and_nor_is_a_step_that_has_become_faster():
    draw = random.Random(1)
    for _ in range(100):
        assert not guard.grown(shares(**{step: draw.uniform(0.85, 1.25) for step in guard.COMPARED}), EXPECTED)
    for step in guard.COMPARED:
        assert not guard.grown(shares(**{step: 0.1}), EXPECTED)


def test_of_a_step_that_takes_next_to_nothing_twice_is_nothing_but_much_is_much():
    tiny = min(EXPECTED, key=EXPECTED.get)
    assert not guard.grown(shares(**{tiny: 2}), EXPECTED)
    assert tiny in guard.grown(shares(**{tiny: 2 * guard.LEAST / EXPECTED[tiny]}), EXPECTED)


def test_the_least_of_some_runs_counts():
    assert guard.shares([{"a": 1.0, "b": 9.0}, {"a": 5.0, "b": 3.0}]) == {"a": 0.25, "b": 0.75}


@pytest.mark.parametrize(("gate", "status"), [((1,), 0), ((2, 1), 0), ((2,) * guard.ROUNDS, 1)])
def test_what_seems_to_have_grown_is_measured_again(tmp_path, monkeypatch, capsys, gate, status):
    runs = [shares(gate=times) for times in gate for _ in range(guard.RUNS)]
    monkeypatch.setattr(guard, "LEAST", 0.01)
    monkeypatch.setattr(guard, "sample", lambda *_: ("events", "consents"))
    monkeypatch.setattr(guard, "run", lambda *_: runs.pop(0))
    assert guard.main(["--work", str(tmp_path)]) == status
    assert not runs
    assert ("gate: 2.0 times its share" in capsys.readouterr().out) == bool(status)
