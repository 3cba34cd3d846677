"""What may watch the pipeline: replay's rows, the page's incidents, the logs, the dead
letters, a test.

An observer is called on the pipeline's thread, right after the fact. It must not block,
and it must not change the arrays that it is given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import Decisions
from detector.errors import MissingReason
from detector.events import F32, F64, I64, Alert, AnomalyKind, Partition, RejectedRecord
from detector.model.engine import StepOutput
from detector.recovery.snapshot import Restored
from detector.state.decisions import DecisionState


@dataclass(frozen=True, slots=True)
class ScoredBatch:
    """One point of each of B streams: what was observed, what the graph made of it, and
    what was decided.

    Attributes:
        offsets: int64 [B], of the records that the points came from.
        slots: int64 [B], rows of the stream table; valid until the next poll.
        names: the stream of each row of the table; valid until the next poll.
        times: float64 [B], event times in epoch seconds.
        x: float32 [B, F], observed values, NaN where missing.
        before: the decision rows [B] as they were before this point.
        transitions: int64 [k], indices of the points that raise an alert.
        kinds: by index, the kind of anomaly of the points that begin an incident; VALUE
            if it is absent.
        restarted: how many streams start again because their score is not a number.
        is_rate: bool [B, F], values of ``x`` that are rates per second; None: none is.
    """

    partition: Partition
    offsets: I64
    slots: I64
    names: Sequence[str]
    times: F64
    x: F32
    step: StepOutput
    before: DecisionState
    decisions: Decisions
    transitions: I64
    kinds: Mapping[int, AnomalyKind]
    restarted: int
    is_rate: npt.NDArray[np.bool_] | None = None


class Observer(Protocol):
    """Sees all that the pipeline does. Extend :class:`NullObserver` to see a part."""

    def assigned(self, partition: Partition, restored: Restored) -> None:
        """A partition was taken over, in the state that it was restored to."""
        ...

    def revoked(self, partition: Partition) -> None:
        """A partition was let go; also called for one that was never assigned."""
        ...

    def scored(self, batch: ScoredBatch) -> None:
        """A batch was scored. Its alerts follow, in the order of its transitions."""
        ...

    def alerted(self, alert: Alert) -> None:
        """An incident began, became critical or ended."""
        ...

    def rejected(self, record: RejectedRecord) -> None:
        """A record was not scored."""
        ...

    def missing(self, partition: Partition, metric: str, reason: MissingReason) -> None:
        """Values of a metric can't be used; called once for each batch that has any."""
        ...

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        """A stream was found on two partitions; one is reported for each poll."""
        ...


class NullObserver:
    """Does nothing. Implements Observer."""

    def assigned(self, partition: Partition, restored: Restored) -> None:
        pass

    def revoked(self, partition: Partition) -> None:
        pass

    def scored(self, batch: ScoredBatch) -> None:
        pass

    def alerted(self, alert: Alert) -> None:
        pass

    def rejected(self, record: RejectedRecord) -> None:
        pass

    def missing(self, partition: Partition, metric: str, reason: MissingReason) -> None:
        pass

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        pass


class Observers:
    """Several as one, called in the order they are given in. Implements Observer."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def assigned(self, partition: Partition, restored: Restored) -> None:
        for observer in self._observers:
            observer.assigned(partition, restored)

    def revoked(self, partition: Partition) -> None:
        for observer in self._observers:
            observer.revoked(partition)

    def scored(self, batch: ScoredBatch) -> None:
        for observer in self._observers:
            observer.scored(batch)

    def alerted(self, alert: Alert) -> None:
        for observer in self._observers:
            observer.alerted(alert)

    def rejected(self, record: RejectedRecord) -> None:
        for observer in self._observers:
            observer.rejected(record)

    def missing(self, partition: Partition, metric: str, reason: MissingReason) -> None:
        for observer in self._observers:
            observer.missing(partition, metric, reason)

    def split(self, stream: str, one: Partition, other: Partition) -> None:
        for observer in self._observers:
            observer.split(stream, one, other)
