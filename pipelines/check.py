"""`douane check`: whether a policy pack can be used, and a deployment for it; before anything runs."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence

from pipelines.checked import coverage_lines, difference_lines, effective_lines
from pipelines.command import CONFIGURATION, OK, guarded, parser, say
from pipelines.errors import ConfigurationError
from schemas.coverage import coverage, markers, mentions
from schemas.difference import KINDS, difference
from schemas.findings import Finding, PackError
from schemas.in_force import told
from schemas.pack_files import DEFAULT_PACK, check_pack, read_sources
from schemas.policy import Pack


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 if anything is wrong with the pack."""
    arguments = parser("check", "Checks a policy pack: each fault with its place, its clause and what to change.")
    arguments.add_argument("pack", nargs="?", metavar="PACK", help="its folder, or its version")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    modes = arguments.add_mutually_exclusive_group()
    modes.add_argument("--deployment", metavar="FILE", help="check as well that its regions lie apart, each in it")
    modes.add_argument("--effective", action="store_true", help="print the policy in force for a service in --region")
    modes.add_argument("--coverage", action="store_true", help="print each clause with its rules and its tests")
    modes.add_argument("--diff", nargs=2, metavar=("OLD", "NEW"), help="say what a change of the pack opens and closes")
    modes.add_argument(
        "--joinability", nargs="+", metavar="SAMPLE", help="say how many records of this telemetry datasets single out"
    )
    arguments.add_argument("--service", metavar="NAME", help="with --effective: as events name it; default: any other")
    arguments.add_argument("--region", metavar="NAME", help="with --effective: a region of the pack")
    options = arguments.parse_args(argv)
    if options.effective != (options.region is not None) or (options.service and not options.effective):
        arguments.error("--effective goes with --region, and --service and --region with --effective")
    if options.diff and options.pack is not None:
        arguments.error("--diff names both packs: leave PACK out")
    return guarded("check", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    if options.diff:
        return _diff(options)
    options.pack = options.pack or DEFAULT_PACK
    pack, found = _checked(options, options.pack)
    if options.deployment:
        found = (*found, *_misplaced(options.deployment, pack))
    mode = next((work for name, work in _MODES.items() if getattr(options, name)), None)
    if found or mode is None:
        return _check(options, pack, found)
    return mode(options, pack)


def _checked(options: argparse.Namespace, name: str) -> tuple[Pack | None, tuple[Finding, ...]]:
    """The same as of `check_pack`; who reads JSON is told in JSON of a folder that is no pack as well."""
    try:
        return check_pack(name)
    except PackError as error:
        if not options.json:
            raise
        return None, (Finding("pack", (), "", str(error), "name a folder that holds a pack"),)


def _check(options: argparse.Namespace, pack: Pack | None, found: Sequence[Finding]) -> int:
    if options.json:
        _print_json({"pack": options.pack, "findings": [each.as_json() for each in found]})
    elif not found:
        held = f"{len(pack.purposes)} purposes in {len(pack.regions)} regions"
        print(f"policy pack {pack.version}: {held}, nothing to change")
    else:
        _print_lines(found)
        print(f"{len(found)} to change in policy pack {options.pack}", file=sys.stderr)
    return CONFIGURATION if found else OK


def _effective(options: argparse.Namespace, pack: Pack) -> int:
    if options.region not in pack.regions:
        known = ", ".join(pack.regions)
        raise ConfigurationError(f"policy pack {pack.version} has no region {options.region!r}; it has {known}")
    held = told(pack, options.service, options.region)
    _print_json(held) if options.json else _print_lines(effective_lines(held))
    return OK


def _coverage(options: argparse.Namespace, pack: Pack) -> int:
    proven = markers()
    rows, found = coverage(pack, mentions(read_sources(options.pack)), proven)
    if options.json:
        _print_json(
            {
                "pack": pack.version,
                "tests": proven is not None,
                "computed": [mention.at for mention in proven or () if not mention.clause],
                "clauses": [row.as_json() for row in rows],
                "findings": [each.as_json() for each in found],
            }
        )
        return CONFIGURATION if found else OK
    _print_lines(coverage_lines(rows, proven))
    missing = sum(1 for row in rows if row.not_yet)
    print(f"\n{len(rows)} clauses, of which {missing} are not built yet, wholly or in part; {len(found)} to change")
    _print_lines(found)
    return CONFIGURATION if found else OK


def _joinability(options: argparse.Namespace, pack: Pack) -> int:
    from pipelines.joinability import as_json, as_text, measure  # here and not above: it imports the job's steps

    report = measure(pack, options.joinability, say if sys.stderr.isatty() else lambda message: None)
    print(as_json(report)) if options.json else _print_lines(as_text(report))
    return CONFIGURATION if report.above else OK


_MODES = {"effective": _effective, "coverage": _coverage, "joinability": _joinability}


def _diff(options: argparse.Namespace) -> int:
    packs = []
    for name in options.diff:
        pack, found = _checked(options, name)
        if pack is None:
            options.pack = name
            return _check(options, pack, found)
        packs.append(pack)
    changes, (old, new) = difference(*packs), options.diff
    if options.json:
        grouped = {kind: [each.as_json() for each in changes if each.kind == kind] for kind in KINDS}
        _print_json({"old": old, "new": new, **grouped})
    else:
        _print_lines(difference_lines(old, new, changes))
    return OK


def _misplaced(path: str, pack: Pack | None) -> Iterator[Finding]:
    """What is wrong with a deployment, by itself and for a pack: two regions that share a store or keys, a region that
    has no place (6-dc)."""
    from pipelines.deployment import load_deployment  # here and not above: it imports the keys' libraries

    try:
        deployment = load_deployment(path)
    except ConfigurationError as error:
        yield Finding("deployment", (), "6-dc", str(error), "")
        return
    for region in pack.regions if pack else ():
        if region not in deployment.regions:
            message = f"deployment {path} has no place for {region}"
            yield Finding("deployment", ("regions", region), "6-dc", message, "give it a store and keys of its own")


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2))


def _print_lines(lines: Iterable[object]) -> None:
    for line in lines:
        print(line)


if __name__ == "__main__":
    sys.exit(main())
