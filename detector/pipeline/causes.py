"""Which kind of anomaly began an incident: the value, a flatline or a trend.

A stream may alert although its value is normal: because it never changes, or because of
how it moved. The graph's outputs don't tell these apart, but it can be run again for
the metric that contributed most:

- If the score falls by at least one scale unit, and under the threshold, once the value
  moves by the least step that float32 has, the value is a flatline. If the score stays
  over the threshold, the value is anomalous by itself.
- If the score falls by less than a tenth of a unit once the value is the expected one,
  the trend is anomalous: the expected value would be as anomalous.

These are two more runs for points that begin an incident, and for no others: after a
jump, the jump back is as anomalous.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import F32, I64, AnomalyKind
from detector.model.engine import Engine, StepOutput

# Both in scale units (the score that makes incidents e times as rare), see above.
_FLATLINE_FALL = 1.0
_TREND_FALL = 0.1


@dataclass(frozen=True, slots=True)
class StepInput:
    """What the graph is given for B streams: x [B, F], clock [B, 3], states [B, S]; all
    float32.
    """

    x: F32
    clock: F32
    states: F32


class CauseClassifier:
    """``engine`` is used only for this; without one the cause is always the value."""

    def __init__(self, engine: Engine | None, score_scale: float) -> None:
        self._engine = engine
        self._score_scale = score_scale

    def classify(
        self, given: StepInput, step: StepOutput, thresholds: F32, points: I64
    ) -> dict[int, AnomalyKind]:
        """The kinds of these points of a batch, by index; VALUE is left out.

        ``thresholds`` [B] are what the scores were compared to.
        """
        if self._engine is None or not len(points):
            return {}
        top = np.arange(len(points)), step.contribution[points].argmax(axis=1)
        expected = given.x[points]
        expected[top] = step.expected[points][top]
        moved = given.x[points]
        moved[top] = np.nextafter(moved[top], np.float32(np.inf))

        def fall(x: F32) -> F32:
            """How far the score falls if these values were observed."""
            assert self._engine is not None
            again = self._engine.step(x, given.clock[points], given.states[points])
            return step.score[points] - again.score

        is_trend = fall(expected) < _TREND_FALL * self._score_scale
        fall_of_moved = fall(moved)
        is_lower = fall_of_moved >= _FLATLINE_FALL * self._score_scale
        is_flatline = is_lower & (
            step.score[points] - fall_of_moved < thresholds[points]
        )
        trends = dict.fromkeys(points[is_trend].tolist(), AnomalyKind.TREND)
        flatlines = dict.fromkeys(points[is_flatline].tolist(), AnomalyKind.FLATLINE)
        return trends | flatlines
