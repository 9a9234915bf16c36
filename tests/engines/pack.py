"""The policy of the engine tests: the shipped one, told apart row by row, and a day of statistics that ends in the run.

A row of a purpose that needs a subject is found by the token of its event. A purpose without a subject has no such
token, so here it receives one number as it is: the load writes the number of the record there.
"""

import shutil
from pathlib import Path

import yaml

from schemas.pack_files import DEFAULT_PACK, SHIPPED

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
# Purposes without a subject: by event type the measure in which the number of the record stands.
NUMBERED = {
    "research": {"app_usage": "app_usage.background_ms", "session": "session.events"},
    "device_performance": {"device_state": "device_state.unlock_count"},
}
NUMBER_OF = {event_type: path for paths in NUMBERED.values() for event_type, path in paths.items()}


def write_pack(folder: Path, closes: int) -> Path:
    """The pack as a folder, with its overlays. `closes` is when the statistics of the day before end, in milliseconds
    since the epoch: of that day each region makes its release if the watermark passes the moment, and of earlier days
    none is due."""
    shutil.copytree(SHIPPED / DEFAULT_PACK, folder)
    for file in folder.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        for name, paths in NUMBERED.items() if "purposes" in content else ():
            purpose = content["purposes"][name]
            purpose["columns"] |= dict.fromkeys(paths.values(), "plain")
            for event_type, path in paths.items():
                purpose["events"][event_type].append(path)
        if "statistics" in content:
            content["statistics"]["grace_hours"] = closes % DAY_MS / HOUR_MS
        file.write_text(yaml.safe_dump(content, sort_keys=False))
    return folder
