"""What flows between the parts: frozen and slotted, arrays where there are many, one
way only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from detector.errors import RejectReason

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of an input topic; a file being replayed is partition 0 of a topic
    named after it.
    """

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.number}"


@dataclass(frozen=True, slots=True)
class RejectedRecord:
    """A record that was not scored, with all that its producer needs to find it again."""

    partition: Partition
    offset: int
    reason: RejectReason
    detail: str
    key: bytes | None = None
    value: bytes | None = None


class TimestampType(enum.IntEnum):
    """Who set the timestamp of a Kafka record; the numbers are the protocol's."""

    CREATE_TIME = 0  # the producer
    LOG_APPEND_TIME = 1  # the broker, when it appended the record


Headers = Sequence[tuple[str, bytes | None]]  # a key may repeat


@dataclass(frozen=True, slots=True)
class RawBatch:
    """One partition's share of a poll, not decoded: n > 0 records, one column each.

    Attributes:
        offsets: rising; gaps are compacted or aborted records.
        timestamps: the records' own, in epoch milliseconds.
        timestamp_types: who set them, a :class:`TimestampType` or its number.
        keys, values: None where the record has none; a null value is a tombstone.
    """

    partition: Partition
    offsets: Sequence[int]
    timestamps: Sequence[int]
    timestamp_types: Sequence[int]
    keys: Sequence[bytes | None]
    values: Sequence[bytes | None]
    headers: Sequence[Headers]

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def next_offset(self) -> int:
        """The offset after the last record."""
        return self.offsets[-1] + 1

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
        )


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """One partition's share of a poll after decoding: n records that can be scored, and
    those that can't.

    Attributes:
        names: stream of each record; bytes where it is the record's key, which the
            stream table resolves once a stream.
        offsets: int64 [n], never falling: rows of one record, where each metric is a
            stream of its own, share theirs.
        times: float64 [n], event time in epoch seconds.
        values: float32 [n, F] in each metric's own unit, NaN where missing.
        next_offset: the offset after the last record of the poll, rejected ones
            included.
        unknown_fields: how many fields of these records the bundle does not know.
    """

    partition: Partition
    names: Sequence[str | bytes]
    offsets: I64
    times: F64
    values: F32
    next_offset: int
    rejected: Sequence[RejectedRecord] = ()
    unknown_fields: int = 0

    @property
    def records(self) -> int:
        """How many records these rows and the rejected came from."""
        return (
            min(len(self.offsets), 1)
            + int(np.count_nonzero(self.offsets[1:] != self.offsets[:-1]))
            + len(self.rejected)
        )


class Phase(enum.IntEnum):
    """Where a stream stands; the lower-case name is the ``status`` column of ``replay
    --scores``.
    """

    WARMING = 0  # too few points to alert on
    OK = 1  # no incident
    PENDING = 2  # over the threshold, for fewer points than an incident needs
    FIRING = 3  # in an incident
    DROPPED = 4  # of a record, not of a stream: it was not scored


class Severity(enum.IntEnum):
    """NONE outside an incident; WARNING at the budget's level, CRITICAL at the level of
    a tenth of the budget.
    """

    NONE = 0
    WARNING = 1
    CRITICAL = 2

    @property
    def label(self) -> str:
        return self.name.lower()


class Reason(enum.IntEnum):
    """Why a decision came out as it did: log field, metric label and payload field at
    once.
    """

    WARMING = 0  # fewer steps than the bundle's warm-up
    BELOW_THRESHOLD = 1  # score under the level
    UNCONFIRMED = 2  # over the level, for fewer steps than the minimum
    COOLDOWN = 3  # over the level, too soon after the last incident
    FIRED = 4  # the minimum number of breaching steps reached: an incident begins
    STILL_FIRING = 5  # over the clearing level
    ESCALATED = 6  # the critical level confirmed during an incident
    CLEARING = 7  # under the clearing level, for fewer steps than it takes
    RECOVERED = 8  # under the clearing level long enough: the incident is over
    # it lasted so long, or stayed until its past held it, that it is the new normal:
    # the incident is over
    ACCEPTED = 9

    @property
    def label(self) -> str:
        return self.name.lower()


ENDS = (Reason.RECOVERED, Reason.ACCEPTED)
TRANSITIONS = (Reason.FIRED, Reason.ESCALATED, *ENDS)


class AnomalyKind(enum.StrEnum):
    """What is odd of a feature."""

    VALUE = "value"  # the value itself
    FLATLINE = "flatline"  # that it stands where it stood
    # how it moved of late: with the expected value it would be as odd
    TREND = "trend"


@dataclass(frozen=True, slots=True)
class FeatureDeviation:
    """One feature at the moment of a decision: what was seen, what the network
    expected, its share of the error, and what is odd of it.
    """

    name: str
    unit: str
    observed: float
    expected: float
    contribution: float
    kind: AnomalyKind = AnomalyKind.VALUE


@dataclass(frozen=True, slots=True)
class Alert:
    """One notification about one incident of one stream.

    ``stream`` and ``starts_at`` identify the incident: a replay of the same records
    repeats them. Times are event time, in epoch seconds; ``ends_at`` is None while it
    fires. ``confidence`` is under 1 for a stream that training has not seen and that is
    not known for long, ``per_week`` how often a stream like this reaches such a score.
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
    deviations: tuple[FeatureDeviation, ...] = field(default=())
    confidence: float = 1.0
    per_week: float = 0.0

    @property
    def firing(self) -> bool:
        return self.ends_at is None


@dataclass(frozen=True, slots=True)
class PendingNotification:
    """A notification that is still to be delivered.

    Attributes:
        order: rises with each notification of its partition.
        owed: the names of the receivers that have neither acknowledged nor refused it;
            empty: whom the routes name.
    """

    alert: Alert
    order: int = 0
    pending_receivers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OpenIncident:
    """An incident that has not ended and that receivers must be told of again, be it
    that it goes on or that it ended.

    Attributes:
        alert: its last notification while it fires, as msgpack: most are written many
            times and read never.
        told: receiver -> wall-clock time, in epoch seconds, at which it last
            acknowledged it; 0 where it has not yet.
    """

    stream: str
    starts_at: float
    alert: bytes
    last_acked: Mapping[str, float]


SINGLE_METRIC = "value"  # the one feature of a bundle that makes each metric a stream

SHARES = {"median": 0.5, "p90": 0.9, "p99": 0.99}
