import ctypes
import subprocess
import sys

import pytest

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
