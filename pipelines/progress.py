"""Progress of a run that goes on in this process: how much of the input has been read, on one line of the terminal.

On a runner elsewhere nothing is shown here; its own page shows more.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from pipelines.blocks import Span, read_blocks


class Progress:
    """Shows progress while its block runs; where standard error is no terminal, its first and last word only. What
    fails has no last word: that it failed is told once, by the command."""

    _read: ClassVar[int] = 0  # bytes read in this process

    def __init__(self, paths: Sequence[str], then: str = "judged and stored") -> None:
        self._then = then
        self._total = sum(os.path.getsize(path) for path in paths)
        self._packed = any(path.endswith((".gz", ".zst")) for path in paths)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)

    @classmethod
    def advance(cls, count: int) -> None:
        """Called where a block was read."""
        cls._read += count

    def __enter__(self) -> "Progress":
        Progress._read = 0
        self._started = time.monotonic()
        print(f"reading {self._total / 1e6:,.1f} MB", file=sys.stderr)
        self._thread.start()
        return self

    def __exit__(self, failure: type | None, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if failure is None:
            print(f"{self._line()}, done", file=sys.stderr)

    def _show(self) -> None:
        while not self._done.wait(0.5):
            if sys.stderr.isatty():
                print(f"\r{self._line()}", end="", file=sys.stderr, flush=True)
        if sys.stderr.isatty():
            print("\r", end="", file=sys.stderr)

    def _line(self) -> str:
        seconds = time.monotonic() - self._started
        if self._packed:
            return f"{Progress._read / 1e6:,.1f} MB unpacked and sealed in {seconds:.1f} s"
        step = "sealed" if Progress._read < self._total else f"sealed; {self._then}"
        return f"{min(1, Progress._read / max(1, self._total)):4.0%} {step} in {seconds:.1f} s"


def read_span(span: tuple[str, int, int]) -> Iterator[tuple[bytes, None]]:
    """The blocks of lines of one span, as the border reads them: the lines say themselves when they were received."""
    path, start, end = span
    for block in read_blocks(Span(path, start, None if end < 0 else end)):
        yield block, None
        Progress.advance(len(block))
