"""Posts to deliver: an incident as it begins, worsens and ends, and a hostile one."""

from __future__ import annotations

from dataclasses import replace

from detector.events import Alert, FeatureDeviation, Reason, Severity
from detector.notify.payload import OutgoingPost, idempotency_key, post_key
from tests.unit.detector.notify.alerts import fired

REQUESTS = FeatureDeviation("requests_per_second", "", 0.0, 122.5, 1.0)
FIRED = replace(
    fired("web-1/requests_per_second", starts=1.7e9),
    at=1.7e9 + 60,
    deviations=(REQUESTS,),
    tags={"host": "web-1"},
)
WORSE = replace(
    FIRED, severity=Severity.CRITICAL, reason=Reason.ESCALATED, at=1.7e9 + 120
)
ENDED = replace(
    WORSE, reason=Reason.RECOVERED, at=1.7e9 + 600, ends_at=1.7e9 + 600, score=1.0
)
# What records may hold in place of a name: markup of each service, and its length.
HOSTILE_NAME = "<!channel> *x* [a](http://e) <script>&\\` " * 24
HOSTILE = replace(
    FIRED,
    stream=HOSTILE_NAME,
    deviations=(replace(REQUESTS, name="<b>" * 80),),
    tags={f"tag{i}": "<i>" * 170 for i in range(32)},
)


def post(*alerts: Alert, receiver: str = "people") -> OutgoingPost:
    key = post_key([idempotency_key(alert) for alert in alerts])
    return OutgoingPost(receiver, "{}:{}", {}, alerts, key)


def storm(size: int) -> OutgoingPost:
    """A post of many incidents that share a label."""
    alerts = [
        replace(FIRED, stream=f"web-1/metric_{i}", starts_at=1.7e9 + i)
        for i in range(size)
    ]
    return post(*alerts)


def backlog() -> OutgoingPost:
    """The summary of a backlog: two incidents of one stream ended, one is open."""
    ended = replace(ENDED, repeats=2, repeats_since=1.7e9)
    still_open = replace(FIRED, stream="web-2/requests_per_second")
    return replace(post(ended, still_open), sums_up=True)
