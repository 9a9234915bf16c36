"""The policy pack: every rule of the privacy policy that is about data, as YAML read by these models.

The job takes all its rules from a pack; code knows how to apply a rule, never which rule holds. How a pack's files are
read is in `schemas.pack_files`, what is checked of it as a whole in `schemas.checks`.
"""

from collections.abc import Callable, Iterable
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, PrivateAttr, model_validator

from schemas.apart import Apart, WordList
from schemas.consent import Terms
from schemas.countries import countries
from schemas.fields import (
    CRASH_GROUP,
    EVENT_FIELD,
    EVENT_TYPES,
    IDENTIFYING,
    INTEGER,
    SOURCES,
    Category,
    Handling,
    payload_of,
)
from schemas.fields import Field as EventField
from schemas.held_by_code import HeldByCode, NotYet
from schemas.model import ClauseId, Days, Edition, Misfit, Misfits, Model, Name, Word
from schemas.overlays import Collection, Overlay, Service, effective, overlay_faults
from schemas.regions import SIGNALS, Residency
from schemas.sharing import Combinations, NotAdmitted, Recipients, Transfers
from schemas.statistics import Statistics


class Basis(StrEnum):
    """Legal bases. Only the first two open a purpose without a word from the ledger being needed."""

    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    LEGITIMATE_INTEREST = "legitimate_interest"
    OPT_OUT = "opt_out"
    CONSENT = "consent"


_OTHER_DATASETS = frozenset({"audit", "quarantine", "ledger", "ledger_ids", "ledger_snapshot"})
_OTHER_FOLDERS = frozenset({"statistics", "inbox"})  # of a region's store, where a purpose's own would get in their way
_MOST_REGIONS = 127  # a region's code is a byte with a sign
EVERY_REGION = "all"
WITHOUT_LEDGER = frozenset({Basis.CONTRACT, Basis.LEGAL_OBLIGATION})


class Form(StrEnum):
    """How a column goes into a dataset."""

    PLAIN = "plain"  # as it is (a label after its check, a number)
    TOKEN = "token"  # pseudonym of this purpose, region and epoch
    SEALED = "sealed"  # reversible by the reader of this dataset alone
    TEXT = "text"  # scrubbed free text
    FINGERPRINT = "fingerprint"  # keyed digest of the scrubbed text, of a trace that of its crash group
    GROUP = "group"  # crash group of a trace, readable: to count by, in no dataset
    NETWORK = "network"  # IP address cut to its network
    MAJOR = "major"  # version cut to its first number
    BUCKET = "bucket"  # number cut to a multiple of `step`
    LISTED = "listed"  # word of a list of the pack; every other is `<OTHER>`


# Two forms of one field that differ in type: (the one that tells less, the one that tells more).
LESS_AND_MORE = frozenset(
    {
        (Form.TOKEN, Form.SEALED),
        (Form.FINGERPRINT, Form.TEXT),
        (Form.FINGERPRINT, Form.GROUP),
        (Form.GROUP, Form.TEXT),
    }
)

_FORMS: dict[Handling, frozenset[Form]] = {
    Handling.IDENTIFIER: frozenset({Form.TOKEN, Form.SEALED}),
    Handling.ADDRESS: frozenset({Form.NETWORK}),
    Handling.LABEL: frozenset({Form.PLAIN, Form.MAJOR, Form.LISTED}),
    Handling.TEXT: frozenset({Form.TEXT, Form.FINGERPRINT, Form.GROUP}),
    Handling.MEASURE: frozenset({Form.PLAIN, Form.BUCKET}),
    Handling.ENVELOPE: frozenset(),  # type and time have their own place in every dataset
    Handling.SIGNAL: frozenset(),
}


