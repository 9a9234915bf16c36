"""What holds for all tests."""

from hypothesis import settings

# The time of an example says nothing on a machine that does other work as well.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")
