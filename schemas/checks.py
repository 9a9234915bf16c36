"""What is checked of a policy pack as a whole: each rule finds its faults, and says what to change.

Rules that a part of a pack shows by itself are its model's; these need to see several. A rule is a function of a pack
and a day that is named like its findings, and knows no purpose, region or field by name: it speaks of categories, forms
and bases, of which the clauses do.
"""

from collections.abc import Callable, Iterator
from datetime import date

from schemas import check_identifiers, check_idle, check_purposes, check_sharing
from schemas.findings import Finding
from schemas.held_by_code import without_module
from schemas.policy import Pack

Rule = Callable[[Pack, date], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    check_identifiers.field_without_category,
    check_identifiers.identifier_not_named,
    check_identifiers.counted_without_device,
    check_identifiers.resettable_beside_persistent,
    check_identifiers.advertising_without_consent,
    check_identifiers.text_in_two_purposes,
    check_identifiers.sensitive_without_consent,
    check_purposes.class_too_low,
    check_purposes.profiling_of_minors,
    check_purposes.basis_unknown_to_law,
    check_purposes.nobody_can_consent,
    check_purposes.version_unfit,
    check_purposes.retention_too_long,
    check_sharing.way_to_nowhere,
    check_sharing.way_without_instrument,
    check_sharing.way_past_its_date,
    check_sharing.way_for_nothing,
    check_sharing.transfer_never,
    check_sharing.stored_abroad,
    check_sharing.combination_without_control,
    check_sharing.combination_of_nothing,
    check_sharing.not_admitted_is_a_field,
    check_idle.idle_gate,
    check_idle.idle_basis,
    check_idle.idle_identifiers,
    check_idle.idle_retention,
    check_idle.idle_minimum_version,
    check_idle.idle_grantors,
    check_idle.idle_token_epoch,
    check_idle.idle_condition,
    check_idle.idle_collection,
    check_idle.idle_pair,
    check_idle.idle_overlay,
    check_idle.idle_purpose,
    check_idle.idle_counted_column,
    check_idle.idle_list,
    without_module,
)


def findings(pack: Pack, today: date) -> Iterator[Finding]:
    """Everything that is wrong with a pack on a day."""
    for rule in RULES:
        yield from rule(pack, today)
