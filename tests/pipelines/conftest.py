"""One small run that many tests look at."""

from pathlib import Path

import pytest

from pipelines import ingest
from tests.stranger import HANDSETS, REGIONS, Prepared, command, deploy, entry, event, ndjson


def _events() -> list[dict]:
    made = []
    for region in REGIONS:
        made += [
            event(len(made) + n, "session", region, event_time=f"2021-03-0{n}T10:00:00.000Z", received_time=received)
            for n, received in enumerate(("2021-03-01T10:00:05.000Z", "2021-03-02T23:59:59.999Z"), 1)
        ]
    for android_id, (imei, imsi, mac, token) in HANDSETS.items():
        device = {"android_id": android_id, "imei": imei, "imsi": imsi, "mac": mac, "os_version": "11", "model": "M1"}
        made.append(event(len(made) + 1, "activation", device=device, activation={"outcome": "succeeded"}))
        device = {"android_id": android_id, "fcm_token": token}
        shown = {"action": "shown", "notice": "system"}
        made.append(event(len(made) + 1, "push_interaction", device=device, push_interaction=shown))
    no_token = event(len(made) + 1, "push_interaction", push_interaction={"action": "opened", "notice": "system"})
    return [*made, no_token]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Seventeen events of all regions, a grant for each of two devices in eu, and the stores that came of them."""
    folder: Path = tmp_path_factory.mktemp("prepared")
    events, consents = folder / "events.ndjson", folder / "consents.ndjson"
    events.write_bytes(ndjson(*_events()))
    consents.write_bytes(ndjson(*(entry(n, "grant", device) for n, device in enumerate(HANDSETS))))
    given = ("--events", events, "--consents", consents, "--deployment", deploy(folder), "--json")
    outcome = command(ingest, *given)
    assert outcome.status == 0, outcome.err
    return Prepared(folder, outcome)
