"""sink."""

from __future__ import annotations

from typing import Protocol

from detector.alerting.decide import Decisions
from detector.events import F32, I64, Partition
from detector.model.engine import StepOutput


class ScoreSink(Protocol):
    """Sees every scored wave: values float32 [B, F], what the graph said of them, and
    what was decided. How ``replay`` writes its rows.
    """

    def wave(
        self,
        partition: Partition,
        offsets: I64,
        x: F32,
        step: StepOutput,
        decided: Decisions,
    ) -> None: ...
