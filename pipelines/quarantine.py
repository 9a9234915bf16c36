"""`douane quarantine`: keys for rejected lines, and what engineers do with the lines: list, open, send again."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipelines.command import OK, guarded, parser
from pipelines.errors import ConfigurationError

_COLUMNS = ("region", "input", "stage", "reason", "clause", "state")


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["replay"]:
        from pipelines import replay

        return replay.main(argv[1:])
    options = _parsed(argv)
    return guarded(f"quarantine {options.command}", lambda: options.work(options))


def _parsed(argv: list[str]) -> Namespace:
    arguments = parser("quarantine", "Rejected lines: make keys for them, list them, open them, send them again.")
    commands = arguments.add_subparsers(dest="command", required=True, metavar="COMMAND")
    keygen = _command(commands, "keygen", _keygen, "make a pair of keys for each region that has none")
    keygen.add_argument("--out", required=True, metavar="DIR", help="where the private halves go")
    listing = _command(commands, "list", _list, "how many lines were rejected, why, and what became of them")
    listing.add_argument("--json", action="store_true", help="print the list as JSON")
    opening = _command(commands, "open", _open, "write rejected lines in the clear, for who has the private keys")
    opening.add_argument("--private-keys", required=True, metavar="DIR", help="where the private halves are")
    which = opening.add_mutually_exclusive_group()
    which.add_argument("--reason", help="only lines that were rejected for this")
    which.add_argument("--row-id", metavar="ID", help="only this line, even if it was sent again since")
    opening.add_argument("--out", required=True, metavar="FILE.jsonl", help="written for its owner alone")
    commands.add_parser("replay", add_help=False, help="send rejected telemetry through the main job again")
    return arguments.parse_args(argv)


def _command(commands, name: str, work, what: str) -> ArgumentParser:
    command = commands.add_parser(name, help=what, description=what, allow_abbrev=False)
    command.add_argument("--deployment", required=True, metavar="FILE", help="where the regions' stores and keys are")
    command.add_argument("--region", action="append", help="only this region; may be given again (default: all)")
    command.set_defaults(work=work)
    return command


def places(options: Namespace) -> list:
    """The regions that were asked for, or all of the deployment."""
    from pipelines.deployment import load_deployment

    deployment = load_deployment(options.deployment)
    return [deployment.place(region) for region in options.region or deployment.regions]


def _keygen(options: Namespace) -> int:
    from pipelines.quarantined import private_key_file
    from transforms.envelope import create_pair
    from transforms.keyring import local_folder
    from transforms.quarantine import PUBLIC_KEY

    asked, made = places(options), []
    for place in asked:
        _keep_apart(Path(options.out).resolve(), place)
    for place in asked:
        public, private = local_folder(place.keys) / PUBLIC_KEY, private_key_file(options.out, place.region)
        if public.exists():
            print(f"{place.region}: has a key already, {public}; left as it is")
            continue
        create_pair(public, private)
        made.append(private)
        print(f"{place.region}: the pipeline seals to {public}; {private} opens")
    if made:
        print(f"Take {options.out} away from the machines that run the pipeline, and back it up:")
        print("who has it can read what was rejected, and without it nobody can.")
    return OK


def _keep_apart(out: Path, place) -> None:
    from transforms.keyring import local_folder

    if out == local_folder(place.keys).parent:
        raise ConfigurationError(f"--out {out} holds the pipeline's keystores: keep private keys apart from them")
    for folder in place.folders:
        if out == folder or folder in out.parents:
            raise ConfigurationError(f"--out {out} lies in {folder}, which the pipeline reads: keep private keys apart")


def _list(options: Namespace) -> int:
    rows: Counter = Counter()
    lines: Counter = Counter()
    for place in places(options):
        for key, of_rows, of_lines in _counted(place):
            rows[key] += of_rows
            lines[key] += of_lines
    if options.json:
        found = [(dict(zip(_COLUMNS, key, strict=True)), rows[key], lines[key]) for key in sorted(rows)]
        print(json.dumps([{**what, "rows": n, "lines": of} for what, n, of in found], indent=2))
        return OK
    print(f"{'region':8}{'input':11}{'stage':8}{'reason':24}{'clause':8}{'state':10}{'rows':>9}{'lines':>11}")
    for key in sorted(rows):
        region, input_, stage, reason, clause, state = key
        what = f"{region:8}{input_:11}{stage:8}{reason:24}{clause:8}{state:10}"
        print(f"{what}{rows[key]:>9,}{lines[key]:>11,}")
    print("rows: lines that can be opened, each counted once; lines: how many came in, those of replays too")
    return OK


def _counted(place) -> Iterator[tuple[tuple[str, ...], int, int]]:
    from pipelines.quarantined import held

    found = held(place).group_by(list(_COLUMNS[1:])).aggregate([("row_id", "count_distinct"), ("lines", "sum")])
    for row in found.to_pylist():
        key = (place.region, *(row[name] for name in _COLUMNS[1:]))
        yield key, row["row_id_count_distinct"], row["lines_sum"]


def _open(options: Namespace) -> int:
    from pipelines.audit_rows import note_access
    from pipelines.quarantined import as_text, lines_of

    out = Path(options.out)
    if out.exists():
        raise ConfigurationError(f"--out {out} exists: move it away first, it may hold lines that were being mended")
    wanted = list(_wanted(options))
    for place, rows, _ in wanted:  # before anybody can have seen a line
        note_access(place, "opened", "quarantine", len(rows))
    found = (
        {"row_id": row_id, "region": place.region, "input": input_, "reason": reason, "line": as_text(line)}
        for place, rows, private in wanted
        for row_id, input_, reason, line in lines_of(rows, private, place.region)
    )
    content = "".join(json.dumps(row) + "\n" for row in found)
    _write(out, content)
    written = sum(len(rows) for _, rows, _ in wanted)
    print(f"{written:,} lines written to {out}: personal data, to be deleted when they are mended")
    return OK


def _wanted(options: Namespace) -> Iterator[tuple]:
    """(place, rows, private key) of each region where there is something to open."""
    import pyarrow.compute as pc

    from pipelines.quarantined import distinct, held, reachable, row_ids, waiting

    for place in places(options):
        if options.row_id:
            rows = distinct(held(place, sealed=True))
            rows = rows.filter(pc.is_in(rows["row_id"], value_set=row_ids([_as_bytes(options.row_id)])))
        else:
            rows = waiting(place, options.reason, sealed=True)
        if len(rows):
            yield place, *reachable(rows, place.region, options.private_keys, say)


def say(message: str) -> None:
    """Tells the person at the terminal, beside what the command is for."""
    print(f"douane: {message}", file=sys.stderr)


def _as_bytes(row_id: str) -> bytes:
    try:
        return bytes.fromhex(row_id)
    except ValueError:
        raise ConfigurationError("--row-id: give the hexadecimal digits that `open` writes") from None


def _write(out: Path, content: str) -> None:
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(content)
    except OSError as error:
        raise ConfigurationError(f"--out {out}: {error.strerror}") from None


if __name__ == "__main__":
    sys.exit(main())
