"""The one notification that sums up a backlog, as receivers get it.

It is no incident: it tells what came and went while nobody read, and names what is
still open, of which receivers get notifications of their own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detector.events import Alert, Severity
from detector.notify.labels import Labelling
from detector.notify.payload import AlertBody, Body, OutgoingPost, body
from detector.phrases import counted, listed
from detector.timestamps import rfc3339

ALERT_NAME: Final = "StreamBacklog"
#: Of the label ``stream``, which each alert has: a summary is of no stream.
NO_STREAM: Final = "(backlog)"
#: Of the annotation ``reason``.
REASON: Final = "backlog"
#: Streams that a summary names at most, of those that ended and of those still open.
NAMED: Final = 20

#: What each annotation is, for the reference.
ANNOTATIONS: Final = {
    "summary": "one sentence for a person",
    "description": "which streams, those with most incidents first",
    "reason": "`backlog`",
    "incidents": "how many began in the backlog",
    "streams": "of how many streams",
    "critical": "how many of these streams were critical",
    "open": "how many incidents are still open; each has a notification of its own",
}


@dataclass(frozen=True, slots=True)
class Summary:
    """The incidents of a backlog.

    Attributes:
        ended: for each stream the last incident that ended; ``repeats`` is how many.
        still_open: those that were open when the backlog was read.
    """

    ended: Sequence[Alert]
    still_open: Sequence[Alert]

    @property
    def incidents(self) -> int:
        return sum(alert.repeats for alert in self.ended) + len(self.still_open)

    @property
    def streams(self) -> set[str]:
        return {alert.stream for alert in (*self.ended, *self.still_open)}

    @property
    def critical(self) -> set[str]:
        """Streams."""
        every = (*self.ended, *self.still_open)
        return {a.stream for a in every if a.severity is Severity.CRITICAL}

    @property
    def begins(self) -> float:
        """Event time, in epoch seconds."""
        opened = [alert.starts_at for alert in self.still_open]
        return min([alert.repeats_since for alert in self.ended] + opened)

    @property
    def ends(self) -> float:
        """Event time of the last thing that is known, in epoch seconds."""
        every = (*self.ended, *self.still_open)
        return max(alert.ends_at or alert.at for alert in every)


def summary_of(post: OutgoingPost) -> Summary:
    ended = [alert for alert in post.alerts if not alert.firing]
    ended.sort(key=lambda alert: (-alert.repeats, alert.stream))
    return Summary(ended, [alert for alert in post.alerts if alert.firing])


def post_body(post: OutgoingPost, labelling: Labelling, external_url: str = "") -> Body:
    """The whole post in the format of webhooks, whatever it is about."""
    if not post.sums_up:
        return body(post, labelling, external_url)
    summary = summary_of(post)
    labels = labels_of(summary, labelling)
    annotations = annotations_of(summary)
    alert = AlertBody(
        status="resolved",
        labels=labels,
        annotations=annotations,
        startsAt=rfc3339(summary.begins),
        endsAt=rfc3339(summary.ends),
        generatorURL=external_url,
        fingerprint=summary_key(post),
    )
    return Body(
        receiver=post.receiver,
        status=alert.status,
        alerts=(alert,),
        groupLabels={},
        commonLabels=labels,
        commonAnnotations=annotations,
        externalURL=external_url,
        version="4",
        groupKey=post.group_key,
    )


def summary_key(post: OutgoingPost) -> str:
    """16 hexadecimal digits that name a summary by what it sums up."""
    return hashlib.blake2b(post.key.encode(), digest_size=8).hexdigest()


def labels_of(summary: Summary, labelling: Labelling) -> dict[str, str]:
    severity = Severity.CRITICAL if summary.critical else Severity.WARNING
    return {
        **labelling.fixed,
        "alertname": ALERT_NAME,
        "severity": severity.label,
        "stream": NO_STREAM,
    }


def annotations_of(summary: Summary) -> dict[str, str]:
    return {
        "summary": _sentence(summary),
        "description": _streams(summary),
        "reason": REASON,
        "incidents": str(summary.incidents),
        "streams": str(len(summary.streams)),
        "critical": str(len(summary.critical)),
        "open": str(len(summary.still_open)),
    }


def _sentence(summary: Summary) -> str:
    incidents = counted(summary.incidents, "incident")
    streams = counted(len(summary.streams), "stream")
    begins = rfc3339(summary.begins, digits=0)
    ends = rfc3339(summary.ends, digits=0)
    still_open = len(summary.still_open)
    rest = f"{still_open} still open" if still_open else "all are over"
    return (
        f"While records waited, {streams} had {incidents}, from {begins} to {ends}; "
        f"{rest}"
    )


def _streams(summary: Summary) -> str:
    sentences = []
    if summary.still_open:
        names = [alert.stream for alert in summary.still_open]
        sentences.append(f"Still open, each told by itself: {listed(names, NAMED)}.")
    if summary.ended:
        names = [_how_often(alert) for alert in summary.ended]
        sentences.append(f"Over: {listed(names, NAMED)}.")
    return " ".join(sentences)


def _how_often(alert: Alert) -> str:
    grave = " (critical)" if alert.severity is Severity.CRITICAL else ""
    times = f" {alert.repeats} times" if alert.repeats > 1 else ""
    return f"{alert.stream}{times}{grave}"
