"""Alertmanager's webhook body, version 4, so that every receiver that exists
understands it.

One incident is one alert. Its fingerprint follows from its stream and not from its
severity, so an escalation updates the incident in place. ``fingerprint`` with
``startsAt`` names it across retries, restarts and replays. A post has one notification
or those of a group, in order; what all of them share is repeated at the top, as in
Alertmanager. Format:
https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from detector.alerting.wording import digits, how_rare, observed_in_words
from detector.events import Alert, FeatureDeviation, RateBound, Reason
from detector.notify.labels import ALERT_NAME, Labelling
from detector.notify.title import repeats_in_words, title
from detector.phrases import duration
from detector.timestamps import rfc3339

RECEIVER = "streamwarden"
_NEVER = "0001-01-01T00:00:00Z"

#: What each annotation is, for the reference.
ANNOTATIONS = {
    "summary": "a title for a person: what happened where",
    "description": "observed and expected values, score, threshold, and how rare it is",
    "reason": "why this notification is sent, see below",
    "score": "the reconstruction error that the threshold applies to",
    "threshold": "what the score is compared with; of the alert's severity",
    "rate_per_week": "how often in a week a stream like this reaches such a score; "
    "`<0.95`: its history can only tell that it is rarer; `>15`: it is more often",
    "confidence": "below 1 for a stream that is not known for long",
    "observed": "values of the metrics that contributed most",
    "expected": "what the network expected in their place",
    "contributions": "each metric's share of the error",
    "anomaly_kind": "what is anomalous about the first of these metrics, see below",
    "rates": "metrics above that are counters: their values are rates per second; only "
    "if there are any",
    "at": "event time of the point that this notification is about",
    "duration": "how long the incident lasted; only once it is resolved",
    "repeats": "how often it has come, if it came back soon: `3 times since …`",
}


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


@dataclass(frozen=True, slots=True)
class OutgoingPost:
    """Notifications that leave together.

    Attributes:
        group_key: names the route and the group, the same for every post of the group.
        group: the labels that its alerts were grouped by, with their values.
        key: Idempotency-Key, the same for every attempt and every replay of the same
            content.
        sums_up: whether one notification sums all alerts up: they are of a backlog.
    """

    receiver: str
    group_key: str
    group: Mapping[str, str]
    alerts: tuple[Alert, ...]
    key: str
    sums_up: bool = False

    @property
    def notifications(self) -> int:
        """How many it has for a person."""
        return 1 if self.sums_up else len(self.alerts)


def body(post: OutgoingPost, labelling: Labelling, external_url: str = "") -> Body:
    """The whole post; ``external_url`` is this daemon's address as people reach it."""
    alerts = tuple(alert_body(alert, labelling, external_url) for alert in post.alerts)
    firing = any(alert.firing for alert in post.alerts)
    return Body(
        receiver=post.receiver,
        status="firing" if firing else "resolved",
        alerts=alerts,
        groupLabels=dict(post.group),
        commonLabels=shared([alert.labels for alert in alerts]),
        commonAnnotations=shared([alert.annotations for alert in alerts]),
        externalURL=external_url,
        version="4",
        groupKey=post.group_key,
    )


def shared(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The entries that all of them have, with one value."""
    first, *others = tables
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in others)
    }


def alert_body(alert: Alert, labelling: Labelling, external_url: str = "") -> AlertBody:
    """One alert; ``external_url`` is this daemon's address as people reach it."""
    return AlertBody(
        status="firing" if alert.firing else "resolved",
        labels=labelling(alert),
        annotations=annotations_of(alert),
        startsAt=rfc3339(alert.starts_at),
        endsAt=_NEVER if alert.ends_at is None else rfc3339(alert.ends_at),
        generatorURL=external_url,
        fingerprint=fingerprint(alert.stream),
    )


# Before a rate of which only a bound is known.
_SIGNS = {RateBound.ABOUT: "", RateBound.AT_MOST: "<", RateBound.AT_LEAST: ">"}


def annotations_of(alert: Alert) -> dict[str, str]:
    """A sentence for a person, then the numbers behind it."""
    top = [d for d in alert.deviations if d.contribution > 0]
    annotations = {
        "summary": title(alert),
        "description": _description(alert, top),
        "reason": alert.reason.label,
        "score": f"{alert.score:.6g}",
        "threshold": f"{alert.threshold:.6g}",
        "rate_per_week": _SIGNS[alert.rate_bound] + f"{alert.per_week:.3g}",
        "confidence": f"{alert.confidence:.2g}",
        "observed": " ".join(f"{d.name}={d.observed:.{digits(d)}g}" for d in top),
        "expected": " ".join(f"{d.name}={d.expected:.{digits(d)}g}" for d in top),
        "contributions": " ".join(f"{d.name}={d.contribution:.4g}" for d in top),
        "anomaly_kind": top[0].kind.value if top else "",
        "at": rfc3339(alert.at),
    }
    rates = [d.name for d in top if d.is_rate]
    if rates:
        annotations["rates"] = " ".join(rates)
    if alert.ends_at is not None:
        annotations["duration"] = duration(alert.ends_at - alert.starts_at)
    if alert.repeats > 1:
        annotations["repeats"] = repeats_in_words(alert)
    return annotations


def _description(alert: Alert, deviations: Sequence[FeatureDeviation]) -> str:
    score = f"Score {alert.score:.2f}, threshold {alert.threshold:.2f}"
    if alert.firing:
        score += f": {how_rare(alert.rarity)}"
    sentences = [observed_in_words(deviations), score]
    if alert.ends_at is not None:
        sentences.append(f"It lasted {duration(alert.ends_at - alert.starts_at)}")
    if alert.confidence < 1:
        sentences.append(f"The stream is new: confidence {alert.confidence:.0%}")
    return " ".join(f"{sentence}." for sentence in sentences if sentence)


def fingerprint(stream: str) -> str:
    """16 hexadecimal digits that name an incident's stream."""
    name = f"{ALERT_NAME}\0{stream}".encode()
    return hashlib.blake2b(name, digest_size=8).hexdigest()


def idempotency_key(alert: Alert) -> str:
    """The same for every attempt and every replay of one notification alone."""
    starts = int(alert.starts_at * 1000)
    key = f"{fingerprint(alert.stream)}-{starts}-{alert.reason.label}"
    # an incident returns any number of times, and has each other reason once
    is_return = alert.reason is Reason.RETURNED
    return f"{key}-{int(alert.at * 1000)}" if is_return else key


def post_key(keys: Sequence[str]) -> str:
    """Idempotency-Key of a post, from those of its notifications.

    That of its only notification, or a digest of all in their order.
    """
    if len(keys) == 1:
        return keys[0]
    digest = hashlib.blake2b("\n".join(keys).encode(), digest_size=16)
    return f"group-{digest.hexdigest()}"
