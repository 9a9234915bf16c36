"""Endless inputs: how they are named on the command line, and which step reads each.

    kafka:TOPIC                                 telemetry or ledger; needs --kafka_config_file
    watch:FOLDER                                telemetry or ledger: files that appear in a folder
    pubsub:projects/PROJECT/subscriptions/NAME  telemetry, on Dataflow

All of them give `pipelines.arrivals.Arrived`, which the border reads in the same step: raw lines lie between no two.
"""

import importlib.util
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.errors import ConfigurationError

if TYPE_CHECKING:
    import apache_beam as beam

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,249}")
_SUBSCRIPTION = re.compile(r"projects/[^/]+/subscriptions/[^/]+")
_WRITTEN = {
    "kafka": "kafka:TOPIC, a topic's name of letters, digits, '.', '_' and '-'",
    "watch": "watch:FOLDER",
    "pubsub": "pubsub:projects/PROJECT/subscriptions/NAME",
}


@dataclass(frozen=True)
class Endless:
    """An input without an end. `name` is a topic, a folder or a subscription."""

    scheme: str
    name: str

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


@dataclass(frozen=True)
class Streams:
    """The inputs of a job without an end. `ledger` is None for a job without one; the worker reads `config_file`."""

    telemetry: Endless
    ledger: Endless | None
    config_file: str | None


def endless(flag: str, given: Sequence[str]) -> Endless | None:
    """The endless input that a flag names; None where it names files. Raises `ConfigurationError` for several, or for
    one that is written wrong."""
    found = [text for text in given if text.partition(":")[0] in _WRITTEN]
    if not found:
        return None
    if len(given) > 1:
        raise ConfigurationError(f"{flag}: {found[0]} has no end, and is an input of its own: give it alone")
    scheme, _, name = found[0].partition(":")
    well = {"kafka": _TOPIC.fullmatch, "pubsub": _SUBSCRIPTION.fullmatch}.get(scheme, bool)
    if not well(name):
        raise ConfigurationError(f"{flag} {found[0]}: write {_WRITTEN[scheme]}")
    # A stream goes on with the folder that it began with, from wherever it is called.
    return Endless(scheme, os.path.abspath(name) if scheme == "watch" else name)


def streams(
    telemetry: Endless | None, ledger: Endless | None, consents: Sequence[str], config_file: str | None
) -> Streams | None:
    """What both inputs make together; None for a job over files. Raises `ConfigurationError` for what does not fit: a
    ledger that ends, ends its watermark, and would open what a later stop closes."""
    if telemetry is None and ledger is None:
        if config_file:
            raise ConfigurationError("--kafka_config_file is for kafka:TOPIC, and no input is a topic")
        return None
    if telemetry is None:
        raise ConfigurationError(
            f"--consents {ledger} has no end, and files of telemetry have: give the ledger as files"
        )
    if consents and ledger is None:
        raise ConfigurationError(
            f"--events {telemetry} has no end, and a ledger of files has: what is stopped later would stay open; "
            "give a ledger as kafka:TOPIC or watch:FOLDER"
        )
    if ledger and ledger.scheme == "pubsub":
        raise ConfigurationError(f"--consents {ledger}: a ledger needs heartbeats; give kafka:TOPIC or watch:FOLDER")
    if telemetry == ledger:
        raise ConfigurationError(f"{ledger} is telemetry or a ledger, not both: give another for --consents")
    kafka = "kafka" in (telemetry.scheme, ledger and ledger.scheme)
    if kafka != bool(config_file):
        needed = "needs --kafka_config_file, a properties file that workers can read"
        unused = "--kafka_config_file is for kafka:TOPIC, and no input is a topic"
        raise ConfigurationError(f"kafka:TOPIC {needed}" if kafka else unused)
    return Streams(telemetry, ledger, config_file)


def reading(source: Endless, ledger: bool, config_file: str | None) -> "beam.PTransform":
    """The step that reads an input: PBegin -> `Arrived`. Raises `ConfigurationError` where what it needs is missing."""
    # Only here: each needs a client of its own, which a job over files does not.
    if source.scheme == "kafka":
        if importlib.util.find_spec("confluent_kafka") is None:
            raise ConfigurationError("kafka:TOPIC needs the Kafka client: pip install 'douane[kafka]', on workers too")
        from pipelines.kafka import ReadKafka

        return ReadKafka(source.name, config_file, ledger)
    if source.scheme == "watch":
        from pipelines.watch import ReadWatched

        return ReadWatched(source.name)
    from pipelines.pubsub import ReadPubSub

    return ReadPubSub(source.name)
