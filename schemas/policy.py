"""The policy pack: every rule of the privacy policy that is about data, as YAML read by these models.

A pack is a folder of YAML files whose top-level keys together make one `Pack`. The job takes all its rules from it;
code knows how to apply a rule, never which rule holds. A pack that is wrong fails when it is loaded, in one message.

    PackError            the pack cannot be used; says where and what to change
"""

from collections.abc import Callable
from datetime import date
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from schemas.apart import Apart, WordList
from schemas.consent import Terms
from schemas.fields import EVENT_FIELD, EVENT_TYPES, IDENTIFYING, INTEGER, SOURCES, Category, Handling, payload_of
from schemas.fields import Field as EventField
from schemas.model import Model, Name, Word
from schemas.regions import Residency
from schemas.statistics import Statistics

SHIPPED = Path(__file__).parent / "packs"
DEFAULT_PACK = "2021-01-15"


class PackError(ValueError):
    """The policy pack cannot be used. The message names the pack, the place in it and what to change."""


class Basis(StrEnum):
    """Legal bases. Only the first two open a purpose without a word from the ledger being needed."""

    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OPT_OUT = "opt_out"
    CONSENT = "consent"


_OTHER_DATASETS = frozenset({"audit", "quarantine", "ledger", "ledger_ids", "ledger_snapshot"})
WITHOUT_LEDGER = frozenset({Basis.CONTRACT, Basis.LEGAL_OBLIGATION})


class Form(StrEnum):
    """How a column goes into a dataset."""

    PLAIN = "plain"  # as it is (a label after its check, a number)
    TOKEN = "token"  # pseudonym of this purpose, region and epoch
    SEALED = "sealed"  # reversible by the reader of this dataset alone
    TEXT = "text"  # scrubbed free text
    FINGERPRINT = "fingerprint"  # keyed digest of the scrubbed text
    NETWORK = "network"  # IP address cut to its network
    MAJOR = "major"  # version cut to its first number
    BUCKET = "bucket"  # number cut to a multiple of `step`
    LISTED = "listed"  # word of a list of the pack; every other is `<OTHER>`


_FORMS: dict[Handling, frozenset[Form]] = {
    Handling.IDENTIFIER: frozenset({Form.TOKEN, Form.SEALED}),
    Handling.ADDRESS: frozenset({Form.NETWORK}),
    Handling.LABEL: frozenset({Form.PLAIN, Form.MAJOR, Form.LISTED}),
    Handling.TEXT: frozenset({Form.TEXT, Form.FINGERPRINT}),
    Handling.MEASURE: frozenset({Form.PLAIN, Form.BUCKET}),
    Handling.ENVELOPE: frozenset(),  # type and time have their own place in every dataset
    Handling.SIGNAL: frozenset(),
}


class Column(Model):
    """How one field goes into a purpose's dataset. In YAML the form's name, `{bucket: STEP}` or `{listed: NAME}`."""

    form: Form
    step: float | None = Field(None, gt=0, description="Width of a bucket, in the field's own unit")
    among: Word | None = Field(None, description="Name of the list whose words stay")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"form": value}
        if isinstance(value, dict) and set(value) == {"bucket"}:
            return {"form": "bucket", "step": value["bucket"]}
        if isinstance(value, dict) and set(value) == {"listed"}:
            return {"form": "listed", "among": value["listed"]}
        return value

    @model_validator(mode="after")
    def _with_what_it_needs(self) -> Self:
        if (self.form is Form.BUCKET) != (self.step is not None):
            raise ValueError("write {bucket: STEP}; other forms take no step")
        if (self.form is Form.LISTED) != (self.among is not None):
            raise ValueError("write {listed: NAME}; other forms take no list")
        return self


Subject = Literal["device", "account"]


class Purpose(Model):
    """What one purpose may receive, on which legal basis, for whom, how exact and for how long."""

    clause: Word = Field(description="The clause that names the purpose")
    title: str = Field(description="What it is for, in one line")
    basis: dict[str, Basis] = Field(description="Legal basis by region; `default` for regions not named")
    subject: tuple[Subject, ...] = Field(description="Subjects that a record must have for this purpose")
    granted_by: tuple[Subject, ...] = Field((), description="Whose grant counts; default: `subject`")
    minors: Literal["included", "excluded"] = Field(description="Whether a minor's records may serve it")
    per_application: bool = Field(False, description="Whether consent is given application by application")
    minimum_policy_version: Word | None = Field(None, description="Least edition a consent must be given under")
    sources: tuple[Literal[SOURCES], ...] = Field(("device", "web"), description="Who may feed it")
    unless: dict[str, tuple[str, ...]] = Field({}, description="Words of a field that keep a record out")
    zeroed_closes: bool = Field(False, description="Whether a zeroed advertising id, an opt-out, keeps a record out")
    event_time: Literal["second", "minute", "hour", "day"] = Field(description="What event_time is cut to")
    token_epoch: Literal["month", "year", "forever"] = Field("year", description="How long a pseudonym lives")
    retention_days: int = Field(gt=0, description="How long its rows are kept")
    stored: bool = Field(True, description="False: its records are only counted, by statistics")
    columns: dict[str, Column] = Field(description="How each field goes into the dataset")
    events: dict[Literal[EVENT_TYPES], tuple[str, ...]] = Field(description="Allow-list: fields by event type")

    @property
    def grantors(self) -> tuple[str, ...]:
        return self.granted_by or self.subject

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if "default" not in self.basis:
            raise ValueError("basis needs a `default`")
        for path, column in self.columns.items():
            _check_column(path, column)
        listed = {path for paths in self.events.values() for path in paths}
        if missing := sorted(listed - set(self.columns)):
            raise ValueError(f"events lists {missing}, which columns does not describe")
        if idle := sorted(set(self.columns) - listed):
            raise ValueError(f"columns describes {idle}, which no event type lists")
        for event_type, paths in self.events.items():
            if foreign := [path for path in paths if payload_of(path) not in (None, event_type)]:
                raise ValueError(f"events.{event_type} lists {foreign}, which that event type does not carry")
        if not self.subject:
            _check_subjectless(self.columns)
        _check_unless(self.unless, self.events)
        return self


