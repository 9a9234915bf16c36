"""`douane check`: whether a policy pack can be used, and what it says; before anything runs."""

import argparse
import json
import sys

from pipelines.command import CONFIGURATION, OK, guarded, parser
from schemas.pack_files import DEFAULT_PACK, check_pack


def main(argv: list[str] | None = None) -> int:
    """Runs the command and returns its exit status: 0, or 2 if anything is wrong with the pack."""
    arguments = parser("check", "Checks a policy pack: each fault with its place, its clause and what to change.")
    arguments.add_argument("pack", nargs="?", default=DEFAULT_PACK, metavar="PACK", help="its folder, or its version")
    arguments.add_argument("--json", action="store_true", help="print JSON")
    options = arguments.parse_args(argv)
    return guarded("check", lambda: _check(options))


def _check(options: argparse.Namespace) -> int:
    pack, found = check_pack(options.pack)
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


if __name__ == "__main__":
    sys.exit(main())
