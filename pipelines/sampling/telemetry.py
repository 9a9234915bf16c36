"""The telemetry of a sample, chunk by chunk in the order of receipt."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.sampling import draws, events, faults
from pipelines.sampling.ndjson import encode

CHUNK = 50_000  # lines; bounds the memory, whatever the size of the sample
DUPLICATES = 0.015  # share of the lines that were sent before; half of them are received anew
_TYPES = tuple(events.SHARES)
_TYPE_SHARES = np.array(list(events.SHARES.values()))


@dataclass(frozen=True)
class Period:
    """From `start_ms` (milliseconds since 1970) on for `days` days."""

    start_ms: int
    days: int

    def at(self, share: np.ndarray) -> np.ndarray:
        """When that share of all events is received: most in the evening, few at night. Milliseconds since 1970."""
        hours = np.arange(self.days * 24 + 1)
        traffic = 1 + 0.7 * np.sin((hours - 11) / 24 * 2 * np.pi)
        received = np.concatenate([[0], np.cumsum(traffic[1:])])
        return self.start_ms + (np.interp(share, received / received[-1], hours) * 3_600_000).astype(np.int64)


def chunks(lines: int) -> range:
    """The numbers of the chunks of so many lines."""
    return range(-(-lines // CHUNK))


def chunk(world: events.World, period: Period, lines: int, bad_share: float, seed: int, number: int) -> pa.BinaryArray:
    """One chunk of `lines` lines in all, of which round(lines * bad_share) are bad. It says the same whichever chunks
    were made before."""
    start = number * CHUNK
    end = min(start + CHUNK, lines)
    bad = round(end * bad_share) - round(start * bad_share)
    rng = np.random.default_rng([seed, 2, number])
    shares = (start + np.sort(rng.random(end - start)) * (end - start)) / lines
    return _chunk(world, rng, period.at(shares), bad)


def _chunk(world: events.World, rng: np.random.Generator, received: np.ndarray, bad: int) -> pa.BinaryArray:
    """One line for each time of receipt."""
    lines = len(received)
    rows = lines - min(round(lines * DUPLICATES), (lines - bad) // 2)
    again = np.sort(rng.permutation(rows)[: lines - rows])
    spoilt = rng.permutation(np.setdiff1d(np.arange(rows), again))[:bad]
    intact = np.ones(rows, bool)
    intact[spoilt] = False
    first = np.sort(rng.permutation(received)[:rows])
    later = _received_again(rng, first[again], received[-1])
    made, row, when = _made(world, rng, first, intact, again, later)

    position = np.flatnonzero(np.isin(row, spoilt))
    everything = pa.concat_arrays([made, faults.spoil(rng, made.take(pa.array(position)))])
    source = np.arange(lines)
    source[position] = lines + np.arange(bad)
    order = np.argsort(when + rng.integers(0, 3_000, lines), kind="stable")  # neighbours swap places
    return everything.take(pa.array(source[order]))


def _received_again(rng: np.random.Generator, received: np.ndarray, last: int) -> np.ndarray:
    later = received + (rng.random(len(received)) * (last - received)).astype(np.int64)
    return np.where(draws.chance(rng, len(received), 0.5), later, received)


def _made(
    world: events.World,
    rng: np.random.Generator,
    first: np.ndarray,
    intact: np.ndarray,
    again: np.ndarray,
    later: np.ndarray,
) -> tuple[pa.BinaryArray, np.ndarray, np.ndarray]:
    """The lines grouped by event type, with the row and the time of receipt of each; the rows `again` twice."""
    kind = rng.choice(len(_TYPES), len(first), p=_TYPE_SHARES)
    lines, rows, times = [], [], []
    for code, event_type in enumerate(_TYPES):
        mine = np.flatnonzero(kind == code)
        repeated = kind[again] == code
        columns = events.columns(world, rng, event_type, first[mine], intact[mine])
        copied = pa.array(np.searchsorted(mine, again[repeated]))
        copies = {path: column.take(copied) for path, column in columns.items()}
        copies["received_time"] = draws.times(later[repeated])
        lines += [encode(columns), encode(copies)]
        rows += [mine, again[repeated]]
        times += [first[mine], later[repeated]]
    return pa.concat_arrays(lines), np.concatenate(rows), np.concatenate(times)
