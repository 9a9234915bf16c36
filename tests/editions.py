"""Editions of the policy before the shipped one, made up: each differs from it in many ways."""

from collections.abc import Callable
from copy import deepcopy
from datetime import date
from functools import cache
from pathlib import Path

import yaml

from schemas.editions import Editions
from schemas.pack_files import DEFAULT_PACK, SHIPPED, load_pack
from schemas.policy import Pack

OLD, OLDER = "2020-06-01", "2019-06-01"
DAY_MS = 86_400_000


def rules(version: str, change: Callable[[dict], None]) -> dict:
    """The shipped pack as YAML has it, without its overlays, in force from another day and changed."""
    merged = deepcopy(_base()) | {"version": version, "effective": version}
    change(merged)
    return merged


@cache
def _base() -> dict:
    """What the files of the shipped pack hold, without its overlays."""
    merged = {}
    for file in sorted((SHIPPED / DEFAULT_PACK).glob("*.yaml")):
        merged |= yaml.safe_load(file.read_text(encoding="utf-8"))
    return merged


def edition(version: str, change: Callable[[dict], None] = lambda rules: None) -> Pack:
    return Pack.model_validate(rules(version, change))


def bare() -> Pack:
    """The shipped pack as if nothing were narrowed and everything collected."""
    return load_pack().model_copy(update={"by_region": {}, "by_service": {}, "collection": ()})


def write_edition(folder: Path, version: str, change: Callable[[dict], None]) -> Path:
    folder.mkdir(parents=True)
    (folder / "policy.yaml").write_text(yaml.safe_dump(rules(version, change), sort_keys=False), encoding="utf-8")
    return folder


def midnight(version: str) -> int:
    """When a pack comes into force, in milliseconds since the epoch."""
    return (date.fromisoformat(version) - date(1970, 1, 1)).days * DAY_MS


def old(rules: dict) -> None:
    """Other bases, subjects, grantors and conditions; less by event type, coarser, in other forms."""
    purposes = rules["purposes"]
    del purposes["push"], purposes["legal"]
    purposes["given_up"] = purposes["service"] | {"title": "What is no longer done"}
    purposes["operations"]["basis"] = {"default": "consent"}
    purposes["operations"]["columns"]["app_usage.foreground_ms"] = {"bucket": 2_700_000}
    purposes["operations"]["columns"]["device.model"] = "major"
    del purposes["operations"]["events"]["page_view"]
    for path in ("page_view.page", "page_view.duration_ms"):
        del purposes["operations"]["columns"][path]
    purposes["service"] |= {"event_time": "day", "unless": {"app_lifecycle.state": ["remove"]}}
    purposes["service"]["events"]["session"] = ["event_id", "device.android_id"]
    purposes["service"]["events"]["app_lifecycle"] += ["account_id"]
    del purposes["service"]["columns"]["session.events"]
    purposes["activation"]["columns"]["device.imei"] = "token"
    purposes["research"] |= {"subject": ["device"], "holds": "personal"}
    purposes["security"] |= {"sources": ["device"], "event_time": "hour"}
    purposes["promotion"] |= {"per_application": True, "minors": "included", "basis": {"default": "opt_out"}}
    purposes["promotion"] |= {"profiling": False, "zeroed_closes": True}
    del purposes["find_device"]["granted_by"]
    purposes["user_experience"] |= {"minors": "excluded", "minimum_policy_version": OLD}
    purposes["user_experience"]["columns"]["crash.trace"] = "fingerprint"
    purposes["personalisation"]["minimum_policy_version"] = OLD
    purposes["personalised_ads"]["minimum_policy_version"] = OLD
    rules["regions"]["us"]["bases"] = ["contract", "legal_obligation", "consent"]


def older(rules: dict) -> None:
    del rules["purposes"]["user_experience"], rules["collection"]
    rules["gates"] = [{"clause": "1.1.2-loc", "categories": ["exact_location"], "purpose": "find_device"}]


def three() -> Editions:
    return Editions((load_pack(), edition(OLDER, older), edition(OLD, old)))