class Column(Model):
    """How one field goes into a purpose's dataset. In YAML the form's name, `{bucket: STEP}` or `{listed: NAME}`."""

    form: Form = Field(description="What is stored of it")
    step: float | None = Field(None, strict=True, gt=0, description="Width of a bucket, in the field's own unit")
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
        if isinstance(value, dict) and "form" not in value:
            raise ValueError("write the word of a form, {bucket: STEP} or {listed: NAME}")
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
    minimum_policy_version: Edition | None = Field(None, description="Least edition a consent must be given under")
    sources: tuple[Literal[SOURCES], ...] = Field(("device", "web"), description="Who may feed it")
    unless: dict[str, tuple[str, ...]] = Field({}, description="Words of a field that keep a record out")
    zeroed_closes: bool = Field(False, description="Whether a zeroed advertising id, an opt-out, keeps a record out")
    event_time: Literal["second", "minute", "hour", "day"] = Field(description="What event_time is cut to")
    token_epoch: Literal["month", "year", "forever"] = Field("year", description="How long a pseudonym lives")
    retention_days: Days = Field(description="How long its rows are kept")
    retention: dict[Category, Days] = Field(
        {}, description="Days, where a dataset holds a column of that category: shorter than retention_days"
    )
    identifiers: dict[Category, Literal["token", "sealed", "network"]] = Field(
        {}, description="What its clause names beside its subjects' own: the closest form, by category of identifier"
    )
    holds: Literal["non_personal", "personal"] = Field(
        "personal", description="Class of its dataset: `non_personal` promises that no row is about anybody (1.1.4-d)"
    )
    profiling: bool = Field(False, description="Whether it makes a picture of a person, which minors are kept out of")
    stored: bool = Field(True, description="False: its records are only counted, by statistics")
    columns: dict[str, Column] = Field(description="How each field goes into the dataset")
    events: dict[Literal[EVENT_TYPES], tuple[str, ...]] = Field(description="Allow-list: fields by event type")

    @property
    def grantors(self) -> tuple[str, ...]:
        return self.granted_by or self.subject

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if "default" not in self.basis:
            raise Misfit("basis needs a `default`", "basis")
        for path, column in self.columns.items():
            _check_column(path, column, self.stored)
        for event_type, paths in self.events.items():
            if missing := sorted(set(paths) - set(self.columns)):
                what = f"events lists {missing}, which columns does not describe; describe it there, or drop it"
                raise Misfit(what, "events", event_type)
            if foreign := [path for path in paths if payload_of(path) not in (None, event_type)]:
                what = f"events.{event_type} lists {foreign}, which that event type does not carry; drop it"
                raise Misfit(what, "events", event_type)
        if idle := sorted(set(self.columns).difference(*self.events.values())):
            what = f"columns describes {idle}, which no event type lists; list it, or drop it"
            raise Misfit(what, "columns", idle[0])
        if not self.subject:
            _check_subjectless(self.columns)
        _check_unless(self.unless, self.events)
        return self


def _check_column(path: str, column: Column, stored: bool) -> None:
    field = EVENT_FIELD.get(path)
    if field is None:
        raise Misfit(f"columns names {path!r}, which is no field of an event", "columns", path)
    if column.step is not None and field.type == INTEGER and column.step % 1:
        raise Misfit(f"{path} is a whole number: its bucket must be one too", "columns", path)
    allowed = _FORMS[field.handling] if field.kind == CRASH_GROUP else _FORMS[field.handling] - {Form.GROUP}
    if column.form not in allowed:
        forms = ", ".join(sorted(allowed)) or "none: it never reaches a dataset as a column"
        raise Misfit(f"{path} cannot go as {column.form.value!r}; possible: {forms}", "columns", path)
    if column.form is Form.GROUP and stored:
        what = f"no dataset holds the group of {path} by its name; write `fingerprint`, or `stored: false`"
        raise Misfit(what, "columns", path)


def _check_lists(purposes: dict[str, Purpose], lists: dict[str, WordList]) -> None:
    named = {
        column.among: ("purposes", name, "columns", path)
        for name, purpose in purposes.items()
        for path, column in purpose.columns.items()
        if column.among
    }
    for name in sorted(named.keys() - lists.keys()):
        raise Misfit(f"{name!r} is no list of this pack; use one of {', '.join(lists)}", *named[name])


