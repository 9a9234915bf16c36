"""Physical files and the logical files in them: one as a rule, several where a day was compacted (ADR 20).

A shared file has a column of its own, hidden from readers, that says of each row which of its logical files it is of.
Rows that no entry names are not there for any reader: what they were is named elsewhere by now, or erased.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from pipelines.manifest import Entry

PART = "_part"
PART_TYPE = pa.int16()


@dataclass(frozen=True)
class File:
    """A physical file, and the entries that name it, at least one."""

    entries: tuple[Entry, ...]

    @property
    def name(self) -> str:
        return self.entries[0].file

    @property
    def bytes(self) -> int:
        return self.entries[0].bytes

    @property
    def shared(self) -> bool:
        return self.entries[0].part is not None

    @property
    def whole(self) -> bool:
        """Whether these entries name all of its rows."""
        return not self.shared or self.entries[0].among == sum(entry.rows for entry in self.entries)


def files_of(entries: Iterable[Entry]) -> list[File]:
    """The files that entries of one dataset name, in the order of their first entries; empty ones name none."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        if entry.file:
            found.setdefault((entry.received_date, entry.file), []).append(entry)
    return [File(tuple(named)) for named in found.values()]
