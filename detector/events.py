"""What flows between the parts, one way only: frozen dataclasses, arrays of numbers."""

from __future__ import annotations

import bisect
import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.distributions import Totals
from detector.errors import MissingReason, RejectReason
from detector.record_clock import RecordClock

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of an input topic. Replay's files are one partition together."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


class MetricKind(enum.IntEnum):
    """What the number of a metric counts, as far as its format says."""

    UNKNOWN = 0
    GAUGE = 1  # a state: a temperature, a share
    COUNTER = 2  # a total since some start: it rises until it is reset
    DELTA = 3  # what came since the last report, or since the point's own start


class TimestampType(enum.IntEnum):
    """Who set the timestamp of a Kafka record; the numbers are the protocol's."""

    CREATE_TIME = 0  # the producer
    LOG_APPEND_TIME = 1  # the broker, when it appended the record


Headers = Sequence[tuple[str, bytes | None]]  # a key may repeat
Labels = Mapping[str, str]
# how many values of each metric are missing, and why
MissingCounts = Mapping[tuple[str, MissingReason], int]


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that was not scored, with all that its producer needs to find it.

    Attributes:
        stream: of the point that is the fault, if it is one point; else "".
        key, value, headers: the record's own.
        timestamp: the record's own, in epoch milliseconds; None if it is not known.
        is_whole: whether key, value and headers are all that the record has.
    """

    partition: Partition
    offset: int
    reason: RejectReason
    detail: str
    key: bytes | None = None
    value: bytes | None = None
    headers: Headers = ()
    timestamp: int | None = None
    stream: str = ""
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One partition's share of a poll, not decoded: n records, one column each.

    Attributes:
        offsets: rising; gaps are compacted or aborted records.
        timestamps: the records' own, in epoch milliseconds.
        timestamp_types: who set them, a :class:`TimestampType` or its number.
        keys, values: None where the record has none; a null value is a tombstone.
        end: the offset up to which the partition was read. It may be behind the last
            record: transactions end in markers. None: right after the last record.
    """

    partition: Partition
    offsets: Sequence[int]
    timestamps: Sequence[int]
    timestamp_types: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]
    end: int | None = None

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def next_offset(self) -> int:
        """The offset that reading goes on with."""
        return self.offsets[-1] + 1 if self.end is None else self.end

    def take(self, indexes: Sequence[int]) -> RawBatch:
        """These records alone, perhaps none."""
        return RawBatch(
            self.partition,
            [self.offsets[i] for i in indexes],
            [self.timestamps[i] for i in indexes],
            [self.timestamp_types[i] for i in indexes],
            [self.keys[i] for i in indexes],
            [self.values[i] for i in indexes],
            [self.headers[i] for i in indexes],
            self.end,
        )

    def rejected(
        self, index: int, reason: RejectReason, detail: str, stream: str = ""
    ) -> RejectedRecord:
        """One of the records as a rejected one."""
        return RejectedRecord(
            partition=self.partition,
            offset=self.offsets[index],
            reason=reason,
            detail=detail,
            key=self.keys[index],
            value=self.values[index],
            headers=self.headers[index],
            timestamp=self.timestamps[index],
            stream=stream,
        )


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """One partition's share of a poll after decoding: n records that can be scored, and
    those that can't.

    Attributes:
        names: stream of each row; bytes if it is the record's key, which the stream
            table resolves once a stream.
        offsets: int64 [n], never falling. If each metric is a stream, the rows of one
            record share its offset.
        times: float64 [n], event time in epoch seconds.
        values: float64 [n, F] in each metric's own unit, NaN where missing. All are
            within float32's range.
        next_offset: the offset up to which the poll read, rejected records included.
        unknown_fields: number of fields of these records that the bundle does not know.
        kinds: uint8 [n, F], a :class:`MetricKind` each; None: all are unknown.
        starts: float64 [n, F], epoch seconds at which a counter began or the interval
            of a delta did, NaN where unknown; None: all are unknown.
        labels: of each row's stream, for alerts, rules and routes; None: none has any.
        missing: values that are missing because they can't be used, by metric.
        tombstones: records without a value, neither scored nor rejected.
        without_points: the same of those whose values are all missing, or that say so.
        raw: the records themselves, for dead letters; None: a person has them in files.
        clock: what time it was when each row came; None: each is taken as it is.
        totals: of means and quantiles of cumulative histograms, by row and metric.
    """

    partition: Partition
    names: Sequence[str | bytes]
    offsets: I64
    times: F64
    values: F64
    next_offset: int
    rejected: Sequence[RejectedRecord] = ()
    unknown_fields: int = 0
    kinds: U8 | None = None
    starts: F64 | None = None
    labels: Sequence[Labels | None] | None = None
    missing: MissingCounts = field(default_factory=dict)
    tombstones: int = 0
    without_points: int = 0
    raw: RawBatch | None = None
    clock: RecordClock | None = None
    totals: Mapping[int, Mapping[int, Totals]] = field(default_factory=dict)

    def rejected_point(
        self, row: int, reason: RejectReason, detail: str
    ) -> RejectedRecord:
        """The record of a row as a rejected one."""
        name = self.names[row]
        stream = name.decode() if isinstance(name, bytes) else name
        offset = int(self.offsets[row])
        if self.raw is None:
            return RejectedRecord(self.partition, offset, reason, detail, stream=stream)
        index = bisect.bisect_left(self.raw.offsets, offset)
        return self.raw.rejected(index, reason, detail, stream)

    @property
    def records(self) -> int:
        """How many records were read, those without a row included."""
        first = min(len(self.offsets), 1)
        others = int(np.count_nonzero(self.offsets[1:] != self.offsets[:-1]))
        with_rows = first + others
        without_rows = len(self.rejected) + self.tombstones + self.without_points
        return with_rows + without_rows


