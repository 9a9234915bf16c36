"""Which policy packs come with douane. It reads none: who only names one does not wait for what reading takes."""

from pathlib import Path

SHIPPED = Path(__file__).parent / "packs"
DEFAULT_PACK = "2021-01-15"
