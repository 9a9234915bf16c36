"""The properties file of the Kafka clients: read by who connects, expanded there, and never on an edge or in a log.

One `key=value` a line as in Java's properties, comments with # or !. Names are librdkafka's; of Java's names those that
mean the same are taken. `${NAME}` in a value is the environment variable NAME of the process that reads the file.
"""

import os
import re
from collections.abc import Collection

from apache_beam.io.filesystems import FileSystems

from pipelines.errors import ConfigurationError

_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_CREDENTIAL = {name: re.compile(rf'\b{name}\s*=\s*"((?:[^"\\]|\\.)*)"') for name in ("username", "password")}
_JAVA = {"ssl.truststore.location": "ssl.ca.location", "sasl.mechanisms": "sasl.mechanism"}
_IGNORED = frozenset({"ssl.truststore.type"})  # once it is known to be PEM


def properties(uri: str) -> dict[str, str]:
    """The settings in a file, variables expanded. Raises `ConfigurationError`, which names settings and no value."""
    settings: dict[str, str] = {}
    for number, line in enumerate(_lines(uri), 1):
        line = line.strip()
        if not line or line.startswith(("#", "!")):
            continue
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise ConfigurationError(f"{uri}, line {number}: write one key=value a line")
        settings[name] = value
    # expanded last: whatever a variable holds, it is a value
    settings = {
        name: _VARIABLE.sub(lambda found: _variable(uri, found[1]), value)
        for name, value in _translated(uri, settings).items()
    }
    if not settings.get("bootstrap.servers"):
        raise ConfigurationError(f"{uri}: bootstrap.servers is missing")
    return settings


def refused(uri: str, settings: Collection[str], text: str) -> ConfigurationError:
    """The client does not take these settings: which of them, by what it says, of which no value is passed on."""
    named = sorted(name for name in settings if re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", text))
    about = f" ({', '.join(named)})" if named else ""
    return ConfigurationError(
        f"{uri}: the Kafka client refuses these settings{about}: see librdkafka's CONFIGURATION.md"
    )


def _lines(uri: str) -> list[str]:
    try:
        with FileSystems.open(uri) as file:
            text = file.read().decode()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{uri} cannot be read on this worker ({type(error).__name__})") from None
    return re.sub(r"\\\r?\n\s*", "", text).splitlines()  # as in Java: a line that ends with \ goes on


def _variable(uri: str, name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise ConfigurationError(f"{uri}: the environment of this worker has no variable {name}")
    return value


def _translated(uri: str, settings: dict[str, str]) -> dict[str, str]:
    """Under the names that librdkafka has."""
    jaas = settings.pop("sasl.jaas.config", None)
    if jaas is not None:
        for name, pattern in _CREDENTIAL.items():
            found = pattern.search(jaas)
            if not found:
                raise ConfigurationError(f'{uri}: sasl.jaas.config lacks {name}="..."')
            settings.setdefault(f"sasl.{name}", re.sub(r"\\(.)", r"\1", found[1]))
    if "ssl.truststore.location" in settings and settings.get("ssl.truststore.type", "JKS").upper() != "PEM":
        raise ConfigurationError(f"{uri}: ssl.truststore.type must be PEM, or name the authority by ssl.ca.location")
    if settings.get("ssl.endpoint.identification.algorithm") == "":  # Java's way to say none
        settings["ssl.endpoint.identification.algorithm"] = "none"
    return {_JAVA.get(name, name): value for name, value in settings.items() if name not in _IGNORED}
