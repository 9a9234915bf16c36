"""`douane audit`: what was decided, how often and under which clause, and whether it adds up."""

import difflib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.audit_rows import ACCESS, CountedRun, counted_runs, read_totals
from pipelines.command import OK, UNRECONCILED, guarded, parser
from pipelines.deployment import RegionalPlace, load_deployment
from pipelines.errors import ConfigurationError
from schemas.fields import EVENT_TYPES
from schemas.pack_files import DEFAULT_PACK, load_pack
from schemas.policy import Pack
from schemas.tallies import Totals
from transforms.keyring import KeyUnavailable
from transforms.reconcile import Identity, alarms, identities, of_regions

COLUMNS = ("region", "run", "hour", "step", "outcome", "purpose", "reason", "clause", "event_type", "dataset")
DECISIONS = ("opened", "refused")
_BY = "region,purpose,reason,clause"
_ACCESS_BY = ("region", "hour", "outcome", "reason")


def main(argv: list[str] | None = None) -> int:
    """Runs the command. Exit status 3 if a run that is shown does not add up."""
    arguments = parser("audit", __doc__)
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    arguments.add_argument("--region", help="this region alone (default: all of the deployment)")
    arguments.add_argument("--run", help="this run alone (default: all that are kept)")
    arguments.add_argument("--purpose", help="decisions about this purpose alone")
    arguments.add_argument("--event-type", metavar="TYPE", help="events of this type alone")
    listed = f"columns, of {', '.join(COLUMNS)} (default: %(default)s); with `step` all counts, not decisions alone"
    arguments.add_argument("--by", default=_BY, metavar="COLUMN,...", help=listed)
    named = "the policy pack under which the runs were made (default: %(default)s)"
    arguments.add_argument("--policy", default=DEFAULT_PACK, metavar="NAME|DIR", help=named)
    arguments.add_argument("--json", action="store_true", help="print it as JSON")
    options = arguments.parse_args(argv)
    return guarded("audit", lambda: _audit(options))


@dataclass(frozen=True)
class _Book:
    """A run, and what was found when its counts were compared."""

    run: CountedRun
    compared: list[Identity]
    alarms: list[str]

    @property
    def faults(self) -> list[str]:
        return [str(identity) for identity in self.compared if not identity.holds] + self.alarms

    @property
    def verdict(self) -> str:
        if self.faults:
            return f"does not add up, {len(self.faults)} faults"
        held = f"all {len(self.compared):,} identities hold" if self.run.bounded else "every window was reconciled"
        return f"adds up: {held}"


def _audit(options) -> int:
    by = _columns(options.by)
    pack = load_pack(options.policy)
    deployment = load_deployment(options.deployment)
    places = [deployment.place(options.region)] if options.region else list(deployment.regions.values())
    for place in places:
        _check_keys(place)
    runs = _chosen(counted_runs(places), options.run)
    totals = read_totals(places, options.run)
    _check(totals, pack, options)
    books = [_book(run, totals, pack, whole=options.region is None) for run in runs]
    rows, access = _rows(totals, by, options), _access(totals)
    if options.json:
        print(json.dumps(_as_data(books, rows, access, pack), indent=2))
    else:
        print("\n".join(_as_text(books, rows, access, by)))
    return UNRECONCILED if any(book.faults for book in books) else OK


def _check_keys(place: RegionalPlace) -> None:
    """Who lacks the keys of a region is told so before anything is shown."""
    try:
        place.keyring()
    except KeyUnavailable as error:
        here = "name a region whose keys are here with --region"
        raise KeyUnavailable(f"region {place.region}: {error}; {here}") from None


