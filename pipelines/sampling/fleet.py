"""Devices and the accounts on them."""

from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sampling import draws
from pipelines.sampling.places import CHINA, COUNTRIES, MCCS, SHARES

OPTED_OUT = "00000000-0000-0000-0000-000000000000"  # what a device hands out once its owner refuses advertising
HIDDEN_MAC = "02:00:00:00:00:00"  # what Android tells applications since version 6
MODELS = (
    *(("Xiaomi", model) for model in ("M2011K2C", "M2012K11AG", "M2007J3SG", "M2006C3LG", "M2003J15SC", "M1908C3JG")),
    *(("Redmi", model) for model in ("M2010J19SG", "M2101K7AG", "M2004J19C", "M2102J20SG", "M2101K6G", "M2006C3MG")),
    *(("POCO", model) for model in ("M2010J19CG", "M2007J20CG", "M2012K11AC", "M2104K19J")),
    *(("Xiaomi", model) for model in ("MITV-MSSP3", "MIBOX4", "M2105K81AC", "XMWTCL02")),
)
OS_VERSIONS = ("10", "11", "9", "8.1.0", "12", "7.1.2")
ROM_VERSIONS = ("V12.0.3.0.QJOMIXM", "V12.5.1.0.RKBEUXM", "V11.0.9.0.PCOCNXM", "V12.0.1.0.RJKCNXM", "V10.2.2.0.OEFMIXM")
CHANNELS = ("retail", "online", "operator", "distributor", "flagship", "refurbished")

WITH_ACCOUNT = 0.60
SECOND_DEVICES = 0.08  # devices whose owner has another one: same country, same account


@dataclass(frozen=True)
class Fleet:
    """One row a device. `columns` are what an event can carry of it, by path; `origin` is the index in PLACES of the
    country whose network it is on."""

    columns: dict[str, pa.Array] = field(repr=False)
    origin: np.ndarray = field(repr=False)
    addresses: pa.Array = field(repr=False)  # of the device at home; then, in the same order, on the move
    clock_skew_ms: np.ndarray = field(repr=False)
    secrets: np.ndarray = field(repr=False)  # (devices, 16): what its identifiers by application are made from
    activity: np.ndarray = field(repr=False)  # cumulative share of the events
    holds_account: np.ndarray = field(repr=False)  # False on the second device of an account, so each is held once

    def __len__(self) -> int:
        return len(self.origin)

    def draw(self, rng: np.random.Generator, rows: int) -> np.ndarray:
        """The device of each of `rows` events: a few devices send many."""
        return np.searchsorted(self.activity, rng.random(rows)).clip(max=len(self) - 1)


def build(rng: np.random.Generator, devices: int) -> Fleet:
    """A fleet that is the same for the same generator state and size."""
    owner = _owners(rng, devices)
    home = _homes(rng, devices)[owner]
    registered = (rng.random(devices) < WITH_ACCOUNT)[owner]
    origin, residency = _residency(rng, home, registered)
    account = draws.only(registered, pc.binary_join_element_wise("u-", _account_numbers(rng, devices), ""))
    weights = rng.lognormal(0, 1, devices)
    return Fleet(
        columns={
            "account_id": account.take(pa.array(owner)),
            **residency,
            **_identifiers(rng, home, residency["residency.sim_mcc"]),
            **_descriptions(rng, devices),
        },
        origin=origin,
        addresses=pa.concat_arrays([_addresses(rng, devices), _addresses(rng, devices)]),
        clock_skew_ms=np.where(draws.chance(rng, devices, 0.1), rng.integers(-120_000, 120_000, devices), 0),
        secrets=draws.random_bytes(rng, devices, 16),
        activity=np.cumsum(weights) / weights.sum(),
        holds_account=registered & (owner == np.arange(devices)),
    )


def _owners(rng: np.random.Generator, devices: int) -> np.ndarray:
    """For each device the first device of the same person."""
    owner = np.arange(devices)
    first = max(1, round(devices * (1 - SECOND_DEVICES)))
    owner[first:] = rng.integers(0, first, devices - first)
    return owner


def _homes(rng: np.random.Generator, devices: int) -> np.ndarray:
    """Indices in PLACES, as near to their shares as whole devices allow: a small country is not left to chance."""
    evenly = (np.arange(devices) + 0.5) / devices
    return rng.permutation(np.searchsorted(np.cumsum(SHARES), evenly).clip(max=len(SHARES) - 1))