def _check_unless(unless: dict[str, tuple[str, ...]], events: dict) -> None:
    for path, words in unless.items():
        field = EVENT_FIELD.get(path)
        if field is None or not set(words) <= set(field.values) or payload_of(path) not in events:
            what = f"unless names {path}: use a field with fixed words, of an event type that it receives"
            raise Misfit(what, "unless", path)


def _check_subjectless(columns: dict[str, Column]) -> None:
    """Section 6 of the design: whoever needs no subject may hold nothing that points to one."""
    location = {Category.EXACT_LOCATION, Category.COARSE_LOCATION}
    pointing = sorted(path for path in columns if EVENT_FIELD[path].category in IDENTIFYING | location)
    if pointing:
        what = f"a purpose without a subject may hold no identifier, address, location or text: drop {pointing}"
        raise Misfit(what, "columns", pointing[0])


class Region(Model):
    """One region: the countries it serves, where its data centre is, and the legal bases that its law knows."""

    clause: ClauseId
    data_centre: str = Field(
        description="The country (ISO 3166-1) in which it is stored and processed",
        json_schema_extra={"pattern": "^[A-Z]{2}$"},
    )
    countries: tuple[str, ...] | Literal["rest"] = Field(
        description="ISO 3166-1 codes, or `rest` for all that no other region names"
    )
    bases: tuple[Basis, ...] = Field(description="Legal bases that its law knows; what stands on another needs consent")
    transfers: Literal["granted", "never"] = Field(
        "granted", description="Whether rows may leave it under a grant; `never` where the law knows no exception"
    )
    longest_days: dict[Literal["any", *map(str, Category)], Days] = Field(
        {}, description="Longest retention that its law allows, by category of data; `any` for all"
    )

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if self.data_centre not in countries():
            raise Misfit("use an assigned ISO 3166-1 alpha-2 code", "data_centre")
        if Basis.CONSENT not in self.bases:
            raise ValueError("bases must hold `consent`: it is what a purpose falls back to")
        return self


class ResidencySignals(Model):
    """How Locate finds the region: signals in order, and which regions win where signals conflict."""

    clause: ClauseId
    signals: tuple[str, ...] = Field(
        description="Fields of `residency`, in the order in which they are asked",
        json_schema_extra={"items": {"enum": [*SIGNALS]}, "minItems": 1},
    )
    localising: tuple[str, ...] = Field(description="Regions that win where signals differ, strongest first")


class Gate(Model):
    """Columns of these categories are null in every dataset unless `purpose` is open for the record."""

    clause: ClauseId
    categories: tuple[Category, ...] = Field(description="Categories of the columns that stand behind it")
    purpose: str = Field(description="The purpose that opens it")


class Limits(Model):
    """Bounds on what a record may claim."""

    clause: ClauseId
    future_minutes: int = Field(
        strict=True, ge=0, le=1_440, description="How far event_time may lie after received_time"
    )
    oldest_days: Days = Field(description="How far event_time may lie before received_time")
    text_bytes: int = Field(strict=True, gt=0, le=1 << 20, description="Longest free text; the rest is cut")
    text_time: Literal["hour", "day"] = Field("day", description="What times inside of free text are cut to")
    ipv4_prefix: Literal[8, 16, 24] = Field(description="Bits of an IPv4 address that `network` keeps")
    ipv6_prefix: Literal[16, 32, 48] = Field(description="Bits of an IPv6 address that `network` keeps")
    quarantine_percent: int = Field(
        10, strict=True, ge=0, le=100, description="Rejected lines kept, of all lines; counts stay exact"
    )


