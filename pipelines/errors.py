"""What ends a command with a message for its user, and with which exit status.

    Exception
    ├── ConfigurationError      exit status 2
    └── OSError
        ├── InputError          exit status 4
        └── StoreError          exit status 2

Their messages name a file or a setting and say what to do. They never carry a value that a record brought.
"""


class ConfigurationError(Exception):
    """An option, a policy or a deployment file is wrong; nothing was read or written."""


class InputError(OSError):
    """An input is missing or cannot be read to its end."""


class StoreError(OSError):
    """A store or a manifest cannot be written."""