class Phase(enum.IntEnum):
    """The phase of a stream. The lower-case name is the ``status`` column of ``replay
    --scores``.
    """

    WARMING = 0  # too few points to alert on
    OK = 1  # no incident
    PENDING = 2  # over the threshold, for fewer points than an incident needs
    FIRING = 3  # in an incident
    DROPPED = 4  # of a record, not of a stream: it was not scored


class Severity(enum.IntEnum):
    """How grave an incident is."""

    NONE = 0  # no incident
    WARNING = 1  # over the threshold that the budget allows
    CRITICAL = 2  # over the threshold that a tenth of the budget allows

    @property
    def label(self) -> str:
        return self.name.lower()


class Reason(enum.IntEnum):
    """Why a decision came out as it did: log field, metric label and payload field at
    once.
    """

    WARMING = 0  # fewer points than the bundle's warm-up
    BELOW_THRESHOLD = 1  # the score is below the threshold
    UNCONFIRMED = 2  # over the threshold, for fewer points than it takes
    COOLDOWN = 3  # a little over the threshold, too soon after the last incident
    FIRED = 4  # over the threshold for as many points as it takes: an incident begins
    STILL_FIRING = 5  # over the clearing threshold
    ESCALATED = 6  # over the critical threshold, confirmed, during an incident
    CLEARING = 7  # below the clearing threshold, for fewer points than it takes
    # below the clearing threshold long enough, and the metric came back: it is over
    RECOVERED = 8
    # below it long enough, and the metric stayed where it went: it is the new normal
    ACCEPTED = 9
    # below it long enough, so it is over; whether the metric came back can't be told
    ENDED = 10
    EXPIRED = 11  # the incident lasts too long: it is no longer reported
    # far over the threshold, in an incident that was calm or small, or whose metric was
    # back
    RETURNED = 12
    NEGLIGIBLE = 13  # over the threshold, but the values hardly differ
    REPLACED = 14  # another bundle took over, and does not know the stream any more
    HABITUAL = 15  # a little over the threshold, at the last incident's time of day
    LOST = 16  # the store was lost, and with it what is known of the incident

    @property
    def label(self) -> str:
        return self.name.lower()


