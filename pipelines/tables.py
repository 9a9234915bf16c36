"""What is printed for a person to read: words that keep to their line, columns one below the other."""

import itertools
import shutil
import textwrap
from collections.abc import Container, Iterable, Sequence


def printable(value: object) -> str:
    """A value as text on one line: what breaks a line, moves the cursor or turns the direction of writing comes as an
    escape, so that no value can pass for a line of ours."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))


def aligned(rows: Sequence[Sequence[object]], indent: int = 0, numbers: Container[int] = ()) -> list[str]:
    """One printable line a row, its cells one below the other; to the right in the columns that hold `numbers`."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    sides = [str.rjust if at in numbers else str.ljust for at in range(len(widths))]
    lines = ("  ".join(side(*cell) for side, *cell in zip(sides, row, widths, strict=True)) for row in cells)
    return [(" " * indent + line).rstrip() for line in lines]


def days_listed(days: Sequence[str]) -> str:
    """Days in few words, however many they are."""
    if not days:
        return "none"
    return f"{days[0]} to {days[-1]} ({len(days)} days)" if len(days) > 2 else " and ".join(days)


def terminal_width() -> int:
    """Columns of the terminal, 80 at least; of what is no terminal 120, as long as our own lines are."""
    return max(80, shutil.get_terminal_size((120, 24)).columns)


def wrapped(head: Sequence[object], rows: Iterable[Sequence[object]], width: int, indent: int = 2) -> list[str]:
    """A table in printable lines of at most `width` columns: cells go on below where they are too long, and the widest
    columns give way first. Words stay whole where that leaves room for all columns. The head is underlined."""
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = _fitting(list(zip(*cells, strict=True)), width - indent)
    cells.insert(1, ["-" * size for size in widths])
    lines = []
    for row in cells:
        parts = [textwrap.wrap(cell, size, break_on_hyphens=False) for cell, size in zip(row, widths, strict=True)]
        lines += [
            (" " * indent + "  ".join(map(str.ljust, line, widths))).rstrip()
            for line in itertools.zip_longest(*parts, fillvalue="")
        ]
    return lines


def bulleted(sentence: str, width: int) -> list[str]:
    """A sentence as an item of a list, in lines of at most `width` columns."""
    return textwrap.wrap(
        printable(sentence), width, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False
    )


def _fitting(columns: Sequence[Sequence[str]], width: int) -> list[int]:
    """Widths of columns that go side by side into a width, as near to what they would be as can be."""
    left = width - 2 * (len(columns) - 1)
    sizes = [max(map(len, column)) for column in columns]
    words = [max((len(word) for cell in column for word in cell.split()), default=1) for column in columns]
    for least in (words, [1] * len(columns)):
        for cap in range(max(sizes), 0, -1):
            widths = [max(min(cap, size), fewest) for size, fewest in zip(sizes, least, strict=True)]
            if sum(widths) <= left:
                return widths
    return [1] * len(columns)
