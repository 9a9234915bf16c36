"""What leaves: which groups are shown, how far off the numbers are, and that the interval is honest.

Bounds of the statistical tests are wide: on correct code each fails with a probability below 1e-9.
"""

import math

import numpy as np
import pyarrow as pa
import pytest

from schemas.pack_files import load_pack
from schemas.statistics import Statistics, release_schema
from transforms.release import release

RULES = load_pack().statistics
SIGMAS = 6.5  # two-sided, of a normal distribution: 8e-11


def counts(table, devices, events=None, rules=RULES):
    """Exact counts of as many groups as there are numbers; packages tell them apart."""
    names = release_schema(rules).names[2:-2]
    columns = {name: pa.nulls(len(devices), pa.string()) for name in names}
    columns["app_package"] = pa.array([f"app{number:06}" for number in range(len(devices))])
    exact = {"devices": pa.array(devices, pa.int64()), "events": pa.array(events or devices, pa.int64())}
    return pa.record_batch({"table": pa.repeat(table, len(devices)), **columns, **exact})


def together(*batches):
    return pa.concat_batches(batches)


def of(table, name, measure):
    rows = [row for row in table.to_pylist() if (row["table"], row["measure"]) == (name, measure)]
    return [row["app_package"] for row in rows], np.array([row["value"] for row in rows]), rows[0]["interval"]


# --- noise ---


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("name, measure", [("active", "devices"), ("usage", "devices"), ("usage", "events")])
def test_noise_has_the_scale_that_the_budget_asks_for_and_the_interval_is_honest(name, measure):
    draws, exact = 12_000, 1_000_000
    found, values, interval = of(release(counts(name, [exact] * draws), RULES), name, measure)
    assert len(found) == draws
    table = RULES.tables[name]
    scale = table.sensitivity(measure) / RULES.budget(table).measure_epsilon
    errors = values - exact
    assert abs(errors.mean()) < SIGMAS * math.sqrt(2 / draws) * scale
    assert abs(np.abs(errors).mean() - scale) < SIGMAS * scale / math.sqrt(draws)
    missed = (np.abs(errors) > interval).mean()
    assert 0.03 < missed < 0.05 + SIGMAS * math.sqrt(0.05 * 0.95 / draws)
    assert interval == RULES.half_width(table, measure)


def test_every_release_draws_anew():
    exact = counts("active", [100_000] * 50)
    one, other = (release(exact, RULES)["value"].to_pylist() for _ in range(2))
    assert one != other and len(set(np.subtract(one, 100_000).tolist())) > 5


def test_the_measures_of_a_group_have_noise_of_their_own():
    table = release(counts("usage", [1_000_000] * 50), RULES)
    offs = [of(table, "usage", measure)[1] - 1_000_000 for measure in ("devices", "events")]
    assert abs(np.corrcoef(*offs)[0, 1]) < 0.95


# --- which groups are shown ---


@pytest.mark.clause("1.1.4-b")
@pytest.mark.parametrize("epsilon, delta", [(RULES.epsilon, RULES.delta), (10, 1e-6)])
def test_a_group_of_few_devices_is_never_shown(epsilon, delta):
    """However large the budget, and however often one tries: not by chance, but by the threshold."""
    generous = RULES.model_copy(update={"epsilon": epsilon, "delta": delta})
    small = [number for number in range(1, RULES.least_devices) for _ in range(2_000)]
    assert not any(release(counts(name, small), generous).num_rows for name in RULES.tables)


@pytest.mark.clause("1.1.4-b")
def test_at_the_threshold_a_group_is_shown_no_more_often_than_delta_says():
    loose = Statistics.model_construct(**{**RULES.__dict__, "delta": 0.4})
    shown = release(counts("active", [RULES.least_devices] * 20_000), loose).num_rows
    part = loose.budget(loose.tables["active"]).selection_delta  # 0.1: a device here is in one group at most
    assert abs(shown / 20_000 - part) < SIGMAS * math.sqrt(part * (1 - part) / 20_000)


def test_a_large_group_is_shown_with_all_its_measures_and_a_small_one_with_none():
    exact = together(counts("usage", [1_000_000, 1, 1_000_000]), counts("models", [2]), counts("active", [1_000_000]))
    table = release(exact, RULES)
    assert table.schema.equals(release_schema(RULES))
    shown = [(row["table"], row["app_package"], row["measure"]) for row in table.to_pylist()]
    assert shown == [
        ("active", "app000000", "devices"),
        ("usage", "app000000", "devices"),
        ("usage", "app000002", "devices"),
        ("usage", "app000000", "events"),
        ("usage", "app000002", "events"),
    ]


@pytest.mark.clause("3.1.4")
def test_nothing_but_words_and_noisy_numbers_is_in_a_release():
    assert set(release(counts("active", [1_000_000]), RULES).column_names) == {
        *("table", "measure", "value", "interval"),
        *("event_type", "app_package", "app_version", "device_model", "device_os_version", "crash_trace"),
    }


def test_the_order_says_nothing_of_exact_numbers():
    sizes = [1_000_000 + 10_000 * number for number in (3, 1, 4, 0, 5)]
    found, values, _ = of(release(counts("models", sizes), RULES), "models", "devices")
    assert found == sorted(found) and values.tolist() != sorted(values.tolist())


def test_nothing_counted_is_an_empty_release():
    nothing = release(counts("active", []), RULES)
    assert nothing.num_rows == 0 and nothing.schema.equals(release_schema(RULES))
