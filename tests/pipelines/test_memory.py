import ctypes
import gc
import subprocess
import sys

import pytest

from pipelines.memory import passed_by

CHURN = """
import resource
from pipelines.memory import hold_on
if {held}:
    hold_on()
bytes(64 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    bytearray(b"x" * (48 << 20))
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(held: bool) -> int:
    return int(subprocess.run([sys.executable, "-c", CHURN.format(held=held)], capture_output=True, check=True).stdout)


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc")
def test_blocks_that_come_and_go_are_not_asked_of_the_kernel_again():
    assert faults(held=True) < faults(held=False) / 4


def test_the_collector_passes_by_what_was_there_before_while_a_run_lasts_and_no_longer():
    before = [[]]
    with pytest.raises(ZeroDivisionError), passed_by():
        during = [[]]
        seen = {id(each) for each in gc.get_objects()}
        assert id(before) not in seen and id(during) in seen
        _ = 1 / 0
    assert id(before) in {id(each) for each in gc.get_objects()}
    assert not gc.get_freeze_count()
