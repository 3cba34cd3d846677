"""``check``: says what would keep the daemon from running, one sentence for each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import click

from detector.cli.checks.broker import broker_faults
from detector.cli.checks.places import listen_faults, store_faults
from detector.cli.checks.receivers import receiver_faults
from detector.cli.checks.schema_registry import registry_faults
from detector.cli.checks.topics import topic_lines
from detector.cli.command_group import OPERATOR_MUST_ACT
from detector.cli.options import config_option
from detector.compose import check_formats, open_bundle, own_topics
from detector.consumer.boundary import check_takes_over
from detector.errors import ConfigError, DetectorError
from detector.kafka.subscription import Subscription
from detector.model.bundle import load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.settings.load import Settings, load, names_and_values


@click.command()
@config_option
def check(config: Path | None) -> int:
    """Test settings, bundle, broker, topics, store, receivers and port.

    It prints the effective settings with secrets masked, a line on each topic that says
    what its newest records are, and at last one sentence on standard error for each
    fault. It changes nothing: it creates no directory and no topic, sends no
    alert and commits no offset. It says `configuration OK` only if it found no fault.

    \b
    Examples:
      streamwarden check --config streamwarden.toml
      DETECTOR_KAFKA__TOPICS=metrics streamwarden check && streamwarden run
    """
    settings = load(config)
    for name, value in names_and_values(settings):
        click.echo(f"{name}={value}")
    for remark in remarks(settings):
        click.echo(remark)
    of_broker = list(broker_faults(settings))
    if not of_broker:
        for line in topic_lines(settings):
            click.echo(line)
    # what the operator must act on is the last that is seen
    found = [*faults(settings), *of_broker]
    for fault in found:
        click.echo(f"streamwarden: {fault}", err=True)
    if found:
        return OPERATOR_MUST_ACT
    click.echo("configuration OK")
    return 0


def faults(settings: Settings) -> Iterator[str]:
    """Sentences for the operator, each a fault that exit status 2 stands for; without
    those of the broker and its topics.
    """
    yield from _bundle_faults(settings)
    yield from _format_faults(settings)
    yield from _budget_faults(settings)
    yield from store_faults(settings)
    yield from listen_faults(settings.web.address)
    yield from receiver_faults(settings)
    yield from registry_faults(settings)


def remarks(settings: Settings) -> Iterator[str]:
    """What an operator should know although it is not a fault.

    A bundle that can't be opened yields no remark: :func:`faults` names it.
    """
    if settings.model.bundle is None:
        yield (
            "bundle: the built-in one, for any single metric;"
            " each numeric field of a record is a stream"
        )
    with contextlib.suppress(DetectorError):
        zone = settings.model.zone(open_bundle(settings))
        source = "" if settings.model.timezone else ", the zone of the bundle"
        yield f"wall clocks: {zone}{source}"
    if settings.kafka.topics:
        inputs = Subscription(settings.kafka.topics, own_topics(settings))
        if inputs.left_out:
            yield (
                f"input topics: {inputs.topics[0]} without"
                f" {' and '.join(inputs.left_out)}, which the daemon writes"
            )
    if not settings.alerting.destinations():
        yield (
            "receivers: none, so alerts are only logged and counted;"
            " DETECTOR_ALERTING__WEBHOOK_URL names one"
        )


def _budget_faults(settings: Settings) -> Iterator[str]:
    try:
        settings.alerting.stream_budget()
    except ConfigError as error:
        yield str(error)


def _bundle_faults(settings: Settings) -> Iterator[str]:
    try:
        bundle = open_bundle(settings)
        OnnxEngine(bundle)
        settings.model.zones(bundle)
        if settings.model.shadow is not None:
            shadow = load_bundle(settings.model.shadow)
            OnnxEngine(shadow)
            check_takes_over(shadow, bundle)
    except DetectorError as error:
        yield str(error)


def _format_faults(settings: Settings) -> Iterator[str]:
    try:
        check_formats(settings.kafka)
    except DetectorError as error:
        yield str(error)
