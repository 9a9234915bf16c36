"""The reference page of what may leave a region, the company or a service, and of what must not come."""

from collections.abc import Sequence

from schemas.markdown import bullets, code, joined, table
from schemas.policy import Pack
from schemas.sharing import Recipient, TransferGrant

_TERMS = ("purpose", "categories", "instrument", "until", "clause")


def sharing_page(pack: Pack, made: str) -> str:
    """The text of the page; `made` says how it was made."""
    grants = [(grant.origin, grant.to, *_terms(grant)) for grant in pack.transfers.grants]
    recipients = [(each.name, each.kind, each.region, *_terms(each)) for each in pack.recipients.entries]
    combined = [
        (", ".join(each.services), ", ".join(each.purposes), each.control, each.clause)
        for each in pack.combinations.entries
    ]
    return joined(
        [
            "# Sharing",
            made,
            "What may leave, by name. What is not listed does not leave.",
            f"## From region to region ({pack.transfers.clause})",
            _listed(("from", "to", *_TERMS), grants, "Nothing goes from one region to another."),
            f"## To others ({pack.recipients.clause})",
            _listed(("recipient", "kind", "region", *_TERMS), recipients, "Nobody else receives anything."),
            f"## From service to service ({pack.combinations.clause})",
            _listed(("services", "purposes", "where open", "clause"), combined, "Services are not brought together."),
            "## What must not come",
            "No field is made for it; where a sender carries it all the same it is dropped and counted.",
            bullets(*(f"{e.what} ({e.clause}): {', '.join(map(code, e.fields))}" for e in pack.not_admitted))
            or "Nothing is named.",
        ]
    )


def _terms(entry: TransferGrant | Recipient) -> tuple[str, ...]:
    categories, until = ", ".join(entry.categories), entry.until.isoformat() if entry.until else "no end"
    return entry.purpose, categories, entry.instrument or "none", until, entry.clause


def _listed(head: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> str:
    return table(head, rows) if rows else none
