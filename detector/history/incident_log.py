"""What the page and the API show: the bundle in force, and the incidents that are open
or recent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from dataclasses import asdict
from typing import Any

from detector.alerting.policy import fleet_thresholds
from detector.events import Alert
from detector.model.bundle import Bundle
from detector.notify.payload import AlertBody, alert_body
from detector.pipeline.observer import NullObserver
from detector.settings.alerting import AlertingSettings

RECENT = 200


class IncidentLog(NullObserver):
    """Written by the loop, read by the HTTP thread. Implements Observer."""

    def __init__(self, bundle: Bundle, alerting: AlertingSettings) -> None:
        manifest = bundle.manifest
        thresholds = fleet_thresholds(alerting.tuning(), manifest.tail)
        self._labelling = alerting.labelling()
        self.status: dict[str, Any] = {
            "bundle": {
                "name": manifest.name,
                "version": manifest.version,
                "digest": bundle.digest,
            },
            "features": [{"name": f.name, "unit": f.unit} for f in manifest.features],
            "false_alarms_per_week": alerting.false_alarms_per_week,
            "tick_interval": manifest.tick_interval,
            "thresholds": asdict(thresholds),
        }
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[str, str], AlertBody] = OrderedDict()
        self._recent: deque[AlertBody] = deque(maxlen=RECENT)

    def alerted(self, alert: Alert) -> None:
        entry = alert_body(alert, self._labelling)
        with self._lock:
            if alert.firing:
                self._open[str(alert.partition), alert.stream] = entry
            else:
                self._open.pop((str(alert.partition), alert.stream), None)
                self._recent.append(entry)

    def alerts(self) -> dict[str, list[AlertBody]]:
        """Open incidents, newest first, and the last :data:`RECENT` that ended since
        this process started.
        """
        with self._lock:
            return {
                "firing": list(reversed(self._open.values())),
                "resolved": list(reversed(self._recent)),
            }
