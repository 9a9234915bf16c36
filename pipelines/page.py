"""The page of `douane report`: a digest as HTML. The words are in `pages/report.html.j2`, the looks in
`pages/report.css`; here are the pictures, and what to call a reason."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from pipelines.digest import Digest, OfPurpose
from pipelines.figures import Link, Node, Part, bar, flow
from pipelines.tables import days_listed

_PAGES = Path(__file__).parent / "pages"
_FEW = 100  # records of a region below which its fine reasons may tell of one person
_MOST_FAULTS = 8  # named at the head of the page; all of them stand where it adds up

MEANING = {
    "no_grant": "no consent that covers it was given before the event",
    "old_policy_version": "consent was given under an older edition of the policy than the purpose demands",
    "app_not_granted": "consent was not given for this application",
    "no_basis": "it has no legal basis here without a ledger, or had none under the policy of that time",
    "no_policy": "no edition of the policy was in force at the time of the event",
    "no_service": "there are rules for single services, and of which one the record is cannot be told",
    "closed_here": "the rules of the region or of the service close the purpose, or close it for such records",
    "not_collected": "such records are collected for a programme that is not open for it",
    "withdrawn": "consent was withdrawn",
    "objected": "the subject objected",
    "restricted": "processing of the subject's data is restricted",
    "erased": "erasure was asked for after the event",
    "closed": "the account is closed",
    "opted_out": "a zeroed advertising id, which is an opt-out",
    "minor": "the subject is a minor",
    "no_subject": "the record names no valid device or account, which the purpose needs",
    "source_not_admitted": "the record's source may not feed the purpose",
    "not_for_purpose": "what the record says of itself keeps it out",
}
# Colours for few groups, so that they keep apart without relying on hue.
GROUPS = {
    "unasked": (
        "no consent",
        ("no_grant", "old_policy_version", "app_not_granted", "no_basis", "no_policy", "not_collected"),
    ),
    "stopped": ("stopped by the subject", ("withdrawn", "objected", "restricted", "erased", "closed", "opted_out")),
    "minor": ("minor", ("minor",)),
    "unfit": (
        "record does not qualify",
        ("no_subject", "source_not_admitted", "not_for_purpose", "no_service", "closed_here"),
    ),
}
_FATES = {
    "kept": "kept",
    "sampled": "not kept, too many at once",
    "no_key": "not kept, no quarantine key",
    "repeated": "kept already",
    "foreign": "belong to another cell",
}
_NOT_READ = {
    "blank": "blank",
    "quarantined": "quarantined",
    "unlocatable": "unlocatable",
    "foreign": "foreign to this cell",
}


def render(found: Digest, dates: Sequence[str]) -> str:
    """The whole page. `dates` are the days on which the run counted. Every word that is put into it is escaped."""
    pages = Environment(
        loader=FileSystemLoader(_PAGES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    pages.filters |= {"number": "{:,}".format, "percent": percent, "hour": _hour, "days": days_listed}
    return pages.get_template("report.html.j2").render(
        run=found,
        dates=dates,
        lines=lines(found),
        decisions=decisions(found),
        bar=bar,
        most_faults=_MOST_FAULTS,
        parts=parts,
        shades=[("kept", "opened"), *((tone, label) for tone, (label, _) in GROUPS.items())],
        meaning=MEANING,
        fates=_FATES,
        datasets=_datasets(found),
        few=[name for name, region in found.by_region.items() if 0 < region.judged < _FEW],
    )


def _hour(moment: str) -> str:
    return moment.replace("T", " ").removesuffix("+00:00")


def percent(count: int, whole: int) -> str:
    """A share that does not say all or nothing unless it is."""
    if not whole or not count:
        return "–"
    share = 100 * count / whole
    if count != whole:
        share = min(share, 99.9)
    return f"{share:.1f} %" if share >= 0.1 else "<0.1 %"


def parts(purpose: OfPurpose) -> list[Part]:
    """What a purpose opened, then why it stayed closed, by group."""
    counts = {reason.reason: reason.count for reason in purpose.reasons}
    grouped = [(tone, sum(counts.pop(reason, 0) for reason in of)) for tone, (_, of) in GROUPS.items()]
    return [("kept", purpose.opened), *grouped, ("plain", sum(counts.values()))]


def lines(found: Digest) -> Markup:
    """The flow of lines: from the input to what became of each, and the judged ones to their regions."""
    came = found.came_in["telemetry"]
    what = {"judged": "judged", "duplicates": "duplicates", "too_old": "too old", **_NOT_READ}
    nodes = {"lines": Node(0, "lines", "source"), "judged": Node(1, "judged", "kept")}
    nodes |= {key: Node(1, label) for key, label in what.items() if key != "judged"}
    nodes["missing"] = Node(1, "not accounted for", "fault")
    nodes |= {f"region {name}": Node(2, name, "kept") for name in found.by_region}
    ends: list[Link] = [("lines", key, came.get(key, 0)) for key in what]
    ends.append(("lines", "missing", came.get("lines", 0) - sum(count for *_, count in ends)))
    regions = [("judged", f"region {name}", region.judged) for name, region in found.by_region.items()]
    told = ", ".join(f"{nodes[key].label} {count:,}" for _, key, count in [*ends, *regions] if count > 0)
    title = "What became of each line"
    return flow("lines", title, f"{came.get('lines', 0):,} lines came in: {told}.", nodes, [*ends, *regions])


def decisions(found: Digest) -> Markup:
    """The flow of decisions, one for each judged record and purpose that it could serve."""
    of = found.purposes.values()
    opened, refused = sum(purpose.opened for purpose in of), sum(purpose.refused for purpose in of)
    nodes = {
        "decisions": Node(0, "decisions", "source"),
        "opened": Node(1, "opened", "kept"),
        "refused": Node(1, "refused", "plain"),
        "stored": Node(2, "rows stored", "kept"),
        "counted": Node(2, "counted for statistics", "kept"),
        "erased": Node(2, "erased since"),
        "stopped": Node(2, "stopped before it was stored"),
        "missing": Node(2, "only decided", "plain") if found.reconciles else Node(2, "not accounted for", "fault"),
    }
    nodes |= {f"reason {reason.reason}": Node(2, f"{reason.reason}  {reason.clause}") for reason in found.reasons}
    links = [("decisions", "opened", opened), ("decisions", "refused", refused)]
    fates = ("stored", "counted", "erased", "stopped")
    ends = [("opened", what, sum(getattr(purpose, what) for purpose in of)) for what in fates]
    ends.append(("opened", "missing", opened - sum(count for *_, count in ends)))
    ends += [("refused", f"reason {reason.reason}", reason.count) for reason in found.reasons]
    told = ", ".join(f"{nodes[key].label} {count:,}" for _, key, count in ends if count > 0)
    text = f"{opened + refused:,} decisions: opened {opened:,}, refused {refused:,}. Of these {told}."
    return flow("decisions", "What was decided", text, nodes, [*links, *ends])


def _datasets(found: Digest) -> dict[str, list[int]]:
    """Rows by dataset, one number a region, the largest dataset first."""
    regions = found.by_region.values()
    names = {name for region in regions for name in region.datasets}
    rows = {name: [region.datasets.get(name, 0) for region in regions] for name in names}
    return dict(sorted(rows.items(), key=lambda item: (-sum(item[1]), item[0])))
