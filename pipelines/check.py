"""`douane check`: whether a policy pack can be used, and a deployment for it; before anything runs."""

import argparse
import json
import sys
from collections.abc import Iterator

from pipelines.command import CONFIGURATION, OK, guarded, parser
from pipelines.errors import ConfigurationError
from schemas.findings import Finding
from schemas.pack_files import DEFAULT_PACK, check_pack
from schemas.policy import Pack


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 if anything is wrong with the pack."""
    arguments = parser("check", "Checks a policy pack: each fault with its place, its clause and what to change.")
    arguments.add_argument("pack", nargs="?", default=DEFAULT_PACK, metavar="PACK", help="its folder, or its version")
    arguments.add_argument("--deployment", metavar="FILE", help="check as well that its regions lie apart, each in it")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    return guarded("check", lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
    pack, found = check_pack(options.pack)
    if options.deployment:
        found = (*found, *_misplaced(options.deployment, pack))
    if options.json:
        print(json.dumps({"pack": options.pack, "findings": [each.as_json() for each in found]}, indent=2))
        return CONFIGURATION if found else OK
    for finding in found:
        print(finding)
    if found:
        print(f"{len(found)} to change in policy pack {options.pack}", file=sys.stderr)
        return CONFIGURATION
    held = f"{len(pack.purposes)} purposes in {len(pack.regions)} regions"
    print(f"policy pack {pack.version}: {held}, nothing to change")
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


if __name__ == "__main__":
    sys.exit(main())
