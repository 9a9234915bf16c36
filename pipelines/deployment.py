"""A deployment: where each region's stores and keys are. Read from one YAML file.

    arrival: eu                         # where what cannot be located is accounted for; default: the first region
    regions:
      eu: {store: data/eu, keys: "local:keys/eu", statistics: ..., quarantine: ..., inbox: ...}

Relative paths are relative to the file. Wrapped data keys live in `manifest`, beside the keys and not beside the data;
for a local keystore it is the folder `manifest` in it. What has no folder of its own
(`statistics`, `quarantine`, `inbox`) has one of that name in the store.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ConfigurationError
from pipelines.manifest import PENDING, Manifest
from pipelines.whole_files import writing
from schemas.datasets import QUARANTINE, opened_by
from schemas.yaml_files import explain, in_one_line, read_yaml
from transforms.keyring import (
    Keyring,
    create_keystore,
    has_wrapping_key,
    local_folder,
    open_keyring,
    region_of_keystore,
)


class _RegionFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    store: str
    keys: str
    statistics: str | None = None
    quarantine: str | None = None
    inbox: str | None = None
    manifest: str | None = None


class _DeploymentFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    regions: dict[str, _RegionFile]
    arrival: str | None = None


@dataclass(frozen=True)
class RegionalPlace:
    """One region's stores, as absolute paths and key URIs."""

    region: str
    store: Path
    keys: str
    manifest_folder: Path
    quarantine: Path
    statistics: Path
    inbox: Path
    attempt: str = ""  # of a run that is seen whole or not at all: what it puts here waits apart until it is published

    @property
    def manifest(self) -> Manifest:
        return Manifest(self.manifest_folder, self.attempt)

    @property
    def releases(self) -> Path:
        """Where releases of statistics are put: with an attempt apart from those that count."""
        return self.statistics / PENDING / self.attempt if self.attempt else self.statistics

    def folder(self, dataset: str) -> Path:
        """Where a dataset's files lie."""
        return self.quarantine if dataset == QUARANTINE else self.store / dataset

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every folder of the region."""
        keys = local_folder(self.keys)
        return self.store, keys, self.manifest_folder, self.quarantine, self.statistics, self.inbox

    def dataset_folders(self) -> dict[str, Path]:
        """The folders in the store by name, and that of the quarantine, whatever the manifest names in them."""
        names = {path.name for path in self.store.glob("*") if path.is_dir()}
        return {name: self.folder(name) for name in names | {QUARANTINE}}

    def keyring(self) -> Keyring:
        """The region's keys. Raises `KeyUnavailable` where this process may not have them."""
        return open_keyring(self.keys)


@dataclass(frozen=True)
class Deployment:
    """Where everything is. Building it touches nothing; `prepare` does."""

    path: Path
    regions: dict[str, RegionalPlace]
    arrival: str

    def place(self, region: str) -> RegionalPlace:
        try:
            return self.regions[region]
        except KeyError:
            raise ConfigurationError(f"{self.path}: no region {region!r}; it has {', '.join(self.regions)}") from None


def load_deployment(path: str | Path) -> Deployment:
    """Reads a deployment file. Raises `ConfigurationError`."""
    path = Path(path)
    try:
        file = _DeploymentFile.model_validate(read_yaml(path))
        places = {name: _place(name, region, path.parent) for name, region in file.regions.items()}
    except OSError as error:
        raise ConfigurationError(
            f"deployment {path}: {error.strerror}; name a readable file with --deployment"
        ) from None
    except ValidationError as error:
        raise ConfigurationError(f"deployment {path}: {explain(error, 'regions')}") from None
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"deployment {path}: {in_one_line(error)}") from None
    if not places:
        raise ConfigurationError(f"deployment {path}: regions is empty")
    _check_apart(path, places.values())
    arrival = file.arrival or next(iter(places))
    if arrival not in places:
        raise ConfigurationError(f"deployment {path}: arrival is {arrival!r}, which is none of its regions")
    return Deployment(path, places, arrival)


