"""Ratios are of what was measured side by side; what cannot be measured is left out, and said."""

import json
from xml.etree import ElementTree

import pytest

from benchmarks import ratios, scale

FIGURES = {
    "events": 1_000_000,
    "peers": {"job": [[10.0, 8.0], [12.0, 8.0], [11.0, 8.0]], "polars": [[22.0, 20.0]] * 3, "DuckDB": [[33.0, 32.0]]},
    "beam": [[[5.0, 4.0], [18.2, 16.0]]],
    "two at once": [[10.0, 10.0], [10.0, 12.5], [10.0, 20.0]],
    "parts": {"whole": [[11.0, 11.0]] * 3, "unencrypted": [[10.0, 10.0]] * 3, "no statistics": [[10.0, 11.0]] * 3},
}


def test_each_ratio_is_of_medians_side_by_side():
    found = {each.what: (each.wall, each.processor) for each in ratios.ratios(FIGURES)}
    assert found == {
        "polars / job": (2.0, 2.5),
        "DuckDB / job": (3.0, 4.0),
        "row-by-row Beam / job": (12.0, 15.0),
        "two jobs at once / one": (1.6, None),
        "job / unencrypted": (1.1, 1.1),
        "job / no statistics": (1.1, 1.0),
    }


def test_the_table_has_every_ratio_and_what_no_peer_does():
    told = ratios.table(FIGURES)
    assert all(each.what in told for each in ratios.ratios(FIGURES))
    assert "11.0 us an event" in told and "132.0 us an event" in told and ratios.NO_PEER in told


def test_what_was_not_measured_is_told_as_such():
    figures = FIGURES | {"peers": {"job": [[10.0, 8.0]]}, "two at once": []}
    missing = {each.what for each in ratios.ratios(figures) if each.wall is None}
    assert missing == {"polars / job", "DuckDB / job", "two jobs at once / one"}
    assert "polars / job" in ratios.table(figures)


def test_bars_are_as_long_as_their_figures():
    picture = ElementTree.fromstring(ratios.picture(ratios.microseconds(FIGURES)))
    widths = [float(rect.get("width")) for rect in picture if rect.tag.endswith("rect")]
    assert [width / widths[0] for width in widths] == pytest.approx([1, 2, 3, 12], rel=0.01)


def test_it_goes_on_without_an_index_of_packages(tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise OSError

    monkeypatch.setattr(ratios.venv, "create", refuse)
    assert ratios.environment(tmp_path) is None
    assert "SKIPPED: polars and DuckDB" in capsys.readouterr().err


def test_a_peer_with_other_rows_makes_all_of_it_void(tmp_path, monkeypatch):
    class Differing:
        def __init__(self, *_):
            pass

        def differing(self, *_):
            return {"operations": 2}

    monkeypatch.setattr(ratios, "Outputs", Differing)
    with pytest.raises(RuntimeError, match=r"polars has written other rows than the job: \{'operations': 2\}"):
        ratios.compare([ratios.POLARS], tmp_path, tmp_path, tmp_path, {"operations": 2})


@pytest.mark.parametrize("rows", [{}, {"operations": 0}])
def test_that_nobody_has_written_anything_is_no_agreement(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(ratios, "Outputs", lambda *_: pytest.fail("compared"))
    with pytest.raises(RuntimeError, match="void"):
        ratios.compare([ratios.POLARS], tmp_path, tmp_path, tmp_path, rows)


def test_pinned_versions_of_peers_are_told():
    assert {"polars", "polars-hash", "duckdb"} <= set(ratios._versions_of_peers())


def test_of_a_larger_run_the_time_an_event_counts(tmp_path, monkeypatch, capsys):
    def ran(folder, work, *more, core=0):
        parts = 1 + len(more) // 2
        return {
            "lines": 1000 * parts,
            "seconds": [0.01 * parts * (1.1 if more else 1)] * 2,
            "peak_bytes": parts * 10**8,
        }

    def sample(work, events, devices, entries, seed):
        return work / f"sample-{seed}" / "events.ndjson", work / f"sample-{seed}" / "consents.ndjson"

    monkeypatch.setattr(scale, "job", ran)
    monkeypatch.setattr(scale, "told", lambda figures: figures)
    monkeypatch.setattr(scale, "sample", sample)
    scale.main(["--events", "10000", "--work", str(tmp_path), "--out", str(tmp_path)])
    figures = json.loads((tmp_path / "scale.json").read_text())
    assert figures["one"] == {"events": 1000, "us_an_event": [10.0, 10.0], "peak_mb": 100}
    assert figures["all"] == {"events": 10_000, "us_an_event": [11.0, 11.0], "peak_mb": 1000}
    assert "1.10" in capsys.readouterr().out
