"""The labels of an alert, the same wherever an alert is shown.

Receivers, dead letters, the page, the API and ``replay --alerts`` all take them from
one :class:`Labelling`, so that a person finds an alert by the same labels everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from detector.events import Alert

ALERT_NAME = "StreamAnomaly"
OWN_LABELS = ("alertname", "severity", "stream")  # no configured label may replace one


@dataclass(frozen=True, slots=True)
class Labelling:
    """Names an alert by its own labels, fixed ones, and parts of its stream's name.

    Attributes:
        fixed: labels that every alert has.
        stream: its named groups are labels if it matches the whole name of the stream.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    stream: re.Pattern[str] | None = None

    def __call__(self, alert: Alert) -> dict[str, str]:
        return {
            **self.fixed,
            **self._parts(alert.stream),
            "alertname": ALERT_NAME,
            "severity": alert.severity.label,
            "stream": alert.stream,
        }

    def _parts(self, stream: str) -> dict[str, str]:
        found = None if self.stream is None else self.stream.fullmatch(stream)
        if found is None:
            return {}
        groups = found.groupdict().items()
        return {name: value for name, value in groups if value is not None}
