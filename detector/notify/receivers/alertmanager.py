"""The ``alertmanager`` kind: posts alerts to Prometheus Alertmanager's own API.

Theory of operation. Alertmanager groups, silences, routes and repeats by itself. Its
clients post what fires again and again, as Prometheus does. An alert fires until its
``endsAt``, which Alertmanager compares with its own clock. A post therefore says
``endsAt`` = wall clock + ``lead``. The outbox sends a firing incident again after a
third of ``lead``, so two posts may fail before the alert runs out. If the daemon dies,
its alerts end by themselves after ``lead``; a restart within ``lead`` ends none.

Times. Event time may be far from the wall clock, and Alertmanager refuses an alert that
ends before it starts. So ``startsAt`` is the event time of the beginning, but never
after now. A resolved alert ends at the event time of its end, but never after now,
because an end that is ahead would let it fire on.

Severity. In Alertmanager the labels are the alert, and people route by ``severity``:
the pager takes ``critical``. So ``severity`` is a label, and an escalation is another
alert: one post ends the warning and begins the critical alert, with the same
``startsAt``. A silence on ``stream`` covers both. The end of a critical incident ends
the warning once more, in case the first time was refused.

Backlog. The summary of a backlog is an alert that fires until ``lead`` is over, and
then ends by itself: Alertmanager would tell nobody of one that is resolved.

High availability. Alertmanagers of a cluster share silences and sent notifications, but
not alerts: clients post to each. One that takes the post is enough. Another that does
not answer is left out for a while, and is brought up to date by the next refresh.

API: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml. Ends and
refreshes: https://prometheus.io/docs/alerting/latest/clients/.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
import structlog
from pydantic import BeforeValidator, Field, SecretStr, field_validator
from urllib3.util import parse_url

from detector.errors import Permanent, Transient
from detector.events import Alert, Reason, Severity
from detector.notify.backlog_summary import annotations_of as summary_annotations
from detector.notify.backlog_summary import labels_of, summary_of
from detector.notify.payload import OutgoingPost, annotations_of
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import check_address, host_of
from detector.notify.receivers.http_settings import HttpSettings
from detector.notify.routes import ReceiverNeeds
from detector.timestamps import rfc3339

_PATH = "/api/v2/alerts"
_REFRESHES = 3  # in a lead: two posts may fail before an alert runs out
_REST = 60.0  # seconds for which a peer that did not answer is left out


def _several(value: Any) -> Any:
    """A string is a list of addresses, apart by commas or white space."""
    if not isinstance(value, str):
        return value
    return tuple(value.replace(",", " ").split())


class AlertmanagerSettings(HttpSettings):
    """A Prometheus Alertmanager, or a cluster of them."""

    kind: Literal["alertmanager"] = Field(
        "alertmanager", description="the kind of receiver"
    )
    url: Annotated[tuple[SecretStr, ...], BeforeValidator(_several)] = Field(
        min_length=1, description="base address, or a list of all those of a cluster"
    )
    lead: float = Field(
        600.0,
        gt=0,
        le=86_400,
        description="seconds for which a post keeps its alerts firing; "
        "they are posted again after a third of it",
    )

    @field_validator("url")
    @classmethod
    def _check_urls(cls, urls: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        for url in map(check_address, urls):
            parsed = parse_url(url.get_secret_value())
            if parsed.query or parsed.fragment:
                raise ValueError("a base address has no query and no fragment")
        return urls

    @property
    def addresses(self) -> Sequence[str]:
        bases = [url.get_secret_value().rstrip("/") for url in self.url]
        return [base + _PATH for base in bases]

    @property
    def needs(self) -> ReceiverNeeds:
        """Refreshes within the lead, and large posts: Alertmanager groups alerts."""
        return ReceiverNeeds(self.lead / _REFRESHES, groups_alerts=True)

    def receiver(self, context: ReceiverContext) -> Alertmanager:
        """Raises ConfigError if a TLS file cannot be used."""
        return Alertmanager(self, context)


class PostableAlert(msgspec.Struct, frozen=True, omit_defaults=True):
    """One alert as the API takes it; names are the API's own."""

    labels: dict[str, str]
    annotations: dict[str, str]
    startsAt: str  # noqa: N815 - the API's own name
    endsAt: str  # noqa: N815 - the API's own name
    generatorURL: str = ""  # noqa: N815 - the API's own name


