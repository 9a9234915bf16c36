"""The rows of a batch that go on, as the border prepares them: in their final order, each column and each text once."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from schemas.fields import EVENT_TYPES
from transforms.crash_groups import crash_groups
from transforms.decode import Decoded
from transforms.texts import Texts

EXCEPTION = "crash.exception"  # beside a trace: names its class where the trace does not


class Rows:
    """The rows that go on, in their final order, and what is asked of them more than once."""

    def __init__(self, index: np.ndarray, events: Decoded, regions: np.ndarray) -> None:
        self.index, self._columns = index, events.columns
        self.event_type = events.event_type[index]
        self.regions = regions[index]
        self._places: dict[frozenset[int], np.ndarray] = {}
        self._texts: dict[tuple[str, frozenset[int]], pa.Array] = {}
        self._groups: dict[tuple[str, frozenset[int]], pa.Array] = {}

    def of(self, events: frozenset[int]) -> np.ndarray:
        """Positions of the rows of these event types."""
        if events not in self._places:
            among = np.zeros(128, bool)
            among[list(events)] = True
            self._places[events] = np.flatnonzero(among[self.event_type])
        return self._places[events]

    def values(self, path: str, events: frozenset[int]) -> pa.Array:
        """A raw column at those positions."""
        return self._columns[path].take(pa.array(self.index[self.of(events)]))

    def clean(self, wanted: Sequence[tuple[str, frozenset[int]]], texts: Texts) -> Counter[tuple[str, str]]:
        """Cleans these free-text columns at their positions, all in one call, which takes milliseconds however few they
        are. Gives what was found, by event type and recogniser."""
        hits: Counter[tuple[str, str]] = Counter()
        columns = [self.values(path, events) for path, events in wanted]
        if not columns:
            return hits
        text, found = texts.clean(pa.concat_arrays(columns))
        event_type = np.concatenate([self.event_type[self.of(events)] for _, events in wanted])
        for each in found:
            counts = np.bincount(event_type[each.rows], each.counts, len(EVENT_TYPES)).astype(np.int64)
            hits.update({(EVENT_TYPES[code], each.name): int(counts[code]) for code in np.flatnonzero(counts)})
        ends = np.cumsum([len(column) for column in columns])
        for each, end, column in zip(wanted, ends.tolist(), columns, strict=True):
            self._texts[each] = text.slice(end - len(column), len(column))
        return hits

    def text(self, path: str, events: frozenset[int]) -> pa.Array:
        """A free-text column that was cleaned."""
        return self._texts[path, events]

    def groups(self, path: str, events: frozenset[int]) -> pa.Array:
        """The keys of the crash groups of a cleaned column of traces."""
        if (path, events) not in self._groups:
            self._groups[path, events] = crash_groups(self.text(path, events), self.text(EXCEPTION, events))
        return self._groups[path, events]
