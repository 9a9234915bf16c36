"""Texts with identifying snippets planted in them, from templates."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sampling import draws
from pipelines.sampling.ndjson import escape
from pipelines.sampling.places import PLACES

POOL = 24  # distinct snippets of a kind: few enough that a test can look for each of them

_SLOT = re.compile(r"\{(\w+)\}")  # where a template takes a snippet, or an odd word that is about nobody


def _emails(rng: np.random.Generator, rows: int) -> pa.Array:
    hosts = draws.pick(rng, rows, ("mail.example.com", "post.example.org", "example.net", "uni.example.edu"))
    names = (draws.random_text(rng, rows, width, draws.LETTERS) for width in (6, 8))
    return _joined(_joined(*names, "."), hosts.dictionary_decode(), "@")


def _phones(rng: np.random.Generator, rows: int) -> pa.Array:
    codes = draws.pick(rng, rows, [place.calling_code for place in PLACES]).dictionary_decode()
    return _joined("+", codes, "1", draws.numerals(draws.digits(rng, rows, 9)), "")


def _cards(rng: np.random.Generator, rows: int) -> pa.Array:
    numbers = draws.digits(rng, rows, 15)
    numbers[:, 0] = 4
    return draws.numerals(draws.with_luhn(numbers))


def _jwts(rng: np.random.Generator, rows: int) -> pa.Array:
    claims, signature = (draws.random_text(rng, rows, width, draws.BASE64URL) for width in (48, 43))
    return _joined("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ", _joined(claims, signature, "."), "")


def _joined(*parts: pa.Array | str) -> pa.Array:
    return pc.binary_join_element_wise(*parts)


_MAKERS: dict[str, Callable[[np.random.Generator, int], pa.Array]] = {
    "email": _emails,
    "phone": _phones,
    "imei": draws.imeis,
    "mac": draws.macs,
    "ipv4": draws.ipv4s,
    "ipv6": draws.ipv6s,
    "uuid": lambda rng, rows: draws.uuids(draws.random_bytes(rng, rows, 16)),
    "card": _cards,
    "jwt": _jwts,
    "token": lambda rng, rows: draws.random_text(rng, rows, 40),
    "user": lambda rng, rows: draws.random_text(rng, rows, 9, draws.LETTERS),
    "secret": lambda rng, rows: draws.random_text(rng, rows, 14),
    "query": lambda rng, rows: draws.random_text(rng, rows, 12, draws.LETTERS),
    "android": lambda rng, rows: draws.random_hex(rng, rows, 8),
}
_HARMLESS: dict[str, Callable[[np.random.Generator, int], pa.Array]] = {
    "line": lambda rng, rows: pa.array(rng.integers(20, 2000, rows)).cast(pa.string()),
    "pc": lambda rng, rows: draws.random_hex(rng, rows, 4),
}


@dataclass(frozen=True)
class Written:
    """A column of texts, and what was planted in it: (rows, one snippet for each of these rows)."""

    texts: pa.Array = field(repr=False)
    planted: list[tuple[np.ndarray, pa.Array]] = field(repr=False)

    def snippets(self, good: np.ndarray) -> list[pa.Array]:
        """The snippets in the rows that are marked `good`."""
        return [values.filter(pa.array(good[rows])) for rows, values in self.planted]


@dataclass(frozen=True)
class Snippets:
    """A pool for each kind of snippet that a scrubber must find."""

    pools: Mapping[str, pa.Array] = field(repr=False)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Snippets":
        return cls({kind: make(rng, POOL) for kind, make in _MAKERS.items()})

    def write(self, rng: np.random.Generator, chosen: np.ndarray, templates: Sequence[str]) -> "Written":
        """The text of each row from the template `templates[chosen]`, JSON-escaped."""
        order = np.argsort(chosen, kind="stable")
        ends = np.cumsum(np.bincount(chosen, minlength=len(templates)))
        texts, planted = [], []
        for template, mine in zip(templates, np.split(order, ends[:-1]), strict=True):
            slots = [(kind, self._fill(rng, kind, len(mine))) for kind in _SLOT.findall(template)]
            planted += [(mine, values) for kind, values in slots if kind in self.pools]
            literals = [escape(literal) for literal in _SLOT.split(template)[::2]]
            texts.append(_woven(literals, [values for _, values in slots], len(mine)))
        return Written(pa.concat_arrays(texts).take(pa.array(np.argsort(order))), planted)

    def _fill(self, rng: np.random.Generator, kind: str, rows: int) -> pa.Array:
        if kind in self.pools:
            return self.pools[kind].take(pa.array(rng.integers(0, POOL, rows)))
        return _HARMLESS[kind](rng, rows)


def _woven(literals: list[str], values: list[pa.Array], rows: int) -> pa.Array:
    """The literals with a value between each two."""
    if not values:
        return pa.repeat(literals[0], rows)
    parts: list[pa.Array | str] = [literals[0]]
    for value, literal in zip(values, literals[1:], strict=True):
        parts += [value, literal]
    return pc.binary_join_element_wise(*parts, "")
