"""Release: exact counts of one region and day become noisy ones that may leave (1.1.4-b, 3.1.4).

Per table, with its part of the budget: which groups are shown is drawn by partition selection on the exact number of
devices, and every shown value gets integer Laplace noise. A group that is not shown appears nowhere, not even as zero.
Values are not rounded up to zero or made to add up, so that sums of them stay unbiased.

What this protects is whether one device was active on the day, and what it did then. It does not hide that a region had
any record at all on a day, nor what is true of a group as a whole. The interval tells of the noise only: what bounding
left out comes on top.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
from pydp.algorithms.numerical_mechanisms import LaplaceMechanism
from pydp.algorithms.partition_selection import (
    PartitionSelectionStrategyType,
    create_pre_thresholding_partition_strategy,
)

from schemas.statistics import DEVICES, Statistics, StatisticsTable, release_schema


def release(counts: pa.RecordBatch, statistics: Statistics) -> pa.Table:
    """The release of one region and day, ordered by words: `counts` has table, the groups' columns, devices, events.

    Every call draws new noise: whoever releases a day twice spends its budget twice.
    """
    parts = [part for name, table in statistics.tables.items() for part in _of_table(counts, name, table, statistics)]
    whole = pa.concat_tables([release_schema(statistics).empty_table(), *parts])
    return whole.sort_by([(name, "ascending") for name in whole.column_names[:-2]])


def _of_table(counts: pa.RecordBatch, name: str, table: StatisticsTable, statistics: Statistics) -> Iterator[pa.Table]:
    schema = release_schema(statistics)
    budget = statistics.budget(table)
    shown = _selected(counts.filter(pc.equal(counts["table"], name)), table, statistics)
    for measure in table.measures:
        noise = LaplaceMechanism(budget.measure_epsilon, table.sensitivity(measure))
        columns = {field: shown[field] for field in schema.names if field in shown.schema.names}
        columns["measure"] = pa.repeat(measure, shown.num_rows)
        columns["value"] = pa.array([noise.add_noise(exact) for exact in shown[measure].to_pylist()], pa.int64())
        columns["interval"] = pa.repeat(pa.scalar(statistics.half_width(table, measure), pa.int64()), shown.num_rows)
        yield pa.table([columns[field] for field in schema.names], schema=schema)


def _selected(groups: pa.RecordBatch, table: StatisticsTable, statistics: Statistics) -> pa.RecordBatch:
    """The groups that may be shown. A device that is alone in a group shows it with a probability of at most delta,
    and below `least_devices` nothing does."""
    budget = statistics.budget(table)
    strategy = create_pre_thresholding_partition_strategy(
        budget.selection_epsilon,
        budget.selection_delta,
        table.groups_per_device,
        statistics.least_devices,
        PartitionSelectionStrategyType.NEAR_TRUNCATED_GEOMETRIC,
    )
    large = groups.filter(pc.greater_equal(groups[DEVICES], statistics.least_devices))
    return large.filter(pa.array([strategy.should_keep(count) for count in large[DEVICES].to_pylist()], pa.bool_()))
