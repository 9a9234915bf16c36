"""`douane explain`: what becomes of one event, and which entries of the ledger decide it.

It shows values that the pipeline itself never shows, so it is a privileged read: it leaves a row in the audit of the
event's region (of `arrival`, where it has none) before it prints, and prints nothing if it cannot.
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import chain
from typing import TYPE_CHECKING

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError, InputError
from schemas.shipped import DEFAULT_PACK

if TYPE_CHECKING:
    from pipelines.deployment import Deployment, RegionalPlace
    from schemas.policy import Pack
    from transforms.decode import DecodedLedger
    from transforms.explain import Event

_FEW_IDS = 64  # so many are looked for in a block before it is decoded


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 configuration, 4 input unreadable, or no such line."""
    arguments = parser("explain", "Say what becomes of one event, and which entries of the ledger decide it.")
    arguments.add_argument(
        "--event", required=True, metavar="FILE[:LINE]|-", help="a line of telemetry; the first, if no number is given"
    )
    arguments.add_argument(
        "--consents", action="extend", nargs="+", metavar="FILE|DIR|GLOB", help="the consent ledger, NDJSON"
    )
    arguments.add_argument("--no-ledger", action="store_true", help="explain a run without a ledger")
    arguments.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    editions = f"the policy packs of the run, in any order (default: {DEFAULT_PACK})"
    arguments.add_argument("--policy", action="extend", nargs="+", metavar="NAME|DIR", help=editions)
    arguments.add_argument("--json", action="store_true", help="print the explanation as JSON")
    arguments.epilog = "Explained as in a bounded run, which knows every stop. That it was seen before is not noticed."
    options = arguments.parse_args(argv)
    return guarded("explain", lambda: _explain(options))


def _explain(options) -> int:
    # Here and not above: they import Beam, which takes most of a second, and `--help` has no need of it.
    from pipelines.audit_rows import note_access
    from pipelines.blocks import expand
    from pipelines.deployment import load_deployment
    from pipelines.explained import as_text
    from schemas.editions import load_editions
    from transforms.explain import Explainer

    if bool(options.consents) == options.no_ledger:
        raise ConfigurationError("give a ledger with --consents, or --no-ledger if there is none, not both")
    editions, deployment = load_editions(options.policy or (DEFAULT_PACK,)), load_deployment(options.deployment)
    pack = editions.newest
    consents = expand(options.consents) if options.consents else []
    keys = {pack.where.code(name): p.keys for name, p in deployment.regions.items() if name in pack.regions}
    explainer = Explainer(editions, keys)
    event = explainer.read(_line(options.event))
    place = _ready(event, keys, pack, deployment)
    ledger = _about(event, consents) if event.region in keys and consents else None
    explanation = explainer.explain(event, ledger)
    # Written first, and whole: what is printed has left a trace, or is not printed.
    told = json.dumps(asdict(explanation), indent=2) if options.json else "\n".join(as_text(explanation))
    note_access(place, "explained")
    print(told)
    return OK


def _ready(event: "Event", keys: dict[int, str], pack: "Pack", deployment: "Deployment") -> "RegionalPlace":
    """The place whose audit tells of this. Raises `KeyUnavailable` or `ConfigurationError` where its keys are missing:
    to explain makes no keystore, and no key in place of a lost one."""
    from pipelines.deployment import prepare

    region = pack.where.regions[event.region] if event.region in keys else deployment.arrival
    place = deployment.place(region)
    place.keyring()
    prepare(place, lambda _: None)
    return place


def _line(where: str) -> bytes:
    """One line of a file, or the first of standard input. Raises InputError if there is none."""
    from schemas.shape import MAX_LINE_BYTES

    if where == "-":
        line = sys.stdin.buffer.readline(MAX_LINE_BYTES + 2)
        if not line:
            raise InputError("standard input is empty: give it one event")
        return line
    path, number = _place(where)
    return _line_of(path, number)


def _place(where: str) -> tuple[str, int]:
    path, colon, number = where.rpartition(":")
    if colon and number.isascii() and number.isdecimal() and not os.path.exists(where):
        return path, int(number)
    return where, 1


def _line_of(path: str, number: int) -> bytes:
    import numpy as np

    from pipelines.blocks import expand
    from transforms.block import line_at, line_ends

    files = expand([path])
    if len(files) > 1:
        raise InputError(f"{path} stands for {len(files)} files: name one")
    before = 0
    for block in _blocks(files):
        ends = line_ends(block)
        if before < number <= before + len(ends):
            return line_at(block, ends, np.array([number - before - 1]))[0] + b"\n"
        before += len(ends)
    raise InputError(f"{path} has no line {number}: it has {before}, counted from 1")


def _blocks(paths: Sequence[str]) -> Iterator[bytes]:
    from pipelines.blocks import read_blocks, spans
    from transforms.block import few_lines

    for span in spans(paths):
        for block in read_blocks(span):
            yield from few_lines(block)  # as the border reads them: short lines must not fill the memory


def _about(event: "Event", paths: Sequence[str]) -> "DecodedLedger":
    """The ledger's entries about the event's subjects, and those of others that share an id with one of them.

    Two passes, since an id may come again anywhere; in the second a block in which no such id stands is not decoded.
    """
    from transforms.decode import decode_ledger
    from transforms.entries import about, ids_of, joined, sharing_ids
    from transforms.lines import Habits

    habits, subjects = Habits(), event.subjects
    own = joined([about(decode_ledger(block, habits), subjects) for block in chain([b""], _blocks(paths))])
    ids = ids_of(own)
    words = [id_.as_py().encode() for id_ in ids[:_FEW_IDS]]

    def may_share(block: bytes) -> bool:
        # a backslash may write any character in another way
        return len(ids) > _FEW_IDS or b"\\" in block or any(word in block for word in words)

    blocks = filter(may_share, _blocks(paths)) if len(ids) else ()
    return joined([own, *(sharing_ids(decode_ledger(block, habits), ids, subjects) for block in blocks)])


if __name__ == "__main__":
    sys.exit(main())
