"""Regional stores: encrypted Parquet files that count only if the region's manifest names them.

    <store>/<dataset>/received_date=YYYY-MM-DD/<logical name>.<run>.<random>.parquet

Each file has a random key of its own (Parquet Modular Encryption, AES-256-GCM, footer included), wrapped by the
dataset's key and kept in the manifest; the list of what is stopped in a dataset by the same key as the dataset. The
file's place is bound to it as additional data, so a file that was moved to
another region, dataset, date or name does not open.
"""

import hashlib
import operator
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe

from pipelines.deployment import Deployment, RegionalPlace, load_deployment
from pipelines.errors import ConfigurationError
from pipelines.manifest import Entry
from pipelines.shared_files import PART, PART_TYPE, File, files_of
from pipelines.standing import MARK, Marks, seen, standing, widened
from pipelines.stopped import Touching, lineage, lot, touching, untouched
from pipelines.whole_files import writing
from schemas.datasets import AUDIT, RECEIVED_DATE, STOPPED_SUFFIX, datasets, opened_by
from schemas.orders import STOPPED
from schemas.pack_files import DEFAULT_PACK, load_pack
from transforms.ipc import to_buffer
from transforms.keyring import BORDER, make_durable, side_by_side

ROW_GROUP = 250_000
_WRITE_BATCH = 16_384
_PARTITION = pa.field(RECEIVED_DATE, pa.string())


@dataclass(frozen=True)
class Staged:
    """A logical file that is written, and not yet in the manifest. `path` is None for an empty one."""

    place: RegionalPlace
    entry: Entry
    path: Path | None


def stage(
    place: RegionalPlace, dataset: str, received_date: str, logical: str, rows: pa.RecordBatch, run: str
) -> Staged:
    """Writes the physical file of one logical file. Nobody sees it before `commit`.

    Safe to repeat: each attempt writes a file of its own, and the manifest names one of them.
    """
    if not rows.num_rows:
        return Staged(place, Entry(dataset, received_date, logical, rows=0, run=run), None)
    file = f"{logical}.{run}.{secrets.token_hex(8)}.parquet"
    path, bound_to, key, wrapped = locked(place, dataset, received_date, file)
    content = _parquet(rows, key, bound_to)
    put_down(path, content)
    digest = _digest(place, dataset, rows)
    return Staged(
        place, Entry(dataset, received_date, logical, rows.num_rows, run, file, wrapped, digest, content.size), path
    )


def put_down(path: Path, content: pa.Buffer) -> None:
    """Writes a file; nobody waits for the disk yet. Raises `StoreError`."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def locked(place: RegionalPlace, dataset: str, received_date: str, file: str) -> tuple[Path, str, bytes, str]:
    """Where a new file goes, what it is bound to, and a key of its own: (path, bound to, key, the key wrapped)."""
    bound_to = _bound_to(place, dataset, received_date, file)
    key, wrapped = place.keyring().new_data_key(opened_by(dataset), bound_to)
    return _path(place, dataset, received_date, file), bound_to, key, wrapped


def commit(staged: Iterable[Staged]) -> None:
    """Makes files durable, all of them before the first one is named by the manifest, and puts them in it."""
    staged = list(staged)
    side_by_side(on_disk, (one.path for one in staged if one.path))
    # Of a folder that was made for them its name, too: the partition's, the dataset's.
    folders = {folder for one in staged if one.path for folder in one.path.parents[:3]}
    side_by_side(on_disk, folders)
    named = side_by_side(lambda one: one.place.manifest.put(one.entry), staged)
    for one, kept in zip(staged, named, strict=True):
        if one.path and not kept:  # erased in the meantime: nothing of it may stay
            one.path.unlink()


def on_disk(path: Path) -> None:
    """Waits until a file's content, or a folder's names, are on the disk. Raises `StoreError`."""
    with writing(path):
        make_durable(path)


def _digest(place: RegionalPlace, dataset: str, rows: pa.RecordBatch) -> str:
    """Keyed, since what a small file holds could be guessed and tried. The job's own key serves all datasets of a
    region; but the audit is written by others too, who have none of the job's."""
    of, opened = (AUDIT, f"dataset-{AUDIT}") if dataset == AUDIT else ("stored", BORDER)
    digest = hashlib.blake2b(digest_size=16, key=place.keyring().secret(f"digest/{of}", opened))
    digest.update(dataset.encode() + b"\0")  # equal rows of two datasets do not show
    digest.update(to_buffer(rows))
    return digest.hexdigest()


