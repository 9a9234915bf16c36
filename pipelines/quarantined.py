"""What a region's quarantine holds, read back; its lines only for who has the private key."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.errors import ConfigurationError, InputError
from pipelines.manifest import Entry
from pipelines.replay_plans import Plan, read_plan, settled
from pipelines.stores import commit, open_entries, stage, sweep
from schemas.datasets import QUARANTINE
from schemas.quarantine import CLEAR, INPUTS, KEPT, MENDED, REPLAYED, ROW_ID, ROWS
from schemas.regions import Residency
from transforms.envelope import key_id, open_lines, read_private, seal_lines
from transforms.keyring import KeyUnavailable
from transforms.locate import UNLOCATABLE
from transforms.quarantine import locate_lines, place_of, recipient, row_id, row_id_key

MENDED_INPUT = "mended"  # what a mended line is sealed as, so that it passes for no line that came in
_BLOCK_BYTES = 32 << 20


def held(place: RegionalPlace, logical: str = "*", *, sealed: bool = False) -> pa.Table:
    """The rows of a region's quarantine, what is sealed in them only if asked for. A row that was sent again and is
    settled has the state `replayed`.

    Raises `KeyUnavailable` for who lacks the region's keys, and `InputError` for a store that is damaged.
    """
    place.keyring()  # who has no keys is told so, and not that there is nothing
    entries = [entry for entry in place.manifest.of(QUARANTINE, logical) if entry.file]
    rows = _rows(place, entries, ROWS if sealed else CLEAR)
    done = pc.is_in(rows["row_id"], value_set=row_ids(settled(place)))
    state = pc.if_else(done, REPLAYED, rows["state"])
    return rows.set_column(rows.schema.get_field_index("state"), "state", state)


def _rows(place: RegionalPlace, entries: list[Entry], schema: pa.Schema) -> pa.Table:
    if not entries:
        return schema.empty_table()
    try:
        return open_entries(place, entries).to_table(columns=schema.names).cast(schema)
    except (OSError, pa.ArrowException) as error:
        why = "a file that the manifest names is missing, cut short or altered"
        raise InputError(f"the quarantine of {place.region} cannot be read ({type(error).__name__}): {why}") from None


def distinct(rows: pa.Table) -> pa.Table:
    """One row of each row id, in their order: a line may have come in by several inputs."""
    rows = rows.filter(pc.is_valid(rows["row_id"])).sort_by("row_id")
    ids = rows["row_id"].to_numpy()
    return rows.filter(pa.array(np.append(True, ids[1:] != ids[:-1])[: len(ids)]))


def waiting(place: RegionalPlace, reason: str | None = None, *, sealed: bool = False) -> pa.Table:
    """The lines that nobody has dealt with yet, each once."""
    rows = distinct(held(place, sealed=sealed))
    rows = rows.filter(pc.equal(rows["state"], KEPT))
    return rows if reason is None else rows.filter(pc.equal(rows["reason"], reason))


def private_key_file(folder: str | Path, region: str) -> Path:
    """Where the private half of a region's key is, in a folder of such keys."""
    return Path(folder) / f"{region}.pem"


def reachable(
    rows: pa.Table, region: str, folder: str | Path, say: Callable[[str], None]
) -> tuple[pa.Table, X25519PrivateKey]:
    """The rows that the private key of this folder opens, and the key. Raises `KeyUnavailable` if it opens none."""
    path = private_key_file(folder, region)
    private = read_private(path)
    own = rows.filter(pc.equal(rows["key_id"], pa.scalar(key_id(private.public_key()), pa.binary(8))))
    if not len(own):
        raise KeyUnavailable(f"{path} opens none of the lines of {region}: they were sealed to another key")
    if others := len(rows) - len(own):
        say(f"{region}: {others:,} lines were sealed to another key, and stay closed")
    return own, private


def row_ids(ids: Iterable[bytes]) -> pa.Array:
    """Row ids as a column has them."""
    return pa.array(ids, ROW_ID)


def as_text(line: bytes) -> str:
    """A line as a string of JSON can hold it. Bytes that are no UTF-8 become surrogates; `as_line` brings them back."""
    return line.decode(errors="surrogateescape")


def as_line(text: str) -> bytes:
    """The line that a string stands for. Raises ValueError for what cannot be a line."""
    line = text.encode(errors="surrogateescape")
    if b"\n" in line:
        raise ValueError("more than one line")
    return line


def lines_of(rows: pa.Table, private: X25519PrivateKey, region: str) -> Iterator[tuple[str, str, str, bytes]]:
    """(row id in hexadecimal, input, reason, line) of rows of one region. Raises `KeyUnavailable`."""
    for input_ in INPUTS:
        own = rows.filter(pc.equal(rows["input"], input_))
        opened = open_lines(own, private, place_of(region, input_))
        for id_, reason, line in zip(own["row_id"].to_pylist(), own["reason"].to_pylist(), opened, strict=True):
            yield id_.hex(), input_, reason, line


