"""From a transition of a stream to the alert that describes it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from detector.alerting.decide import base_offset
from detector.alerting.policy import AlertPolicy
from detector.events import (
    ENDS,
    F32,
    Alert,
    AnomalyKind,
    FeatureDeviation,
    Labels,
    Rarity,
    RateBound,
    Reason,
    Severity,
)
from detector.model.bundle import Bundle, Feature
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import KNOWN_STEPS
from detector.timestamps import DAY, WEEK

TOP_FEATURES = 5  # features that an alert names at most
# Seconds after which confidence in a stream that training has not seen is full: by then
# its state has seen a whole day.
_FULL_CONFIDENCE = DAY
# Weeks that every stream counts as seen for: no rate above one a day is left out.
_SHORTEST_HISTORY = DAY / WEEK


class AlertComposer:
    """Composes alerts of the streams of one bundle under one policy."""

    def __init__(self, bundle: Bundle, policy: AlertPolicy) -> None:
        self._bundle = bundle
        self.policy = policy

    def compose(
        self, stream: str, batch: ScoredBatch, i: int, tags: Labels | None = None
    ) -> Alert:
        """The alert of point ``i`` of a batch, one of its transitions; ``tags`` are the
        stream's.
        """
        reason = Reason(batch.decisions.reason[i])
        row = batch.decisions.rows[i]
        ended = reason in ENDS
        at = float(batch.times[i])
        severity = Severity(int((batch.before[i] if ended else row)["severity"]))
        score = float(batch.step.score[i])
        threshold = float(batch.decisions.threshold[i])
        rarity = self.rarity(stream, score, row)
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
            per_week=rarity.per_week,
            rate_bound=rarity.bound,
            deviations=self.deviations_at(stream, batch, i),
            repeats=int(row["repeats"]),
            repeats_since=float(row["repeats_since"]),
            tags=dict(tags or {}),
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

    def feature_names(self, stream: str) -> list[str]:
        """Names of a stream's features [F]."""
        return [feature.name for feature in self._bundle.features_of(stream)]

    def rarity(self, stream: str, score: float, row: np.void) -> Rarity:
        """How often a stream with this decision row reaches this score.

        That is how often the fleet's held-out rows did, once what the stream's own
        offset, its tick and its age add is subtracted. Rates are counted down to the
        lowest threshold of the tail fit. A rate of less than one in the time that the
        fleet, or the stream, was seen for is not claimed.
        """
        tail = self._bundle.manifest.tail
        steps = np.array([row["steps"]], np.uint32)
        tick = np.array([row["tick"]], np.float64)
        offset = float(base_offset(steps, tick, self.policy)[0])
        at_fleet = score - float(row["stream_offset"]) - offset
        per_week = tail.rate(at_fleet)
        weeks = min(tail.evidence_weeks, self._weeks_seen(stream, row))
        least = 1.0 / max(weeks, _SHORTEST_HISTORY)
        if per_week < least:
            return Rarity(least, RateBound.AT_MOST)
        if at_fleet < tail.thresholds[0]:
            return Rarity(per_week, RateBound.AT_LEAST)
        return Rarity(per_week)

    def _weeks_seen(self, stream: str, row: np.void) -> float:
        """Weeks that the stream was seen for, in training and since."""
        observed = float(row["observed_seconds"])
        if row["steps"] < KNOWN_STEPS:
            return observed / WEEK
        seen = self._bundle.seen
        number = self._bundle.rows.get(stream)
        # without spans, training saw its streams for longer than a week or two
        if number is None or not len(seen):
            return math.inf
        return (observed + float(seen[number])) / WEEK

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
            None if batch.is_rate is None else batch.is_rate[i],
        )

    def deviations(
        self,
        stream: str,
        observed: F32,
        expected: F32,
        contribution: F32,
        kind: AnomalyKind = AnomalyKind.VALUE,
        is_rate: npt.NDArray[np.bool_] | None = None,
    ) -> tuple[FeatureDeviation, ...]:
        """The features, [F] each, that contributed most, largest first, without missing
        ones. ``kind`` is that of the first. ``is_rate`` are those that are rates per
        second; None: none is.
        """
        features = self._bundle.features_of(stream)
        if is_rate is None:
            is_rate = np.zeros(len(features), np.bool_)
        top = np.argsort(-contribution, kind="stable")[:TOP_FEATURES].tolist()
        return tuple(
            FeatureDeviation(
                name=features[j].name,
                unit=f"{features[j].unit}/s" if is_rate[j] else features[j].unit,
                observed=float(observed[j]),
                expected=float(expected[j]),
                contribution=float(contribution[j]),
                kind=kind if j == top[0] else AnomalyKind.VALUE,
                is_rate=bool(is_rate[j]),
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
