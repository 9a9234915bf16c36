"""A dataset without the rows that are stopped, read as if they were not there.

Orders for all rows of a token become part of what a scan filters by. They are sorted so that those which touch a file
come before those which do not: a row goes if the place of its token is less than the file's *cut*, a number that the
file carries as it carries its date. Orders that ask for more than the token, and those that find rows by a handle, are
looked up when the dataset is opened, in the files that they touch, and the rows that they pick are listed.
"""

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs

from pipelines.errors import InputError
from pipelines.shared_files import PART, PART_TYPE, File
from pipelines.stopped import Touching, lineage
from schemas.datasets import EVENT_TOKEN, HANDLE, RECEIVED_DATE, SUBJECT_FIELD, is_hidden
from transforms.handles import matching

_FILE, _LINEAGE, _CUT = "_file", "_lineage", "_cut"  # fields that files carry and readers do not see
_SEVERAL = -1  # the lineage of a file that has rows of more than one
_OF_A_SCANNER = {"columns", "filter", "batch_size", "use_threads", "memory_pool"}  # `Dataset.scanner` names them all
MARK = pa.int32()
_APP = "app_package"
Marks = dict[str, int]
Opened = Callable[[int, Marks], ds.Fragment]  # of a file, by its place


class Standing(ds.FileSystemDataset):
    """Files of which some rows are left out, whatever is done with them; what would go round that raises.

    What to leave out is the filter of the dataset itself, as after `filter`, and lies with the hidden fields below
    Python: whatever asks for a scanner, DuckDB too, gets it.
    """

    @property
    def schema(self) -> pa.Schema:
        return seen(super().schema)

    def _scanner_options(self, options: Mapping) -> dict:
        if not options.keys() >= _OF_A_SCANNER:  # a scan node of Acero, whose filter need not leave out anything
            raise ValueError("rows are left out of this dataset, so it can only be scanned: use to_table() first")
        columns = self.schema.names if options["columns"] is None else options["columns"]
        return super()._scanner_options({**options, "columns": columns})

    def replace_schema(self, schema: pa.Schema) -> ds.Dataset:
        raise ValueError("rows are left out of this dataset by its schema: choose columns when you read it")


def seen(schema: pa.Schema) -> pa.Schema:
    """A schema without what readers do not see."""
    return pa.schema([each for each in schema if not (is_hidden(each.name) or each.name.startswith("_"))])


def standing(found: Touching, files: Sequence[File], opened: Opened) -> ds.Dataset | None:
    """The files without the rows that orders ask for, and without those of shared files that no entry names; None where
    all rows stay.

    `found.files` has a column for each entry of these files, one file after the other; `opened(place, marks)` gives a
    file that carries marks. Raises `InputError` for a touched file in which orders cannot be looked up.
    """
    plan = _Plan.of(found, files, opened)
    plan.leave_out_unnamed()
    for by in SUBJECT_FIELD:
        own = plan.what.filter(pc.equal(plan.what["by"], by))
        if own.num_rows:
            plan.leave_out(by, own)
    return plan.dataset() if plan.filters else None


