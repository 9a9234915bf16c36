"""Measurements of douane, each a module that runs by itself: `python -m benchmarks.main_job`."""