def _account_numbers(rng: np.random.Generator, devices: int) -> pa.Array:
    """Ten digits each, no two the same."""
    steps = rng.integers(1, 9_000_000_000 // max(devices, 1), devices)
    return pa.array(rng.permutation(1_000_000_000 + np.cumsum(steps))).cast(pa.string())


def _residency(
    rng: np.random.Generator, home: np.ndarray, registered: np.ndarray
) -> tuple[np.ndarray, dict[str, pa.Array]]:
    """The signals of each device: mostly one country, some with a foreign SIM or setting, a few that say nothing."""
    devices = len(home)
    foreign = rng.choice(len(COUNTRIES), devices, p=SHARES)
    abroad = draws.chance(rng, devices, 0.03)
    set_elsewhere = draws.chance(rng, devices, 0.01)
    silent = draws.chance(rng, devices, 0.004)
    sim_mcc = np.where(silent, 901, MCCS[np.where(abroad, foreign, home)])  # 901 is shared by international networks
    names = pa.array(COUNTRIES)
    region = names.take(pa.array(np.where(set_elsewhere, foreign, home)))
    columns = {
        "residency.account_country": draws.only(registered & ~silent, names.take(pa.array(home))),
        "residency.device_region": pc.if_else(pa.array(silent), "ZZ", region),
        "residency.sim_mcc": draws.only(~draws.chance(rng, devices, 0.06), pa.array(sim_mcc)),
    }
    return np.where(abroad, foreign, home), columns


def _identifiers(rng: np.random.Generator, home: np.ndarray, sim_mcc: pa.Array) -> dict[str, pa.Array]:
    devices = len(home)
    mainland = home == CHINA
    advertising = draws.uuids(draws.random_bytes(rng, devices, 16))
    advertising = pc.if_else(pa.array(draws.chance(rng, devices, 0.08)), OPTED_OUT, advertising)
    subscriber = draws.numerals(draws.digits(rng, devices, 12))
    serial = pc.utf8_upper(draws.random_text(rng, devices, 12))
    return {
        "device.android_id": draws.random_hex(rng, devices, 8),
        "device.imei": draws.only(draws.chance(rng, devices, 0.96), draws.imeis(rng, devices)),
        "device.imsi": pc.binary_join_element_wise(sim_mcc.cast(pa.string()), subscriber, ""),
        "device.oaid": draws.only(mainland, advertising),
        "device.gaid": draws.only(~mainland, advertising),
        "device.mac": pc.if_else(pa.array(draws.chance(rng, devices, 0.85)), HIDDEN_MAC, draws.macs(rng, devices)),
        "device.serial": pc.if_else(pa.array(draws.chance(rng, devices, 0.05)), "unknown", serial),
        "device.space_id": draws.only(draws.chance(rng, devices, 0.03), draws.random_hex(rng, devices, 5)),
        "device.fcm_token": draws.only(~mainland, _push_tokens(rng, devices)),
        "device.meid": draws.only(draws.chance(rng, devices, 0.04), draws.meids(rng, devices)),
    }


def _push_tokens(rng: np.random.Generator, devices: int) -> pa.Array:
    instance, token = (draws.random_text(rng, devices, width, draws.BASE64URL) for width in (22, 134))
    return pc.binary_join_element_wise(instance, ":APA91b", token, "")


def _descriptions(rng: np.random.Generator, devices: int) -> dict[str, pa.Array]:
    makers, models = zip(*MODELS, strict=True)
    model = draws.pick(rng, devices, models, draws.zipf(len(models)))
    return {
        "device.manufacturer": pa.DictionaryArray.from_arrays(model.indices, pa.array(makers)),
        "device.model": model,
        "device.os_version": draws.pick(rng, devices, OS_VERSIONS, draws.zipf(len(OS_VERSIONS))),
        "device.rom_version": draws.pick(rng, devices, ROM_VERSIONS, draws.zipf(len(ROM_VERSIONS))),
        "device.sales_channel": draws.pick(rng, devices, CHANNELS, draws.zipf(len(CHANNELS))),
    }


def _addresses(rng: np.random.Generator, devices: int) -> pa.Array:
    short, long = draws.ipv4s(rng, devices), draws.ipv6s(rng, devices)
    return pc.if_else(pa.array(draws.chance(rng, devices, 0.15)), long, short)
