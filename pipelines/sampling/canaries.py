"""Which identifying values were planted, so that a test can look for them where they must not be."""

import json
from pathlib import Path

import pyarrow as pa

SHORTEST = 7  # a shorter value may occur by chance
PLACEHOLDERS = frozenset({"00000000-0000-0000-0000-000000000000", "02:00:00:00:00:00", "unknown"})


class Canaries:
    """Distinct values with the path of a field in which each was planted; `quota` of a path are kept at most."""

    def __init__(self, quota: int = 80):
        self._quota = quota
        self._where: dict[str, str] = {}
        self._taken: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._where)

    def sample(self, where: str, column: pa.Array) -> None:
        """Keep some of the column's values, until the quota of `where` is full."""
        room = self._quota - self._taken.get(where, 0)
        if room > 0:
            self._keep(where, column.drop_null().slice(0, 4 * room).unique(), room)

    def keep_all(self, where: str, column: pa.Array) -> None:
        """Keep every distinct value of a column that has few."""
        distinct = column.drop_null().unique()
        self._keep(where, distinct, len(distinct))

    def _keep(self, where: str, distinct: pa.Array, room: int) -> None:
        fresh = [
            value
            for value in distinct.to_pylist()
            if len(value) >= SHORTEST and value not in PLACEHOLDERS and value not in self._where
        ]
        self._where |= dict.fromkeys(fresh[:room], where)
        self._taken[where] = self._taken.get(where, 0) + len(fresh[:room])

    def write(self, path: Path) -> None:
        listed = [{"value": value, "where": where} for value, where in self._where.items()]
        path.write_text(json.dumps({"canaries": listed}, indent=1) + "\n", encoding="utf-8")
