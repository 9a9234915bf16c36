"""`douane read`: a dataset back in the clear, for who holds its keys."""

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError, InputError
from schemas.pack_files import DEFAULT_PACK

FORMATS = (".parquet", ".jsonl", ".csv")
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
Clear = Callable[[pa.RecordBatch], pa.RecordBatch]


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Tokens and sealed identifiers come out as hexadecimal in JSON lines and CSV; a sealed column
    that `--reveal` names is text in every format. A failed export leaves no file, and an older one as it was."""
    arguments = parser("read", __doc__)
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    arguments.add_argument("--region", required=True)
    arguments.add_argument("--dataset", required=True, help="a purpose, or PURPOSE_sensitive, or audit")
    arguments.add_argument(
        "--policy",
        default=DEFAULT_PACK,
        metavar="NAME|DIR",
        help="the pack that says what a dataset without rows looks like (default: %(default)s)",
    )
    how = f"written; its ending says how: {', '.join(FORMATS)}"
    arguments.add_argument("--out", required=True, metavar="FILE", help=how)
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
    deployment = load_deployment(options.deployment)
    with _reading(options):
        dataset = open_dataset(deployment, options.region, options.dataset, options.policy)
    clear = _clearing(options, dataset.schema, deployment.place(options.region).keyring())
    schema = clear(pa.RecordBatch.from_pylist([], dataset.schema)).schema
    with _put_whole(out) as file:
        rows = _write(file, out.suffix, schema, _batches(dataset, clear, options))
    print(f"{rows:,} rows of {options.dataset} in {options.region} written to {out}")
    return OK


@contextmanager
def _reading(options) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        which = f"dataset {options.dataset} of region {options.region}"
        why = "a file that the manifest names is missing, cut short or altered"
        raise InputError(f"{which} cannot be read ({type(error).__name__}): {why}; bring it back") from None


def _batches(dataset, clear: Clear, options) -> Iterator[pa.RecordBatch]:
    with _reading(options):
        yield from map(clear, dataset.to_batches())


def _clearing(options, schema: pa.Schema, keyring) -> Clear:
    """What brings a batch into the form that is asked for. Raises `ConfigurationError` for a column without one."""
    from transforms.pseudonymise import revealable

    if unknown := sorted(set(options.reveal) - set(schema.names)):
        raise ConfigurationError(f"--reveal {', '.join(unknown)}: no such column in {options.dataset}")
    sealed = {name: revealable(name, schema.field(name).type) for name in options.reveal}
    if without := [name for name, path in sealed.items() if path is None]:
        raise ConfigurationError(f"--reveal {', '.join(without)}: not reversibly sealed; a token has no way back")
    purpose = options.dataset.removesuffix("_sensitive")
    return partial(_clear, sealed=sealed, purpose=purpose, keyring=keyring, binary=options.out.endswith(".parquet"))


def _clear(batch: pa.RecordBatch, sealed: dict[str, str], purpose: str, keyring, binary: bool) -> pa.RecordBatch:
    from schemas.fields import EVENT_FIELD
    from transforms.keyring import KeyUnavailable
    from transforms.pseudonymise import reveal

    for name, path in sealed.items():
        try:
            column = reveal(batch.column(name), path, purpose, keyring)
        except ValueError:
            raise KeyUnavailable(f"column {name} was not sealed under the key that this keystore holds") from None
        batch = batch.set_column(batch.schema.names.index(name), name, _text(column, EVENT_FIELD[path].kind))
    if binary:
        return batch
    columns = [_hex(column) if _is_binary(column.type) else column for column in batch.columns]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _text(column: pa.Array, kind: str) -> pa.StringArray:
    """An identifier's canonical bytes as people write it: digits, aa:bb:cc:dd:ee:ff, hexadecimal, or text as it is."""
    from transforms.canonical import KINDS

    if kind == "mac":
        return pc.replace_substring_regex(_hex(column), "(..)(..)(..)(..)(..)(..)", r"\1:\2:\3:\4:\5:\6")
    if KINDS[kind].width is not None and kind not in ("imei", "imsi"):
        return _hex(column)
    text = column.cast(pa.binary()).cast(pa.string())
    return pc.ascii_rtrim(text, "F") if kind == "imsi" else text  # 14 digits are filled up with F


def _hex(column: pa.Array) -> pa.StringArray:
    """Each value's bytes in hexadecimal; a null stays null."""
    values = column.cast(pa.binary())
    _, offsets, data = values.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(values) + 1, 4 * values.offset)
    raw = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    digits = np.stack([_DIGITS[raw >> 4], _DIGITS[raw & 15]], axis=1)
    places = 2 * (bounds - bounds[0])
    text = pa.StringArray.from_buffers(len(values), pa.py_buffer(places), pa.py_buffer(digits))
    return pc.if_else(values.is_valid(), text, None)


def _is_binary(type_: pa.DataType) -> bool:
    return pa.types.is_binary(type_) or pa.types.is_fixed_size_binary(type_)


@contextmanager
def _put_whole(out: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete."""
    attempt = out.with_name(f".{out.name}.{secrets.token_hex(8)}.part")
    try:
        with open(attempt, "xb") as file:
            yield file
        attempt.replace(out)
    except InputError:
        raise
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror or type(error).__name__}") from None
    finally:
        attempt.unlink(missing_ok=True)


def _write(file: BinaryIO, suffix: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> int:
    import pyarrow.csv
    import pyarrow.parquet as pq

    if suffix == ".jsonl":
        return _write_lines(file, batches)
    rows = 0
    with pyarrow.csv.CSVWriter(file, schema) if suffix == ".csv" else pq.ParquetWriter(file, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows


def _write_lines(file: BinaryIO, batches: Iterator[pa.RecordBatch]) -> int:
    import msgspec

    rows, encoder = 0, msgspec.json.Encoder()
    for batch in batches:
        file.write(encoder.encode_lines(batch.to_pylist()))
        rows += batch.num_rows
    return rows


if __name__ == "__main__":
    sys.exit(main())
