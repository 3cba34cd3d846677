"""``notify``: sends a marked sample to receivers, as the daemon would."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from detector.cli.command_group import OPERATOR_MUST_ACT
from detector.cli.options import config_option
from detector.clock import Clock, SystemClock
from detector.compose import make_receivers
from detector.errors import ConfigError, Permanent, Transient
from detector.events import (
    Alert,
    FeatureDeviation,
    Partition,
    RateBound,
    Reason,
    Severity,
)
from detector.notify.payload import OutgoingPost, idempotency_key
from detector.notify.receiver import Receiver
from detector.notify.routes import Routing
from detector.settings.load import load
from detector.timestamps import MINUTE

_STREAM = "streamwarden-test/requests_per_second"
_TAGS = {"host": "streamwarden-test", "sample": "true"}
_DROP = FeatureDeviation("requests_per_second", "", 0.0, 122.5, 1.0)
_BACK = dataclasses.replace(_DROP, observed=121.0)


@click.command()
@click.option(
    "--test",
    "names",
    multiple=True,
    required=True,
    metavar="NAME",
    help="A receiver's name; `all` for every one. It may be given several times.",
)
@click.option(
    "--severity",
    type=click.Choice(["warning", "critical"]),
    default="warning",
    show_default=True,
    help="Of the sample: `critical` may wake somebody up.",
)
@config_option
def notify(names: tuple[str, ...], severity: str, config: Path | None) -> int:
    """Send a sample incident to receivers: its beginning, and its end right after.

    The sample is marked: its stream is `streamwarden-test/…`, and it has the label
    `sample`. Routes are not asked. Nothing is tried again, so a fault shows at once.

    \b
    Examples:
      streamwarden notify --test chat --config streamwarden.toml
      streamwarden notify --test all --severity critical
    """
    settings = load(config)
    clock = SystemClock()
    receivers = make_receivers(settings, clock)
    alerts = list(sample(clock, Severity[severity.upper()]))
    routing = Routing(list(receivers), labelling=settings.alerting.labelling())
    failed = 0
    for name in _chosen(names, receivers):
        fault = _send(receivers[name], name, alerts, routing)
        failed += fault is not None
        outcome = "the sample is delivered" if fault is None else f"NOT sent: {fault}"
        click.echo(f"{name}: {outcome}", err=fault is not None)
    return OPERATOR_MUST_ACT if failed else 0


def sample(clock: Clock, severity: Severity) -> Iterator[Alert]:
    """A marked incident: how it begins, and how it ends."""
    now = clock.wall()
    began = Alert(
        partition=Partition("streamwarden-test", 0),
        stream=_STREAM,
        severity=severity,
        reason=Reason.FIRED,
        starts_at=now - MINUTE,
        ends_at=None,
        at=now,
        score=9.0,
        threshold=7.0,
        deviations=(_DROP,),
        per_week=0.1,
        rate_bound=RateBound.ABOUT,
        tags=_TAGS,
    )
    yield began
    yield dataclasses.replace(
        began,
        reason=Reason.RECOVERED,
        ends_at=now,
        score=1.0,
        deviations=(_BACK,),
    )


def _chosen(names: Sequence[str], receivers: dict[str, Receiver]) -> Sequence[str]:
    """Raises ConfigError if one is not there."""
    if "all" in names and "all" not in receivers and receivers:
        return list(receivers)
    for name in names:
        if name not in receivers:
            there_are = ", ".join(receivers) or "none: set [[alerting.receivers]]"
            raise ConfigError(f"no receiver is called {name}; there are: {there_are}")
    return names


def _send(
    receiver: Receiver, name: str, alerts: Sequence[Alert], routing: Routing
) -> str | None:
    """Why the receiver did not take it, or None."""
    for alert in alerts:
        group = next(t.group for t in routing.targets(alert) if t.receiver == name)
        post = OutgoingPost(
            name, group.key, dict(group.labels), (alert,), idempotency_key(alert)
        )
        try:
            receiver.deliver(post)
        except (Transient, Permanent) as fault:
            return str(fault)
    return None
