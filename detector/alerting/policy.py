"""policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.events import F64


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Levels, counts and times of the state machine; scores are those of the graph.

    Attributes:
        warning: the fleet's level; calibration, which tries many at once, gives one for
            each row.
        critical_above, hysteresis: from the level up to the critical one, and down to
            the clearing one.
        breaches, calms, warm_up: steps. cooldown: ticks.
        spacing, spacing_most: seconds between two incidents as asked for, and as the
            budget allows (:func:`~detector.alerting.thresholds.spaced`).
        accept_after: seconds.
        lift: what one incident of chance adds to its stream's level on average.
        start: what a stream that training has not seen is lifted by at first.
        first_day: what not having seen a day adds
            (:func:`~detector.alerting.thresholds.for_tick_and_day`).
        tick: the interval in seconds that the fleet's level is for; 0: for any.
        ages, offsets: what being young adds
            (:func:`~detector.alerting.thresholds.for_age`).
        usual: the score that a known share of the fleet's points pass; nan: streams
            have no level of their own.
        scale: the score that makes incidents e times as rare.
    """

    warning: float | F64
    critical_above: float
    hysteresis: float
    breach_steps: int
    clear_steps: int
    cooldown_ticks: float
    warm_up: int
    min_gap: float = 0.0
    max_gap: float | F64 = np.inf
    max_incident: float = np.inf
    alarm_penalty: float = 0.0
    initial_penalty: float = 0.0
    first_day_offset: float = 0.0
    tick: float = 0.0
    cold_start_ages: tuple[float, ...] = ()
    cold_start_offsets: tuple[float, ...] = ()
    reference_score: float = np.nan
    score_scale: float = 1.0
