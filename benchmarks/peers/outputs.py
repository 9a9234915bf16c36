"""What the job and its peers have written, brought to one form and compared: the same rows of each dataset, as often.

A pseudonym is known by what it stands for. The benchmark holds the job's keys and the peers' alike, so it makes the
token of every identifier of the sample in both ways, and puts a number of the identifier in the token's place. A token
of nothing in the sample is an error. The fingerprint of a trace is that of its crash group in the job and of the whole
trace in a peer: both become the group.
"""

import hmac
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from pipelines.blocks import read_blocks, spans
from pipelines.deployment import load_deployment
from pipelines.stores import open_dataset
from schemas.datasets import RECEIVED_DATE, Dataset, DatasetColumn, datasets
from schemas.fields import CRASH_GROUP, EVENT_FIELDS, EVENT_TYPES
from schemas.pack_files import load_pack
from schemas.policy import Form
from schemas.shape import arrow_schema, leaf_columns
from transforms.canonical import canonical
from transforms.crash_groups import crash_groups
from transforms.keyring import open_keyring
from transforms.locate import locate
from transforms.pseudonymise import Tokens, epoch_of, reveal
from transforms.seal import Seals
from transforms.times import parse_times

_SIGNALS = tuple(field.path for field in EVENT_FIELDS if field.path.startswith("residency."))
_TOKENS = (Form.TOKEN, Form.FINGERPRINT)


class Outputs:
    """The outputs over one sample, of which every record lies in one epoch of pseudonyms."""

    def __init__(self, events: Path, deployment: Path) -> None:
        self._pack, self._deployment = load_pack(), load_deployment(str(deployment))
        self._columns = _read(events)
        signals = {path.partition(".")[2]: self._columns[path] for path in _SIGNALS}
        self._region = locate(signals, self._pack.where)[0].astype(np.int64)
        self._event_type = pc.index_in(self._columns["event_type"], pa.array(EVENT_TYPES)).to_numpy()
        self._received, _ = parse_times(self._columns["received_time"])
        keys = {self._pack.where.code(name): place.keys for name, place in self._deployment.regions.items()}
        self._keyrings = {code: open_keyring(uri) for code, uri in keys.items()}
        self._seals, self._tokens = Seals(self._keyrings), Tokens(self._pack, keys)
        self._made: dict[tuple, tuple[pa.Array, pa.Array, pa.DictionaryArray]] = {}
        self._ours: dict[str, pa.Table] = {}

    def differing(self, peer: Path, stored: dict[str, int]) -> dict[str, int]:
        """By dataset, how many rows the peer has that the job has not, or the other way round; {} where they agree.
        `stored` are the rows that the job says it has stored. Raises ValueError for a token of nothing."""
        found = {}
        for name, dataset in datasets(self._pack).items():
            ours, theirs = self.ours(dataset), self.theirs(dataset, peer)
            if ours.num_rows != stored.get(name, 0):
                raise ValueError(f"{name}: the job says that it stored another number of rows")
            if rows := _unlike(ours, theirs):
                found[name] = rows
        return found

    def ours(self, dataset: Dataset) -> pa.Table:
        """The job's rows of a dataset, in every region, with numbers of identifiers in the place of tokens."""
        if dataset.name not in self._ours:
            self._ours[dataset.name] = self._read_ours(dataset)
        return self._ours[dataset.name]

    def _read_ours(self, dataset: Dataset) -> pa.Table:
        parts = []
        for region, place in self._deployment.regions.items():
            if dataset.name in place.manifest.datasets():
                table = open_dataset(self._deployment, region, dataset.name).to_table().drop_columns([RECEIVED_DATE])
                parts.append(self._opened(dataset, table, self._pack.where.code(region), ours=True))
        return pa.concat_tables(parts) if parts else _empty(dataset)

    def theirs(self, dataset: Dataset, peer: Path) -> pa.Table:
        """The peer's rows, which are in one file a dataset with a column `region`."""
        if not (peer / f"{dataset.name}.parquet").exists():
            return _empty(dataset)
        table = pq.read_table(peer / f"{dataset.name}.parquet")
        parts = []
        for region in table["region"].unique().to_pylist():
            own = table.filter(pc.equal(table["region"], region)).drop_columns(["region"])
            parts.append(self._opened(dataset, own, self._pack.where.code(region), ours=False))
        return pa.concat_tables(parts) if parts else _empty(dataset)

    def _opened(self, dataset: Dataset, table: pa.Table, region: int, ours: bool) -> pa.Table:
        columns = [table["event_type"].cast(pa.string()), table["event_time"].cast(pa.timestamp("ms", tz="UTC"))]
        for column in dataset.columns:
            values = table[column.name].combine_chunks()
            if column.form is Form.SEALED and ours:
                raw = reveal(values, column.field.path, dataset.purpose, self._keyrings[region])
                known = self._dictionary(dataset.purpose, column, region)[2].dictionary
                columns.append(pc.index_in(raw.cast(known.type), known))
            elif column.form in (*_TOKENS, Form.SEALED):
                columns.append(self._identified(values, dataset, column, region, ours))
            elif pa.types.is_floating(column.type):  # whose last digits each rounds in its own way: as millionths
                columns.append(pc.round(pc.multiply(values.cast(pa.float64()), 1e6)).cast(pa.int64()))
            else:
                columns.append(values.cast(column.type))
        names = ["event_type", "event_time", *(column.name for column in dataset.columns)]
        return pa.table([*columns, pa.repeat(region, table.num_rows)], names=[*names, "region"])

    def _identified(
        self, tokens: pa.Array, dataset: Dataset, column: DatasetColumn, region: int, ours: bool
    ) -> pa.Array:
        own, others, form = self._dictionary(dataset.purpose, column, region)
        places = pc.index_in(tokens.cast(pa.binary(16)), own if ours else others)
        if places.null_count != tokens.null_count:
            raise ValueError(f"{dataset.name}.{column.name}: a token of nothing in the sample")
        return form.indices.take(places)

    def _dictionary(
        self, purpose: str, column: DatasetColumn, region: int
    ) -> tuple[pa.Array, pa.Array, pa.DictionaryArray]:
        """The job's token, the peers' token and the canonical form of all that may stand in a column of a region."""
        key = purpose, column.field.path, region
        if key not in self._made:
            raw, form = self._values(column, region)
            epoch = epoch_of(int(self._received[0]), self._pack.purposes[purpose].token_epoch)
            kind = column.field.kind or "text"
            prefix = f"{self._pack.where.regions[region]}/{epoch}/{kind}/".encode()
            secret = f"benchmark/{purpose}".encode()
            theirs = [hmac.digest(secret, prefix + value, "sha256")[:16] for value in raw.cast(pa.binary()).to_pylist()]
            sealed = self._seals.tag(kind, form, np.full(len(form), region))
            ours = self._tokens.cipher(region, purpose, kind, epoch).tag(sealed)
            self._made[key] = ours, pa.array(theirs, pa.binary(16)), form.dictionary_encode()
        return self._made[key]

    def _values(self, column: DatasetColumn, region: int) -> tuple[pa.Array, pa.Array]:
        """Each distinct value that the events of a region have in this column, as it is written and in the form that
        is sealed."""
        at = pa.array(np.flatnonzero((self._region == region) & np.isin(self._event_type, list(column.events))))
        path, kind = column.field.path, column.field.kind
        written = self._columns[path].take(at)
        if kind == CRASH_GROUP:
            form = crash_groups(written, self._columns["crash.exception"].take(at))
        else:
            form = canonical(kind, written)[0] if kind else written
        both = pa.table({"written": written, "form": form}).filter(form.is_valid())
        both = both.group_by(["written", "form"]).aggregate([])
        return both["written"].combine_chunks(), both["form"].combine_chunks()


