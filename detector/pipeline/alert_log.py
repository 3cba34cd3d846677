"""The daemon's log of alerts: one line for each transition of a stream."""

from __future__ import annotations

import structlog

from detector.events import Alert
from detector.pipeline.observer import NullObserver


class AlertLog(NullObserver):
    """Logs alerts. Implements Observer."""

    def __init__(self) -> None:
        self._log = structlog.get_logger("daemon")

    def alerted(self, alert: Alert) -> None:
        self._log.warning(
            "alert",
            status="firing" if alert.firing else "resolved",
            reason=alert.reason.label,
            stream=alert.stream,
            severity=alert.severity.label,
            score=round(alert.score, 2),
            threshold=round(alert.threshold, 2),
        )
