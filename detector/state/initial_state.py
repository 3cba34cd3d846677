"""What a stream starts from: as training left it, as training began, or unknown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detector.events import F32, F64
from detector.state.decisions import DecisionState, fresh_decisions


@dataclass(frozen=True, slots=True)
class InitialStates:
    """The first rows of every stream; S floats of state, N streams of training.

    Attributes:
        unknown: float32 [S], of a stream that training has not seen.
        rows: stream -> index into the arrays below.
        trained: float32 [N, S], each stream at the end of its training data.
        penalties: float32 [N], the alarm penalty of each at that time.
        first: float32 [N, S], each stream before its training data.
        rewind_before: float64 [N], epoch seconds. A stream whose first point is earlier
            is about to live through most of its training data again.
    """

    unknown: F32
    rows: Mapping[str, int]
    trained: F32
    penalties: F32
    first: F32
    rewind_before: F64

    def start(self, name: str) -> tuple[F32, DecisionState]:
        """State [S] and decision row [1] of a stream whose time is not known yet."""
        row = self.rows.get(name)
        if row is None:
            newcomer = fresh_decisions(1)
            newcomer["is_newcomer"] = 1
            return self.unknown, newcomer
        decisions = fresh_decisions(1, known=True)
        decisions["alarm_penalty"] = self.penalties[row]
        return self.trained[row], decisions

    def rewound(self, name: str, time: float) -> tuple[F32, DecisionState] | None:
        """The rows to use instead, if the first point is in the training data.

        ``time`` is that of the point, in epoch seconds. The state at the end of
        training
        has seen what follows: it would find nothing new and count all of it twice. The
        limit is the middle of the training data, where starting over costs as much as
        going on.
        """
        row = self.rows.get(name)
        if row is None or time >= self.rewind_before[row]:
            return None
        return self.first[row], fresh_decisions(1)
