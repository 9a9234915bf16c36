"""Tallies as elements, and the metrics beside them: coarse, so that they tell nobody about a person."""

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that

from schemas.consent import CLAUSE_OF_REASON
from schemas.fields import EVENT_TYPES
from schemas.pack_files import load_pack
from schemas.tallies import Counts
from tests.tallied import plain
from transforms.tallies import TALLIES, told, told_apart

PACK = load_pack()


def _everything() -> Counts:
    counts = Counts()
    counts.add("telemetry", "lines", 9)
    counts.add("telemetry", "quarantined", 2, reason="not_json")
    counts.add("telemetry", "decoded", 3, region="eu", event_type="crash", hour=0)
    counts.add("telemetry", "decoded", 4, region="us", event_type="session", hour=3_600_000)
    counts.add("gate", "judged", 7, region="eu", event_type="crash", hour=0)
    for reason in CLAUSE_OF_REASON:
        counts.add("gate", "refused", 2, region="eu", event_type="crash", purpose="operations", reason=reason, hour=0)
    for outcome in ("carried", "sealed", "malformed"):
        counts.add("fields", outcome, 1, reason="device.imei")
    counts.add("text", "scrubbed", 1, reason="email")
    counts.add("store", "stored", 1, region="eu", event_type="crash", purpose="operations", dataset="operations")
    counts.add("access", "explained", 1, region="eu", reason="event")
    return counts


class _Tell(beam.DoFn):
    def process(self, apart):
        yield from told_apart(_everything()) if apart else told(_everything())


_KEPT = []


def _keep(actual):
    _KEPT[:] = actual


def _told(apart):
    pipeline = beam.Pipeline(runner="FnApiRunner")
    out = pipeline | beam.Create([apart]) | beam.ParDo(_Tell()).with_outputs(TALLIES, main="main")
    assert_that(out[TALLIES] if apart else out.main, _keep)
    result = pipeline.run()
    result.wait_until_finish()
    counters = result.metrics().query()["counters"]
    return list(_KEPT), {each.key.metric.name: each.committed for each in counters if _is_ours(each)}


def _is_ours(counter):
    return counter.key.metric.namespace == "douane"


@pytest.mark.parametrize("apart", [False, True])
def test_counts_leave_as_they_are(apart):
    tallies, _ = _told(apart)
    assert plain(tallies) == plain(_everything().tallies())


@pytest.mark.clause("4.1-c")
def test_metrics_are_coarse_and_name_their_step():
    _, metrics = _told(apart=False)
    assert metrics == {
        "telemetry_lines": 9,
        "telemetry_quarantined": 2,
        "telemetry_decoded": 7,
        "gate_judged": 7,
        "gate_refused": 2 * len(CLAUSE_OF_REASON),
        "store_stored": 1,
    }
    fine = {*CLAUSE_OF_REASON, *PACK.purposes, *PACK.regions, *EVENT_TYPES, "imei", "email", "access", "explained"}
    assert not [name for name in metrics for word in fine if word in name.split("_") or name.endswith(f"_{word}")]