class Pack(Model):
    """One edition of the privacy policy as rules."""

    version: Edition = Field(description="Name of the edition, by which grants of consent refer to it: a date")
    effective: date = Field(description="The day (00:00 UTC) from which it is in force")
    limits: Limits = Field(description="Bounds on what a record may claim")
    regions: dict[Name, Region] = Field(description="Where records live: each region by its name")
    residency: ResidencySignals = Field(description="How the region of a record is found")
    gates: tuple[Gate, ...] = Field((), description="Columns that wait for a purpose of their own")
    purposes: dict[Name, Purpose] = Field(description="What data is for: each purpose by its name")
    statistics: Statistics | None = Field(None, description="What is released; a pack without it releases nothing")
    transfers: Transfers = Field(description="What may go from one region to another")
    recipients: Recipients = Field(description="Who else receives data")
    combinations: Combinations = Field(description="Which services are brought together")
    not_admitted: tuple[NotAdmitted, ...] = Field((), description="Data that must not come at all")
    held_by_code: tuple[HeldByCode, ...] = Field(
        (), description="Duties that the code holds, with the module that does it"
    )
    not_yet: tuple[NotYet, ...] = Field((), description="What a clause asks for and nothing does yet")
    lists: dict[Name, WordList] = Field({}, description="Words that columns of the form {listed: NAME} keep")
    apart: Apart | None = Field(None, description="What a sample may show; a pack without it sets no bound")
    collection: tuple[Collection, ...] = Field((), description="What is collected only where a purpose is open")
    by_region: dict[Name, Overlay] = Field({}, description="What a region narrows")
    by_service: dict[Service, Overlay] = Field({}, description="What a service narrows, by the event's `service`")
    _closed: dict[str, str] = PrivateAttr({})

    @property
    def closed(self) -> dict[str, str]:
        """The purposes that open for nothing, each with the clause of the overlay that closes it: of what
        `effective_for` gives. They stand among `purposes` all the same."""
        return self._closed

    @property
    def overlays(self) -> tuple[Overlay, ...]:
        """All of them."""
        return *self.by_region.values(), *self.by_service.values()

    def effective_for(self, service: str | None, region: str) -> Self:
        """What holds for a service in a region: the pack with both their overlays applied, and without overlays (0-b).
        A service without an overlay, or None, is narrowed by its region alone."""
        purposes, closed = effective(self, service, region)
        made = self.model_copy(update={"purposes": purposes, "by_region": {}, "by_service": {}})
        made._closed = closed
        return made

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

    def retention_days(self, purpose: str, categories: Iterable[Category]) -> int:
        """For how many days a dataset of a purpose is kept that holds columns of these categories."""
        of = self.purposes[purpose]
        return min([of.retention_days, *(days for category, days in of.retention.items() if category in categories)])

    def gate_of(self, field: EventField) -> Gate | None:
        """The gate that a field stands behind, if any."""
        return next((gate for gate in self.gates if field.category in gate.categories), None)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        if len(self.purposes) > 64:
            raise Misfit("a pack can hold 64 purposes at most", "purposes")
        if len(self.regions) > _MOST_REGIONS:
            raise Misfit(f"a pack can hold {_MOST_REGIONS} regions at most", "regions")
        if EVERY_REGION in self.regions:
            raise Misfit("that word means every region; name it otherwise", "regions", EVERY_REGION)
        for name, purpose in self.purposes.items():
            if unknown := sorted(set(purpose.basis) - set(self.regions) - {"default"}):
                what = f"basis names {unknown}, which are no regions of this pack"
                raise Misfit(what, "purposes", name, "basis", unknown[0])
        _check_lists(self.purposes, self.lists)
        for number, gate in enumerate(self.gates):
            if gate.purpose not in self.purposes:
                what = f"{gate.purpose!r} is no purpose of this pack; name one"
                raise Misfit(what, "gates", number, "purpose")
        if self.statistics:
            self.statistics.check(self)
        self._check_names_of_datasets()
        if faults := [*overlay_faults(self)]:
            raise Misfits(faults)
        _ = self.where  # raises if the countries or signals do not fit together
        return self

    def _check_names_of_datasets(self) -> None:
        endings = ("_sensitive", "_orders", "_stopped")
        taken = _OTHER_DATASETS | {name for name in self.purposes if name.endswith(endings)}
        taken |= {name for name in _OTHER_FOLDERS & set(self.purposes) if self.purposes[name].stored}
        if taken := sorted(taken & set(self.purposes)):
            others = f"{', '.join(sorted(_OTHER_DATASETS | _OTHER_FOLDERS))}, what ends in {', '.join(endings)}"
            raise Misfit(
                f"purposes {taken} have names of other datasets: {others}; name it otherwise", "purposes", taken[0]
            )
