"""Conditions of a purpose that the record itself must meet, beside anybody's consent (1.1-b, 1.1.3, 2-adcookie), and
what is collected of an event type at all (1.2-uep)."""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.fields import SOURCES
from schemas.layout import Layout, Source
from schemas.policy import Pack
from schemas.variants import Collected


def unmet(batch: pa.RecordBatch, pack: Pack, plan: Layout) -> dict[str, np.ndarray]:
    """For each record of a sealed batch the mask of purposes whose conditions it does not meet, by reason.

    source_not_admitted: who sent it may not feed the purpose (1.1.3). opted_out: its advertising id is zeroed
    (2-adcookie). not_for_purpose: a field has a word that keeps it out (1.1-b).
    """
    purposes = [(np.uint64(1 << bit), purpose) for bit, purpose in enumerate(pack.purposes.values())]
    by_source = np.array([sum(flag for flag, p in purposes if name not in p.sources) for name in SOURCES], np.uint64)
    zeroed = batch.column("zeroed").to_numpy(zero_copy_only=False)
    opted_out = np.uint64(sum(flag for flag, purpose in purposes if purpose.zeroed_closes))
    masks = {
        "source_not_admitted": by_source[batch.column("source").to_numpy()],
        "opted_out": np.where(zeroed, opted_out, np.uint64(0)),
        "not_for_purpose": np.zeros(batch.num_rows, np.uint64),
    }
    for flag, purpose in purposes:
        for path, words in purpose.unless.items():
            source = Source(path, "plain")
            has = _has_word(batch.column(plan.places[source]), words) & plan.carries(source, batch.column("event_type"))
            masks["not_for_purpose"][has] |= flag
    return masks


def columns_of_unmet(packs: Iterable[Pack], plan: Layout) -> Iterator[str]:
    """The columns of a sealed batch that `unmet` reads."""
    yield from ("zeroed", "source", "event_type")
    for pack in packs:
        for purpose in pack.purposes.values():
            yield from (plan.places[Source(path, "plain")] for path in purpose.unless)


def uncollected(opened: np.ndarray, event_type: np.ndarray, rules: Iterable[Collected]) -> np.ndarray:
    """For each record the mask of purposes for which it is not collected, given those that are open for it: under each
    rule that is about its event type one of `admitted_by` has to be, or nothing but what the rule spares is."""
    masks = np.zeros(len(opened), np.uint64)
    for rule in rules:
        masks[rule.events[event_type] & (opened & rule.admitted_by == 0)] |= ~rule.spared
    return masks


def _has_word(column: pa.DictionaryArray, words: tuple[str, ...]) -> np.ndarray:
    listed = np.append(pc.is_in(column.dictionary, value_set=pa.array(words)).to_numpy(zero_copy_only=False), False)
    return listed[column.indices.fill_null(-1).to_numpy(zero_copy_only=False)]
