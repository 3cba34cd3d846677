"""Alertmanager's webhook body, version 4, so that every receiver that exists understands it.

One incident is one alert: its fingerprint follows from its labels without the severity, so an escalation updates the incident
in place, and ``fingerprint`` with ``startsAt`` names it across retries, restarts and replays.
Format: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

import datetime
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from detector.events import Alert, FeatureDeviation

ALERT_NAME = "StreamAnomaly"
RECEIVER = "streamwarden"
_NEVER = "0001-01-01T00:00:00Z"


class AlertBody(msgspec.Struct, frozen=True):
    """One entry of ``alerts``; also one line of ``replay --alerts``."""

    status: str
    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 - the format's own name
    endsAt: str  # noqa: N815 - the format's own name
    generatorURL: str  # noqa: N815 - the format's own name
    fingerprint: str


class Body(msgspec.Struct, frozen=True):
    """The whole post."""

    receiver: str
    status: str
    alerts: tuple[AlertBody, ...]
    groupLabels: dict[str, str]  # noqa: N815 - the format's own name
    commonLabels: dict[str, str]  # noqa: N815 - the format's own name
    commonAnnotations: dict[str, str]  # noqa: N815 - the format's own name
    externalURL: str  # noqa: N815 - the format's own name
    version: str
    groupKey: str  # noqa: N815 - the format's own name
    truncatedAlerts: int = 0  # noqa: N815 - the format's own name


def body(alert: Alert, external_url: str) -> Body:
    entry = alert_body(alert, external_url)
    group = {"alertname": ALERT_NAME, "stream": alert.stream}
    key = "{}:{" + ", ".join(f"{k}={msgspec.json.encode(v).decode()}" for k, v in group.items()) + "}"
    return Body(RECEIVER, entry.status, (entry,), group, entry.labels, entry.annotations, external_url, "4", key)


def alert_body(alert: Alert, external_url: str = "") -> AlertBody:
    labels = {"alertname": ALERT_NAME, "severity": alert.severity.label, "stream": alert.stream}
    ends = _NEVER if alert.ends_at is None else timestamp(alert.ends_at)
    status = "firing" if alert.firing else "resolved"
    return AlertBody(status, labels, described(alert), timestamp(alert.starts_at), ends, external_url, fingerprint(alert.stream))


def described(alert: Alert) -> dict[str, str]:
    """The annotations: what a person reads first: a sentence, then the numbers behind it."""
    top = [d for d in alert.deviations if d.contribution > 0]
    where = ", ".join(f"{d.name} {_number(d.observed, d.unit)} (expected {_number(d.expected, d.unit)})" for d in top[:3])
    state = "behaves as expected again" if not alert.firing else "does not behave as it did in its history"
    return {
        "summary": f"{alert.stream} {state}",
        "description": f"Reconstruction error {alert.score:.2f}, level {alert.level:.2f}. {where}".strip(),
        "reason": alert.reason.label,
        "score": f"{alert.score:.6g}",
        "level": f"{alert.level:.6g}",
        "observed": _pairs(top, "observed"),
        "expected": _pairs(top, "expected"),
        "contributions": _pairs(top, "contribution"),
        "at": timestamp(alert.at),
    }


def _pairs(deviations: Sequence[FeatureDeviation], name: str) -> str:
    return " ".join(f"{d.name}={getattr(d, name):.4g}" for d in deviations)


def _number(value: float, unit: str) -> str:
    return f"{value:.4g}{' ' if unit else ''}{unit}"


def fingerprint(stream: str) -> str:
    """16 hexadecimal digits that name the alert's labels without its severity."""
    return hashlib.blake2b(f"{ALERT_NAME}\0{stream}".encode(), digest_size=8).hexdigest()


def idempotency_key(alert: Alert) -> str:
    """The same for every attempt and every replay of one notification, and for no other."""
    return f"{fingerprint(alert.stream)}-{int(alert.starts_at * 1000)}-{alert.reason.label}"


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(round(seconds, 3), datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signature(secret: bytes, sent: int, content: bytes) -> str:
    """HMAC-SHA256 (RFC 2104) over ``{timestamp}:{body}``, hexadecimal; ``sent`` in epoch seconds stops a replayed post."""
    return hmac.new(secret, str(sent).encode() + b":" + content, hashlib.sha256).hexdigest()
