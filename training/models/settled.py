"""Rows of known streams that begin with what their fit rows show; no I/O.

A stream's quantiles and units are followed from its first point on, and settle within
some thousand. So the fit rows are stepped once beforehand. What they end with, and the
units that are counted on them, is what the streams begin with. Calibration then sees
scores like those that the daemon will.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.events import F32, F64
from detector.model.engine import Engine
from training.history.history import Series
from training.models.evidence import LEAST_UNIT, TINY
from training.models.layout import StateLayout
from training.models.walk import LocalTimes, Wave, by_stream, walk

# Share of the rows, at their beginning, that only teaches.
_TEACHING = 0.2
# Quantile that is one unit.
_UNIT = 0.99
# What is taken over as it is after the rows.
_FOLLOWED = ("energy", "q90", "width", "runs", "age")


def settled_rows(
    engine: Engine,
    streams: Sequence[Series],
    first: F32,
    layout: StateLayout,
    local_times: LocalTimes,
) -> F32:
    """``first`` [N, S] with what the streams' points show, from a step of them all."""
    at = layout.slices()
    width = at["errors"].stop - at["errors"].start
    errors = np.zeros((sum(map(len, streams)), width), np.float32)

    def step(wave: Wave, state: F32) -> F32:
        output = engine.step(wave.x, wave.clock, state)
        errors[wave.rows] = output.next_state[:, at["errors"]]
        return output.next_state

    last = walk(streams, first, local_times, step)
    rows = first.copy()
    for part in _FOLLOWED:
        rows[:, at[part]] = last[:, at[part]]
    for row, own in zip(rows, by_stream(errors, streams), strict=True):
        level = _levels(own[int(_TEACHING * len(own)) :])
        median, far = np.quantile(level, [0.5, _UNIT], axis=0)
        row[at["own_median"]] = median
        row[at["own_width"]] = np.maximum(far - median, LEAST_UNIT)
        row[at["fresh"]] = len(own)
    return rows


def _levels(errors: F32) -> F64:
    """float64 [n, 2]: :func:`training.models.evidence.levels` of smoothed errors."""
    half = errors.shape[1] // 2
    energy = errors[:, :half].sum(axis=1, dtype=np.float64)
    surprise = errors[:, half:].sum(axis=1, dtype=np.float64)
    return np.stack([np.log10(energy + TINY), np.sqrt(surprise)], axis=1)