ENDS = (
    Reason.RECOVERED,
    Reason.ACCEPTED,
    Reason.ENDED,
    Reason.EXPIRED,
    Reason.REPLACED,
    Reason.LOST,
)
UPDATES = (Reason.ESCALATED, Reason.RETURNED)
TRANSITIONS = (Reason.FIRED, *UPDATES, *ENDS)


class AnomalyKind(enum.StrEnum):
    """What is anomalous in a feature."""

    VALUE = "value"  # the value itself
    FLATLINE = "flatline"  # it does not change
    # how it moved: with the expected value it would be as anomalous
    TREND = "trend"


class RateBound(enum.StrEnum):
    """What is known of a rate: the rate itself, or which side of it the truth is on."""

    ABOUT = "about"
    AT_MOST = "at_most"  # history is too short to tell how much rarer it is
    AT_LEAST = "at_least"  # no lower score was counted


@dataclass(frozen=True, slots=True)
class Rarity:
    """How often in a week a stream like this reaches a score."""

    per_week: float
    bound: RateBound = RateBound.ABOUT


@dataclass(frozen=True, slots=True)
class FeatureDeviation:
    """One feature at the time of a decision.

    Attributes:
        observed, expected: in the metric's own unit.
        contribution: its share of the error, 0 to 1.
        is_rate: both are rates per second: the metric is a counter, or a delta.
    """

    name: str
    unit: str
    observed: float
    expected: float
    contribution: float
    kind: AnomalyKind = AnomalyKind.VALUE
    is_rate: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """One notification about one incident of one stream.

    ``stream`` and ``starts_at`` identify the incident: a replay of the same records
    repeats them. Times are event times in epoch seconds.

    Attributes:
        ends_at: None while it fires.
        at: time of the point that raised this alert.
        confidence: 0 to 1; below 1 for a new stream that training has not seen.
        per_week: how often in a week a stream like this reaches such a score.
        rate_bound: whether that is the rate, or at most or at least the rate.
        repeats: how many incidents and returns, this one included, have followed each
            other closely since ``repeats_since``.
        tags: what records say of the stream beside its name.
    """

    partition: Partition
    stream: str
    severity: Severity
    reason: Reason
    starts_at: float
    ends_at: float | None
    at: float
    score: float
    threshold: float
    deviations: tuple[FeatureDeviation, ...] = ()
    confidence: float = 1.0
    per_week: float = 0.0
    rate_bound: RateBound = RateBound.ABOUT
    repeats: int = 1
    repeats_since: float = -math.inf
    tags: Labels = field(default_factory=dict, hash=False)

    @property
    def firing(self) -> bool:
        return self.ends_at is None

    @property
    def rarity(self) -> Rarity:
        return Rarity(self.per_week, self.rate_bound)


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification that is still to be delivered.

    Attributes:
        order: rises with each notification of its partition.
        pending_receivers: names of the receivers that have neither acknowledged nor
            refused it; empty: those that the routes name.
    """

    alert: Alert
    order: int = 0
    pending_receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that receivers must get again, while it lasts or as it ends.

    Attributes:
        alert: its last alert while it fires, as msgpack: most are written many times
            and never read.
        last_acked: receiver -> wall-clock time, in epoch seconds, of its last
            acknowledgement; 0 before the first.
    """

    stream: str
    starts_at: float
    alert: bytes
    last_acked: Mapping[str, float]


# The one feature of a bundle for which each metric is a stream.
SINGLE_METRIC = "value"
# Shares of the streams, by name, for which rates of incidents are reported.
SHARES = {"median": 0.5, "p90": 0.9, "p99": 0.99}
