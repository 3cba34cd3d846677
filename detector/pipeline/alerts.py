"""From a transition of a stream to the alert that describes it."""

from __future__ import annotations

import numpy as np

from detector.alerting.policy import AlertPolicy
from detector.alerting.thresholds import budget_of_effective, offset_for_tick
from detector.events import (
    ENDS,
    F32,
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Reason,
    Severity,
)
from detector.model.bundle import Bundle, Feature
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import KNOWN_STEPS

TOP_FEATURES = 5  # features that an alert names at most
# Seconds after which confidence in a stream that training has not seen is full: by then
# its state has seen a whole day.
_FULL_CONFIDENCE = 86_400.0


class AlertComposer:
    """Composes alerts of the streams of one bundle under one policy."""

    def __init__(self, bundle: Bundle, policy: AlertPolicy) -> None:
        self._bundle = bundle
        self.policy = policy

    def compose(self, stream: str, batch: ScoredBatch, i: int) -> Alert:
        """The alert of point ``i`` of a batch, one of its transitions."""
        reason = Reason(batch.decisions.reason[i])
        row = batch.decisions.rows[i]
        ended = reason in ENDS
        at = float(batch.times[i])
        severity = Severity(int((batch.before[i] if ended else row)["severity"]))
        score = float(batch.step.score[i])
        threshold = float(batch.decisions.threshold[i])
        return Alert(
            partition=batch.partition,
            stream=stream,
            severity=severity,
            reason=reason,
            starts_at=float(row["onset"]),
            ends_at=at if ended else None,
            at=at,
            score=score,
            threshold=self.threshold(score, threshold, severity),
            confidence=_confidence(row),
            per_week=self.incident_rate(score, row),
            deviations=self.deviations_at(stream, batch, i),
            repeats=int(row["repeats"]),
            repeats_since=float(row["repeats_since"]),
        )

    def threshold(self, score: float, warning: float, severity: Severity) -> float:
        """The highest threshold of an alert that its score reaches.

        ``warning`` is that of the stream. An incident may be critical at a lower score,
        by its values.
        """
        critical = warning + self.policy.critical_above
        is_critical = severity is Severity.CRITICAL and score >= critical
        return critical if is_critical else warning

    def feature(self, stream: str, index: int) -> Feature:
        """Name and unit of a stream's feature."""
        return self._bundle.features_of(stream)[index]

    def incident_rate(self, score: float, row: np.void) -> float:
        """Incidents a week of a stream with this decision row if its threshold were at
        this score, once alarm penalties have settled.
        """
        tick = np.array([row["tick"]], np.float64)
        tick_offset = offset_for_tick(tick, self.policy.tick, self.policy.score_scale)
        at_fleet = score - float(row["stream_offset"]) - float(tick_offset[0])
        return budget_of_effective(self._bundle.manifest.tail.rate(at_fleet))

    def deviations_at(
        self, stream: str, batch: ScoredBatch, i: int
    ) -> tuple[FeatureDeviation, ...]:
        """:meth:`deviations` of point ``i`` of a batch."""
        return self.deviations(
            stream,
            batch.x[i],
            batch.step.expected[i],
            batch.step.contribution[i],
            batch.kinds.get(i, AnomalyKind.VALUE),
        )

    def deviations(
        self,
        stream: str,
        observed: F32,
        expected: F32,
        contribution: F32,
        kind: AnomalyKind = AnomalyKind.VALUE,
    ) -> tuple[FeatureDeviation, ...]:
        """The features, [F] each, that contributed most, largest first, without missing
        ones. ``kind`` is that of the first.
        """
        features = self._bundle.features_of(stream)
        top = np.argsort(-contribution, kind="stable")[:TOP_FEATURES].tolist()
        return tuple(
            FeatureDeviation(
                name=features[j].name,
                unit=features[j].unit,
                observed=float(observed[j]),
                expected=float(expected[j]),
                contribution=float(contribution[j]),
                kind=kind if j == top[0] else AnomalyKind.VALUE,
            )
            for j in top
            if not np.isnan(observed[j])
        )


def _confidence(row: np.void) -> float:
    """1 for a stream that training has seen; else it grows to 1 with the time that the
    stream was observed for.
    """
    if row["steps"] >= KNOWN_STEPS:
        return 1.0
    return min(1.0, float(row["observed_seconds"]) / _FULL_CONFIDENCE)
