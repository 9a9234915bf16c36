"""`douane read`: a dataset back in the clear, for who holds its keys."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError

FORMATS = (".parquet", ".jsonl", ".csv")


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Tokens and sealed identifiers come out as hexadecimal in JSON lines and CSV."""
    arguments = parser("read", __doc__)
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    arguments.add_argument("--region", required=True)
    arguments.add_argument("--dataset", required=True, help="a purpose, or PURPOSE_sensitive, or audit")
    arguments.add_argument("--out", required=True, metavar="FILE", help=f"written; its ending says how: {FORMATS}")
    arguments.add_argument(
        "--reveal",
        action="append",
        default=[],
        metavar="COLUMN",
        help="bring a reversibly sealed column back to its canonical form; may be given again",
    )
    options = arguments.parse_args(argv)
    return guarded("read", lambda: _read(options))


def _read(options) -> int:
    from pipelines.deployment import load_deployment
    from pipelines.stores import open_dataset

    out = Path(options.out)
    if out.suffix not in FORMATS:
        raise ConfigurationError(f"--out {out}: end it in one of {', '.join(FORMATS)}")
    place = load_deployment(options.deployment).place(options.region)
    dataset = open_dataset(options.deployment, options.region, options.dataset)
    if unknown := sorted(set(options.reveal) - set(dataset.schema.names)):
        raise ConfigurationError(f"--reveal {', '.join(unknown)}: no such column in {options.dataset}")
    batches = (_revealed(batch, options, place) for batch in dataset.to_batches())
    try:
        rows = _write(out, dataset.schema, batches)
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror or type(error).__name__}") from None
    print(f"{rows:,} rows of {options.dataset} in {options.region} written to {out}")
    return OK


def _revealed(batch: pa.RecordBatch, options, place) -> pa.RecordBatch:
    from transforms.pseudonymise import reveal, revealable

    purpose = options.dataset.removesuffix("_sensitive")
    for name in options.reveal:
        path = revealable(name, batch.schema.field(name).type)
        if path is None:
            raise ConfigurationError(f"--reveal {name}: not a reversibly sealed column; a token has no way back")
        column = reveal(batch.column(name), path, purpose, place.keyring())
        batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), column.cast(pa.binary()))
    return batch


def _write(out: Path, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    import pyarrow.csv
    import pyarrow.parquet as pq

    if out.suffix == ".jsonl":
        return _write_lines(out, batches)
    if out.suffix == ".csv":
        schema = pa.schema([pa.field(f.name, pa.string() if _binary(f.type) else f.type) for f in schema])
        writer, prepare = pyarrow.csv.CSVWriter(out, schema), _in_hex
    else:
        writer, prepare = pq.ParquetWriter(out, schema), lambda batch: batch
    rows = 0
    with writer:
        for batch in batches:
            writer.write_batch(prepare(batch))
            rows += batch.num_rows
    return rows


def _write_lines(out: Path, batches: Iterator[pa.RecordBatch]) -> int:
    import msgspec

    rows, encoder = 0, msgspec.json.Encoder()
    with open(out, "wb") as file:
        for batch in batches:
            file.write(encoder.encode_lines(_in_hex(batch).to_pylist()))
            rows += batch.num_rows
    return rows


def _in_hex(batch: pa.RecordBatch) -> pa.RecordBatch:
    columns = [_hex(column) if _binary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _hex(column: pa.Array) -> pa.StringArray:
    return pa.array([None if value is None else value.hex() for value in column.to_pylist()], pa.string())


def _binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_)


if __name__ == "__main__":
    sys.exit(main())
