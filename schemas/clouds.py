"""Where clouds have machines in the country of a region's data centre."""

from functools import cache
from pathlib import Path

import yaml

_TABLE = Path(__file__).with_name("clouds.yaml")


def google_regions(region: str) -> tuple[str, ...]:
    """The regions of Google Cloud that may run the cell of a region (clause 6-dc); none for one that is not known."""
    return tuple(_table()["google"].get(region, ()))


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load(_TABLE.read_text())
