"""A stream checks its books window by window: what is lost raises an alarm, what is only late does not."""

import logging

import pytest

from pipelines.audit_rows import read_totals
from schemas.datasets import AUDIT
from schemas.pack_files import load_pack
from schemas.tallies import Totals
from tests.invariants import scripted
from tests.invariants.runs import Site
from tests.invariants.scripted import MINUTE, script_of
from tests.lines import ANDROID_ID, NOW, event, ndjson
from transforms import consent_gate
from transforms.reconcile import DECODED, alarms, of_regions

pytestmark = pytest.mark.clause("4.1-c")
PACK = load_pack()


@pytest.fixture
def stream(tmp_path, monkeypatch):
    """Runs the job as a stream of windows of a minute. A step is a list of events that arrive in one block, or the
    minute that the watermark has just passed. Returns the totals."""

    def ran(*steps) -> Totals:
        site = Site.new(tmp_path / "site")
        run = scripted.stream(site, script_of(*map(_step, steps)), tmp_path, monkeypatch)
        return read_totals([site.place("eu")], run)

    return ran


def _step(step):
    if not isinstance(step, list):
        return step
    lines = [event(at, received=NOW + at, device__android_id=who) for at, who in step]
    return min(number for number, _ in step), ndjson(*lines)


def at(*received, who=ANDROID_ID):
    """Events of a device that were received then, in milliseconds."""
    return [(ms, who) for ms in received]


def errors(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


STEPS = (at(1, 2, 59_999), at(3, 60_000), 1, at(61_000), 2, at(150_000, 150_000), 3, 4, 5)


def test_windows_in_which_nothing_was_lost(stream, caplog):
    totals = stream(*STEPS)
    assert totals.sum(step="gate", outcome="judged") == 7 and totals.sum(step="gate", outcome="duplicates") == 1
    assert totals.sum(step="telemetry", outcome="decoded") == 8
    assert not alarms(totals) and not errors(caplog)
    assert all(identity.holds for identity in of_regions(totals, PACK))


def test_a_piece_that_is_lost_raises_an_alarm_for_its_window(stream, caplog, monkeypatch):
    taken = consent_gate._taken

    def lossy(bag, window):
        found = taken(bag, window)
        return found[1:] if window == NOW // MINUTE else found

    monkeypatch.setattr(consent_gate, "_taken", lossy)
    totals = stream(*STEPS)
    assert totals.by("reason", step="audit", outcome="unreconciled") == {DECODED: 1}
    (told,) = errors(caplog)
    assert told.startswith("decoded = duplicates + too old + judged does not hold for eu: 4 on the left")
    assert ANDROID_ID not in caplog.text
    assert [alarm for alarm in alarms(totals) if "when their window was closed" in alarm]


@pytest.mark.parametrize("minute", [1, 2, 4])
def test_what_comes_late_raises_none(stream, caplog, minute):
    """After its window has been judged: before that window's books are closed, after, and long after."""
    minutes = iter(range(1, 8))
    until = [next(minutes) for _ in range(minute)]
    steps = (at(1, 2), at(60_500), *until, at(3, 4), at(300_100), *minutes)
    totals = stream(*steps)
    assert totals.sum(step="gate", outcome="judged") == totals.sum(step="telemetry", outcome="decoded") == 6
    assert totals.sum(step="gate", outcome="late") == 2
    assert not alarms(totals) and not errors(caplog)


def test_every_window_has_a_file_of_its_own(stream, tmp_path):
    stream(*STEPS)
    place = Site(tmp_path / "site").place("eu")
    windows = {int(entry.logical.rsplit("-", 2)[1]) for entry in place.manifest.entries(AUDIT)}
    assert {NOW // 1000 + 60 * minute for minute in (1, 2, 3)} <= windows
