"""What becomes of each field of one event: at the border, and in every dataset that may receive it (0-a, 1.1-a)."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from schemas.datasets import Dataset, DatasetColumn
from schemas.explanation import FieldFate, InDataset, Place
from schemas.fields import EVENT_FIELDS, IDENTIFYING, Category, Field, Handling
from schemas.layout import Layout
from schemas.policy import Pack
from schemas.variants import Cut
from transforms.chain import OPEN
from transforms.decode import Decoded
from transforms.labels import Labels
from transforms.scrub import counted
from transforms.seal import Sealed
from transforms.texts import Texts

_MINIMISED, _SCRUBBED = "1.1-a", "1.1.1"
_CLAUSE_OF_ENVELOPE = {"event_time": "5.3", "received_time": "5.3", "source": "1.1.3", "schema_version": "0-a"}


def not_kept(decoded: Decoded, clause: str) -> tuple[FieldFate, ...]:
    """The fields of a line that goes no further."""
    return tuple(
        FieldFate(f.path, f.category, f.sensitivity, _unsealed(f, value), "not kept", clause)
        for f, value in _carried(decoded)
    )


def _carried(decoded: Decoded) -> list[tuple[Field, Any]]:
    """The fields that the line has a value for."""
    return [(f, decoded.columns[f.path][0].as_py()) for f in EVENT_FIELDS if decoded.columns[f.path][0].is_valid]


def _unsealed(described: Field, value: Any) -> Any:
    """What may be shown of a value that no step has made harmless."""
    if described.handling is Handling.ENVELOPE:
        return value
    if described.handling is Handling.MEASURE:
        return "withheld" if described.category in IDENTIFYING else value
    return masked(str(value))


def masked(text: str) -> str:
    """The first two characters of a text and its length; of a short one the length only."""
    return f"{text[:2] if len(text) > 5 else ''}… ({len(text)} character{'' if len(text) == 1 else 's'})"


@dataclass(frozen=True, repr=False)
class Steps:
    """What the job's steps need of one policy, made once."""

    pack: Pack
    plan: Layout
    datasets: Mapping[str, Dataset]
    labels: Labels
    texts: Texts


class Fates:
    """Tells what became of the fields of one sealed record.

    `place` is what its signals said, `outcome` the verdict by purpose, `clauses` its clause, `rows` what each dataset
    would store, and `cuts` how each of a dataset's columns is made for the record, and how without overlays.
    """

    def __init__(
        self,
        steps: Steps,
        sealed: Sealed,
        place: Place,
        outcome: Mapping[str, str],
        clauses: Mapping[str, str],
        rows: Mapping[str, Mapping],
        cuts: Callable[[str], Iterable[tuple[Cut, Cut]]],
    ) -> None:
        self._steps, self._sealed, self._rows, self._cuts = steps, sealed, rows, cuts
        self._outcome, self._clauses = outcome, clauses
        self._said = {f"residency.{signal.signal}": signal.said for signal in place.signals}

    def of(self, decoded: Decoded) -> tuple[FieldFate, ...]:
        """What became of each field that the line carries."""
        return tuple(self._fate(described, value) for described, value in _carried(decoded))

    def _fate(self, described: Field, value: Any) -> FieldFate:
        path, recognisers = described.path, {}
        if described.handling is Handling.ENVELOPE:
            fate = value, "decides", _CLAUSE_OF_ENVELOPE.get(path, _MINIMISED)
        elif described.handling is Handling.SIGNAL:
            fate = self._said[path], "used to locate, then dropped", self._steps.pack.residency.clause
        elif not (taken := self._taken(path)):
            fate = self._left_behind(described, value), "left behind", _MINIMISED
        elif self._sealed.malformed[path]:
            fate = masked(str(value)), "malformed", _MINIMISED
        elif described.handling is Handling.TEXT:
            text, found = self._steps.texts.clean(pa.array([value]))
            recognisers = counted(found)
            fate = text[0].as_py(), "scrubbed", _SCRUBBED
        else:
            fate = self._let_in(described, value, taken)
        told = tuple(self._in_datasets(path))
        return FieldFate(path, described.category, described.sensitivity, *fate, recognisers, told)

    def _left_behind(self, described: Field, value: Any) -> Any:
        if described.handling is not Handling.LABEL:
            return _unsealed(described, value)
        _, words, malformed = self._steps.labels.clean(pa.array([value]))
        return masked(value) if malformed else words[0].as_py()

    def _taken(self, path: str) -> dict[str, Any]:
        """What the sealed record holds of a field, by the form that the border gave it."""
        plan, batch = self._steps.plan, self._sealed.batch
        return {
            source.form: batch.column(place)[0].as_py()
            for source, place in plan.places.items()
            if source.path == path and (place not in plan.slots or plan.carries(source, batch.column("event_type"))[0])
        }

    def _let_in(self, described: Field, value: Any, taken: dict[str, Any]) -> tuple[Any, str, str]:
        """(shown, outcome, clause) of a value that is neither malformed nor free text."""
        match described.handling:
            case Handling.IDENTIFIER if not any(taken.values()):
                opted_out = described.category is Category.ADVERTISING_IDENTIFIER
                return masked(value), "says that there is none", "2-adcookie" if opted_out else _MINIMISED
            case Handling.IDENTIFIER:
                return masked(value), "sealed, reversibly" if "sealed" in taken else "sealed", "2-analytics"
            case Handling.ADDRESS:
                return taken["plain"], "cut to its network", "1.1.2-log"
            case Handling.LABEL if taken["plain"] != value:
                return taken["plain"], "scrubbed", _SCRUBBED
            case Handling.LABEL:
                return value, "let in", _MINIMISED
            case _:
                return _unsealed(described, value), "let in", _MINIMISED

    def _in_datasets(self, path: str) -> Iterator[InDataset]:
        event_type = self._sealed.batch.column("event_type")[0].as_py()
        for name, dataset in self._steps.datasets.items():
            for column, (cut, bare) in zip(dataset.columns, self._cuts(name), strict=True):
                if column.field.path == path and event_type in column.events:
                    allowed = event_type in cut.events, event_type in bare.events
                    yield self._in_dataset(name, dataset.purpose, column, *allowed)

    def _in_dataset(self, dataset: str, purpose: str, column: DatasetColumn, here: bool, then: bool) -> InDataset:
        """`then` tells whether the edition of the record's time allows the column as well, `here` whether the overlays
        of its region and service do."""
        stored, pack = self._rows.get(dataset, {}).get(column.name), self._steps.pack
        why_not, clause = None, pack.purposes[purpose].clause
        if self._outcome[purpose] != OPEN:
            why_not, clause = self._outcome[purpose], self._clauses[purpose]
        elif column.gate and self._outcome[column.gate] != OPEN:
            why_not, clause = f"{column.gate} is closed", pack.gate_of(column.field).clause
        elif not then:
            why_not, clause = "not allowed by the edition of its time", "9"
        elif not here:
            why_not, clause = "not allowed in its region, or for its service", "0-b"
        elif stored is None:
            why_not = "nothing to store"
        parts = column.form.value, f"{column.step:.15g}" if column.step else None, column.among
        form = " ".join(filter(None, parts))
        return InDataset(dataset, form, stored, why_not, clause)
