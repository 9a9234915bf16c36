"""Who feeds a watched directory: puts files in place whole, and says what is there."""

import gzip
import json
import os
from pathlib import Path

import zstandard

from pipelines.watch import MARKER

_PACK = {".gz": gzip.compress, ".zst": zstandard.compress}


class Feeder:
    """Feeds one folder. It goes on counting where an earlier one stopped."""

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._times = sorted(int(path.name[:13]) for path in self.folder.glob("[0-9]*"))

    def put(self, lines: bytes, from_ms: int, name: str = "", ending: str = ".ndjson") -> Path:
        """A file of lines of which none was received before `from_ms`."""
        path = self.folder / f"{from_ms:013}-{name or len(self._times)}{ending}"
        _put(path, _PACK.get(path.suffix, bytes)(lines))
        self._times.append(from_ms)
        return path

    def promise(self, low_watermark_ms: int) -> None:
        """All that was received before then is there."""
        files = sum(time < low_watermark_ms for time in self._times)
        marker = {"low_watermark_ms": low_watermark_ms, "files": files}
        _put(self.folder / MARKER, json.dumps(marker).encode())


def _put(path: Path, content: bytes) -> None:
    made = path.with_name(f".{path.name}")
    made.write_bytes(content)
    os.replace(made, path)
