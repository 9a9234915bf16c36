"""What a process that runs a whole job does with memory that it is done with."""

import ctypes
import gc
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
_NEVER = (1 << 31) - 1
_AT_ONCE = 64 << 20


def hold_on() -> None:
    """Has glibc keep memory for the next block instead of giving it back: the kernel clears every page that it hands
    out, which was a tenth of a run's processor time. Without glibc nothing changes."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_MMAP_THRESHOLD, 1 << 30)
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_TOP_PAD, _AT_ONCE)


@contextmanager
def passed_by() -> Iterator[None]:
    """While its block runs the garbage collector passes by all that was there before: modules above all, which it would
    look through again and again for nothing."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