def rejected_in(place: RegionalPlace, input_id: str) -> set[str]:
    """The row ids, in hexadecimal, that the run over an input left in a quarantine."""
    return {id_.hex() for id_ in held(place, f"{input_id}-*")["row_id"].to_pylist() if id_}


def drop_repeated(place: RegionalPlace, input_id: str, run: str) -> None:
    """Takes out of what a run left in a quarantine what other runs had put there already: a line that is sent again and
    again, and rejected each time, is kept once."""
    entries = [entry for entry in place.manifest.entries(QUARANTINE) if entry.file]
    own = [entry for entry in entries if entry.logical.startswith(f"{input_id}-")]
    others = _rows(place, [entry for entry in entries if entry not in own], CLEAR)
    for entry in own:
        rows = _rows(place, [entry], ROWS)
        left = rows.filter(pc.invert(pc.is_in(rows["row_id"], value_set=others["row_id"].combine_chunks())))
        (batch,) = left.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], ROWS)]
        commit([stage(place, QUARANTINE, entry.received_date, entry.logical, batch, run)])
    sweep(place, input_id)


def read_mended(path: Path) -> dict[str, bytes]:
    """Lines by row id, from a file that `open` wrote. Raises `InputError`, which says where and holds no value."""
    lines: dict[str, bytes] = {}
    try:
        written = path.read_bytes().splitlines()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from None
    for number, row in enumerate(written, 1):
        try:
            content = json.loads(row)
            id_, line = bytes.fromhex(content["row_id"]), as_line(content["line"])
            if len(id_) != ROW_ID.byte_width:
                raise ValueError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{path}, line {number}: give what `open` wrote, with one line as `line`") from None
        lines[id_.hex()] = line
    return lines


def seal_mended(
    lines: Mapping[str, bytes], place: RegionalPlace, where: Residency, served: Collection[str]
) -> pa.RecordBatch:
    """Rows of MENDED for the lines that differ from what was rejected. Raises `ConfigurationError` if one of them
    belongs to a region that is not served: sent from here, it would be lost."""
    key, recipient_ = row_id_key(place.keyring()), recipient(place.keys)
    changed = {id_: line for id_, line in lines.items() if row_id(line, key, "telemetry").hex() != id_}
    regions = locate_lines(list(changed.values()), where).tolist()
    if elsewhere := sum(code != UNLOCATABLE and where.regions[code] not in served for code in regions):
        raise ConfigurationError(f"{elsewhere:,} mended lines belong to regions that this cell does not serve")
    if not changed or recipient_ is None:
        return pa.RecordBatch.from_pylist([], MENDED)
    ids = list(map(bytes.fromhex, changed))
    sealed = seal_lines(list(changed.values()), ids, recipient_, place_of(place.region, MENDED_INPUT))
    return pa.RecordBatch.from_arrays([row_ids(ids), *sealed.columns], schema=MENDED)


def parts(plan: Plan, place: RegionalPlace) -> list[tuple[int, int]]:
    """The rows of a plan in pieces of about a block; [start, end) in its row ids."""
    rows = distinct(held(place))
    sizes = dict(zip((id_.hex() for id_ in rows["row_id"].to_pylist()), rows["bytes"].to_pylist(), strict=True))
    ends = np.cumsum([sizes.get(row_id, 0) for row_id in plan.row_ids])
    edges = (np.flatnonzero(np.diff(ends // _BLOCK_BYTES)) + 1).tolist()
    return list(zip([0, *edges], [*edges, len(plan.row_ids)], strict=True))


def read_again(part: tuple[str, int, int], deployment: str, region: str, private: str) -> Iterator[tuple[bytes, int]]:
    """The lines of (plan file, start, end) as a block, and when they are received, as the border reads them; opened
    here and nowhere before."""
    path, start, end = part
    plan, place, key = read_plan(Path(path)), load_deployment(deployment).place(region), read_private(Path(private))
    wanted = row_ids(map(bytes.fromhex, plan.row_ids[start:end]))
    mended = plan.mended_rows
    mended = mended.filter(pc.is_in(mended["row_id"], value_set=wanted))
    rows = distinct(held(place, sealed=True))
    rows = rows.filter(pc.is_in(rows["row_id"], value_set=wanted))
    rows = rows.filter(pc.invert(pc.is_in(rows["row_id"], value_set=mended["row_id"].combine_chunks())))
    lines = [line for *_, line in lines_of(rows, key, region)] + open_lines(mended, key, place_of(region, MENDED_INPUT))
    yield b"".join(line + b"\n" for line in lines if line is not None), plan.received_ms