def _check_column(path: str, column: Column) -> None:
    field = EVENT_FIELD.get(path)
    if field is None:
        raise ValueError(f"columns names {path!r}, which is no field of an event")
    if column.step is not None and field.type == INTEGER and column.step % 1:
        raise ValueError(f"{path} is a whole number: its bucket must be one too")
    allowed = _FORMS[field.handling]
    if column.form not in allowed:
        forms = ", ".join(sorted(allowed)) or "none: it never reaches a dataset as a column"
        raise ValueError(f"{path} cannot go as {column.form.value!r}; possible: {forms}")


def _check_lists(purposes: dict[str, Purpose], lists: dict[str, WordList]) -> None:
    named = {
        column.among: f"purposes.{name}.columns.{path}"
        for name, purpose in purposes.items()
        for path, column in purpose.columns.items()
        if column.among
    }
    for name in sorted(named.keys() - lists.keys()):
        raise ValueError(f"{named[name]} keeps the words of {name!r}, which is no list of this pack")


def _check_unless(unless: dict[str, tuple[str, ...]], events: dict) -> None:
    for path, words in unless.items():
        field = EVENT_FIELD.get(path)
        if field is None or not set(words) <= set(field.values) or payload_of(path) not in events:
            raise ValueError(f"unless names {path}: use a field with fixed words, of an event type that it receives")


def _check_subjectless(columns: dict[str, Column]) -> None:
    """Section 6 of the design: whoever needs no subject may hold nothing that points to one."""
    location = {Category.EXACT_LOCATION, Category.COARSE_LOCATION}
    pointing = sorted(path for path in columns if EVENT_FIELD[path].category in IDENTIFYING | location)
    if pointing:
        raise ValueError(f"a purpose without a subject may hold no identifier, address, location or text: {pointing}")


class Region(Model):
    """One region: the countries it serves and the legal bases that its law knows."""

    clause: Word
    countries: tuple[str, ...] | Literal["rest"]
    bases: tuple[Basis, ...]

    @model_validator(mode="after")
    def _has_consent(self) -> Self:
        if Basis.CONSENT not in self.bases:
            raise ValueError("bases must hold `consent`: it is what a purpose falls back to")
        return self


class ResidencySignals(Model):
    """How Locate finds the region: signals in order, and which regions win where signals conflict."""

    clause: Word
    signals: tuple[str, ...]
    localising: tuple[str, ...]


class Gate(Model):
    """Columns of these categories are null in every dataset unless `purpose` is open for the record."""

    clause: Word
    categories: tuple[Category, ...]
    purpose: str


class Limits(Model):
    """Bounds on what a record may claim."""

    clause: Word
    future_minutes: int = Field(ge=0, description="How far event_time may lie after received_time")
    oldest_days: int = Field(gt=0, description="How far event_time may lie before received_time")
    text_bytes: int = Field(gt=0, description="Longest free text; the rest is cut")
    ipv4_prefix: Literal[8, 16, 24] = Field(description="Bits of an IPv4 address that `network` keeps")
    ipv6_prefix: Literal[16, 32, 48] = Field(description="Bits of an IPv6 address that `network` keeps")
    quarantine_percent: int = Field(
        10, ge=0, le=100, description="Rejected lines kept, of all lines; counts stay exact"
    )


