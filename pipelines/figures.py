"""Figures: counts as inline SVG, by functions that only make text.

Colours are left to classes (`kept`, `plain`, `fault` ...), so that a page can have one set for light, dark and print.
Every word goes through Markup, which escapes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Link = tuple[str, str, int]  # from a node, to a node, how many
Part = tuple[str, int]  # class of its colour, how many

_WIDTH, _LETTER = 960, 8.2  # of a whole flow; of a letter of its labels, rather more than less
_TALL = 230  # of the fullest layer, before its labels ask for more
_NODE, _INDENT = 8, 6  # width of a node; from it to its label
_LINE, _GAP = 20, 5  # least height of a node with its label; space between two
_HAIRLINE = 1.5  # what is there is seen, however few it is
_BAR, _HAIRLINE_OF_BAR = 1000, 8


@dataclass(frozen=True)
class Node:
    """One place of a flow: its layer from the left, its label, and the class of its colour."""

    layer: int
    label: str
    tone: str = "plain"


@dataclass(frozen=True)
class _Place:
    x: float
    y: float
    height: float
    count: int


def flow(name: str, title: str, description: str, nodes: Mapping[str, Node], links: Sequence[Link]) -> Markup:
    """A flow from left to right whose widths follow the counts; one thinner than a hairline is drawn as a hairline.
    Nodes keep their order from top to bottom; what has no count is left out. `name` is unique on its page."""
    links = [link for link in links if link[2] > 0]
    scale = _scale(nodes, links)
    places = _placed(nodes, links, scale)
    drawn = [*_ribbons(nodes, places, links, scale), *(_mark(nodes[key], place) for key, place in places.items())]
    bottom = max((place.y + place.height / 2 + max(place.height, _LINE) / 2 for place in places.values()), default=0)
    return Markup(
        '<svg class="flow" role="img" aria-labelledby="{0}-title {0}-text" viewBox="0 0 {1} {2:.0f}">\n'
        '<title id="{0}-title">{3}</title><desc id="{0}-text">{4}</desc>\n{5}\n</svg>'
    ).format(name, _WIDTH, bottom + _GAP, title, description, Markup("\n").join(drawn))


def _scale(nodes: Mapping[str, Node], links: Sequence[Link]) -> float:
    layers: dict[int, int] = {}
    for key, node in nodes.items():
        layers[node.layer] = layers.get(node.layer, 0) + _count(key, links)
    return _TALL / max(1, *layers.values())


def _count(key: str, links: Sequence[Link]) -> int:
    """How many pass a node: what comes in, or what goes out where that is more."""
    return max(sum(link[2] for link in links if link[side] == key) for side in (0, 1))


def _thickness(count: int, scale: float) -> float:
    return max(_HAIRLINE, count * scale)


def _placed(nodes: Mapping[str, Node], links: Sequence[Link], scale: float) -> dict[str, _Place]:
    """Where each node stands that a link touches. Labels never overlap: a node takes a line of text at least."""
    last = max(node.layer for node in nodes.values())
    labels = max(len(f"{_count(key, links):,} {node.label}") for key, node in nodes.items() if node.layer == last)
    step = (_WIDTH - _NODE - _INDENT - _LETTER * labels) / last
    places: dict[str, _Place] = {}
    tops: dict[int, float] = {}
    for key, node in nodes.items():
        if count := _count(key, links):
            height = max(sum(_thickness(link[2], scale) for link in links if link[side] == key) for side in (0, 1))
            top, slot = tops.get(node.layer, _GAP), max(height, _LINE)
            places[key] = _Place(node.layer * step, top + (slot - height) / 2, height, count)
            tops[node.layer] = top + slot + _GAP
    return places


def _ribbons(
    nodes: Mapping[str, Node], places: Mapping[str, _Place], links: Sequence[Link], scale: float
) -> list[Markup]:
    """Links as bands. At a node they lie one below the other in the order in which they are given."""
    left, right = ({key: place.y for key, place in places.items()} for _ in range(2))
    drawn = []
    for source, target, count in links:
        thick = _thickness(count, scale)
        x0, x1 = places[source].x + _NODE, places[target].x
        drawn.append(_ribbon((x0, right[source]), (x1, left[target]), thick, nodes[target].tone))
        right[source] += thick
        left[target] += thick
    return drawn


def _ribbon(start: tuple[float, float], end: tuple[float, float], thick: float, tone: str) -> Markup:
    (x0, y0), (x1, y1), middle = start, end, (start[0] + end[0]) / 2
    there = f"M{x0:.1f} {y0:.1f}C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}"
    back = f"V{y1 + thick:.1f}C{middle:.1f} {y1 + thick:.1f} {middle:.1f} {y0 + thick:.1f} {x0:.1f} {y0 + thick:.1f}Z"
    return Markup('<path class="ribbon {}" d="{}{}"/>').format(tone, there, back)


def _mark(node: Node, place: _Place) -> Markup:
    return Markup(
        '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{}" height="{:.1f}"/>'
        '<text x="{:.1f}" y="{:.1f}"><tspan class="number">{:,}</tspan> {}</text>'
    ).format(
        *(node.tone, place.x, place.y, _NODE, place.height),
        *(place.x + _NODE + _INDENT, place.y + place.height / 2 + 4.5, place.count, node.label),
    )


def bar(parts: Sequence[Part], whole: int) -> Markup:
    """Parts of a whole as one bar that takes the width it is given. The numbers stand beside it, so it is not read
    aloud."""
    drawn, x = [], 0.0
    for (tone, _), width in zip(parts, shares([n for _, n in parts], whole), strict=True):
        if width:
            drawn.append(Markup('<rect class="{}" x="{:.1f}" width="{:.1f}" height="8"/>').format(tone, x, width))
        x += width
    return Markup('<svg class="bar" viewBox="0 0 {} 8" preserveAspectRatio="none" aria-hidden="true">{}</svg>').format(
        _BAR, Markup("").join(drawn)
    )


def shares(counts: Sequence[int], whole: int) -> list[float]:
    """Widths of a bar's parts: none for nothing, else in proportion, but no thinner than a hairline. What the hairlines
    take more than their due, the widest part gives. Together at most the whole bar."""
    whole = max(whole, sum(counts))
    widths = [max(_HAIRLINE_OF_BAR, _BAR * n / whole) if n else 0.0 for n in counts]
    if (excess := sum(widths) - _BAR) > 0:
        widths[widths.index(max(widths))] -= excess
    return widths
