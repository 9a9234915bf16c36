"""Where clouds have machines, by country."""

from functools import cache
from pathlib import Path

import yaml

_TABLE = Path(__file__).with_name("clouds.yaml")


def google_regions(country: str) -> tuple[str, ...]:
    """The regions of Google Cloud in a country; none for one that is not listed."""
    return tuple(_table()["google"].get(country, ()))


@cache
def _table() -> dict[str, dict[str, list[str]]]:
    return yaml.safe_load(_TABLE.read_text())