def _path(place: RegionalPlace, dataset: str, received_date: str, file: str) -> Path:
    return place.folder(dataset) / f"{RECEIVED_DATE}={received_date}" / file


def _bound_to(place: RegionalPlace, dataset: str, received_date: str, file: str) -> str:
    return f"{place.region}/{dataset}/{received_date}/{file}"


def _parquet(rows: pa.RecordBatch, key: bytes, bound_to: str) -> pa.Buffer:
    labels = [field.name for field in rows.schema if pa.types.is_dictionary(field.type)]
    sink = pa.BufferOutputStream()
    table, written = pa.Table.from_batches([rows]), how_written(rows.schema, labels, key, bound_to)
    pq.write_table(table, sink, row_group_size=ROW_GROUP, **written)
    return sink.getvalue()


def how_written(schema: pa.Schema, labels: Collection[str], key: bytes, bound_to: str) -> dict[str, Any]:
    """How a file of this schema is written. Random bytes are not compressed, nobody asks for the least and the greatest
    of them, and labels alone have a dictionary: the rest would cost time for nothing."""
    return {
        "write_batch_size": _WRITE_BATCH,
        "use_dictionary": list(labels),
        "compression": {field.name: _compression(field.type) for field in schema},
        "write_statistics": [field.name for field in schema if not _random(field.type)],
        "store_schema": False,
        "encryption_properties": pe.create_encryption_properties(
            key, aad_prefix=bound_to.encode(), store_aad_prefix=False
        ),
    }


def _random(type_: pa.DataType) -> bool:
    """Whether these are tokens, or sealed."""
    return pa.types.is_fixed_size_binary(type_) or pa.types.is_binary(type_)


def _compression(type_: pa.DataType) -> str:
    if _random(type_):
        return "none"
    return "zstd" if pa.types.is_string(type_) else "lz4"


def open_dataset(
    deployment: Deployment | str | Path, region: str, dataset: str, policy: str = DEFAULT_PACK
) -> ds.Dataset:
    """What a region's manifest names of a dataset, as one `pyarrow.dataset.Dataset`, without the rows that are stopped:
    those that an order is about which their judge did not know (5.3, 5.2-erase).

    A dataset of the policy pack that holds no row is empty. Raises `ConfigurationError` for an unknown region or
    dataset, `KeyUnavailable` for who lacks the keys, `PackError` for a pack that cannot be used, and `OSError` or
    `InputError` where the list of what is stopped cannot be read: without it nothing is.
    """
    if not isinstance(deployment, Deployment):
        deployment = load_deployment(deployment)
    place = deployment.place(region)
    place.keyring()  # who has no keys is told so, and not that there is nothing
    entries = [entry for entry in place.manifest.entries(dataset) if entry.file]
    if not entries and dataset in (known := datasets(load_pack(policy))):
        return ds.dataset(known[dataset].schema.append(_PARTITION).empty_table())
    if not entries:
        held = ", ".join(place.manifest.datasets()) or "nothing"
        raise ConfigurationError(f"region {region} holds no rows of dataset {dataset!r}; it holds: {held}")
    files = files_of(entries)
    return _opened(place, files, _stopped(place, dataset, files))


def _stopped(place: RegionalPlace, dataset: str, files: list[File]) -> Touching | None:
    """What the list of a dataset asks of these files; None where there is no list."""
    listed = files_of(place.manifest.entries(dataset + STOPPED_SUFFIX))
    if not listed:
        return None
    lots = [lot(entry) for file in files for entry in file.entries]
    return touching(*_listed(place, listed), lots)


def _listed(place: RegionalPlace, files: list[File]) -> tuple[pa.Table, pa.DictionaryArray]:
    """The rows of lists, and the lineage of each."""
    fragments = [_fragment(place, file) for file in files]
    # Of before they named event types, lists lack a column; and parts have those alone that lie together.
    schema = STOPPED.append(pa.field(PART, PART_TYPE))
    lists = ds.FileSystemDataset(fragments, schema, fragments[0].format, pyarrow.fs.LocalFileSystem())
    rows = lists.to_table(columns=[*schema.names, "__filename"]).combine_chunks()
    named = {(str(unlocked(place, f)[0]), e.part or 0): lineage(e) for f in files for e in f.entries}
    filenames = rows["__filename"].combine_chunks().dictionary_encode()
    codes = {name: code for code, name in enumerate(dict.fromkeys(named.values()))}
    of_part = np.full((len(filenames.dictionary), 1 + max(part for _, part in named)), -1, np.int32)
    for number, path in enumerate(filenames.dictionary.to_pylist()):
        for part in range(of_part.shape[1]):
            of_part[number, part] = codes.get(named.get((path, part)), -1)
    parts = pc.fill_null(rows[PART], 0).to_numpy()
    code = np.where(parts < of_part.shape[1], of_part[filenames.indices.to_numpy(), parts % of_part.shape[1]], -1)
    there = pa.array(code >= 0)  # rows of a part that no entry names are not
    lineages = pa.DictionaryArray.from_arrays(pa.array(code).filter(there), pa.array(codes))
    return rows.select(STOPPED.names).filter(there), lineages


