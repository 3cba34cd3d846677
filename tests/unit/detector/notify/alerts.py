"""Alerts for tests, which replace only the fields that matter to them."""

from __future__ import annotations

from dataclasses import replace

from detector.events import Alert, Partition, Reason, Severity

P = Partition("metrics", 0)
Q = Partition("metrics", 1)


def fired(stream: str, partition: Partition = P, starts: float = 60.0) -> Alert:
    """The beginning of an incident."""
    return Alert(
        partition=partition,
        stream=stream,
        severity=Severity.WARNING,
        reason=Reason.FIRED,
        starts_at=starts,
        ends_at=None,
        at=starts,
        score=7.0,
        threshold=6.0,
    )


def escalated(alert: Alert) -> Alert:
    """The same incident, half a minute later."""
    return replace(
        alert, reason=Reason.ESCALATED, severity=Severity.CRITICAL, at=alert.at + 30
    )


def resolved(alert: Alert) -> Alert:
    """The same incident, a minute later."""
    end = alert.at + 60
    return replace(alert, reason=Reason.RECOVERED, ends_at=end, at=end)