class Pack(Model):
    """One edition of the privacy policy as rules."""

    version: Word
    effective: date
    limits: Limits
    regions: dict[Name, Region]
    residency: ResidencySignals
    gates: tuple[Gate, ...] = ()
    purposes: dict[Name, Purpose]
    statistics: Statistics | None = None  # a pack without it releases nothing
    lists: dict[Name, WordList] = Field({}, description="Words that columns of the form {listed: NAME} keep")
    apart: Apart | None = None  # a pack without it sets no bound to what a sample shows

    @cached_property
    def where(self) -> Residency:
        """The rules of Locate. Its regions are the pack's, in the pack's order."""
        countries = {name: region.countries for name, region in self.regions.items()}
        return Residency.of(self.residency.signals, countries, self.residency.localising)

    def basis(self, purpose: str, region: str) -> Basis:
        """The basis in force: what the purpose names, or consent where the region's law knows no such basis."""
        declared = self.purposes[purpose].basis
        basis = declared.get(region, declared["default"])
        return basis if basis in self.regions[region].bases else Basis.CONSENT

    def terms(self, region: str, with_ledger: bool = True) -> Terms:
        """What the gate needs to know of a region. Without a ledger only what needs none is open (section 6)."""
        names = tuple(self.purposes)
        bases = {name: self.basis(name, region) for name in names}

        def mask(holds: Callable[[str, Purpose], bool]) -> int:
            return sum(1 << bit for bit, name in enumerate(names) if holds(name, self.purposes[name]))

        return Terms(
            purposes=names,
            consent=mask(lambda name, _: bases[name] is Basis.CONSENT),
            needs_device=mask(lambda _, purpose: "device" in purpose.subject),
            needs_account=mask(lambda _, purpose: "account" in purpose.subject),
            device_grants=mask(lambda _, purpose: "device" in purpose.grantors),
            account_grants=mask(lambda _, purpose: "account" in purpose.grantors),
            minors_excluded=mask(lambda _, purpose: purpose.minors == "excluded"),
            per_application=mask(lambda _, purpose: purpose.per_application),
            closed=mask(lambda name, _: not with_ledger and bases[name] not in WITHOUT_LEDGER),
            minimum_versions={
                name: purpose.minimum_policy_version
                for name, purpose in self.purposes.items()
                if purpose.minimum_policy_version
            },
        )

    def gate_of(self, field: EventField) -> Gate | None:
        """The gate that a field stands behind, if any."""
        return next((gate for gate in self.gates if field.category in gate.categories), None)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if len(self.purposes) > 64:
            raise ValueError("a pack can hold 64 purposes at most")
        for name, purpose in self.purposes.items():
            if unknown := sorted(set(purpose.basis) - set(self.regions) - {"default"}):
                raise ValueError(f"purposes.{name}.basis names {unknown}, which are no regions of this pack")
        _check_lists(self.purposes, self.lists)
        endings = ("_sensitive", "_orders", "_stopped")
        taken = _OTHER_DATASETS | {name for name in self.purposes if name.endswith(endings)}
        if taken := sorted(taken & set(self.purposes)):
            others = f"{', '.join(sorted(_OTHER_DATASETS))}, what ends in {', '.join(endings)}"
            raise ValueError(f"purposes {taken} have names of other datasets: {others}")
        for gate in self.gates:
            if gate.purpose not in self.purposes:
                raise ValueError(f"gates names {gate.purpose!r}, which is no purpose of this pack")
        if self.statistics:
            self.statistics.check(self)
        _ = self.where  # raises if the countries or signals do not fit together
        return self


class _StrictLoader(yaml.CSafeLoader):
    """Refuses a key given twice, which YAML would let the later one win."""


def _mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict:
    seen = set()
    for key, _ in node.value:
        if key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} given twice", key.start_mark)
        seen.add(key.value)
    return yaml.constructor.SafeConstructor.construct_mapping(loader, node, deep=True)


_StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> Any:
    """One YAML document, duplicate keys refused. Raises `yaml.YAMLError` or `OSError`."""
    with path.open(encoding="utf-8") as file:  # as a file, so that an error names it
        return yaml.load(file, Loader=_StrictLoader)


def load_pack(name: str = DEFAULT_PACK) -> Pack:
    """Reads a shipped pack by its version, or a pack's folder by its path. Raises `PackError`."""
    folder = SHIPPED / name if (SHIPPED / name).is_dir() else Path(name)
    files = sorted(folder.glob("*.yaml"))
    if not files:
        shipped = ", ".join(sorted(p.name for p in SHIPPED.iterdir() if p.is_dir()))
        raise PackError(f"policy pack {name!r}: no such folder with YAML files; shipped packs: {shipped}")
    try:
        return Pack.model_validate(_merged(files))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PackError(f"policy pack {name!r}: {in_one_line(error)}") from None
    except ValidationError as error:
        raise PackError(f"policy pack {name!r}: {explain(error)}") from None


def _merged(files: list[Path]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for file in files:
        content = read_yaml(file)
        if not isinstance(content, dict):
            raise yaml.YAMLError(f"{file.name}: expected a mapping at the top")
        if twice := sorted(set(merged) & set(content)):
            raise yaml.YAMLError(f"{file.name}: {twice} stand in another file of the pack already")
        merged |= content
    return merged


def in_one_line(error: Exception) -> str:
    """An error's message without its line breaks."""
    return " ".join(str(error).split())


def explain(error: ValidationError, whole: str = "pack") -> str:
    """What a model finds wrong with a file: each fault with its place (`whole` where it is everywhere), in one line."""
    faults = ((".".join(map(str, fault["loc"])), fault["msg"]) for fault in error.errors())
    return "; ".join(f"{place or whole}: {message.removeprefix('Value error, ')}" for place, message in faults)