@dataclass(repr=False)
class _Plan:
    """What is left out, as it is put together. Arrays are by entry."""

    what: pa.Table
    touched: np.ndarray  # [group, entry]
    files: Sequence[File]
    opened: Opened
    plain: list[ds.Fragment]  # the files, without marks
    schema: pa.Schema
    first: np.ndarray  # the place of each file's first entry, and where the last one's end
    part: np.ndarray
    lineage: np.ndarray  # as a number
    marks: list[Marks]  # by file
    carried: list[str] = field(default_factory=lambda: [_FILE, _LINEAGE])  # what marks are there
    filters: list[ds.Expression] = field(default_factory=list)

    @classmethod
    def of(cls, found: Touching, files: Sequence[File], opened: Opened) -> "_Plan":
        plain = [opened(place, {}) for place in range(len(files))]
        schema = reduce(widened, (fragment.physical_schema for fragment in plain))
        entries = [entry for file in files for entry in file.entries]
        names = [lineage(entry) for entry in entries]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        of_entry = np.array([numbers[name] for name in names])
        part = np.array([entry.part or 0 for entry in entries])
        first = np.cumsum([0, *(len(file.entries) for file in files)])
        own = [np.unique(of_entry[start:end]) for start, end in itertools.pairwise(first)]
        marks = [{_FILE: n, _LINEAGE: int(each[0]) if len(each) == 1 else _SEVERAL} for n, each in enumerate(own)]
        return cls(found.what, found.files, files, opened, plain, schema, first, part, of_entry, marks)

    def leave_out_unnamed(self) -> None:
        """The rows of shared files whose entries have been replaced, or are not asked for."""
        for place, file in enumerate(self.files):
            if not file.whole:
                named = pa.array([entry.part for entry in file.entries], PART_TYPE)
                self.filters.append((ds.field(_FILE) != pa.scalar(place, MARK)) | ds.field(PART).isin(named))

    def leave_out(self, by: str, what: pa.Table) -> None:
        """The rows of one type of subject."""
        column = HANDLE[by] if HANDLE[by] in self.schema.names else SUBJECT_FIELD[by].column
        for place in self._looked_up(what):
            if column not in self.plain[place].physical_schema.names:
                raise InputError(f"a file has no column {column}, by which rows that are stopped must be left out")
        if _APP not in self.schema.names:
            what = what.set_column(what.schema.get_field_index("app"), "app", pa.nulls(len(what), pa.string()))
        narrow = (pc.is_valid(what[name]) for name in ("app", "event_type", "until"))
        whole = pc.invert(reduce(pc.or_, narrow)) if column != HANDLE[by] else False
        whole = pa.array(np.broadcast_to(np.asarray(whole), len(what)))
        self._cut(column, what.filter(whole))
        self._list(column, what.filter(pc.invert(whole)))

    def _looked_up(self, what: pa.Table) -> list[int]:
        """The files that some of these orders touch."""
        touched = self.touched[np.unique(what["group"].to_numpy())].any(axis=0)
        return np.flatnonzero(np.logical_or.reduceat(touched, self.first[:-1])).tolist()

    def _cut(self, column: str, what: pa.Table) -> None:
        """Orders for all rows of a token: one filter for each chain of groups."""
        group = what["group"].to_numpy()
        for chain in _chains(np.unique(group), self.touched):
            rank = np.full(len(self.touched), len(chain))
            rank[chain] = np.arange(len(chain))
            rows = np.argsort(rank[group], kind="stable")[: int(np.isin(group, chain).sum())]
            encoded = what["token"].combine_chunks().take(pa.array(rows)).dictionary_encode()
            first = np.unique(encoded.indices.to_numpy(), return_index=True)[1]  # of a token's groups the widest counts
            cut = np.bincount(rank[group[rows[first]]], minlength=len(chain)) @ self.touched[chain]
            name = f"{_CUT}{len(self.filters)}"
            cut_of_row = self._marked(name, cut)
            places = pc.index_in(ds.field(column), options=pc.SetLookupOptions(encoded.dictionary))
            place = pc.coalesce(places, pa.scalar(len(encoded.dictionary), MARK))
            self.filters.append((ds.field(name) == pa.scalar(0, MARK)) | (place >= cut_of_row))

    def _marked(self, name: str, cut: np.ndarray) -> ds.Expression:
        """The cut of a row, carried by the files: as one mark, or by the parts of a file where these differ."""
        parts = 0
        for place, mark in enumerate(self.marks):
            own = slice(self.first[place], self.first[place + 1])
            if (cut[own] == cut[own][0]).all():
                mark[name] = int(cut[own][0])
            else:
                mark |= {
                    f"{name}_{part}": number for part, number in zip(self.part[own], cut[own].tolist(), strict=True)
                }
                parts = max(parts, int(self.part[own].max()) + 1)
        of_parts = [f"{name}_{part}" for part in range(parts)]
        self.carried += [name, *of_parts]
        whole = ds.field(name)
        return pc.coalesce(whole, pc.choose(ds.field(PART), *map(ds.field, of_parts))) if parts else whole

    def _list(self, column: str, what: pa.Table) -> None:
        """Orders that have to be looked up: one filter for each lineage, in which no event is stored twice."""
        found: dict[int, list[pa.Table]] = {}
        for place in self._looked_up(what) if len(what) else ():
            start, end = self.first[place], self.first[place + 1]
            asked = what.filter(pa.array(self.touched[what["group"].to_numpy(), start:end].any(axis=1)))
            entry_of = np.full(int(self.part[start:end].max()) + 2, -1)  # the last for parts that no entry names
            entry_of[self.part[start:end]] = np.arange(start, end)
            rows = _picked(self.plain[place], column, asked)
            entry = entry_of[np.minimum(rows[PART].to_numpy(), len(entry_of) - 1)]
            touched = (entry >= 0) & self.touched[rows["group"].to_numpy(), entry]
            for number in np.unique(self.lineage[entry[touched]]).tolist():
                own = rows.filter(pa.array(touched & (self.lineage[entry] == number)))
                found.setdefault(number, []).append(own.drop_columns([PART, "group"]))
        for number, tables in found.items():
            rows = pa.concat_tables(tables)
            listed = [ds.field(name).isin(rows[name].combine_chunks().unique()) for name in rows.column_names]
            self.filters.append(~(self._of_lineage(number) & reduce(operator.and_, listed)))

    def _of_lineage(self, number: int) -> ds.Expression:
        """Whether a row is of a lineage."""
        here = ds.field(_LINEAGE) == pa.scalar(number, MARK)
        for place, mark in enumerate(self.marks):
            own = slice(self.first[place], self.first[place + 1])
            if mark[_LINEAGE] == _SEVERAL and len(parts := self.part[own][self.lineage[own] == number]):
                here |= (ds.field(_FILE) == pa.scalar(place, MARK)) & ds.field(PART).isin(pa.array(parts, PART_TYPE))
        return here

    def dataset(self) -> Standing:
        """All files, and what is left out of them."""
        hidden = [pa.field(name, MARK) for name in self.carried]
        schema = pa.schema([*self.schema, pa.field(RECEIVED_DATE, pa.string()), *hidden])
        files = [self.opened(place, mark) for place, mark in enumerate(self.marks)]
        made = Standing(files, schema, files[0].format, pyarrow.fs.LocalFileSystem())
        made._scan_options = {"filter": reduce(operator.and_, self.filters)}
        return made


