"""The daemon's log of alerts: one line for each transition of a stream.

A warning begins an incident or makes it critical; its end is information.
"""

from __future__ import annotations

import structlog

from detector.events import Alert
from detector.pipeline.observer import NullObserver
from detector.timestamps import rfc3339


class AlertLog(NullObserver):
    """Logs alerts. Implements Observer."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("daemon")

    def alerted(self, alert: Alert) -> None:
        log = self._log.warning if alert.firing else self._log.info
        log(
            "alert",
            status="firing" if alert.firing else "resolved",
            reason=alert.reason.label,
            stream=alert.stream,
            severity=alert.severity.label,
            at=rfc3339(alert.at),
            since=rfc3339(alert.starts_at),
            score=round(alert.score, 2),
            threshold=round(alert.threshold, 2),
            **_values(alert),
        )


def _values(alert: Alert) -> dict[str, str | float]:
    """Of the metric that contributed most; nothing if all are missing."""
    if not alert.deviations:
        return {}
    most = alert.deviations[0]
    return {
        "metric": most.name,
        "observed": float(f"{most.observed:.6g}"),
        "expected": float(f"{most.expected:.6g}"),
        "anomaly_kind": most.kind.value,
    }
