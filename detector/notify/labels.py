"""The labels of an alert, the same wherever an alert is shown.

A stream's tags are labels too. Whatever records call them, they get names that
Prometheus and Alertmanager take. An alert's own labels and configured ones win over
them.
Source: https://prometheus.io/docs/concepts/data_model/.

Receivers, dead letters, the page, the API and ``replay --alerts`` all take them from
one :class:`Labelling`, so that a person finds an alert by the same labels everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from detector.events import Alert

ALERT_NAME = "StreamAnomaly"
# What a label's name can't hold.
_NOT_IN_A_NAME = re.compile(r"[^a-zA-Z0-9_]")
OWN_LABELS = ("alertname", "severity", "stream")  # no configured label may replace one


@dataclass(frozen=True, slots=True)
class Labelling:
    """Names an alert by its own labels, parts of its stream's name, fixed labels, and
    its stream's tags. Where two have one name, the earlier in this list wins.

    Attributes:
        fixed: labels that every alert has.
        stream: its named groups are labels if it matches the whole name of the stream.
    """

    fixed: Mapping[str, str] = field(default_factory=dict)
    stream: re.Pattern[str] | None = None

    def __call__(self, alert: Alert) -> dict[str, str]:
        return {
            **tag_labels(alert.tags),
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


def tag_labels(tags: Mapping[str, str]) -> dict[str, str]:
    """Tags as labels: ``k8s.pod`` is ``k8s_pod``, and ``__name__`` is ``_name__``.

    Of tags whose names become one, the first by its own name counts. Prometheus keeps
    names that begin with two underscores to itself.
    """
    found: dict[str, str] = {}
    for name in sorted(tags):
        label = _NOT_IN_A_NAME.sub("_", name)
        if label.startswith("__"):
            label = f"_{label.lstrip('_')}"
        if not label or label[0].isdigit():
            label = f"_{label}"
        if tags[name]:  # an empty label is no label
            found.setdefault(label, tags[name])
    return found
