"""The one source for what telemetry and the consent ledger look like.

Each field says where it stands, what type it has, how it is handled, which data category it belongs to and how
sensitive it is (clause 0-a). Arrow schemas, the strict reading of a line (`schemas.shape`) and the reference pages
(`schemas.reference`) all follow from these two tables; nothing else repeats a field.

What may be done with a field for which purpose is not said here: that is the policy pack's (`schemas.policy`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Handling(StrEnum):
    """What the border does with a field before anything else sees it."""

    ENVELOPE = "envelope"  # times, type, version: read, checked, needed to decide
    IDENTIFIER = "identifier"  # canonical bytes, then sealed
    ADDRESS = "address"  # IP address: reduced to a network or dropped
    LABEL = "label"  # few distinct short strings: checked, scrubbed by distinct value
    TEXT = "text"  # free text: scrubbed
    MEASURE = "measure"  # numbers
    SIGNAL = "signal"  # says where the record may live; used by Locate, then dropped


class Category(StrEnum):
    """Data categories of clauses 1.1.1 and 1.1.2."""

    ENVELOPE = "envelope"
    SUBJECT_IDENTIFIER = "subject_identifier"
    PERSISTENT_IDENTIFIER = "persistent_identifier"
    RESETTABLE_IDENTIFIER = "resettable_identifier"
    ADVERTISING_IDENTIFIER = "advertising_identifier"
    APPLICATION_IDENTIFIER = "application_identifier"
    ACCOUNT_IDENTIFIER = "account_identifier"
    EVENT_IDENTIFIER = "event_identifier"
    NETWORK_ADDRESS = "network_address"
    DEVICE_DESCRIPTION = "device_description"
    APPLICATION_USE = "application_use"
    SERVICE_USE = "service_use"
    PERFORMANCE = "performance"
    NETWORK_LOG = "network_log"
    CRASH_DATA = "crash_data"
    FREE_TEXT = "free_text"
    COARSE_LOCATION = "coarse_location"
    EXACT_LOCATION = "exact_location"
    RESIDENCY = "residency"
    CONSENT = "consent"


class Sensitivity(StrEnum):
    """How much harm a field can do, from 0-a: alone, combined, or under local law of its own."""

    ORDINARY = "ordinary"
    PERSONAL = "personal"
    SENSITIVE = "sensitive"


IDENTIFYING = frozenset(
    {
        Category.SUBJECT_IDENTIFIER,
        Category.PERSISTENT_IDENTIFIER,
        Category.RESETTABLE_IDENTIFIER,
        Category.ADVERTISING_IDENTIFIER,
        Category.APPLICATION_IDENTIFIER,
        Category.ACCOUNT_IDENTIFIER,
        Category.EVENT_IDENTIFIER,
        Category.NETWORK_ADDRESS,
        Category.FREE_TEXT,
        Category.EXACT_LOCATION,
    }
)

STRING, INTEGER, NUMBER, STRINGS = "string", "int64", "float64", "list<string>"


# Each is itself alone: tables of them are keys of caches that each block asks.
@dataclass(frozen=True, eq=False)
class Field:
    """One leaf of a line. `path` is dotted; `kind` names the canonical form of an identifier, or what a
    text is compared by if that is not the text itself; `minimum` and `maximum`
    are inclusive; `values` lists the allowed words of an enumeration; digits and `true` of a `lenient` field
    are read whether the sender quotes them or not, since fleets do both."""

    path: str
    type: str
    handling: Handling
    category: Category
    sensitivity: Sensitivity
    description: str
    required: bool = False
    kind: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] = ()
    lenient: bool = False

    @property
    def column(self) -> str:
        """The name of the column in a store: `app.package` is `app_package`."""
        return self.path.replace(".", "_")


EVENT_TYPES = (
    "app_usage",
    "app_lifecycle",
    "crash",
    "page_view",
    "session",
    "network_request",
    "device_state",
    "activation",
    "service_activity",
    "location",
    "push_interaction",
    "ad_interaction",
)
SCHEMA_VERSION = 1  # the newest that is known here (schemas/versions.py)
VERSIONS_AHEAD = 10  # by so many a sender may be newer: versions only ever add, and what they add is dropped
ACCEPTED_VERSIONS = tuple(range(1, SCHEMA_VERSION + VERSIONS_AHEAD + 1))
CRASH_GROUP = "crash_group"  # the kind of a trace: its fingerprint is that of the group it belongs to
SOURCES = ("device", "web", "partner")

_MS_MAX = 31 * 24 * 3_600_000  # no duration is longer than a month
_COUNT_MAX = 1_000_000_000


def _envelope(path: str, description: str, type_: str = STRING, values: tuple[str, ...] = ()) -> Field:
    return Field(
        path,
        type_,
        Handling.ENVELOPE,
        Category.ENVELOPE,
        Sensitivity.ORDINARY,
        description,
        required=True,
        values=values,
    )


def _identifier(path: str, kind: str, category: Category, description: str, required: bool = False) -> Field:
    return Field(
        path, STRING, Handling.IDENTIFIER, category, Sensitivity.PERSONAL, description, required=required, kind=kind
    )


def _label(path: str, category: Category, description: str, **more) -> Field:
    return Field(path, STRING, Handling.LABEL, category, Sensitivity.ORDINARY, description, **more)


def _text(path: str, description: str, kind: str | None = None) -> Field:
    return Field(path, STRING, Handling.TEXT, Category.FREE_TEXT, Sensitivity.PERSONAL, description, kind=kind)


def _signal(path: str, description: str, type_: str = STRING) -> Field:
    lenient = type_ == INTEGER
    return Field(path, type_, Handling.SIGNAL, Category.RESIDENCY, Sensitivity.ORDINARY, description, lenient=lenient)


def _measure(
    path: str, category: Category, description: str, low: float = 0, high: float = _COUNT_MAX, **more
) -> Field:
    type_ = more.pop("type_", INTEGER)
    ordinary = Sensitivity.ORDINARY
    return Field(path, type_, Handling.MEASURE, category, ordinary, description, minimum=low, maximum=high, **more)


def _duration(path: str, category: Category, description: str) -> Field:
    return _measure(path, category, description + ", milliseconds", high=_MS_MAX)


def _exact(path: str, type_: str, description: str, low: float, high: float) -> Field:
    category, sensitive, lenient = Category.EXACT_LOCATION, Sensitivity.SENSITIVE, type_ == INTEGER
    return Field(
        path, type_, Handling.MEASURE, category, sensitive, description, minimum=low, maximum=high, lenient=lenient
    )


_SUBJECT, _PERSISTENT, _RESETTABLE = (
    Category.SUBJECT_IDENTIFIER,
    Category.PERSISTENT_IDENTIFIER,
    Category.RESETTABLE_IDENTIFIER,
)
_ADVERTISING, _APPLICATION_ID = Category.ADVERTISING_IDENTIFIER, Category.APPLICATION_IDENTIFIER
_DEVICE, _APP, _SERVICE = Category.DEVICE_DESCRIPTION, Category.APPLICATION_USE, Category.SERVICE_USE
_PERFORMANCE, _NETWORK, _COARSE = Category.PERFORMANCE, Category.NETWORK_LOG, Category.COARSE_LOCATION

EVENT_FIELDS: tuple[Field, ...] = (
    _identifier("event_id", "event_id", Category.EVENT_IDENTIFIER, "The event's own UUID", required=True),
    _envelope(
        "event_type", "Which kind of event this is; names the object that holds its measures", values=EVENT_TYPES
    ),
    _envelope("schema_version", "Version of this schema that the sender wrote", INTEGER),
    _envelope("event_time", "When it happened, by the device's clock"),
    _envelope("received_time", "When the edge received it, by the edge's clock"),
    _envelope("source", "Who sent it", values=SOURCES),
    _label("service", _SERVICE, "The product or service that the event is about", required=True),
    Field("ip", STRING, Handling.ADDRESS, Category.NETWORK_ADDRESS, Sensitivity.PERSONAL, "Address the sender used"),
    _identifier("account_id", "account_id", Category.ACCOUNT_IDENTIFIER, "The account signed in, the account subject"),
    _signal("residency.account_country", "Country the account was registered in, ISO 3166-1 alpha-2"),
    _signal("residency.device_region", "Region setting of the device, ISO 3166-1 alpha-2"),
    _signal("residency.sim_mcc", "Mobile country code of the SIM, ITU E.212", INTEGER),
    _identifier("device.android_id", "android_id", _SUBJECT, "The collector's own Android ID, the device subject"),
    _identifier("device.imei", "imei", _PERSISTENT, "International mobile equipment identity"),
    _identifier("device.meid", "meid", _PERSISTENT, "Mobile equipment identity, of CDMA handsets"),
    _identifier("device.imsi", "imsi", _PERSISTENT, "International mobile subscriber identity"),
    _identifier("device.oaid", "oaid", _ADVERTISING, "Open anonymous device identifier (mainland China)"),
    _identifier("device.gaid", "gaid", _ADVERTISING, "Google advertising id"),
    _identifier("device.vaid", "vaid", _APPLICATION_ID, "Identifier of one developer's applications"),
    _identifier("device.aaid", "aaid", _APPLICATION_ID, "Identifier of one application"),
    _identifier("device.mac", "mac", _PERSISTENT, "Hardware address of the network interface"),
    _identifier("device.serial", "serial", _PERSISTENT, "Serial number"),
    _identifier("device.space_id", "space_id", _RESETTABLE, "Second Space, where it is switched on"),
    _identifier("device.fcm_token", "fcm_token", _RESETTABLE, "Address for push messages"),
    _label("device.manufacturer", _DEVICE, "Maker"),
    _label("device.model", _DEVICE, "Model"),
    _label("device.os_version", _DEVICE, "Version of Android"),
    _label("device.rom_version", _DEVICE, "Version of the maker's system"),
    _label("device.sales_channel", _DEVICE, "Where the device was sold"),
    _label("app.package", _APP, "Package name of the application"),
    _label("app.version", _APP, "Version of the application"),
    _label("app.sdk_version", _APP, "Version of the collecting library"),
    _exact("location.latitude", NUMBER, "Latitude, degrees", -90, 90),
    _exact("location.longitude", NUMBER, "Longitude, degrees", -180, 180),
    _exact("location.accuracy_m", NUMBER, "Radius of uncertainty, metres", 0, 100_000),
    _exact("location.cell_id", INTEGER, "Cell of the mobile network", 0, 2**36 - 1),
    _measure("location.mcc", _COARSE, "Mobile country code of the network", high=999, lenient=True),
    _measure("location.mnc", _COARSE, "Mobile network code", high=999, lenient=True),
    _label("location.city_code", _COARSE, "Code of the city or area", lenient=True),
    _label("crash.signal", Category.CRASH_DATA, "Signal that ended the process, by name or number", lenient=True),
    _text("crash.exception", "Class and message of the exception"),
    _text("crash.trace", "Stack trace", kind=CRASH_GROUP),
    _duration("app_usage.foreground_ms", _APP, "Time in the foreground"),
    _duration("app_usage.background_ms", _APP, "Time in the background"),
    _measure("app_usage.launches", _APP, "Times started"),
    _label(
        "app_lifecycle.state",
        _APP,
        "What happened to the application",
        values=("download", "install", "update", "remove"),
    ),
    _label("app_lifecycle.installer", _APP, "Application that installed it"),
    _duration("session.duration_ms", _SERVICE, "Length of the session"),
    _measure("session.events", _SERVICE, "Events in the session"),
    _text("page_view.page", "Page or screen shown"),
    _duration("page_view.duration_ms", _SERVICE, "Time on the page"),
    _text("network_request.host", "Host asked"),
    _duration("network_request.duration_ms", _NETWORK, "Time until the answer was complete"),
    _measure("network_request.requests", _NETWORK, "Requests made"),
    _measure("network_request.errors", _NETWORK, "Requests failed"),
    _measure("network_request.status", _NETWORK, "Last HTTP status", high=999),
    _measure("device_state.cpu_percent", _PERFORMANCE, "Processor in use, percent", high=100, type_=NUMBER),
    _measure("device_state.memory_mb", _PERFORMANCE, "Memory in use, MB", high=1 << 22),
    _measure("device_state.storage_mb", _PERFORMANCE, "Storage in use, MB", high=1 << 26),
    _measure("device_state.battery_percent", _PERFORMANCE, "Charge of the battery, percent", high=100, type_=NUMBER),
    _measure(
        "device_state.temperature_c", _PERFORMANCE, "Temperature, degrees Celsius", low=-60, high=150, type_=NUMBER
    ),
    _measure("device_state.screen_on_count", _PERFORMANCE, "Times the screen went on that day"),
    _measure("device_state.unlock_count", _PERFORMANCE, "Times the device was unlocked that day"),
    _label(
        "activation.device_type",
        _DEVICE,
        "Phone, tablet, television, watch",
        values=("phone", "tablet", "tv", "watch", "other"),
    ),
    _label("activation.outcome", _SERVICE, "How the activation went", values=("succeeded", "sim_failed", "failed")),
    _duration("activation.duration_ms", _SERVICE, "Time the activation took"),
    _label(
        "service_activity.action",
        _SERVICE,
        "What was done",
        values=(
            "sign_in",
            "view",
            "click",
            "exposure",
            "like",
            "comment",
            "favourite",
            "share",
            "search",
            "subscribe",
            "rate",
        ),
    ),
    _duration("service_activity.dwell_ms", _SERVICE, "Time spent"),
    _measure("service_activity.count", _SERVICE, "How often"),
    _label(
        "push_interaction.action",
        _SERVICE,
        "What became of the message",
        values=("delivered", "shown", "opened", "dismissed"),
    ),
    _label("push_interaction.notice", _SERVICE, "System notice or promotion", values=("system", "promotion")),
    _label(
        "ad_interaction.action",
        _SERVICE,
        "What became of the advertisement",
        values=("exposure", "click", "close", "install"),
    ),
    _label("ad_interaction.placement", _SERVICE, "Where it was shown"),
)

STOP_KINDS = ("withdraw", "object", "restrict", "minor", "erase", "close")
PERMISSION_KINDS = ("grant", "lift_objection", "lift_restriction", "adult")
SUBJECT_TYPES = ("device", "account")


def _entry(path: str, description: str, type_: str = STRING, **more) -> Field:
    return Field(path, type_, Handling.ENVELOPE, Category.CONSENT, Sensitivity.ORDINARY, description, **more)


LEDGER_FIELDS: tuple[Field, ...] = (
    _identifier("entry_id", "entry_id", Category.EVENT_IDENTIFIER, "The entry's own id", required=True),
    _entry("time", "When the person did it", required=True),
    _entry("received_time", "When the ledger received it", required=True),
    _entry("kind", "What was done", required=True, values=STOP_KINDS + PERMISSION_KINDS),
    _entry("subject.type", "Whose entry it is", required=True, values=SUBJECT_TYPES),
    Field(
        "subject.value",
        STRING,
        Handling.IDENTIFIER,
        Category.SUBJECT_IDENTIFIER,
        Sensitivity.PERSONAL,
        "The Android ID of the device or the id of the account",
        required=True,
        kind="subject",
    ),
    _entry("purposes", "Purposes that it is about; `*` is all", STRINGS),
    _entry("app", "The application that it is about"),
    _entry("policy_version", "Edition of the policy that it was given under"),
    _entry("guardian", "Reference to the guardian who agreed, or true", lenient=True),
    _signal("residency.account_country", "Country the account was registered in, ISO 3166-1 alpha-2"),
    _signal("residency.device_region", "Region setting of the device, ISO 3166-1 alpha-2"),
    _signal("residency.sim_mcc", "Mobile country code of the SIM, ITU E.212", INTEGER),
    Field(
        "reference",
        STRING,
        Handling.IDENTIFIER,
        Category.CONSENT,
        Sensitivity.PERSONAL,
        "Where the request is filed; never leaves the border",
    ),
)

EVENT_FIELD = {field.path: field for field in EVENT_FIELDS}
PAYLOADS = tuple(t for t in EVENT_TYPES if t != "location")  # `location` is an object that any event may carry


def payload_of(path: str) -> str | None:
    """The event type whose own object `path` stands in, or None where any event may carry it."""
    head = path.partition(".")[0]
    return head if head in PAYLOADS else None
