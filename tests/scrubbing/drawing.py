"""The little that values of all kinds are drawn with."""

from collections.abc import Callable
from random import Random
from string import ascii_letters
from string import digits as decimal

Maker = Callable[[Random], str]

ALNUM = ascii_letters + decimal
URLSAFE = ALNUM + "-_"


def any_of(*makers: Maker) -> Maker:
    return lambda rng: rng.choice(makers)(rng)


def some(rng: Random, alphabet: str, least: int, most: int | None = None) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(least, most or least)))


def digits(rng: Random, count: int) -> str:
    return some(rng, decimal, count)


def hexadecimal(count: int) -> Maker:
    return lambda rng: rng.randbytes(count // 2).hex()


def syllables(rng: Random) -> str:
    """What sounds like a name, and is none but by accident."""
    return "".join(rng.choice("bdfghjklmnprstvwz") + rng.choice("aeiou") for _ in range(rng.randint(3, 4)))
