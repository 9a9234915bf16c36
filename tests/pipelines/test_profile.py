"""Where the time goes: clocks that add up, stand around every step, and are gone when the run has ended."""

import importlib
import json
import re

import numpy as np
import pytest

from pipelines import ingest
from pipelines.errors import ConfigurationError
from pipelines.profile import DISK, REST, ROWS, STEPS, Clocks, Profile, as_data, as_text, check
from tests.stranger import command, deploy, event, ndjson


def test_clocks_give_each_step_its_own_time_alone(monkeypatch):
    clocks, ticks = Clocks(), iter(range(100))
    monkeypatch.setattr("pipelines.profile.now", lambda: np.full(2, float(next(ticks))))
    inner = clocks.around("locate", lambda: None)  # each looks at the clock twice: 1 s inside

    def items():
        inner()
        yield 1
        yield 2

    assert list(clocks.around("read", items)()) == [1, 2]
    assert clocks.calls == {"locate": 1, "read": 3}
    assert clocks.spent["locate"][0] == 1
    assert clocks.spent["read"][0] == 4  # (3 - 1) for the first item, 1 for the second, 1 for the end
    assert REST not in clocks.spent


def test_a_whole_step_takes_what_runs_inside_it():
    clocks = Clocks()
    parse = clocks.around("decode: parse", lambda: None)
    clocks.around("ledger input", parse)()
    parse()
    assert clocks.calls == {"ledger input": 1, "decode: parse": 1}


def test_what_the_disk_takes_counts_apart_wherever_it_runs():
    clocks = Clocks()
    parse = clocks.around("decode: parse", lambda: None)
    disk = clocks.around(DISK, lambda: (parse(), again()))
    again = clocks.around(DISK, lambda: None)
    clocks.around("orders", lambda: (disk(), parse()))()
    parse()
    assert clocks.calls == {"orders": 1, DISK: 1, "decode: parse": 1}


def functions():
    """What stands at each place now, as whoever calls it finds it."""
    found = []
    for place in (place for places in STEPS.values() for place in places):
        module, _, names = place.partition(":")
        owner = importlib.import_module(module)
        *owners, name = names.split(".")
        for each in owners:
            owner = getattr(owner, each)
        found.append(vars(owner).get(name, "inherited"))
    return found


def test_clocks_stand_around_every_step_while_a_profile_is_taken_and_not_after():
    before = functions()
    with pytest.raises(ZeroDivisionError), Profile():
        assert all(a is not b for a, b in zip(functions(), before, strict=True))
        _ = 1 / 0
    assert all(a is b for a, b in zip(functions(), before, strict=True))


def test_what_is_not_there_to_be_timed_is_an_error_and_leaves_no_clock_behind(monkeypatch):
    before = functions()
    monkeypatch.setitem(STEPS, "audit", ("transforms.locate:locate_nothing",))
    with pytest.raises(AttributeError), Profile():
        pass
    monkeypatch.undo()
    assert all(a is b for a, b in zip(functions(), before, strict=True))


def profiled():
    profile = Profile()
    with profile:
        sum(range(10_000))
    return profile


def test_steps_add_up_to_the_whole():
    profile = profiled()
    assert tuple(profile.steps) == ROWS
    assert np.sum(list(profile.steps.values()), axis=0) == pytest.approx(profile.seconds)
    assert profile.steps[REST] == pytest.approx(profile.seconds) and not profile.calls


def test_text_and_json_tell_the_same():
    profile = profiled()
    profile.seconds, profile.steps["locate"], profile.calls["locate"] = np.array([8.0, 4.0]), np.array([2.0, 1.0]), 1234
    text, data = "\n".join(as_text(profile, 1000)), json.loads(json.dumps(as_data(profile, 1000)))
    assert re.search(r"^  locate +2\.00 +1\.00 +25\.0% +1,234$", text, re.MULTILINE)
    assert re.search(r"^  the whole run +8\.00 +4\.00; 4,000\.0 us of the processor a line", text, re.MULTILINE)
    assert data["steps"]["locate"] == {"seconds": [2.0, 1.0], "calls": 1234}
    assert (data["seconds"], data["lines"]) == ([8.0, 4.0], 1000)
    assert tuple(data["steps"]) == ROWS == tuple(re.findall(r"^  (\w.*?) {2,}\d", text, re.MULTILINE))[:-1]
    assert "a line" not in as_text(profile, 0)[-1]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "events.ndjson").write_bytes(ndjson(*map(event, range(1, 4))))

    def ingest_(*more):
        given = ("--events", tmp_path / "events.ndjson", "--no-ledger", "--deployment", deploy(tmp_path))
        return command(ingest, *given, *more)

    return ingest_


def test_a_run_tells_where_its_time_went_if_it_is_asked(run):
    outcome = run("--profile")
    assert outcome.status == 0, outcome.err
    summary, _, table = outcome.out.partition("Where the time went")
    assert "Every line is accounted for" in summary
    shares = [float(share) for share in re.findall(r"([\d.]+)%", table)]
    assert len(shares) == len(ROWS) and sum(shares) == pytest.approx(100, abs=2)
    told = json.loads(run("--profile", "--json").out)
    assert told["profile"]["lines"] == told["came_in"]["telemetry"]["lines"] == 3
    assert told["profile"]["steps"]["locate"]["calls"] > 0
    assert "profile" not in json.loads(run("--json").out)


@pytest.mark.parametrize(
    "flags",
    [
        ("--runner=FlinkRunner",),
        ("--runner", "PrismRunner"),
        ("--direct_running_mode=multi_processing",),
        ("--direct_num_workers=2",),
    ],
)
def test_steps_that_run_out_of_sight_are_not_profiled(flags):
    with pytest.raises(ConfigurationError, match="--profile"):
        check(flags)
    check(("--runner=FnApiRunner", "--direct_num_workers=1"))


def test_a_stream_is_not_profiled(tmp_path):
    given = ("--events", "watch:/in", "--no-ledger", "--deployment", deploy(tmp_path), "--profile")
    outcome = command(ingest, *given)
    assert outcome.status == 2 and "--profile is for runs that end" in outcome.err
