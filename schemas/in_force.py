"""The policy in force for a service in a region (0-b): what the base and the overlays above it come to."""

from typing import Any

from schemas.policy import Basis, Pack
from schemas.words import form_in_words


def told(pack: Pack, service: str | None, region: str) -> dict[str, Any]:
    """All that holds for a service in a region, as JSON has it."""
    held = pack.effective_for(service, region)
    dumped = held.model_dump(mode="json")
    return {
        "policy": pack.version,
        "effective": dumped["effective"],
        "region": region,
        "service": service,
        "own_overlay": service in pack.by_service,
        "purposes": [_purpose(held, name, region, held.closed.get(name)) for name in held.purposes],
        "gates": dumped["gates"],
        "collection": [rule for rule in dumped["collection"] if region in rule["regions"]],
        "transfers": [grant for grant in dumped["transfers"]["grants"] if region in (grant["origin"], grant["to"])],
        "recipients": [entry for entry in dumped["recipients"]["entries"] if entry["region"] == region],
        "combinations": [e for e in dumped["combinations"]["entries"] if service is None or service in e["services"]],
    }


def _purpose(pack: Pack, name: str, region: str, closed_by: str | None) -> dict[str, Any]:
    purpose, basis = pack.purposes[name], pack.basis(name, region)
    rest = purpose.model_dump(mode="json", exclude={"basis", "columns", "events", "granted_by"})
    events = {
        event: {path: form_in_words(purpose.columns[path]) for path in paths} for event, paths in purpose.events.items()
    }
    return {
        "purpose": name,
        "closed_by": closed_by,
        "basis": str(basis),
        "opens": "never" if closed_by else "after a grant" if basis is Basis.CONSENT else "until it is stopped",
        "granted_by": list(purpose.grantors),
        **rest,
        "events": events,
    }
