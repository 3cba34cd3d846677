"""``inspect``: what the records of a topic are, and the settings for them."""

from __future__ import annotations

from pathlib import Path

import click

from detector.cli.inspecting import inspect_topic
from detector.cli.options import config_option
from detector.inspection.report import lines
from detector.kafka.scan import scanner
from detector.settings.load import load


@click.command()
@click.option("--topic", required=True, help="The topic to look at.")
@click.option(
    "--records",
    type=click.IntRange(1, 10_000),
    default=500,
    help="The newest records of each partition, at most.",
)
@config_option
def inspect(topic: str, records: int, config: Path | None) -> int:
    """Show what a topic holds: formats, streams, metrics, tags, rate, keys, clocks.

    It says which records would be rejected and why, and prints the settings to paste.
    It reads without a consumer group, commits nothing and changes nothing.

    \b
    Examples:
      streamwarden inspect --topic metrics
      streamwarden inspect --topic metrics --records 5000
    """
    settings = load(config)
    with scanner(settings.kafka) as scan:
        found = inspect_topic(settings, scan, topic, records)
    for line in lines(found):
        click.echo(line)
    return 0
