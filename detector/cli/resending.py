"""``redrive --alerts``: alerts that receivers refused, to these receivers again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence, Set
from pathlib import Path
from typing import Final

import msgspec

from detector.cli.control import DaemonClient
from detector.clock import SystemClock
from detector.compose import make_receivers
from detector.dead_letters.alert_letters import AlertFile, AlertLetter, Resent, resend
from detector.errors import ConfigError, Permanent
from detector.events import Alert, Severity
from detector.history.incident_log import Incidents
from detector.notify.payload import OutgoingPost, idempotency_key
from detector.phrases import counted, escaped
from detector.settings.load import Settings
from detector.timestamps import rfc3339

_LIST: Final = "/api/v1/alerts"


def resend_alerts(
    settings: Settings,
    config: Path | None,
    file: Path,
    topics: Set[str],
    force: bool,
    dry_run: bool,
) -> tuple[Sequence[str], bool]:
    """What became of the alerts in a file, a line each, and whether any failed.

    Raises ConfigError.
    """
    alerts = AlertFile(file)
    letters = [
        letter
        for letter in alerts.letters()
        if not topics or letter.alert.partition.topic in topics
    ]
    is_open = _any if force else _open_at_daemon(config)
    if dry_run:
        result = resend(letters, alerts, is_open, None)
    else:
        with contextlib.closing(Resender(settings)) as resender:
            result = resend(letters, alerts, is_open, resender)
    return list(_report(result, alerts, dry_run)), bool(result.failed)


class Resender:
    """Posts a letter's alert to its receiver, as the daemon would."""

    def __init__(self, settings: Settings) -> None:
        """Raises ConfigError."""
        self._receivers = make_receivers(settings, SystemClock())
        self._routing = settings.alerting.routing()

    def close(self) -> None:
        """Let go of connections."""
        for receiver in self._receivers.values():
            receiver.close()

    def __call__(self, letter: AlertLetter) -> None:
        """Raises Transient or Permanent."""
        receiver = self._receivers.get(letter.receiver)
        if receiver is None:
            known = ", ".join(sorted(self._receivers)) or "none"
            raise Permanent(
                f"there is no receiver {letter.receiver} any more; there are: {known}"
            )
        targets = self._routing.targets_for(letter.alert, (letter.receiver,))
        group = targets[0].group
        receiver.deliver(
            OutgoingPost(
                receiver=letter.receiver,
                group_key=group.key,
                group=dict(group.labels),
                alerts=(letter.alert,),
                key=idempotency_key(letter.alert),
            )
        )


def _any(alert: Alert) -> bool:
    """Take every incident for open."""
    return True


def _open_at_daemon(config: Path | None) -> Callable[[Alert], bool]:
    """Whether the daemon of the settings lists an incident as open, and no graver than
    this alert says; it says nothing if it does not run.

    A warning that is sent after the incident turned critical would take that back.
    """
    try:
        answer = DaemonClient(None, config).get(_LIST)
    except ConfigError:
        return lambda alert: False
    firing = msgspec.json.decode(answer, type=Incidents).firing
    listed = {
        (body.labels["stream"], body.startsAt): body.labels["severity"]
        for body in firing
    }

    def is_open(alert: Alert) -> bool:
        severity = listed.get((alert.stream, rfc3339(alert.starts_at)))
        return severity is not None and Severity[severity.upper()] <= alert.severity

    return is_open


def _report(result: Resent, file: AlertFile, dry_run: bool) -> Iterator[str]:
    yield f"{counted(result.read, 'alert')} in {file.name}"
    said = "would be sent" if dry_run else "sent"
    yield f"{result.sent.total():,} {said}{_to(list(result.sent.items()))}"
    if result.before:
        yield f"{result.before:,} were sent before"
    if result.over:
        yield (
            f"{result.over:,} begin an incident that no running daemon lists as open,"
            " or that is graver by now: a later notice of it may have been delivered,"
            " so --force alone sends them"
        )
    for receiver, count in sorted(result.waiting.items()):
        yield f"{count:,} wait: receiver {receiver} is down; run it again"
    for cause, count in sorted(result.failed.items()):
        yield f"{count:,} failed: {escaped(cause)}"
    if file.summaries:
        yield (
            f"{file.summaries:,} sum up a backlog, which is over: they are for a person"
            " to read, and are not sent again"
        )
    if file.unreadable:
        yield (
            f"{file.unreadable:,} are of an earlier version, which did not keep what a"
            " receiver needs"
        )


def _to(by_receiver: Sequence[tuple[str, int]]) -> str:
    counts = [f"{count:,} to {receiver}" for receiver, count in sorted(by_receiver)]
    return f": {', '.join(counts)}" if counts else ""
