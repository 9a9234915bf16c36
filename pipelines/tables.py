"""What is printed for a person to read: words that keep to their line, columns one below the other."""

from collections.abc import Container, Sequence


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
