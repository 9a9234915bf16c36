"""Telemetry: the columns of events of one type, with the identifiers that a collector sends for that type."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pipelines.sampling import draws
from pipelines.sampling.canaries import Canaries
from pipelines.sampling.fleet import Fleet
from pipelines.sampling.payloads import PAYLOADS
from pipelines.sampling.places import COUNTRIES, MCCS, PLACES
from pipelines.sampling.snippets import Snippets
from pipelines.sampling.texts import CRASHES, TEXTS
from schemas.fields import EVENT_FIELDS, Handling

SHARES = {
    "app_usage": 0.28,
    "page_view": 0.14,
    "session": 0.12,
    "network_request": 0.12,
    "device_state": 0.10,
    "service_activity": 0.07,
    "app_lifecycle": 0.05,
    "push_interaction": 0.04,
    "ad_interaction": 0.03,
    "crash": 0.025,
    "location": 0.02,
    "activation": 0.005,
}
CARRIED = {  # besides the Android ID, which is the device subject
    "app_usage": ("device.vaid", "device.aaid"),
    "page_view": ("account_id",),
    "session": ("account_id", "device.vaid"),
    "network_request": ("device.vaid",),
    "device_state": ("device.serial",),
    "service_activity": ("account_id", "device.oaid", "device.gaid"),
    "app_lifecycle": ("device.aaid", "device.oaid", "device.gaid"),
    "push_interaction": ("account_id", "device.gaid", "device.fcm_token", "device.space_id"),
    "ad_interaction": ("device.oaid", "device.gaid"),
    "crash": ("account_id", "device.aaid"),
    "location": ("account_id", "device.aaid"),
    "activation": (
        "device.imei",
        "device.meid",
        "device.imsi",
        "device.gaid",
        "device.oaid",
        "device.mac",
        "device.serial",
    ),
}
SHORTLY = ("device.manufacturer", "device.model", "device.os_version")
AT_LENGTH = {  # more of the device, where it explains what happened
    "app_usage": ("device.rom_version",),
    "device_state": ("device.rom_version",),
    "crash": ("device.rom_version",),
    "app_lifecycle": ("device.rom_version", "device.sales_channel"),
    "activation": ("device.rom_version", "device.sales_channel"),
}
WITH_ADDRESS = 0.6
ELSEWHERE = {  # not all comes from a device: which share from whom else
    "page_view": ("web", 0.12),
    "service_activity": ("web", 0.15),
    "session": ("web", 0.05),
    "ad_interaction": ("partner", 0.20),
}
LOCATED = {"location": (1.0, 1.0), "activation": (0.5, 1.0), "service_activity": (0.10, 0.3), "app_usage": (0.03, 0.2)}
LOCATED_REST = (0.0, 0.15)  # share with an exact location, share with a coarse one
PARTNER_IDENTIFIERS = frozenset({"device.oaid", "device.gaid"})

# Applications that use location come first, so that grants for one of them meet events of it.
LOCATION_APPS = (
    "com.miui.weather2",
    "com.example.maps",
    "com.example.rides",
    "com.xiaomi.finddevice",
    "com.miui.gallery",
)
APPS = LOCATION_APPS + (
    "com.android.browser",
    "com.xiaomi.market",
    "com.miui.player",
    "com.miui.video",
    "com.android.thememanager",
    "com.android.mms",
    "com.android.settings",
    "com.miui.notes",
    "com.xiaomi.shop",
    "com.miui.home",
    "com.example.social",
    "com.example.news",
    "com.example.bank",
    "com.example.chat",
    "com.example.games.puzzle",
)
SERVICES = tuple(app.rpartition(".")[2] for app in APPS)
DEVELOPERS = np.array([sum(map(ord, app.rpartition(".")[0])) % 251 for app in APPS], np.uint8)
VERSIONS = ("12.4.1", "11.2.9", "13.0.0", "12.4.0-beta2", "10.8.3", "9.1.17")
SDK_VERSIONS = ("3.2.0", "3.1.4", "2.9.8")
AREAS = 30  # city codes a country
CITY_CODES = tuple(f"{country}-{area:02d}" for country in COUNTRIES for area in range(AREAS))
IDENTIFIERS = tuple(f.path for f in EVENT_FIELDS if f.handling in (Handling.IDENTIFIER, Handling.ADDRESS))


@dataclass(frozen=True)
class World:
    """What the events of a sample have in common; the canaries grow while events are made."""

    fleet: Fleet
    snippets: Snippets
    canaries: Canaries = field(repr=False)


def columns(
    world: World, rng: np.random.Generator, event_type: str, received: np.ndarray, intact: np.ndarray
) -> dict[str, pa.Array]:
    """Events of one type, received at these times (milliseconds since 1970), by the path of each field.

    Canaries are taken from the rows marked `intact`, which must be written as they are.
    """
    rows = len(received)
    fleet = world.fleet
    device = fleet.draw(rng, rows)
    other, share = ELSEWHERE.get(event_type, ("web", 0.0))
    elsewhere = draws.chance(rng, rows, share)
    apps = len(LOCATION_APPS) if event_type == "location" else len(APPS)
    app = rng.choice(apps, rows, p=draws.zipf(apps, 0.7))

    found: dict[str, pa.Array] = {
        "event_id": draws.uuids(draws.random_bytes(rng, rows, 16)),
        "event_type": _dictionary(np.zeros(rows), [event_type]),
        "schema_version": pa.repeat(1, rows),
        "event_time": draws.times(received - _delays(rng, rows) + fleet.clock_skew_ms[device]),
        "received_time": draws.times(received),
        "source": _dictionary(elsewhere, ["device", other]),
        "service": _dictionary(app, SERVICES),
        "ip": _address(fleet, rng, device),
    }
    found |= _carried(fleet, event_type, device, app, elsewhere)
    found |= {
        path: fleet.columns[path].take(pa.array(device)) for path in fleet.columns if path.startswith("residency.")
    }
    described = SHORTLY + AT_LENGTH.get(event_type, ())
    found |= {path: fleet.columns[path].take(pa.array(device, mask=elsewhere)) for path in described}
    found |= _application(rng, app, elsewhere)
    found |= _location(fleet, rng, device, *LOCATED.get(event_type, LOCATED_REST))
    if payload := PAYLOADS.get(event_type):
        found |= {f"{event_type}.{leaf}": _array(column) for leaf, column in payload(rng, rows).items()}
    found |= _texts(world, rng, event_type, rows, intact)
    _plant(world.canaries, found, intact)
    return found


def _array(column: np.ndarray | pa.Array) -> pa.Array:
    return column if isinstance(column, pa.Array) else pa.array(column)


def _dictionary(indices: np.ndarray, words: tuple[str, ...] | list[str], absent: np.ndarray | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(indices.astype(np.int16), mask=absent), pa.array(words))


def _delays(rng: np.random.Generator, rows: int) -> np.ndarray:
    """Milliseconds until an event arrives: seconds mostly, hours to three days if the device was offline."""
    online = rng.lognormal(8, 1, rows)
    offline = np.exp(rng.uniform(np.log(3_600_000), np.log(3 * 86_400_000), rows))
    return np.where(draws.chance(rng, rows, 0.05), offline, online).astype(np.int64)


def _address(fleet: Fleet, rng: np.random.Generator, device: np.ndarray) -> pa.Array:
    on_the_move = draws.chance(rng, len(device), 0.4) * len(fleet)
    absent = draws.chance(rng, len(device), 1 - WITH_ADDRESS)
    return fleet.addresses.take(pa.array(device + on_the_move, mask=absent))


def _carried(
    fleet: Fleet, event_type: str, device: np.ndarray, app: np.ndarray, elsewhere: np.ndarray
) -> dict[str, pa.Array]:
    """The identifiers that fit the event type. The web knows no device, and a partner only what it was given."""
    here = pa.array(device, mask=elsewhere)
    partner = ELSEWHERE.get(event_type, ("web", 0))[0] == "partner"
    found = {}
    for path in ("device.android_id", *CARRIED[event_type]):
        if path in ("device.vaid", "device.aaid"):
            maker = DEVELOPERS[app] if path == "device.vaid" else app.astype(np.uint8)
            found[path] = draws.only(~elsewhere, _by_application(fleet.secrets[device], maker))
        else:
            everywhere = path == "account_id" or (partner and path in PARTNER_IDENTIFIERS)
            found[path] = fleet.columns[path].take(pa.array(device) if everywhere else here)
    return found


def _by_application(secrets: np.ndarray, maker: np.ndarray) -> pa.Array:
    """The identifier of a device towards one application or developer: always the same, and unlike all others."""
    mixed = secrets.copy()
    mixed[:, :6] ^= (maker[:, None] * np.array([197, 89, 151, 43, 211, 109], np.uint8)).astype(np.uint8)
    return draws.uuids(mixed)


def _application(rng: np.random.Generator, app: np.ndarray, elsewhere: np.ndarray) -> dict[str, pa.Array]:
    """The application; a few devices run ahead of the schema and say more than it knows."""
    rows = len(app)
    ahead = draws.chance(rng, rows, 0.03)
    nested = draws.chance(rng, rows, 0.5)
    return {
        "device.refresh_hz": pa.array(np.full(rows, 120), mask=~ahead | ~nested | elsewhere),
        "app.package": _dictionary(app, APPS, elsewhere),
        "app.version": _dictionary(rng.choice(len(VERSIONS), rows), VERSIONS, elsewhere),
        "app.sdk_version": _dictionary(rng.choice(len(SDK_VERSIONS), rows), SDK_VERSIONS, elsewhere),
        "experiment": _dictionary(np.zeros(rows), ["layout-b"], ~ahead | nested),
    }


def _location(
    fleet: Fleet, rng: np.random.Generator, device: np.ndarray, exact_share: float, coarse_share: float
) -> dict[str, pa.Array]:
    rows = len(device)
    coarse = draws.chance(rng, rows, coarse_share)
    exact = coarse & draws.chance(rng, rows, exact_share / coarse_share)
    origin = fleet.origin[device]
    middle = np.array([(place.latitude, place.longitude) for place in PLACES])[origin]
    around = np.round(middle + rng.normal(0, 0.1, (rows, 2)), 5)
    measured = {
        "latitude": around[:, 0],
        "longitude": around[:, 1],
        "accuracy_m": np.round(rng.lognormal(3, 1, rows), 1).clip(max=100_000),
        "cell_id": rng.integers(1, 2**28, rows),
    }
    city = origin * AREAS + rng.choice(AREAS, rows, p=draws.zipf(AREAS))
    return {
        **{f"location.{leaf}": pa.array(column, mask=~exact) for leaf, column in measured.items()},
        "location.mcc": pa.array(MCCS[origin], mask=~coarse),
        "location.mnc": pa.array(rng.integers(1, 20, rows), mask=~coarse),
        "location.city_code": _dictionary(city, CITY_CODES, ~coarse),
    }


def _texts(
    world: World, rng: np.random.Generator, event_type: str, rows: int, intact: np.ndarray
) -> dict[str, pa.Array]:
    """Free text; the texts of a row are from templates of the same place, so that a trace fits its exception."""
    templates = TEXTS.get(event_type)
    if not templates:
        return {}
    choices = len(next(iter(templates.values())))
    chosen = rng.choice(choices, rows, p=draws.zipf(choices, 0.5))
    found = {}
    for path, texts in templates.items():
        written = world.snippets.write(rng, chosen, texts)
        found[path] = written.texts
        for snippets in written.snippets(intact):
            world.canaries.keep_all(path, snippets)
    if event_type == "crash":
        found["crash.signal"] = pa.array([crash.signal for crash in CRASHES]).take(pa.array(chosen))
    return found


def _plant(canaries: Canaries, found: dict[str, pa.Array], intact: np.ndarray) -> None:
    for path in IDENTIFIERS:
        if path in found:
            canaries.sample(path, found[path].filter(pa.array(intact)))
