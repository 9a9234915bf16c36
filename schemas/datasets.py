"""Datasets that follow from a policy pack: one a purpose, and one more for its sensitive columns.

operations            event_type, event_time, event_id, device_android_id, app_package, ...
activation            ...
activation_sensitive  event_type, event_time, event_id, device_android_id, location_cell_id

Beside it stand two lists that follow from the ledger (`schemas.orders`): `operations_orders`, what is to be erased or
held, and `operations_stopped`, what readers of `operations` leave out until that is done.
"""

from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from schemas.fields import EVENT_FIELD, EVENT_TYPES, INTEGER, NUMBER, Field, Sensitivity
from schemas.policy import Form, Pack, Purpose

TOKEN = pa.binary(16)
EVENT_TIME = pa.timestamp("ms", tz="UTC")
RECEIVED_DATE = "received_date"  # the partition column of every dataset
SENSITIVE_SUFFIX = "_sensitive"
AUDIT = "audit"  # the dataset of counts that every region has
QUARANTINE = "quarantine"  # the dataset of rejected lines, in a place of its own
LEDGER = "ledger"  # sealed entries of a ledger, by snapshot
LEDGER_IDS = "ledger_ids"  # of each snapshot the sealed ids of entries that act nowhere; in the region of arrival
LEDGER_SNAPSHOT = "ledger_snapshot"  # of each snapshot what it is, where its parts are told from others
ORDERS_SUFFIX, STOPPED_SUFFIX = "_orders", "_stopped"

# By subject: the field that names it, and the column of its handles, by which an order finds a subject's rows where
# its token is no column.
SUBJECT_FIELD = {"device": EVENT_FIELD["device.android_id"], "account": EVENT_FIELD["account_id"]}
HANDLE = {"device": "device_handle", "account": "account_handle"}
EVENT_TOKEN = "event_token"  # what tells rows apart, where `event_id` is not a column of every row


@dataclass(frozen=True)
class DatasetColumn:
    """One column of a dataset: which field it comes from, in which form, and on which event types it may stand."""

    field: Field
    form: Form
    step: float | None
    among: str | None  # name of the list whose words stay
    words: tuple[str, ...] | None  # those words
    events: frozenset[int]  # codes of event types whose allow-list names the field
    gate: str | None  # purpose that must be open for the record, or the column is null

    @property
    def name(self) -> str:
        return self.field.column

    @property
    def type(self) -> pa.DataType:
        if self.form in (Form.TOKEN, Form.FINGERPRINT):
            return TOKEN
        if self.form is Form.SEALED:
            return pa.binary()
        numbers = {INTEGER: pa.int64(), NUMBER: pa.float64()}
        return numbers.get(self.field.type, pa.string())


@dataclass(frozen=True)
class Dataset:
    """What is stored for one purpose at one level of sensitivity."""

    name: str
    purpose: str
    columns: tuple[DatasetColumn, ...]
    sensitive: bool
    handles: tuple[str, ...] = ()  # the subjects whose token is not a column of every row
    event_token: bool = False  # whether the event's token stands apart, since `event_id` is not a column of every row

    @cached_property
    def schema(self) -> pa.Schema:
        """What readers see, without the partition column."""
        head = [pa.field("event_type", pa.string()), pa.field("event_time", EVENT_TIME)]
        return pa.schema(head + [pa.field(column.name, column.type) for column in self.columns])

    @property
    def hidden(self) -> tuple[str, ...]:
        """Columns of the files that readers do not see."""
        return (*(HANDLE[subject] for subject in self.handles), *((EVENT_TOKEN,) if self.event_token else ()))


def purpose_columns(pack: Pack, purpose: Purpose) -> tuple[DatasetColumn, ...]:
    """The columns of a purpose in the pack's order."""
    return tuple(
        DatasetColumn(
            field=EVENT_FIELD[path],
            form=column.form,
            step=column.step,
            among=column.among,
            words=pack.lists[column.among].words if column.among else None,
            events=frozenset(EVENT_TYPES.index(event) for event, paths in purpose.events.items() if path in paths),
            gate=gate.purpose if (gate := pack.gate_of(EVENT_FIELD[path])) else None,
        )
        for path, column in purpose.columns.items()
    )


def datasets(pack: Pack) -> dict[str, Dataset]:
    """Every dataset of the pack's stored purposes, by name. Sensitive columns stand apart, beside the tokens that
    find a subject's rows."""
    found: dict[str, Dataset] = {}
    for name, purpose in pack.purposes.items():
        if not purpose.stored:
            continue
        columns = purpose_columns(pack, purpose)
        sensitive = tuple(column for column in columns if column.field.sensitivity is Sensitivity.SENSITIVE)
        hidden = _hidden(purpose, columns, _absent_somewhere(pack, name))
        found[name] = Dataset(name, name, tuple(c for c in columns if c not in sensitive), False, *hidden)
        if sensitive:
            apart = name + SENSITIVE_SUFFIX
            found[apart] = Dataset(apart, name, _finding(columns) + sensitive, True, *hidden)
    return found


def purpose_of(dataset: str) -> str:
    """The purpose that a dataset of records serves."""
    return dataset.removesuffix(SENSITIVE_SUFFIX)


def opened_by(dataset: str) -> str:
    """The dataset whose key opens this one: who may read rows may read which of them are stopped."""
    return dataset.removesuffix(STOPPED_SUFFIX)


def is_hidden(column: str) -> bool:
    """Whether a column of a dataset's files is none that its readers see."""
    return column == EVENT_TOKEN or column in HANDLE.values()


def _absent_somewhere(pack: Pack, purpose: str) -> frozenset[str]:
    """The fields of a purpose that an overlay lets go not at all."""
    said = (overlay.purposes[purpose] for overlay in pack.overlays if purpose in overlay.purposes)
    return frozenset(path for own in said for path, coarser in own.columns.items() if coarser.form == "absent")


def _hidden(
    purpose: Purpose, columns: tuple[DatasetColumn, ...], absent: frozenset[str]
) -> tuple[tuple[str, ...], bool]:
    """The subjects that need a handle, and whether the event's token must stand apart."""
    if not purpose.subject:
        return (), False
    tokens = (column for column in columns if column.form is Form.TOKEN)
    everywhere = {column.field.path for column in tokens if len(column.events) == len(purpose.events)} - absent
    handles = tuple(subject for subject, field in SUBJECT_FIELD.items() if field.path not in everywhere)
    return handles, "event_id" not in everywhere


def _finding(columns: tuple[DatasetColumn, ...]) -> tuple[DatasetColumn, ...]:
    subjects = {"event_id", "device.android_id", "account_id"}
    return tuple(column for column in columns if column.field.path in subjects and column.form is Form.TOKEN)
