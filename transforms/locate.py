"""Where a record may live, from the signals that it carries."""

from collections.abc import Mapping
from functools import cache
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.countries import country_of_mcc
from schemas.regions import Residency

UNLOCATABLE = -1


def locate(residency_columns: Mapping[str, pa.Array | None], rules: Residency) -> tuple[np.ndarray, np.ndarray]:
    """The region of each row (int8, an index into `rules.regions`), and whether its signals named different regions.

    The first usable signal of `rules.signals` decides. If usable signals disagree and one of them names a localising
    region, the strongest localising region among those named wins (clauses 6-cn, 6-ru, 6-in, 6-eea). A signal is usable
    if it is exactly an assigned ISO 3166-1 alpha-2 code, or an assigned E.212 mobile country code (an integer or three
    digits), of a country that has a region. Without a usable signal the code is UNLOCATABLE: such a row has no store.

    The signals are what the device and the account claim; nothing here can tell that a claim is false.
    A column may be None or absent, but not all of them: then ValueError, since the number of rows is unknown.
    """
    columns = [residency_columns.get(signal) for signal in rules.signals]
    lengths = {len(column) for column in columns if column is not None}
    if len(lengths) != 1:
        raise ValueError(f"give at least one column of {', '.join(rules.signals)}, and all of one length")

    # What the signals of a row name, together, is one number: few are possible, so each is decided once.
    combination = np.zeros(lengths.pop(), np.int32)
    for signal, column in zip(rules.signals, columns, strict=True):
        combination *= len(rules.regions) + 1
        combination += UNLOCATABLE if column is None else _named_regions(signal, column, rules)
        combination -= UNLOCATABLE
    region, conflict = _decisions(rules)
    return region.take(combination), conflict.take(combination)


@cache
def _decisions(rules: Residency) -> tuple[np.ndarray, np.ndarray]:
    """Region and conflict for every combination of named regions, counted up with the last signal fastest."""
    codes = range(UNLOCATABLE, len(rules.regions))
    regions, conflicts = zip(
        *(_decide(named, rules) for named in product(codes, repeat=len(rules.signals))), strict=True
    )
    return np.array(regions, np.int8), np.array(conflicts)


def _decide(named: tuple[int, ...], rules: Residency) -> tuple[int, bool]:
    usable = [code for code in named if code != UNLOCATABLE]
    localising = [code for code in map(rules.code, rules.localising) if code in usable]
    winner = next(iter(localising or usable), UNLOCATABLE)
    return winner, len(set(usable)) > 1


def _named_regions(signal: str, column: pa.Array, rules: Residency) -> np.ndarray:
    """The region code that a signal names in each row, UNLOCATABLE where it is not usable."""
    if signal == "sim_mcc":
        return _code_of_mcc(rules)[_mcc(column)]
    return _code_of_pair(rules)[_letter_pairs(column)]


def _mcc(column: pa.Array) -> np.ndarray:
    """Integers, or text of three digits, as a number of 0 to 999; 0 or 999, which nobody has, for anything else."""
    if pa.types.is_string(column.type):
        known = pa.array(list(country_of_mcc()))
        column = known.take(pc.index_in(column, known.cast(column.type)))
    return np.clip(column.fill_null(0).to_numpy(), 0, 999)


def _letter_pairs(column: pa.Array) -> np.ndarray:
    """The bytes of each value of exactly two bytes as one number, the first byte high; 0 for anything else."""
    if not len(column):
        return np.zeros(0, np.uint16)
    column = column.cast(pa.string())
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int32)[column.offset : column.offset + len(column) + 1]
    data = np.frombuffer(data_buffer or b"", np.uint8)[offsets[0] : offsets[-1]]
    data = np.append(data, np.zeros(2, np.uint8))  # a value at the very end may be shorter than a pair
    pairs = (data[:-1].astype(np.uint16) << 8 | data[1:]).take(offsets[:-1] - offsets[0])
    usable = (np.diff(offsets) == 2) & column.is_valid().to_numpy(zero_copy_only=False)
    return np.where(usable, pairs, 0)


@cache
def _code_of_pair(rules: Residency) -> np.ndarray:
    codes = np.full(1 << 16, UNLOCATABLE, np.int8)
    for country, region in rules.region_of_country.items():
        codes[int.from_bytes(country.encode())] = rules.code(region)
    return codes


@cache
def _code_of_mcc(rules: Residency) -> np.ndarray:
    codes = np.full(1000, UNLOCATABLE, np.int8)
    for mcc, country in country_of_mcc().items():
        if country in rules.region_of_country:
            codes[mcc] = rules.code(rules.region_of_country[country])
    return codes