def _place(name: str, region: _RegionFile, base: Path) -> RegionalPlace:
    if "://" in region.store and not region.store.startswith("file://"):
        raise ValueError(f"regions.{name}.store: only local paths are available")
    keys = (base / local_folder(region.keys)).resolve()
    manifest = base / region.manifest if region.manifest else keys / "manifest"
    store = (base / region.store.removeprefix("file://")).resolve()

    def folder(named: str | None, default: str) -> Path:
        return (base / named).resolve() if named else store / default

    return RegionalPlace(
        region=name,
        store=store,
        keys=f"local:{keys}",
        manifest_folder=manifest.resolve(),
        quarantine=folder(region.quarantine, "quarantine"),
        statistics=folder(region.statistics, "statistics"),
        inbox=folder(region.inbox, "inbox"),
    )


def _check_apart(path: Path, places: Iterable[RegionalPlace]) -> None:
    """No folder of a region may be or hold one of another region (clause 6), nor a store the keys that protect it."""
    taken: list[tuple[str, Path]] = []
    for place in places:
        keys = local_folder(place.keys)
        for folder in place.folders:
            for region, other in taken:
                if region != place.region and _overlap(folder, other):
                    both = f"regions {region} and {place.region} share {other}"
                    raise ConfigurationError(f"deployment {path}: {both}; give each its own folder")
            taken.append((place.region, folder))
        for what, folder in (("keys", keys), ("manifest", place.manifest_folder)):
            if _overlap(place.store, folder):
                own = f"region {place.region} keeps its {what} in its store, or its store in them"
                raise ConfigurationError(f"deployment {path}: {own}; keep them apart")
        _check_others(path, place)


def _check_others(path: Path, place: RegionalPlace) -> None:
    """Rejected lines, statistics and the inbox lie apart from each other, from keys and from datasets."""
    others = {"quarantine": place.quarantine, "statistics": place.statistics, "inbox": place.inbox}
    secret = {"keys": local_folder(place.keys), "manifest": place.manifest_folder}
    for name, folder in others.items():
        rest = secret | {other: each for other, each in others.items() if other != name}
        if clash := next((other for other, each in rest.items() if _overlap(folder, each)), None):
            raise ConfigurationError(
                f"deployment {path}: region {place.region} has {name} in its {clash}; keep them apart"
            )
        if folder != place.store / name and _overlap(folder, place.store):
            where = f"region {place.region} has {name} in its store, where datasets lie"
            raise ConfigurationError(f"deployment {path}: {where}; name a folder beside it")


def _overlap(folder: Path, other: Path) -> bool:
    """Whether one is the other, or lies in it. By their parts: to list all parents of all folders took most of the time
    of loading a deployment."""
    return all(mine == its for mine, its in zip(folder.parts, other.parts, strict=False))


def prepare(place: RegionalPlace, say) -> None:
    """Makes a region's local keystore if there is none yet and nothing was stored; refuses what would lose data."""
    known = region_of_keystore(place.keys)
    folder = local_folder(place.keys)
    for needed in (place.store, place.quarantine, place.statistics):
        with writing(needed / "."):
            needed.mkdir(parents=True, exist_ok=True)
    if known is None:
        held = next((f for f in (place.store, place.manifest_folder, place.quarantine) if _holds_files(f)), None)
        if held:
            raise ConfigurationError(
                f"region {place.region}: no keystore at {folder}, but {held} holds data that a new one could "
                "not read; bring the keystore back, or move the data away"
            )
        create_keystore(place.keys, place.region)
        say(f"made a new keystore for {place.region} at {folder}: back it up, without it the data cannot be read")
    elif known != place.region:
        raise ConfigurationError(f"region {place.region}: the keystore at {folder} belongs to region {known}")
    for dataset in place.manifest.datasets():
        if not has_wrapping_key(place.keys, f"dataset-{opened_by(dataset)}"):
            missing = f"the key of dataset {dataset} is missing in {folder}, but files were written under it"
            raise ConfigurationError(f"region {place.region}: {missing}")


def _holds_files(folder: Path) -> bool:
    return folder.exists() and any(path.is_file() for path in folder.rglob("*"))
