"""docs/hostile-input.md, written from the table: `python -m tests.corpus.page`."""

from pathlib import Path

from schemas.markdown import code, joined, table
from tests.corpus.files import LEDGER, TELEMETRY, Case, cases

PAGE = Path(__file__).parents[2] / "docs" / "hostile-input.md"

_HEAD = """\
# Hostile input

Devices run versions ahead and behind, their clocks are wrong, and anybody can post to the edge. So every line is read
strictly, and its fate depends on that line alone: the good lines beside a bad one come out as if it were not there.

This page is written from `tests/corpus/table.yaml` (`make reference`); beside that table lie the files. The test
`tests/test_corpus.py` reads each file with the decoders, and all of them in one run: every line has the fate that is
told here, the rows that are stored are those of a run over the good lines alone, and nothing that a line brought is
in any byte that is left, nor on the terminal."""

_WORDS = """\
A line is `good`, or `blank` (skipped and counted), or rejected under the word that is counted and kept with it in
quarantine (`transforms/verdict.py` explains each). `unlocatable`, `repeated` and `dated_ahead` lines are counted and
not kept; a `conflicting` one is kept where the localising region says. `malformed` and `absent` lines are good and
lose that identifier alone: one that is malformed, or one that by convention says that there is none."""

_LEDGER = """\
A rejected entry must not open anything: the subject that it names is restricted until a valid entry of the same id
comes. One that names nobody is lost, and the run ends with status 3. A ledger that breaks off ends the run with
status 4 before anything is opened."""

_MORE = """\
## JSON, case by case

`tests/transforms/json_cases.tsv` holds 686 cases for readers of JSON: what every reader has to take, what it has to
refuse, and what it may treat either way. Each is read as the value of an unknown field and as a whole line, and the
table has our verdict on both (`tests/transforms/test_json_cases.py`). All that has to be refused is refused. Of what
has to be taken three things are not, on purpose: a key that is said twice, U+0000, and an LF between tokens, which
ends the line. Where readers are free, ours refuses half characters, numbers whose exponent no double has, and more
than 32 levels, and takes a BOM before a line and unknown whole numbers of any length.

## Fuzzing

`make fuzz` runs mutated lines through what reads them (`tests/fuzz/targets.py`), guided by the code that they reach:
a million lines, or as many as `FUZZED=` says. A line has to have the fate and the values that a slow reader finds for
it, which looks at one line at a time and shares no code with the fast one; what stands beside it must change nothing.
A few thousand are part of every test run (`tests/fuzz/test_fuzz.py`).

## What it costs

`python -m benchmarks.bad_lines` tells how many times the time of good telemetry the same telemetry takes with some of
its lines spoilt, their quarantine included. Eight kinds of fault are in it, each as often as the others. One of them
is a line of more than 64 KiB, as long as a hundred good ones: all of it is searched for where it belongs, and 64 KiB
are sealed. So every share of bad lines is measured with such lines among them and without (`none too long`)."""


def written(all_cases: list[Case]) -> str:
    """The page."""
    tables = {name: _table([case for case in all_cases if case.input == name]) for name in (TELEMETRY, LEDGER)}
    parts = [_HEAD, _WORDS, "## Telemetry", tables[TELEMETRY], "## Ledger", _LEDGER, tables[LEDGER], _MORE]
    return joined(parts)


def _table(chosen: list[Case]) -> str:
    return table(("file", "what it is", "its lines"), [(code(case.file), case.what, _lines(case)) for case in chosen])


def _lines(case: Case) -> str:
    said = ", ".join(run.replace(" x ", " × ") for run in case.runs) or "none"
    said += "; then it breaks off" if case.breaks_off else ""
    return said + (f"; {case.lost} of them lost" if case.lost else "")


if __name__ == "__main__":
    PAGE.write_text(written(cases()), encoding="utf-8")
