"""Hypothesis strategies that several tests share, and how long they may take."""

import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

# How many examples: the profile of all tests (conftest.py) sets no deadline.
unhurried = settings(max_examples=60)
few = settings(max_examples=15)  # where an example costs tens of milliseconds

seeds = st.integers(0, 2**32 - 1)  # of a random.Random or a numpy generator, where data is too large to be drawn
words = st.sampled_from(["alpha", "beta", "gamma", "14.0.3", "V12", "com.example.map", "", "é", "词"])
label_columns = st.lists(st.none() | words, max_size=40).map(lambda values: pa.array(values, pa.string()))
