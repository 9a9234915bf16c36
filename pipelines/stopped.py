"""Which orders touch which files of a dataset (5.3, 5.2-erase): those whose stop the judge of the file did not know.

A file lies in a lot, (lineage, shard, window). The dataset's list says of each order which lots knew its stop first; a
later window of the same lineage and shard knew it too, and the rows that are there were judged with it. Every other
file is touched. What is not known to have known is touched.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.manifest import Entry
from schemas.orders import STOPPED
from transforms.ledger import first_of_runs

WHAT = ("token", "by", "app", "event_type", "until")


def lot(entry: Entry) -> tuple[str, int, int]:
    """(lineage, shard, window) of a file of records. A lineage is one run over one input: what another run over it knew
    says nothing of rows that it did not write."""
    input_id, window, shard = entry.logical.rsplit("-", 2)
    return lineage(entry), int(shard), int(window)


def lineage(entry: Entry) -> str:
    """The lineage that an entry belongs to, of a dataset or of its list."""
    return f"{entry.logical.rsplit('-', 2)[0].partition('.')[0]} {entry.run}"


@dataclass(frozen=True, repr=False)
class Touching:
    """Orders that touch files: `what` has the columns WHAT and `group`, each row once; `files[group, file]` is true
    where the orders of a group touch a file."""

    what: pa.Table
    files: np.ndarray


def untouched(files: int) -> Touching:
    """No orders, and so many files that none touches."""
    schema = pa.schema([*(STOPPED.field(name) for name in WHAT), pa.field("group", pa.int64())])
    return Touching(schema.empty_table(), np.zeros((1, files), bool))


def touching(listed: pa.Table, lineages: pa.DictionaryArray, lots: Sequence[tuple[str, int, int]]) -> Touching:
    """What the rows of a list, of these lineages, ask of files in these lots."""
    order = pc.dictionary_encode(listed["order"]).combine_chunks().indices.to_numpy()
    group, files = _groups(order, _known(listed, lineages, lots), lots)
    what = listed.select(WHAT).append_column("group", pa.array(group[order]))
    open_ = pa.array(files.any(axis=1)[group[order]])
    what = what.filter(pc.and_(pc.is_valid(what["token"]), open_))
    return Touching(what.group_by(what.column_names, use_threads=False).aggregate([]), files)


@dataclass(frozen=True, repr=False)
class _Known:
    """That the lots of a (lineage, shard) knew some orders: of each row of the list its place, or -1 where no file is
    of that lineage and shard; and the window."""

    place: np.ndarray
    window: np.ndarray


def _places(lots: Sequence[tuple[str, int, int]]) -> dict[tuple[str, int], int]:
    return {at: place for place, at in enumerate(dict.fromkeys((name, shard) for name, shard, _ in lots))}


def _known(listed: pa.Table, lineages: pa.DictionaryArray, lots: Sequence[tuple[str, int, int]]) -> _Known:
    names = {name: code for code, name in enumerate(lineages.dictionary.to_pylist())}
    shard = listed["shard"].to_numpy()
    table = np.full((len(names), shard.max(initial=0) + 1), -1)
    for (name, number), place in _places(lots).items():
        if name in names and number < table.shape[1]:
            table[names[name], number] = place
    return _Known(table[lineages.indices.to_numpy(), shard], listed["window"].to_numpy())


def _groups(order: np.ndarray, known: _Known, lots: Sequence[tuple[str, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """The group of each order, and which files each group touches. Orders that the same lots knew first are a group:
    all are one to begin with, and each place parts those that it knew by when."""
    places = _places(lots)
    place = np.array([places[name, shard] for name, shard, _ in lots])
    window = np.array([number for _, _, number in lots])
    group, files = np.zeros(order.max(initial=-1) + 1, np.int64), [np.ones(len(lots), bool)]
    rows = np.argsort(known.place, kind="stable")
    edges = np.searchsorted(known.place[rows], np.arange(len(places) + 1))
    for number in range(len(places)):
        own = rows[edges[number] : edges[number + 1]]
        here = np.flatnonzero(place == number)
        of_files = np.unique(window[here])
        who, first = _first(order[own], np.searchsorted(of_files, known.window[own]))
        parted, new = np.unique(group[who] * (len(of_files) + 1) + first, return_inverse=True)
        group[who] = len(files) + new
        for code in parted.tolist():
            whole, since = divmod(code, len(of_files) + 1)
            touched = files[whole].copy()
            touched[here[np.searchsorted(of_files, window[here]) >= since]] = False
            files.append(touched)
    return group, np.array(files)


def _first(order: np.ndarray, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each order once, with the least of its ranks."""
    by_both = np.lexsort((rank, order))
    order, rank = order[by_both], rank[by_both]
    first = first_of_runs(order)
    return order[first], rank[first]
