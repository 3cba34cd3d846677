"""``rules``: what the operator's rules would have changed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from detector.cli.options import A_BUNDLE, BundleType, config_option, data_options
from detector.compose import open_bundle
from detector.data.read_options import ReadOptions
from detector.errors import ConfigError
from detector.events import Alert
from detector.model.bundle import load_bundle
from detector.notify.title import title
from detector.phrases import escaped
from detector.replay.chunks import FileSource
from detector.replay.rule_effects import Effects, Progress, RuleEffect, rule_effects
from detector.settings.load import load
from detector.timestamps import rfc3339

_LISTED = 10  # incidents of each rule


@click.group()
def rules() -> None:
    """Rules say what an incident needs to begin: [[alerting.rules]] of the settings.

    \b
    Examples:
      streamwarden rules test --data last-week.csv --config streamwarden.toml
    """


@rules.command()
@click.option(
    "--bundle",
    type=BundleType(),
    metavar="DIR",
    help=f"A {A_BUNDLE}.  [default: the one that is set, else `builtin`]",
)
@data_options
@config_option
def test(
    bundle: Path | None, data: Path, reading: ReadOptions, config: Path | None
) -> None:
    """Say what each rule would have changed on this data.

    The data is replayed twice, without and with the rules.

    \b
    Examples:
      streamwarden rules test --data last-week.csv --config streamwarden.toml
    """
    settings = load(config)
    if not settings.alerting.rules:
        raise ConfigError(
            "there are no rules: write [[alerting.rules]] into a TOML file"
            " and name it with --config"
        )
    opened = load_bundle(bundle) if bundle else open_bundle(settings)
    source = FileSource(
        data, opened.feature_names, opened.manifest.each_metric, reading
    )
    tuning = settings.alerting.tuning(source.count_streams())
    with _progress() as progress:
        effects = rule_effects(opened, source, tuning, settings.model, progress)
    for line in _lines(effects):
        click.echo(line)


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on standard error if it is a terminal, nothing elsewhere."""
    with click.progressbar(
        length=1, label="rows", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:

        def show(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        yield show


def _lines(effects: Effects) -> Iterator[str]:
    yield (
        f"{effects.before:,} incidents without the rules, {effects.after:,} with them"
    )
    for effect in effects.rules:
        yield from _effect_lines(effect)
    if effects.moved:
        yield (
            f"{len(effects.moved):,} incidents begin only with the rules:"
            " one before them, which kept them quiet, is gone"
        )
        yield from _listed(effects.moved)


def _effect_lines(effect: RuleEffect) -> Iterator[str]:
    name = escaped(effect.rule.name)
    if not effect.metrics:
        yield f"{name}: holds for no metric of this data; a rule before it may take all"
        return
    noun = "metric" if effect.metrics == 1 else "metrics"
    changes = []
    if effect.refused:
        changes.append(f"{len(effect.refused):,} incidents begin no more")
    if effect.capped:
        changes.append(f"{len(effect.capped):,} stay a warning")
    what = ", ".join(changes) or "changes nothing"
    yield f"{name}: holds for {effect.metrics:,} {noun}; {what}"
    yield from _listed(effect.refused)
    yield from _listed(effect.capped)


def _listed(alerts: Sequence[Alert]) -> Iterator[str]:
    for alert in alerts[:_LISTED]:
        at = rfc3339(alert.starts_at, digits=0)
        yield f"  {at} {alert.severity.label}: {escaped(title(alert))}"
    if len(alerts) > _LISTED:
        yield f"  and {len(alerts) - _LISTED:,} more"