def _columns(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in COLUMNS:
            near = difflib.get_close_matches(name, COLUMNS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"columns: {', '.join(COLUMNS)}"
            raise ConfigurationError(f"--by: no column {name!r}; {hint}")
    return list(dict.fromkeys(names))


def _chosen(runs: list[CountedRun], name: str | None) -> list[CountedRun]:
    chosen = [run for run in runs if name in (None, run.name)]
    if name is not None and not chosen:
        held = ", ".join(run.name for run in runs) or "none"
        raise ConfigurationError(f"--run {name}: no run of that name has left counts here; runs: {held}")
    return chosen


def _check(totals: Totals, pack: Pack, options) -> None:
    newest: dict[str, str] = {}  # a stream goes on under newer editions
    for run, edition in totals.by(("run", "reason"), step="audit", outcome="policy"):
        newest[run] = max(edition, newest.get(run, ""))
    decided = set(totals.by("purpose", step="gate")) - {""}
    fault = None
    if strange := sorted(set(newest.values()) - {pack.version}):
        fault = f"it is edition {pack.version}, and a run was made under {strange[0]}"
    elif strange := sorted(decided - set(pack.purposes)):
        fault = f"it has no purpose {strange[0]!r}, about which a run has decided"
    if fault:
        raise ConfigurationError(
            f"--policy {options.policy}: {fault}; name the policy pack of that run, or another run with --run"
        )
    if options.purpose is not None and options.purpose not in pack.purposes:
        raise ConfigurationError(f"--purpose {options.purpose}: purposes are {', '.join(pack.purposes)}")
    if options.event_type is not None and options.event_type not in EVENT_TYPES:
        raise ConfigurationError(f"--event-type {options.event_type}: event types are {', '.join(EVENT_TYPES)}")


def _book(run: CountedRun, totals: Totals, pack: Pack, whole: bool) -> _Book:
    """A stream was reconciled window by window, and what did not hold was noted; it may still be going on. Of a
    bounded run one region shows all but where its lines went."""
    own = Totals(totals.table.filter(pc.equal(totals.table["run"], run.name)))
    compared = (identities if whole else of_regions)(own, pack) if run.bounded else []
    return _Book(run, compared, alarms(own))


def _rows(totals: Totals, by: list[str], options) -> list[dict]:
    """The counts by these columns: those of decisions, or, if asked for by step, all."""
    table = totals.table.filter(pc.not_equal(totals.table["step"], ACCESS))
    if "step" not in by:
        decided = pc.is_in(table["outcome"], pa.array(DECISIONS))
        table = table.filter(pc.and_(pc.equal(table["step"], "gate"), decided))
    for column, word in (("purpose", options.purpose), ("event_type", options.event_type)):
        if word is not None:
            table = table.filter(pc.equal(table[column], word))
    if "step" in by or "outcome" in by:
        return list(_grouped(table, by))
    found: dict[tuple, dict] = {}
    for row in _grouped(table, [*by, "outcome"]):
        words = {name: row[name] for name in by}
        counts = found.setdefault(tuple(words.values()), {**words, **dict.fromkeys(DECISIONS, 0)})
        counts[row["outcome"]] = row["count"]
    return list(found.values())


def _access(totals: Totals) -> list[dict]:
    table = totals.table.filter(pc.equal(totals.table["step"], ACCESS))
    return list(_grouped(table, list(_ACCESS_BY)))


def _grouped(table: pa.Table, by: list[str]) -> Iterator[dict]:
    if "hour" in by:
        place = table.schema.get_field_index("hour")
        text = pc.fill_null(pc.strftime(table["hour"], "%Y-%m-%dT%HZ"), "")
        table = table.set_column(place, "hour", text)
    total = table.group_by(by, use_threads=False).aggregate([("count", "sum")]).rename_columns([*by, "count"])
    yield from total.sort_by([(name, "ascending") for name in by]).to_pylist()


def _as_data(books: list[_Book], rows: list[dict], access: list[dict], pack: Pack) -> dict:
    runs = [
        {
            "run": book.run.name,
            "input": book.run.input_id,
            "regions": book.run.regions,
            "dates": book.run.dates,
            "bounded": book.run.bounded,
            "identities": len(book.compared),
            "faults": book.faults,
        }
        for book in books
    ]
    return {"policy": pack.version, "runs": runs, "counts": rows, "access": access}


def _as_text(books: list[_Book], rows: list[dict], access: list[dict], by: list[str]) -> Iterator[str]:
    if not books:
        yield "no run has left counts here"
    if rows:
        title = "counts" if "step" in by else "decisions"
        yield from _section(f"{title} of {'all runs' if len(books) > 1 else f'run {books[0].run.name}'}", rows)
    if access:
        yield from _section("privileged reads", access)
    if len(books) > 1:
        yield from _section("runs", [_as_row(book) for book in books])
    for book in books:
        if book.faults or len(books) == 1:
            yield from (f"run {book.run.name} {book.verdict}", *(f"  {fault}" for fault in book.faults))


def _as_row(book: _Book) -> dict:
    run = book.run
    dates = " to ".join(dict.fromkeys((run.dates[0], run.dates[-1])))
    kind = "bounded" if run.bounded else "stream"
    regions = " ".join(run.regions)
    return {
        "run": run.name,
        "counted": dates,
        "kind": kind,
        "input": run.input_id,
        "regions": regions,
        "": book.verdict,
    }


def _section(title: str, rows: list[dict]) -> Iterator[str]:
    """A table with a heading: words to the left, counts to the right."""
    names = list(rows[0])
    texts = [[f"{row[name]:,}" if isinstance(row[name], int) else row[name] for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *texts, strict=True)]
    numbers = [isinstance(rows[0][name], int) for name in names]
    yield from (title, "-" * len(title))
    for line in (names, *texts):
        cells = zip(line, widths, numbers, strict=True)
        yield "  ".join(f"{text:>{width}}" if number else f"{text:{width}}" for text, width, number in cells).rstrip()
    yield ""


if __name__ == "__main__":
    sys.exit(main())
