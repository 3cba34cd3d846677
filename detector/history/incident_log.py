"""What the page and the API show: incidents that are open or recent."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque

from detector.events import Alert
from detector.notify.labels import Labelling
from detector.notify.payload import AlertBody, alert_body
from detector.pipeline.observer import NullObserver

RECENT = 200  # incidents that ended


class IncidentLog(NullObserver):
    """Written by the loop, read by the HTTP thread. Implements Observer."""

    def __init__(self, labelling: Labelling) -> None:
        self._labelling = labelling
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
