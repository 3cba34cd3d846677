"""What a stream starts from: as training left it, as training began with it, or as one
that nobody has seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from detector.events import F32, F64
from detector.state.decisions import DecisionState, fresh_decisions


@dataclass(frozen=True, slots=True)
class InitialStates:
    """State rows float32 [S], and decision rows.

    Attributes:
        initial: of a stream that training has not seen.
        rows: stream -> index into the other four.
        trained: float32 [N, S], each stream as training left it.
        lifts: float32 [N], what the level of each is lifted by then.
        first: float32 [N, S], each stream as training began with it.
        again: float64 [N], epoch seconds: a stream whose first point lies before them
            is about to live through most of its training once more.
    """

    initial: F32
    rows: Mapping[str, int]
    trained: F32
    lifts: F32
    first: F32
    again: F64

    def start(self, name: str) -> tuple[F32, DecisionState]:
        """The rows [S] and [1] of a stream whose time is not known yet."""
        trained = self.rows.get(name)
        if trained is None:
            return self.initial, fresh_decisions(1)
        decisions = fresh_decisions(1, known=True)
        decisions["alarm_penalty"] = self.lifts[trained]
        return self.trained[trained], decisions

    def rewound(self, name: str, time: float) -> tuple[F32, DecisionState] | None:
        """The rows that :meth:`start` should have given, where they are others now that
        its first point is known to be at ``time``.

        A state that has seen what is to come again finds nothing new in it, and counts
        all of it twice. The middle of what training saw is where less would be lost by
        that than by beginning anew.
        """
        trained = self.rows.get(name)
        return (
            None
            if trained is None or time >= self.again[trained]
            else (self.first[trained], fresh_decisions(1))
        )
