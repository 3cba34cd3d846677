"""Every metric of the daemon, declared in one table.

A metric is declared with its name, its help, and all values of each label. Every label
set exists from the start, at zero, so that ``rate()`` sees the first event. No metric
has a label for a stream: a hundred thousand of them would not fit Prometheus.
"""

from __future__ import annotations

import enum
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Self, TypeVar, overload

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from detector.errors import MissingReason, RejectReason, ResetCause
from detector.events import SHARES, Reason, Severity
from detector.names import NO_PREFIX

#: In place of a label's values: the names of the receivers that are configured.
RECEIVERS: Final = ("the receiver's name",)
MOST_PREFIXES: Final = 10  # prefixes of streams that are reported

_SEVERITIES: Final = (Severity.WARNING.label, Severity.CRITICAL.label)
_OUTCOMES: Final = ("delivered", "retried", "dead_lettered")
_Kind = TypeVar("_Kind", Counter, Gauge, Histogram)


class RecoveryPhase(enum.StrEnum):
    """What the start of a daemon waits for, in this order."""

    CONNECT = "connect"  # until a broker answers
    JOIN = "join"  # until the group gives a partition
    RESTORE = "restore"  # until the states of all given partitions are read
    REREAD = "reread"  # until the records since the last checkpoint are read again


class ControlCommand(enum.StrEnum):
    """What can be asked of a running daemon: metric label and path of the API."""

    RELOAD = "reload"  # read the settings and the bundle again
    SHADOW = "shadow"  # let another bundle score beside the one in force, or end that
    PROMOTE = "promote"  # put the bundle in shadow in force
    ROLLBACK = "rollback"  # go back to what was in force before


class CounterEvent(enum.StrEnum):
    """What happened to a counter: metric label."""

    FIRST = "first"  # a first value, which gives no rate
    RESET = "reset"  # it began again
    RECOGNISED = "recognised"  # its past showed that it is one: scored anew, as a rate
    UNDONE = "undone"  # it falls as a gauge does: scored anew, as a value


@dataclass(frozen=True, slots=True)
class Declared(Generic[_Kind]):
    """One metric before it is made.

    Attributes:
        kind: counter, gauge or histogram.
        name: as it is exposed, less the ``_total`` of a counter.
        help: a sentence.
        labels: all values of each label.
        buckets: upper bounds of a histogram, in seconds.
    """

    kind: type[_Kind]
    name: str
    help: str
    labels: Mapping[str, Sequence[str]]
    buckets: Sequence[float] = ()

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Metrics, owner: type) -> _Kind: ...
    def __get__(self, instance: Metrics | None, owner: type) -> Self | _Kind:
        """Of the class it is the declaration; a :class:`Metrics` has the metric."""
        if instance is not None:  # never: the instance's own attribute is found first
            raise AttributeError(self.name)
        return self

    @property
    def exposed_name(self) -> str:
        """What Prometheus calls it."""
        return f"{self.name}_total" if self.kind is Counter else self.name

    def make(self, registry: CollectorRegistry, receivers: Sequence[str]) -> _Kind:
        """The metric, with every label set at zero."""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        names = list(self.labels)
        made = self.kind(self.name, self.help, names, registry=registry, **options)
        values = [
            receivers if known is RECEIVERS else known for known in self.labels.values()
        ]
        for label_set in itertools.product(*values) if names else ():
            made.labels(*label_set)
        return made


def _counter(name: str, text: str, **labels: Sequence[str]) -> Declared[Counter]:
    return Declared(Counter, name, text, labels)


def _gauge(name: str, text: str, **labels: Sequence[str]) -> Declared[Gauge]:
    return Declared(Gauge, name, text, labels)


def _histogram(name: str, text: str, buckets: Sequence[float]) -> Declared[Histogram]:
    return Declared(Histogram, name, text, {}, buckets)