@dataclass(slots=True)
class _Peer:
    """One Alertmanager; ``rests_until`` on the monotonic clock."""

    address: str
    rests_until: float = 0.0


class Alertmanager:
    """Posts to every Alertmanager of a cluster. Implements Receiver."""

    def __init__(
        self, settings: AlertmanagerSettings, context: ReceiverContext
    ) -> None:
        self._name = settings.name
        self._lead = settings.lead
        self._context = context
        self._client = settings.client(context.clock)
        self._peers = [_Peer(address) for address in settings.addresses]
        self._log = structlog.get_logger("alertmanager")

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Done if one peer takes it. Raises Transient or Permanent if none does."""
        now = self._context.clock.wall()
        alerts: list[PostableAlert] = []
        if post.sums_up:
            alerts.append(self._summary(post, now))
        else:
            for alert in post.alerts:
                alerts.extend(self._entries(alert, now))
        content = msgspec.json.encode(alerts)
        monotonic = self._context.clock.monotonic()
        ready = [peer for peer in self._peers if peer.rests_until <= monotonic]
        resting = [peer for peer in self._peers if peer not in ready]
        faults: list[Transient | Permanent] = []
        # Those that rest are tried if nobody else takes it.
        for peers in (ready, resting):
            failed = list(self._post(peers, content, post.key))
            if len(failed) < len(peers):
                return
            faults += failed
        raise _gravest(faults)

    def _post(
        self, peers: Sequence[_Peer], content: bytes, key: str
    ) -> Iterator[Transient | Permanent]:
        """The fault of each peer that did not take it."""
        for peer in peers:
            try:
                self._client.post(peer.address, content, key)
            except (Transient, Permanent) as fault:
                self._leave_out(peer, fault)
                yield fault
            else:
                peer.rests_until = 0.0

    def _leave_out(self, peer: _Peer, fault: Transient | Permanent) -> None:
        alone = len(self._peers) == 1
        if alone or isinstance(fault, Permanent):
            return
        if not peer.rests_until:
            self._log.warning(
                "peer_left_out",
                receiver=self._name,
                peer=host_of(peer.address),
                cause=str(fault),
                note=f"tried again after {_REST:g} s; one peer is enough",
            )
        peer.rests_until = self._context.clock.monotonic() + _REST

    def _summary(self, post: OutgoingPost, now: float) -> PostableAlert:
        summary = summary_of(post)
        return PostableAlert(
            labels=labels_of(summary, self._context.labelling),
            annotations=summary_annotations(summary),
            startsAt=rfc3339(min(summary.begins, now)),
            endsAt=rfc3339(now + self._lead),
            generatorURL=self._context.external_url,
        )

    def _entries(self, alert: Alert, now: float) -> Iterator[PostableAlert]:
        labels = self._context.labelling(alert)
        got_worse = alert.severity is Severity.CRITICAL
        if got_worse and alert.reason is not Reason.FIRED:
            before = {**labels, "severity": Severity.WARNING.label}
            escalation = min(alert.at, now)
            yield self._entry(alert, before, now, escalation)
        yield self._entry(alert, labels, now, self._end(alert, now))

    def _end(self, alert: Alert, now: float) -> float:
        if alert.ends_at is None:
            return now + self._lead
        return min(alert.ends_at, now)

    def _entry(
        self,
        alert: Alert,
        labels: dict[str, str],
        now: float,
        ends: float,
    ) -> PostableAlert:
        starts = min(alert.starts_at, now)
        return PostableAlert(
            labels=labels,
            annotations=annotations_of(alert),
            startsAt=rfc3339(starts),
            endsAt=rfc3339(max(starts, ends)),
            generatorURL=self._context.external_url,
        )


def _gravest(faults: Sequence[Transient | Permanent]) -> Transient | Permanent:
    """A fault that may pass, if there is one: then the post is tried again."""
    passing = [fault for fault in faults if isinstance(fault, Transient)]
    return next(iter(passing), faults[0])
