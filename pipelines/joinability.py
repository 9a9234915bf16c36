"""`douane check --joinability`: a sample is run through a policy pack to see which datasets can be joined.

What comes out is counts and the names of fields: nothing that a record brought.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from pipelines.blocks import expand, read_blocks, spans
from pipelines.errors import InputError
from schemas.apart import Apart
from schemas.joinability import pairs
from schemas.policy import Pack
from transforms.block import few_lines
from transforms.consented import Consented
from transforms.joinability import Found, compare
from transforms.keyring import create_keystore


@dataclass(frozen=True)
class Report:
    """What a sample shows of a pack: each two purposes that may hold the same record, the worst first.

    `apart` is the pack's bound; a pack that sets none is measured, and nothing is above it."""

    pack: str
    apart: Apart | None
    records: int
    pairs: tuple[Found, ...]

    @property
    def judged(self) -> tuple[Found, ...]:
        """The pairs that are kept apart, and have enough records in common for the bound to say something of them."""
        return tuple(
            pair
            for pair in self.pairs
            if self.apart and self.apart.keeps(*pair.purposes) and pair.both >= self.apart.least_records
        )

    @property
    def above(self) -> tuple[Found, ...]:
        """Those of them of which more is singled out than the bound allows."""
        return tuple(pair for pair in self.judged if pair.percent > self.apart.singled_out_percent)


def measure(pack: Pack, paths: Sequence[str], say: Callable[[str], None]) -> Report:
    """Runs the pack over a sample of telemetry: NDJSON files, directories and globs, also compressed.

    Keys are made for it and thrown away. Raises `InputError` if a file cannot be read to its end, or if the sample is
    too small for the pack's bound to be judged of any pair: what was not measured does not pass.
    """
    with TemporaryDirectory(prefix="douane-") as folder:
        sample = Consented(pack, dict(_keystores(pack, Path(folder))))
        for span in spans(expand(paths)):
            for block in chain.from_iterable(map(few_lines, read_blocks(span))):
                sample.add(block)
                say(f"{sample.records:,} records read")
    if not sample.records:
        raise InputError("the sample holds no record that a region of the pack could store: give it telemetry")
    cap = pack.apart.singled_out_percent if pack.apart else 0
    report = Report(pack.version, pack.apart, sample.records, tuple(compare(pairs(pack), sample.holdings(), cap)))
    if pack.apart and not report.judged:
        least = f"{pack.apart.least_records:,}"
        raise InputError(f"the sample is too small: no two datasets have {least} records of it in common")
    return report


def _keystores(pack: Pack, folder: Path) -> Iterator[tuple[int, str]]:
    for code, region in enumerate(pack.where.regions):
        uri = f"local:{folder / region}"
        create_keystore(uri, region)
        yield code, uri


def as_json(report: Report) -> str:
    """The report as one JSON object."""
    judged, above = report.judged, report.above
    apart = report.apart.model_dump(mode="json") if report.apart else None
    told = [
        asdict(pair) | {"percent": round(pair.percent, 3), "judged": pair in judged, "above": pair in above}
        for pair in report.pairs
    ]
    return json.dumps({"pack": report.pack, "apart": apart, "records": report.records, "pairs": told}, indent=2)


def as_text(report: Report) -> Iterator[str]:
    """The report as lines for people: a table, then what to change."""
    yield f"policy pack {report.pack}, {report.records:,} records, all consents given; {_bound(report.apart)}"
    yield f"{'datasets':42} {'rows':>21} {'in both':>9} {'singled out':>12} {'percent':>8}"
    for pair in report.pairs:
        rows = " / ".join(f"{count:,}" for count in pair.rows)
        percent = f"{pair.percent:.2f}" if pair.both else "–"
        note = _note(report, pair)
        yield f"{' / '.join(pair.purposes):42} {rows:>21} {pair.both:>9,} {pair.singled_out:>12,} {percent:>8}{note}"
    for pair in report.above:
        yield advice(pair)


def _note(report: Report, pair: Found) -> str:
    """Why a pair is not judged."""
    if not report.apart or pair in report.judged:
        return ""
    return "  too few to judge" if report.apart.keeps(*pair.purposes) else "  not kept apart"


def _bound(apart: Apart | None) -> str:
    if not apart:
        return "the pack sets no bound"
    cap = f"at most {apart.singled_out_percent:g} % may be singled out ({apart.clause})"
    return f"{cap}, where {apart.least_records:,} or more are in both"


def advice(pair: Found) -> str:
    """What to change of a pair that singles out too much."""
    told = f"{' and '.join(pair.purposes)} can be joined on {pair.singled_out:,} of {pair.both:,} records"
    if not (what := pair.generalise):
        return f"{told}, by what every dataset holds: give fewer event types to one of them"
    return f"{told}: generalise {what.path} of {' or '.join(what.purposes)} (without it {what.singled_out:,})"
