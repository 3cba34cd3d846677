"""What a person reads of a post, wherever it is shown: chat, mail, pager.

A post of one alert has its title. A post of several has how many there are, what their
labels have in common, and the first few by their own titles. Every receiver takes these
texts and writes them in its own markup; nothing here is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from detector.events import Alert, Reason, Severity
from detector.notify.backlog_summary import annotations_of as summary_annotations
from detector.notify.backlog_summary import summary_key, summary_of
from detector.notify.labels import OWN_LABELS, Labelling
from detector.notify.payload import (
    OutgoingPost,
    annotations_of,
    fingerprint,
    shared,
)
from detector.notify.title import title
from detector.timestamps import rfc3339

#: Alerts that a message names. By judgement: more is a list that nobody reads.
NAMED = 10

#: Labels that a message shows.
_SHOWN_LABELS = 8


@dataclass(frozen=True, slots=True)
class Message:
    """Texts of one post.

    Attributes:
        thread: names the incident: the same for its first message and all that follow.
        severity: the worst of those that fire; of a post of ends, the worst of all.
        is_firing: whether any of its alerts fires.
        is_update: whether its incident was told before.
        title: one line.
        members: a line for each of the first alerts; empty if there is only one.
        not_named: how many alerts have no line.
        description: the numbers behind the first alert, in sentences.
        since: when the first of its incidents began, RFC 3339.
        labels: that all of its alerts share, beside name, severity and stream.
        url: this daemon's address as people reach it; may be empty.
        is_summary: whether it sums up a backlog: it is of no incident.
    """

    thread: str
    severity: Severity
    is_firing: bool
    is_update: bool
    title: str
    members: tuple[str, ...]
    not_named: int
    description: str
    since: str
    labels: Mapping[str, str]
    url: str
    is_summary: bool = False

    @property
    def state(self) -> str:
        """``critical``, ``warning`` or ``resolved``."""
        return self.severity.label if self.is_firing else "resolved"


def message_of(
    post: OutgoingPost, labelling: Labelling, external_url: str = ""
) -> Message:
    """The texts of a post."""
    if post.sums_up:
        return _of_backlog(post, labelling, external_url)
    alerts = post.alerts
    first = min(alerts, key=lambda alert: alert.starts_at)
    firing = [alert for alert in alerts if alert.firing]
    labels = shared([labelling(alert) for alert in alerts])
    others = {n: v for n, v in labels.items() if n not in OWN_LABELS}
    is_alone = len(alerts) == 1
    named = () if is_alone else tuple(map(member_line, alerts[:NAMED]))
    return Message(
        thread=incident_key(first),
        severity=max(alert.severity for alert in firing or alerts),
        is_firing=bool(firing),
        is_update=any(alert.reason is not Reason.FIRED for alert in alerts),
        title=title(first) if is_alone else _common_title(alerts, firing, others),
        members=named,
        not_named=0 if is_alone else len(alerts) - len(named),
        description=annotations_of(first)["description"],
        since=rfc3339(first.starts_at, digits=0),
        labels=dict(sorted(others.items())[:_SHOWN_LABELS]),
        url=external_url,
    )


def _of_backlog(post: OutgoingPost, labelling: Labelling, external_url: str) -> Message:
    """The texts of the summary of a backlog. It is of no incident, and over."""
    summary = summary_of(post)
    texts = summary_annotations(summary)
    return Message(
        thread=summary_key(post),
        severity=Severity.CRITICAL if summary.critical else Severity.WARNING,
        is_firing=False,
        is_update=False,
        title=texts["summary"],
        members=(),
        not_named=0,
        description=texts["description"],
        since=rfc3339(summary.begins, digits=0),
        labels=dict(sorted(labelling.fixed.items())[:_SHOWN_LABELS]),
        url=external_url,
        is_summary=True,
    )


def incident_key(alert: Alert) -> str:
    """Names an incident: the same in each of its notifications."""
    return f"{fingerprint(alert.stream)}-{int(alert.starts_at * 1000)}"


def member_line(alert: Alert) -> str:
    """``critical: web-1: cpu rose to 93 %, expected about 41 %``."""
    state = alert.severity.label if alert.firing else "resolved"
    return f"{state}: {title(alert)}"


def cut(text: str, length: int) -> str:
    """At most ``length`` characters, with ``…`` where something is left out."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _common_title(
    alerts: Sequence[Alert], firing: Sequence[Alert], labels: Mapping[str, str]
) -> str:
    first = title(min(firing or alerts, key=lambda alert: alert.starts_at))
    place = ", ".join(f"{name} {value}" for name, value in sorted(labels.items()))
    where = f" on {place}" if place else ""
    if not firing:
        return f"{len(alerts)} incidents{where} are over"
    ended = len(alerts) - len(firing)
    over = f", {ended} over" if ended else ""
    return f"{len(firing)} incidents{where}{over}; first {first}"
