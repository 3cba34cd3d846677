"""Every metric of the daemon, in one class, every label set created at zero, no label
per stream.
"""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from detector.errors import RejectReason, ResetCause
from detector.events import SHARES, Reason, Severity

ALERT_STATUSES = ("firing", "escalated", "resolved")
OUTCOMES = ("delivered", "retried", "dead_lettered")


class Metrics:
    """Two daemons in one process have two of these: the registry is its own."""

    def __init__(self, receivers: Sequence[str] = ()) -> None:
        self.registry = registry = CollectorRegistry()
        self.records = Counter(
            "detector_records",
            "Records read, rejected ones included.",
            registry=registry,
        )
        self.scored = Counter(
            "detector_scored", "Points that went through the graph.", registry=registry
        )
        self.rejected = Counter(
            "detector_rejected",
            "Records not scored, by reason.",
            ["reason"],
            registry=registry,
        )
        self.unknown_fields = Counter(
            "detector_unknown_fields",
            "Fields of scored records that the bundle does not know; they are ignored.",
            registry=registry,
        )
        self.skipped = Counter(
            "detector_skipped",
            "Records read again after a restart and already in the restored state.",
            registry=registry,
        )
        self.split_streams = Counter(
            "detector_split_streams",
            "Streams seen on two partitions of a topic: their producer does not key by stream.",
            registry=registry,
        )
        self.lost_records = Counter(
            "detector_lost_records",
            "Records that the log no longer held when they were to be read.",
            registry=registry,
        )
        self.decisions = Counter(
            "detector_decisions",
            "Transitions of streams, by reason.",
            ["reason"],
            registry=registry,
        )
        self.alerts = Counter(
            "detector_alerts",
            "Alerts raised, by status and severity.",
            ["status", "severity"],
            registry=registry,
        )
        self.notifications = Counter(
            "detector_notifications",
            "Notifications delivered and dead-lettered, once for each receiver, and attempts that are to be repeated.",
            ["outcome"],
            registry=registry,
        )
        self.posts = Counter(
            "detector_posts",
            "Posts, by receiver and outcome.",
            ["receiver", "outcome"],
            registry=registry,
        )
        self.state_resets = Counter(
            "detector_state_resets",
            "States that started anew, by cause. Counts streams; counts pages if the "
            "cause is page_unreadable, and partitions if it is no_checkpoint.",
            ["cause"],
            registry=registry,
        )
        self.checkpoints = Counter(
            "detector_checkpoints",
            "Checkpoints, by outcome.",
            ["outcome"],
            registry=registry,
        )
        self.source_errors = Counter(
            "detector_source_errors",
            "Faults of the broker connection that were retried.",
            registry=registry,
        )
        self.streams = Gauge(
            "detector_streams", "Streams held in memory.", registry=registry
        )
        self.evicted = Gauge(
            "detector_streams_evicted",
            "Idle streams whose state lies in the store until their next point.",
            registry=registry,
        )
        self.firing = Gauge(
            "detector_streams_firing", "Streams in an incident.", registry=registry
        )
        self.waiting = Gauge(
            "detector_notifications_waiting",
            "Notifications not yet acknowledged, once for each receiver.",
            registry=registry,
        )
        self.spilled = Gauge(
            "detector_notifications_spilled",
            "Of those waiting, the ones that are in the store alone.",
            registry=registry,
        )
        self.lag = Gauge(
            "detector_lag_records",
            "Records between what is applied and the end of the assigned partitions; NaN "
            "while none is read.",
            registry=registry,
        )
        self.checkpoint_age = Gauge(
            "detector_checkpoint_age_seconds",
            "Seconds since the last durable checkpoint.",
            registry=registry,
        )
        self.checkpoint_interval = Gauge(
            "detector_checkpoint_interval_seconds",
            "Seconds between checkpoints, as configured.",
            registry=registry,
        )
        self.ready = Gauge(
            "detector_ready",
            "1 while partitions are assigned and their states restored, as /-/ready.",
            registry=registry,
        )
        self.threshold = Gauge(
            "detector_threshold",
            "The fleet's level for the budget, at the bundle's tick: a stream's own also follows from its tick, its age, its past and its incidents.",
            ["severity"],
            registry=registry,
        )
        self.budget = Gauge(
            "detector_false_alarms_per_week",
            "False alarms a stream-week that were asked for.",
            registry=registry,
        )
        self.rate = Gauge(
            "detector_incidents_per_week",
            "Incidents a week, true and false, of streams watched for a day at least: the mean, and what that share of streams stays under.",
            ["streams"],
            registry=registry,
        )
        self.poll_seconds = Histogram(
            "detector_poll_processing_seconds",
            "Time to score one poll, decoding excluded.",
            buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
            registry=registry,
        )
        self.checkpoint_seconds = Histogram(
            "detector_checkpoint_seconds",
            "Time the loop stood still for a checkpoint.",
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
            registry=registry,
        )
        self.lag.set(float("nan"))  # nothing is read yet
        for reason in RejectReason:
            self.rejected.labels(reason.value)
        for cause in ResetCause:
            self.state_resets.labels(cause.value)
        for transition in Reason:
            self.decisions.labels(transition.label)
        for severity in (Severity.WARNING, Severity.CRITICAL):
            self.threshold.labels(severity.label)
            for status in ALERT_STATUSES:
                self.alerts.labels(status, severity.label)
        for name in ("mean", *SHARES):
            self.rate.labels(name)
        for outcome in OUTCOMES:
            self.notifications.labels(outcome)
            for receiver in receivers:
                self.posts.labels(receiver, outcome)
        for outcome in ("written", "failed"):
            self.checkpoints.labels(outcome)
