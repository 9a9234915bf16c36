"""The little of Markdown that the reference pages are written in."""

from collections.abc import Iterable


def number(value: float) -> str:
    return f"{value:,.10g}" if value == int(value) else f"{value:g}"


def code(word: str) -> str:
    return f"`{word}`"


def bullets(*items: str) -> str:
    return "\n".join(f"- {item}" for item in items)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def joined(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"
