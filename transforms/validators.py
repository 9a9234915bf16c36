"""Checks that patterns cannot express, on candidates that a pattern has found."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LONGEST_NUMBER = 19


def luhn(numbers: pa.StringArray) -> np.ndarray:
    """Which of the texts, of 19 digits at most, end in their check digit (ISO/IEC 7812-1, annex B); others aside."""
    digits = pc.replace_substring_regex(numbers, r"[^0-9]", "")
    padded = pc.utf8_lpad(digits, _LONGEST_NUMBER, "0").cast(pa.binary(_LONGEST_NUMBER))
    values = np.frombuffer(padded.buffers()[1], np.uint8).reshape(-1, _LONGEST_NUMBER) - ord("0")
    doubled = values[:, -2::-2] * 2
    total = values[:, ::-2].sum(axis=1) + (doubled - 9 * (doubled > 9)).sum(axis=1)
    return total % 10 == 0


VALIDATORS: dict[str, Callable[[pa.StringArray], np.ndarray]] = {"luhn": luhn}
