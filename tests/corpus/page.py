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

## Floods

One device that sends very many events changes nothing of what others' are stored as, whether they are alike, each has
a version and a model of its own, or each an unknown field of its own name (`tests/invariants/test_flood.py`, which
also holds a bound of memory a line; `python -m tests.invariants.flood words 300000` measures one).

**A run over files holds its window**, which is all of its input: 2 to 3 kB an event of 450 bytes with nearly every
purpose open, beside what a run takes by itself. One device takes no more than as many devices of one region: what
counts is how much one region gets, since its events are judged together. Measured in whole runs of 200,000 events,
most memory of the process: 840 MB for one device, all alike; 816 MB each with words of its own; 795 MB of 4,000
devices of that region; 523 MB of 4,000 devices in six. Of 300,000 events of one device 1,016 MB, with words of their
own 1,093. So a million events of one region need 3 GB; what is more than the machine has is for several runs, or a
stream.

**A stream holds the windows that are open.** When one has been judged, what stays of a record is 8 bytes, by which it
is told if it comes again, and those until the age limit of the pack has passed (`tests/transforms/test_state.py`). Of
the statistics of a day there waits what the pack's bounds leave of each device, in each window, whatever words it
sends (`tests/transforms/test_contributions.py`). Of unknown fields a path is kept only where all its words are ours
(`tests/transforms/test_lines.py`). A flood through a whole stream, window after window, changes nothing of what others'
is stored as either, and takes the memory of the windows that are open, not of all of them
(`tests/invariants/test_flood_in_a_stream.py`).

Lines so short that they hold nothing, a bomb of blank lines say, are read in small blocks: 200 MB of them in a file
of 6 kB take 378 MB (`tests/pipelines/test_blocks.py`).

## Fuzzing

`make fuzz` runs mutated lines through what reads them (`tests/fuzz/targets.py`), guided by the code that they reach:
a million lines, or as many as `FUZZED=` says. A line has to have the fate and the values that a slow reader finds for
it, which looks at one line at a time and shares no code with the fast one; what stands beside it must change nothing.
A few thousand are part of every test run (`tests/fuzz/test_fuzz.py`).

## What it costs

`python -m benchmarks.bad_lines` tells how many times the time of good telemetry the same telemetry takes with some of
its lines spoilt, their quarantine included. Eight kinds of fault are in it, each as often as the others. One of them
is a line of more than 64 KiB, as long as a hundred good ones: all of it is searched for where it belongs, and 64 KiB
are sealed. So every share of bad lines is measured with such lines among them and without (`none too long`).

Where bad lines are rare, the line that the parser stops at is judged, and those like it, and the others are read again.
Where the last block had more than one in 400, every line is first read by a decoder that is strict and fast, and lines
that repeat a key as others did, or hold objects of two event types, are read apart. A block costs more where its lines
repeat many different keys: then most lines are judged one by one."""


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
