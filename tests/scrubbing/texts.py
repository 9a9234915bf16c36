"""Texts whose parts are known: what has to go from them, what has to stay, and what may be made coarse.

In the corpora a value stands for itself only between these signs:

    ‹10-17 09:31:07.123›    may be made coarse: times, addresses, numbers of processes and threads, and keys in a query
    «imei|null»             a place for a value of that kind, and what stands there in the clean text
    «»                      the place for the value of a context
    «int5» «hex8» «HEX8» «ver3» «bare» «dated»    in negatives: digits drawn at random, and look-alikes of the kind
"""

import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path

CORPORA = Path(__file__).parent / "corpora"
_PART = re.compile(r"‹([^›]*)›|«(\w*)(?:\|([^»]*))?»")
TAG = re.compile(r"<[A-Z][A-Z0-9_]*>")
_BLOCK = re.compile(r"^§ .*\n", re.MULTILINE)


class Role(Enum):
    """What is to become of a part of a text."""

    KEPT = auto()
    COARSE = auto()
    SECRET = auto()
    PLACE = auto()


@dataclass(frozen=True)
class Part:
    """A part of a text; `kind` is that of a place."""

    role: Role
    text: str
    kind: str = ""


@dataclass(frozen=True)
class Labelled:
    """A text in parts, and the plain values that were planted in it."""

    parts: tuple[Part, ...]
    secrets: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts)

    def only(self, *roles: Role) -> str:
        """What the parts of these roles say, and a blank for each other part of a line."""
        return "".join(part.text if part.role in roles else re.sub(r"[^\n]+", " ", part.text) for part in self.parts)


def parse(text: str, other: Role = Role.KEPT) -> tuple[Part, ...]:
    """The parts of a template; what stands between no signs has the role `other`."""
    parts, end = [], 0
    for found in _PART.finditer(text):
        coarse, kind, neutral = found.groups()
        parts.append(Part(other, text[end : found.start()]))
        parts.append(Part(Role.PLACE, neutral or "", kind) if coarse is None else Part(Role.COARSE, coarse))
        end = found.end()
    return tuple(part for part in (*parts, Part(other, text[end:])) if part.text or part.role is Role.PLACE)


def clean(template: str) -> Labelled:
    """The text without anybody in it. What stands in the place of a value is no clean token."""
    return Labelled(
        tuple(Part(Role.COARSE, part.text) if part.role is Role.PLACE else part for part in parse(template))
    )


def words(text: str) -> list[str]:
    """The words of a text that are not in a tag of the scrubber."""
    return re.findall(r"\w+", TAG.sub(" ", text))


@cache
def traces() -> tuple[str, ...]:
    """All templates of traces, blocks of log lines and single lines."""
    lines = (CORPORA / "lines.txt").read_text(encoding="utf-8").splitlines()
    blocks = (
        _BLOCK.split((CORPORA / f"{name}.txt").read_text(encoding="utf-8"))[1:] for name in ("java", "native", "apps")
    )
    return (*lines, *(block.removesuffix("\n") for name in blocks for block in name))