def open_entries(place: RegionalPlace, entries: list[Entry]) -> ds.Dataset:
    """Some entries of a dataset, at least one."""
    return _opened(place, files_of(entries), None)


def _opened(place: RegionalPlace, files: list[File], stopped: Touching | None) -> ds.Dataset:
    """The files' rows that these entries name and nothing has stopped."""
    if (stopped and stopped.what.num_rows) or not all(file.whole for file in files):
        entries = sum(len(file.entries) for file in files)
        found = standing(stopped or untouched(entries), files, lambda at, marks: _fragment(place, files[at], marks))
        if found:
            return found
    fragments = [_fragment(place, file) for file in files]
    schema = seen(reduce(widened, (fragment.physical_schema for fragment in fragments)))
    schema = schema.append(_PARTITION)
    return ds.FileSystemDataset(fragments, schema, fragments[0].format, pyarrow.fs.LocalFileSystem())


def _fragment(place: RegionalPlace, file: File, marks: Marks | None = None) -> ds.Fragment:
    """A file; it carries its date, and marks if given, as values of all its rows."""
    path, decryption = unlocked(place, file)
    options = ds.ParquetFragmentScanOptions(decryption_properties=decryption)
    carried = [ds.field(RECEIVED_DATE) == file.entries[0].received_date]
    carried += [ds.field(name) == pa.scalar(number, MARK) for name, number in (marks or {}).items()]
    return ds.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(
        str(path), pyarrow.fs.LocalFileSystem(), partition_expression=reduce(operator.and_, carried)
    )


def unlocked(place: RegionalPlace, file: File) -> tuple[Path, object]:
    """Where a file is, and what opens it. Raises `KeyUnavailable` for who lacks the dataset's key."""
    entry = file.entries[0]
    bound_to = _bound_to(place, entry.dataset, entry.received_date, entry.file)
    key = place.keyring().data_key(opened_by(entry.dataset), entry.wrapped_key, bound_to)
    path = _path(place, entry.dataset, entry.received_date, entry.file)
    return path, pe.create_decryption_properties(key, aad_prefix=bound_to.encode())


def retire(place: RegionalPlace, input_id: str, run: str) -> None:
    """Empties what earlier runs over the same input stored and this run did not store again: under another pack,
    another number of shards or other windows rows go elsewhere, and must not stay where they were as well."""
    left = (entry for dataset in place.manifest.datasets() for entry in place.manifest.of(dataset, f"{input_id}-*"))
    nothing = pa.record_batch([], pa.schema([]))
    commit(
        stage(place, entry.dataset, entry.received_date, entry.logical, nothing, run)
        for entry in left
        if entry.file and entry.run != run
    )


def discard(place: RegionalPlace, run: str) -> None:
    """Removes what a run wrote and the manifest does not name, and nothing else: where the manifest is out of reach,
    files of other runs must not be taken for unnamed."""
    for dataset, folder in place.dataset_folders().items():
        if written := list(folder.glob(f"{RECEIVED_DATE}=*/*.{run}.*.parquet")):
            named = {entry.file for entry in place.manifest.entries(dataset)}
            for path in written:
                if path.name not in named:
                    path.unlink()


def sweep(place: RegionalPlace, prefix: str) -> int:
    """Removes files whose logical name starts with `prefix` and that the manifest does not name: what attempts that
    lost, and earlier runs over the same input, left behind. Returns how many."""
    removed = 0
    for dataset in place.manifest.datasets():
        named = {entry.file for entry in place.manifest.entries(dataset)}
        for path in place.folder(dataset).glob(f"{RECEIVED_DATE}=*/{prefix}*"):
            if path.name not in named:
                path.unlink()
                removed += 1
    return removed