class Metrics:
    """The metrics of one daemon; two daemons in one process have one each."""

    # what comes in
    records = _counter("detector_records", "Records read, rejected ones included.")
    scored = _counter("detector_scored", "Points scored.")
    rejected = _counter(
        "detector_rejected",
        "Records not scored, by reason.",
        reason=tuple(RejectReason),
    )
    dead_letters = _counter(
        "detector_dead_letters",
        "Dead letters, by where they are kept and what became of them. With a topic,"
        " each rejected record is kept in both places.",
        place=("file", "topic"),
        outcome=("written", "failed"),
    )
    unknown_fields = _counter(
        "detector_unknown_fields",
        "Fields of scored records that the bundle does not know and that are ignored.",
    )
    missing_values = _counter(
        "detector_missing_values",
        "Values that can't be used and count as missing, by reason. The other values of"
        " their records are scored.",
        reason=tuple(MissingReason),
    )
    counter_events = _counter(
        "detector_rate_events",
        "What happened to counters, which are scored as a rate per second. First values"
        " and most resets give no rate.",
        event=tuple(CounterEvent),
    )
    without_points = _counter(
        "detector_records_without_points",
        "Records that hold no point and are no error: all their values are missing, or"
        " they say that they hold none.",
    )
    tombstones = _counter(
        "detector_tombstones",
        "Records without a value, as a compacted topic has for what was deleted.",
    )
    skipped = _counter(
        "detector_skipped",
        "Records read again after a restart that the restored state already includes.",
    )
    warm_up_records = _counter(
        "detector_warm_up_records",
        "Records read again so that streams warm up, after a change of the bundle or"
        " without a checkpoint. They raise no alert, and nothing else counts them.",
    )
    lost_records = _counter(
        "detector_lost_records",
        "Records that retention deleted before they were read.",
    )
    unreadable_batches = _counter(
        "detector_unreadable_batches",
        "Batches that can't be read, by what became of them.",
        outcome=("held", "skipped"),
    )
    unreadable_records = _counter(
        "detector_unreadable_records",
        "Offsets that were skipped because their batch can't be read.",
    )
    held_partitions = _gauge(
        "detector_held_partitions",
        "Partitions that wait because their next records can't be read or decoded.",
    )
    decoding_waits = _counter(
        "detector_decoding_waits",
        "Times that a partition waited because the schema registry could not answer.",
    )
    split_streams = _counter(
        "detector_split_streams",
        "Streams seen on two partitions of a topic. Their producer must key by stream.",
    )
    source_errors = _counter(
        "detector_source_errors",
        "Faults of the connection to the broker that were retried.",
    )
    lag = _gauge(
        "detector_lag_records",
        "Records between the last one applied and the end of the assigned partitions."
        " NaN while none is read.",
    )
    ready = _gauge(
        "detector_ready",
        "1 while partitions are assigned and their states are restored, as /-/ready.",
    )
    recovery_seconds = _gauge(
        "detector_recovery_seconds",
        "Seconds that each phase of this daemon's start took: until a broker answers,"
        " until the group gives partitions, until their states are restored, and until"
        " the records since the last checkpoint are read again.",
        phase=[phase.value for phase in RecoveryPhase],
    )
    poll_seconds = _histogram(
        "detector_poll_processing_seconds",
        "Time to score the records of one poll, without decoding them.",
        buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
    )

    # what is decided
    decisions = _counter(
        "detector_decisions",
        "Decisions about points, by reason.",
        reason=tuple(reason.label for reason in Reason),
    )
    alerts = _counter(
        "detector_alerts",
        "Alerts raised, by status and severity.",
        status=("firing", "escalated", "returned", "resolved"),
        severity=_SEVERITIES,
    )
    threshold = _gauge(
        "detector_threshold",
        "Base threshold of the budget, at the tick of the bundle. The threshold of a"
        " stream adds offsets for its past, its age, its tick and its incidents.",
        severity=_SEVERITIES,
    )
    budget = _gauge(
        "detector_false_alarms_per_week",
        "Budget of false alarms per stream and week: as configured, or the stream's share"
        " of the fleet's.",
    )
    fleet_streams = _gauge(
        "detector_fleet_streams",
        "Streams of the whole fleet that share its budget, as configured. NaN if each"
        " stream has a budget of its own.",
    )
    rate = _gauge(
        "detector_incidents_per_week",
        "Incidents per week, true and false, of streams with at least a day of points:"
        " the mean over streams, and percentiles.",
        streams=("mean", *SHARES),
    )

    # what goes out
    notifications = _counter(
        "detector_notifications",
        "Notifications delivered or dead-lettered, one for each receiver, and attempts"
        " that will be retried.",
        outcome=_OUTCOMES,
    )
    posts = _counter(
        "detector_posts",
        "Posts, by receiver and outcome.",
        receiver=RECEIVERS,
        outcome=_OUTCOMES,
    )
    waiting = _gauge(
        "detector_notifications_waiting",
        "Notifications not yet acknowledged, one for each receiver.",
    )
    spilled = _gauge(
        "detector_notifications_spilled",
        "Notifications that wait in the store only, since the queue in memory is full.",
    )

    # state
    streams = _gauge("detector_streams", "Streams in memory.")
    evicted = _gauge(
        "detector_streams_evicted",
        "Idle streams whose state is in the store only, until their next point.",
    )
    newcomers = _gauge(
        "detector_streams_new",
        "Streams in memory with a single point so far, which make room for others.",
    )
    held = _gauge(
        "detector_points_held",
        "Points that wait for their stream's next one, which tells whether they are in"
        " order or from the future.",
    )
    forgotten = _counter(
        "detector_streams_forgotten",
        "Streams that were forgotten: newcomers that made room for others, and streams"
        " without a point for too long.",
        cause=("newcomer", "expired"),
    )
    prefixes = _gauge(
        "detector_streams_by_prefix",
        "Streams, idle ones included, by the letters that their names begin with; the"
        " ten largest.",
        prefix=(NO_PREFIX,),
    )
    firing = _gauge("detector_streams_firing", "Streams with an open incident.")
    state_resets = _counter(
        "detector_state_resets",
        "States that started anew, by cause. Counts streams; counts pages if the cause"
        " is page_unreadable, and partitions if it is no_checkpoint.",
        cause=tuple(ResetCause),
    )
    reloads = _counter(
        "detector_reloads",
        "Changes of the configuration or of the bundle without a restart, by what was"
        " asked for and what became of it. What is refused leaves all as it was.",
        command=tuple(command.value for command in ControlCommand),
        result=("applied", "refused"),
    )
    last_reload = _gauge(
        "detector_last_reload_successful",
        "1 unless the last reload was refused.",
    )
    shadow_running = _gauge(
        "detector_shadow_running", "1 while a second bundle scores beside the first."
    )
    shadow_alerts = _counter(
        "detector_shadow_alerts",
        "Alerts of the bundle in shadow, which are counted and not sent.",
        status=("firing", "resolved"),
    )
    backlog_alerts = _counter(
        "detector_backlog_alerts",
        "Alerts of records that waited for longer than DETECTOR_ALERTING__BACKLOG_AFTER"
        " before the daemon came back: their incidents are summed up.",
    )
    backlog_partitions = _gauge(
        "detector_backlog_partitions",
        "Partitions of which this member has not yet read what waited for it.",
    )
    recovered_incidents = _counter(
        "detector_recovered_incidents",
        "Incidents that were open when the store was lost, by what became of them. Those"
        " that are not known stay open at their receivers.",
        outcome=("goes_on", "ended", "not_known"),
    )
    checkpoints = _counter(
        "detector_checkpoints",
        "Checkpoints, by outcome.",
        outcome=("written", "failed"),
    )
    checkpoint_age = _gauge(
        "detector_checkpoint_age_seconds", "Seconds since the last durable checkpoint."
    )
    checkpoint_interval = _gauge(
        "detector_checkpoint_interval_seconds",
        "Seconds between checkpoints, as configured.",
    )
    checkpoint_seconds = _histogram(
        "detector_checkpoint_seconds",
        "Time for which a checkpoint blocked the loop.",
        buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10),
    )

    def __init__(self, receivers: Sequence[str] = ()) -> None:
        """``receivers``: their names, which :attr:`posts` has as a label."""
        self.registry = CollectorRegistry()
        for attribute, declared in _declarations():
            setattr(self, attribute, declared.make(self.registry, receivers))
        self.last_reload.set(1)
        self.lag.set(math.nan)  # nothing is read yet
        self.fleet_streams.set(math.nan)


def declared_metrics() -> list[Declared[Any]]:
    """Every metric with its help and its labels, by name: for the reference."""
    declared = [declared for _, declared in _declarations()]
    return sorted(declared, key=lambda metric: metric.name)


def _declarations() -> Iterator[tuple[str, Declared[Any]]]:
    for attribute, value in vars(Metrics).items():
        if isinstance(value, Declared):
            yield attribute, value
