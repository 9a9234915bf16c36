"""What holds for all tests."""

import os
from unittest import mock

import pytest
from hypothesis import settings

# The time of an example says nothing on a machine that does other work as well.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def _without_sync():
    """What a sync guards against, a loss of power, no test could tell; a run makes hundreds, at milliseconds each.
    That there is one where it is needed is shown by who watches for it or lets it fail."""
    with mock.patch("os.fsync", new=os.fstat):
        yield
