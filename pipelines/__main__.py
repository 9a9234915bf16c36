"""`douane <command>`: finds the command's module, imports it only then, and hands it the rest."""

import difflib
import importlib
import sys

COMMANDS = {
    "ingest": "run the main job: telemetry and a consent ledger in, encrypted regional datasets out",
    "check": "say whether a policy pack can be used, and what it opens",
    "report": "put what a run did on one page, for a privacy officer to show",
    "audit": "print what was decided, how often and under which clause, and check that it adds up",
    "explain": "say what becomes of one event, and which ledger entries decide it",
    "ledger": "keep a ledger as of a time for later jobs to start from, or feed it to a stream",
    "quarantine": "make keys for rejected lines, list them, open them, send them again",
    "statistics": "print released statistics with their 95 % interval",
    "read": "give a dataset back to who holds its keys, as Parquet, JSON lines or CSV",
    "scrub": "take what identifies somebody out of any text, such as a log",
    "compact": "put the small files of a day and dataset together",
    "sweep": "remove files that no manifest names: what attempts that were lost have left",
    "sample": "make realistic telemetry and a ledger from a seed",
}


def main(argv: list[str] | None = None) -> int:
    """Runs a command and returns its exit status."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0 if arguments else 2
    command, *rest = arguments
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else f"; commands: {', '.join(COMMANDS)}"
        print(f"douane: no command {command!r}{hint}", file=sys.stderr)
        return 2
    return importlib.import_module(f"pipelines.{command}").main(rest)


def _usage() -> str:
    lines = [f"  {name:10} {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(["usage: douane COMMAND [OPTION ...]", "", *lines, "", "douane COMMAND --help says more."])


if __name__ == "__main__":
    sys.exit(main())
