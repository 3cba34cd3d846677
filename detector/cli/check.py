"""``detector check``: what would keep the daemon from running, one sentence each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from detector.cli.command_group import OPERATOR_MUST_ACT
from detector.cli.options import config_option
from detector.clock import SystemClock
from detector.compose import make_receivers, make_store, open_bundle
from detector.errors import ConfigError, DetectorError, StoreError
from detector.kafka.client import connected
from detector.model.onnx_engine import OnnxEngine
from detector.recovery.store_kafka import KafkaStore
from detector.recovery.store_local import examine
from detector.settings.load import Settings, load, names_and_values


@click.command()
@config_option
def check(config: Path | None) -> int:
    """Test settings, bundle, broker, topics and store.

    It prints the effective settings with secrets masked, and one sentence on standard
    error for each fault. It changes nothing: it creates no directory and no topic, and
    sends no alert. It says `configuration OK` only if it found no fault.

    \b
    Examples:
      streamwarden check --config streamwarden.toml
      DETECTOR_KAFKA__TOPICS=metrics streamwarden check && streamwarden run
    """
    settings = load(config)
    for name, value in names_and_values(settings):
        click.echo(f"{name}={value}")
    found = list(faults(settings))
    for fault in found:
        click.echo(f"streamwarden: {fault}", err=True)
    for remark in remarks(settings):
        click.echo(remark)
    if found:
        return OPERATOR_MUST_ACT
    click.echo("configuration OK")
    return 0


def faults(settings: Settings) -> Iterator[str]:
    """Sentences for the operator: bundle, graph, topics, broker, store."""
    try:
        bundle = open_bundle(settings)
        OnnxEngine(bundle)
        settings.model.zones(bundle)
    except DetectorError as error:
        yield str(error)
    try:
        make_receivers(settings, SystemClock())
    except ConfigError as error:
        yield str(error)
    try:
        if settings.recovery.directory is None:
            make_store(settings, SystemClock()).close()
        else:
            examine(settings.recovery.directory)
    except ConfigError as error:
        yield str(error)
    if not settings.kafka.topics:
        yield "DETECTOR_KAFKA__TOPICS is not set: name the input topics, or one ^regex"
        return
    yield from _topics(settings)


def remarks(settings: Settings) -> Iterator[str]:
    """What holds by default, and where streams live: nothing of a bundle that can't be
    opened.
    """
    if settings.model.bundle is None:
        yield "bundle: the package's own, for any single metric; each numeric field of a record is a stream"
    with contextlib.suppress(DetectorError):
        yield f"wall clocks: {settings.model.zone(open_bundle(settings))}{'' if settings.model.timezone else ', the zone of the bundle'}"


def _topics(settings: Settings) -> Iterator[str]:
    servers = ", ".join(settings.kafka.bootstrap_servers)
    try:
        consumer = connected(
            KafkaConsumer, **settings.kafka.connection(), bootstrap_timeout_ms=5000
        )
    except (KafkaError, OSError) as error:
        yield f"no broker answers at {servers} ({type(error).__name__}): start it, or set DETECTOR_KAFKA__BOOTSTRAP_SERVERS"
        return
    try:
        present = consumer.topics()
    except KafkaError as error:
        yield f"{servers} does not list its topics ({type(error).__name__}): check the TLS and SASL settings"
        return
    finally:
        consumer.close()
    absent = [
        topic
        for topic in settings.kafka.topics
        if not topic.startswith("^") and topic not in present
    ]
    for topic in absent:
        yield f"topic {topic} does not exist at {servers}: create it, or set DETECTOR_KAFKA__TOPICS"
    if settings.recovery.topic:
        yield from _changelog(settings, settings.recovery.topic)


def _changelog(settings: Settings, topic: str) -> Iterator[str]:
    try:
        KafkaStore(settings.kafka, topic, SystemClock()).examine()
    except (ConfigError, StoreError) as error:
        yield str(error)
