"""The ``pagerduty`` kind: incidents by PagerDuty's Events API, version 2.

Each alert is an event. Its ``dedup_key`` names the incident, so a repeat or an
escalation updates the alert that PagerDuty has, and the end resolves it. An event that
is sent twice changes nothing. PagerDuty takes 202 for "queued".

A post of several alerts is several requests. If one fails, all are sent again, which
the key makes harmless.

API: https://developer.pagerduty.com/docs/send-alert-event; limits of the fields: 255
characters of the key, 1,024 of the summary, 512 KB of an event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from detector.events import Alert, Severity
from detector.notify.backlog_summary import annotations_of as summary_annotations
from detector.notify.backlog_summary import summary_key, summary_of
from detector.notify.message import cut, incident_key
from detector.notify.payload import OutgoingPost, annotations_of, idempotency_key
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import ConnectionSettings, check_address
from detector.notify.receivers.http import HttpClient
from detector.notify.title import title
from detector.timestamps import rfc3339

_ENQUEUE = "https://events.pagerduty.com/v2/enqueue"
_ROUTING_KEY = 32  # characters
_MAX_SUMMARY = 1024  # characters
_MAX_FIELD = 255  # characters of source and group
_SEVERITIES = {Severity.WARNING: "warning", Severity.CRITICAL: "critical"}


class PagerDutySettings(ConnectionSettings):
    """A service of PagerDuty with an Events API v2 integration."""

    kind: Literal["pagerduty"] = Field("pagerduty", description="the kind of receiver")
    routing_key: SecretStr = Field(
        description="integration key of the service, 32 characters"
    )
    url: str = Field(
        _ENQUEUE, description="where events go; the EU has an address of its own"
    )

    @field_validator("routing_key")
    @classmethod
    def _check_key(cls, key: SecretStr) -> SecretStr:
        length = len(key.get_secret_value())
        if length != _ROUTING_KEY:
            raise ValueError(f"it has {length} characters; a routing key has 32")
        return key

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        check_address(SecretStr(url))
        return url

    @property
    def addresses(self) -> Sequence[str]:
        return (self.url,)

    def receiver(self, context: ReceiverContext) -> PagerDuty:
        """Raises ConfigError if a TLS file cannot be used."""
        return PagerDuty(self, context)


class PagerDuty:
    """Sends events to one service. Implements Receiver."""

    def __init__(self, settings: PagerDutySettings, context: ReceiverContext) -> None:
        self._address = settings.url
        self._routing_key = settings.routing_key.get_secret_value()
        self._context = context
        self._client = HttpClient(settings, context.clock)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        if post.sums_up:
            self._sum_up(post)
            return
        for alert in post.alerts:
            event = self._event(alert)
            content = msgspec.json.encode(event)
            self._client.post(self._address, content, idempotency_key(alert))

    def _sum_up(self, post: OutgoingPost) -> None:
        """The summary of a backlog asks for nothing: it is opened and closed."""
        summary = summary_of(post)
        texts = summary_annotations(summary)
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "dedup_key": f"backlog-{summary_key(post)}",
        }
        payload = {
            "summary": cut(texts["summary"], _MAX_SUMMARY),
            "source": "streamwarden",
            "severity": "info",
            "timestamp": rfc3339(summary.ends),
            "custom_details": texts,
        }
        opened = {**event, "event_action": "trigger", "payload": payload}
        closed = {**event, "event_action": "resolve"}
        for number, sent in enumerate((opened, closed)):
            content = msgspec.json.encode(sent)
            self._client.post(self._address, content, f"{post.key}-{number}")

    def _event(self, alert: Alert) -> dict[str, Any]:
        event: dict[str, Any] = {
            "routing_key": self._routing_key,
            "event_action": "trigger" if alert.firing else "resolve",
            "dedup_key": incident_key(alert),
        }
        if not alert.firing:
            return event
        event["payload"] = self._payload(alert)
        event["client"] = "streamwarden"
        url = self._context.external_url
        if url:
            event["client_url"] = url
        return event

    def _payload(self, alert: Alert) -> dict[str, Any]:
        labels = self._context.labelling(alert)
        return {
            "summary": cut(title(alert), _MAX_SUMMARY),
            "source": cut(_source(alert, labels), _MAX_FIELD),
            "severity": _SEVERITIES[alert.severity],
            "timestamp": rfc3339(alert.starts_at),
            "component": cut(alert.stream, _MAX_FIELD),
            "class": labels["alertname"],
            "custom_details": {**annotations_of(alert), "labels": labels},
        }


def _source(alert: Alert, labels: Mapping[str, str]) -> str:
    """The host if a label names one; else the stream."""
    return labels.get("host") or labels.get("instance") or alert.stream
