"""Figures: widths tell the truth as far as they can be seen, and no label lies on another."""

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.figures import Node, bar, flow, shares
from tests.strategies import unhurried

counts = st.one_of(st.just(0), st.integers(1, 10**12))
NODES = {"all": Node(0, "all"), **{str(n): Node(1, f"part {n}", "kept") for n in range(20)}}


def drawn(figure: str) -> ET.Element:
    return ET.fromstring(figure)  # a browser is more lenient than this


def links(numbers: list[int]):
    return [("all", str(n), count) for n, count in enumerate(numbers)]


@unhurried
@given(st.lists(counts, min_size=1, max_size=12), st.integers(0, 10**12))
def test_shares_fill_the_bar_at_most_and_hide_nothing(numbers, rest):
    widths = shares(numbers, sum(numbers) + rest)
    assert sum(widths) <= 1000 + 1e-6
    assert all((width > 0) == (count > 0) for width, count in zip(widths, numbers, strict=True))
    assert all(width >= 8 for width in widths if width)
    by_count = [width for _, width in sorted(zip(numbers, widths, strict=True))]
    assert all(less <= more + 8 * len(numbers) for less, more in zip(by_count, by_count[1:], strict=False))


def test_shares_are_in_proportion():
    assert shares([250, 500], 1000) == [250, 500]
    assert shares([1, 999], 1000) == [8, 992]
    assert shares([0, 0], 0) == [0, 0]
    assert sum(shares([7, 5], 3)) == pytest.approx(
        1000
    )  # more parts than whole: does not reconcile, is drawn all the same


def test_a_bar_draws_what_is_there():
    rects = drawn(bar([("kept", 3), ("minor", 0), ("unfit", 1)], 4)).findall("rect")
    assert [(r.get("class"), r.get("x"), r.get("width")) for r in rects] == [
        ("kept", "0.0", "750.0"),
        ("unfit", "750.0", "250.0"),
    ]


@unhurried
@given(st.lists(counts, min_size=1, max_size=20))
def test_labels_of_a_flow_never_overlap_and_stay_on_it(numbers):
    svg = drawn(flow("f", "title", "text", NODES, links(numbers)))
    _, _, width, height = map(float, svg.get("viewBox").split())
    columns: dict[str, list[float]] = {}
    for text in svg.findall("text"):
        columns.setdefault(text.get("x"), []).append(float(text.get("y")))
        assert float(text.get("x")) + 8 * len("".join(text.itertext())) <= width + 8
        assert 0 < float(text.get("y")) < height
    for lines in columns.values():
        assert all(later - earlier >= 15 for earlier, later in zip(lines, lines[1:], strict=False))
    assert len(svg.findall("path")) == sum(count > 0 for count in numbers)
    for rect in svg.findall("rect"):
        assert float(rect.get("height")) >= 1.5
        assert float(rect.get("y")) + float(rect.get("height")) <= height


def test_a_flow_is_in_proportion_and_leaves_out_what_nothing_came_to():
    svg = drawn(flow("f", "What became of it", "3 of 4", NODES, links([3000, 0, 1000])))
    heights = [float(rect.get("height")) for rect in svg.findall("rect")]
    assert heights == [230, 172.5, 57.5]
    assert ["".join(text.itertext()) for text in svg.findall("text")] == ["4,000 all", "3,000 part 0", "1,000 part 2"]


def test_a_flow_of_nothing_is_drawn_too():
    assert drawn(flow("f", "title", "nothing came in", NODES, links([0]))).findall("rect") == []


def test_a_flow_can_be_read_aloud():
    svg = drawn(flow("f", "title", "text", NODES, links([1])))
    named = {element.get("id"): element.text for element in svg if element.get("id")}
    assert [named[each] for each in svg.get("aria-labelledby").split()] == ["title", "text"]
    assert svg.get("role") == "img"


def test_words_are_escaped():
    svg = flow("f", "<b>", "&", {"a": Node(0, "<script>"), "b": Node(1, "'\"")}, [("a", "b", 1)])
    assert "<script>" not in svg and "<b>" not in svg
    assert "".join(drawn(svg).find("text").itertext()) == "1 <script>"
