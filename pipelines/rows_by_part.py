"""The rows of one file, to be put into another beside those of others: first their keys, then the rows themselves, in
bounded memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.errors import InputError
from pipelines.shared_files import PART, PART_TYPE, File
from schemas.datasets import EVENT_TOKEN, TOKEN
from transforms.columns import tag_words

_BUFFER = 1 << 16  # bytes that are read of a column at once
_LEAST = 1024  # rows that are read at once


class Rows:
    """A file whose entries become the parts `number`, `number` + 1 and so on. Rows that no entry names are left out."""

    def __init__(self, path: Path, decryption: object, file: File, number: int, at_once: int) -> None:
        self._parquet = pq.ParquetFile(path, decryption_properties=decryption, buffer_size=_BUFFER)
        self._file, self._number, self._at_once = file, number, max(at_once, _LEAST)
        self._rest, self._left = self._tables(None), []
        self._has_part = PART in self._parquet.schema_arrow.names
        last = max((entry.part or 0) for entry in file.entries)
        self._part_of = np.full(last + 2, -1, np.int16)  # the last for parts that no entry names
        self._part_of[[entry.part or 0 for entry in file.entries]] = np.arange(number, number + len(file.entries))

    @property
    def schema(self) -> pa.Schema:
        """Of the rows, without the parts."""
        return without_part(self._parquet.schema_arrow)

    @property
    def metadata(self) -> pq.FileMetaData:
        return self._parquet.metadata

    def keys(self) -> np.ndarray:
        """What each row is put in order by: the token of its event, or, where no row holds one, chance; ascending.
        Raises `InputError` where the entries' counts are not the file's."""
        name = self._ordered_by()
        rows = pa.concat_tables(self._tables([name or self.schema.names[0]]))
        counts = np.bincount(rows[PART].to_numpy() - self._number, minlength=len(self._file.entries))
        if counts.tolist() != [entry.rows for entry in self._file.entries]:
            raise InputError(f"file {self._file.name} has not the rows that the manifest says: bring it back")
        if name and not rows[name].null_count:
            keys = tag_words(rows[name].combine_chunks())
            if (keys[1:] >= keys[:-1]).all():
                return keys
        return np.sort(np.random.default_rng().integers(0, 1 << 64, len(rows), np.uint64))

    def _ordered_by(self) -> str | None:
        fields = {field.name: field.type for field in self.schema}
        return next((name for name in (EVENT_TOKEN, "event_id") if fields.get(name) == TOKEN), None)

    def take(self, count: int) -> pa.Table:
        """The next rows, with their parts."""
        held = sum(map(len, self._left))
        while held < count:
            self._left.append(next(self._rest))
            held += len(self._left[-1])
        table = pa.concat_tables(self._left) if self._left else self._empty()
        self._left = [table.slice(count)]
        return table.slice(0, count)

    def _empty(self) -> pa.Table:
        return self.schema.append(pa.field(PART, PART_TYPE)).empty_table()

    def _tables(self, columns: list[str] | None) -> Iterator[pa.Table]:
        wanted = None if columns is None else [*columns, *([PART] if self._has_part else [])]
        for batch in self._parquet.iter_batches(self._at_once, columns=wanted):
            table = pa.Table.from_batches([batch])
            old = table[PART].to_numpy() if self._has_part else np.zeros(len(table), np.int16)
            parts = self._part_of[np.minimum(old, len(self._part_of) - 1)]
            table = table.drop_columns([PART]) if self._has_part else table
            table = table.append_column(PART, pa.array(parts, PART_TYPE))
            yield table if (parts >= 0).all() else table.filter(pc.greater_equal(table[PART], 0))


def schema_of(path: Path, decryption: object) -> pa.Schema:
    """The columns of a file's rows."""
    with pq.ParquetFile(path, decryption_properties=decryption) as parquet:
        return without_part(parquet.schema_arrow)


def without_part(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field for field in schema.remove_metadata() if field.name != PART])


def labels_of(rows: Rows) -> set[str]:
    """The columns that the file holds by a dictionary."""
    if not rows.metadata.num_row_groups:
        return set()
    group = rows.metadata.row_group(0)
    columns = (group.column(place) for place in range(group.num_columns))
    return {column.path_in_schema for column in columns if column.has_dictionary_page}
