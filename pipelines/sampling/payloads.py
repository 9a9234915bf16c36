"""The object that each event type has of its own: measures that a device might send."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from pipelines.sampling import draws
from schemas.fields import EVENT_FIELD

Column = np.ndarray | pa.Array
_MONTH_MS = 31 * 24 * 3_600_000

INSTALLERS = ("com.xiaomi.market", "com.android.vending", "com.miui.packageinstaller", "org.fdroid.fdroid", "adb")
PLACEMENTS = ("feed", "lock_screen", "splash", "search_result", "browser_banner", "video_pre_roll")
HTTP_STATUS = (200, 304, 404, 500, 302, 503, 401, 429)
NOTICE_SHARES = (0.6, 0.4)


def _durations(rng: np.random.Generator, rows: int, median_ms: float) -> np.ndarray:
    return rng.lognormal(np.log(median_ms), 1.2, rows).astype(np.int64).clip(max=_MONTH_MS)


def _counts(rng: np.random.Generator, rows: int, mean: float) -> np.ndarray:
    return rng.geometric(1 / (mean + 1), rows) - 1


def _percent(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.round(rng.beta(2, 3, rows) * 100, 1)


def _word(rng: np.random.Generator, rows: int, path: str) -> pa.Array:
    """A word of the field's enumeration; those named first are more frequent."""
    words = EVENT_FIELD[path].values
    return draws.pick(rng, rows, words, draws.zipf(len(words)))


def _app_usage(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "foreground_ms": _durations(rng, rows, 240_000),
        "background_ms": _durations(rng, rows, 1_800_000),
        "launches": 1 + _counts(rng, rows, 3),
    }


def _app_lifecycle(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "state": _word(rng, rows, "app_lifecycle.state"),
        "installer": draws.pick(rng, rows, INSTALLERS, draws.zipf(len(INSTALLERS))),
    }


def _session(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {"duration_ms": _durations(rng, rows, 300_000), "events": 1 + _counts(rng, rows, 14)}


def _page_view(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {"duration_ms": _durations(rng, rows, 20_000)}


def _network_request(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    requests = 1 + _counts(rng, rows, 5)
    return {
        "duration_ms": _durations(rng, rows, 180),
        "requests": requests,
        "errors": rng.binomial(requests, 0.03),
        "status": rng.choice(HTTP_STATUS, rows, p=draws.zipf(len(HTTP_STATUS), 2.0)),
    }


def _device_state(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    unlocks = _counts(rng, rows, 35)
    return {
        "cpu_percent": _percent(rng, rows),
        "memory_mb": rng.integers(900, 7600, rows),
        "storage_mb": rng.integers(9_000, 250_000, rows),
        "battery_percent": _percent(rng, rows),
        "temperature_c": np.round(rng.normal(31, 4, rows), 1).clip(-20, 60),
        "screen_on_count": unlocks + _counts(rng, rows, 25),
        "unlock_count": unlocks,
    }


def _activation(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "device_type": _word(rng, rows, "activation.device_type"),
        "outcome": _word(rng, rows, "activation.outcome"),
        "duration_ms": _durations(rng, rows, 4_000),
    }


def _service_activity(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "action": _word(rng, rows, "service_activity.action"),
        "dwell_ms": _durations(rng, rows, 9_000),
        "count": 1 + _counts(rng, rows, 1),
    }


def _push_interaction(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "action": _word(rng, rows, "push_interaction.action"),
        "notice": draws.pick(rng, rows, EVENT_FIELD["push_interaction.notice"].values, NOTICE_SHARES),
    }


def _ad_interaction(rng: np.random.Generator, rows: int) -> dict[str, Column]:
    return {
        "action": _word(rng, rows, "ad_interaction.action"),
        "placement": draws.pick(rng, rows, PLACEMENTS, draws.zipf(len(PLACEMENTS))),
    }


# Of `crash` all is text, and `location` is drawn for any event type: both are made where the event is.
PAYLOADS: dict[str, Callable[[np.random.Generator, int], dict[str, Column]]] = {
    "app_usage": _app_usage,
    "app_lifecycle": _app_lifecycle,
    "page_view": _page_view,
    "session": _session,
    "network_request": _network_request,
    "device_state": _device_state,
    "activation": _activation,
    "service_activity": _service_activity,
    "push_interaction": _push_interaction,
    "ad_interaction": _ad_interaction,
}