def widened(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    """The schema of files of both."""
    return schema if schema.equals(other) else pa.unify_schemas([schema, other])


def _chains(groups: np.ndarray, files: np.ndarray) -> list[list[int]]:
    """The groups in chains, in which each touches no file that the one before it does not."""
    chains: list[list[int]] = []
    for group in groups[np.argsort(-files[groups].sum(axis=1), kind="stable")].tolist():
        within = (chain for chain in chains if not (files[group] & ~files[chain[-1]]).any())
        if (chain := next(within, None)) is None:
            chains.append([group])
        else:
            chain.append(group)
    return chains


def _picked(file: ds.Fragment, column: str, what: pa.Table) -> pa.Table:
    """The rows of a file that orders ask for: by handle, or by event and token; with the part of the file that each is
    of, and the group of the order that asks for it."""
    names = file.physical_schema.names
    event = EVENT_TOKEN if EVENT_TOKEN in names else "event_id"
    tokens = what["token"].combine_chunks().unique()
    by_handle = column in HANDLE.values()
    wanted = ds.field(column).is_valid() if by_handle else ds.field(column).isin(tokens)
    needed = [name for name in ("event_time", "event_type", _APP, PART) if name in names]
    rows = file.to_table(columns=[event, column, *needed], filter=wanted).combine_chunks()
    if rows[event].null_count:
        raise InputError(f"a file has rows without {event}, by which rows that are stopped must be left out")
    if PART not in names:
        rows = rows.append_column(PART, pa.array(np.zeros(len(rows), np.int16)))
    rows = _matched(rows, column, event, tokens) if by_handle else rows.append_column("token", rows[column])
    asked = what.select(["token", "group", "app", "until", "event_type"])
    asked = asked.rename_columns(["token", "group", "app", "until", "of_type"])
    found = rows.join(asked, "token", join_type="inner", use_threads=False)
    later = pc.greater(found["event_time"].cast(pa.int64()), found["until"])
    elsewhere = pc.not_equal(found[_APP], found["app"]) if _APP in names else pa.scalar(False)
    another = pc.not_equal(found["event_type"].cast(pa.string()), found["of_type"].cast(pa.string()))
    kept = reduce(pc.or_, (pc.fill_null(why, False) for why in (later, elsewhere, another)))
    return found.filter(pc.invert(kept)).select([PART, "group", *([] if by_handle else [event]), column])


def _matched(rows: pa.Table, column: str, event: str, tokens: pa.Array) -> pa.Table:
    """The rows whose handle one of the tokens made, with that token: an AES block for each pair of both."""
    if not rows.num_rows:
        return rows.append_column("token", pa.nulls(0, pa.binary(16)))
    place, token = matching(rows[column].combine_chunks(), rows[event].combine_chunks(), tokens)
    return rows.take(pa.array(place)).append_column("token", tokens.take(pa.array(token)))