def _read(events: Path) -> dict[str, pa.Array]:
    parsing = pa.json.ParseOptions(explicit_schema=arrow_schema(EVENT_FIELDS), unexpected_field_behavior="ignore")
    blocks = (block for span in spans([str(events)]) for block in read_blocks(span))
    tables = [
        pa.json.read_json(pa.BufferReader(block), pa.json.ReadOptions(block_size=len(block) + 1), parsing)
        for block in blocks
    ]
    (batch,) = pa.concat_tables(tables).combine_chunks().to_batches()
    return leaf_columns(batch, EVENT_FIELDS)


def _empty(dataset: Dataset) -> pa.Table:
    hashed = (*_TOKENS, Form.SEALED)
    types = {column.name: pa.int32() if column.form in hashed else column.type for column in dataset.columns}
    types = {name: pa.int64() if pa.types.is_floating(type_) else type_ for name, type_ in types.items()}
    head = {"event_type": pa.string(), "event_time": pa.timestamp("ms", tz="UTC")}
    return pa.schema(head | types | {"region": pa.int64()}).empty_table()


def _unlike(ours: pa.Table, theirs: pa.Table) -> int:
    """How many rows one has more often than the other."""
    theirs = theirs.select(ours.column_names)
    both = pa.concat_tables([ours, theirs]).append_column(
        "sign", pa.array(np.repeat([1, -1], [ours.num_rows, theirs.num_rows]))
    )
    return int(pc.sum(pc.abs(both.group_by(ours.column_names).aggregate([("sign", "sum")])["sign_sum"])).as_py() or 0)
