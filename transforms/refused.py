"""Lines that are certainly bad, by what refuses them fast. What it lets pass may be bad all the same."""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from operator import length_hint

import msgspec
import numpy as np


def refused(lines: list[bytes], decode: Callable[[bytes], object]) -> Iterator[int]:
    """The places of lines that are no UTF-8, or that a decoder of msgspec refuses, which may be the same."""
    return chain(_undecodable(lines), _untyped(lines, decode))


def _undecodable(lines: list[bytes]) -> Iterator[int]:
    """Those that are no UTF-8: msgspec does not look at the text that it skips."""
    for place in np.flatnonzero(~np.fromiter(map(bytes.isascii, lines), bool, len(lines))).tolist():
        try:
            lines[place].decode()
        except UnicodeDecodeError:
            yield place


def _untyped(lines: list[bytes], decode: Callable[[bytes], object]) -> Iterator[int]:
    """Those that msgspec does not take for what they should be."""
    rest = iter(lines)
    while True:
        try:
            deque(map(decode, rest), maxlen=0)
            return
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            yield len(lines) - length_hint(rest) - 1
