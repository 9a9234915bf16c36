"""What an endless source hands to the border: lines, and when a broker received each of them."""

from collections.abc import Iterator, Sequence

import numpy as np

from transforms.block import line_count
from transforms.decode import Received

# (lines, receipts): whole lines, and for stretches of them how many and when they were received in ms since the epoch,
# as pairs of little-endian int64; no receipts where each line says it itself.
Arrived = tuple[bytes, bytes]
ARRIVED_BYTES = 12 << 20  # of lines in one element, at most; but for a message that is larger by itself

_PAIR = np.dtype("<i8")


def arrived(messages: Sequence[bytes], received_ms: Sequence[int] | np.ndarray) -> Arrived:
    """Messages of one or more lines, none of them empty, and when each was received, as one element.

    A last line without LF gets one, so that no two messages can run into one line."""
    whole = [message if message[-1:] == b"\n" else message + b"\n" for message in messages]
    lines = np.array([message.count(b"\n") for message in whole], _PAIR)
    times = np.asarray(received_ms, _PAIR)
    first = np.flatnonzero(np.append(True, times[1:] != times[:-1]))[: len(times)]
    pairs = np.column_stack((np.add.reduceat(lines, first) if len(first) else lines, times[first]))
    return b"".join(whole), pairs.astype(_PAIR).tobytes()


def read_arrived(element: Arrived) -> Iterator[tuple[bytes, Received]]:
    """An element as the border reads it: the block, and when each of its lines was received. Raises ValueError if the
    receipts are not those of the lines."""
    block, receipts = element
    if not receipts:
        yield block, None
        return
    lines, times = np.frombuffer(receipts, _PAIR).reshape(-1, 2).T
    received = np.repeat(times, lines)
    if len(received) != line_count(block):
        raise ValueError("the receipts of a block are not those of its lines")
    yield block, received


def earliest_ms(element: Arrived) -> int:
    """The earliest receipt in it, in ms since the epoch."""
    return int(np.frombuffer(element[1], _PAIR)[1::2].min())
