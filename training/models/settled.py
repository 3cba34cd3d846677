"""Rows of known streams that begin with what their fit rows show; no I/O.

A stream's quantiles and units are followed from its first point on, and settle within
some thousand. So the fit rows are stepped twice beforehand. What they end with, and the
units that are counted on them, is what the streams begin with. Calibration then sees
scores like those that the daemon will. The second pass knows what is usual, so it takes
an unlabelled incident among the rows for one, and learns nothing from it.

The figures behind the constants are in docs/experiments/many-metrics.md.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from detector.events import F32, F64, I64
from detector.model.engine import Engine
from training.history.history import Series
from training.models.evidence import LEAST_UNIT, TINY
from training.models.layout import StateLayout
from training.models.walk import LocalTimes, Wave, by_stream, walk

# Passes over the rows. The first one learns what is usual from nothing, so what it
# finds surprising is not yet what the stream will find surprising later.
_PASSES = 2
# Quantile that is one unit, within a block of rows; blocks of a stream at most, and the
# rows that one has at least; and the quantile over the blocks.
_UNIT = 0.99
_BLOCKS = 20
_LEAST_ROWS = 100
_OVER_BLOCKS = 0.75
# Rows that the fleet's width counts as beside a stream's own.
_FLEET_ROWS = 2000.0
# Points that a row weighs as when units are followed on: a counted quantile is closer
# than a followed one.
_WEIGHT = 4
# What is taken over as it is after the rows.
_FOLLOWED = ("energy", "q90", "width", "runs", "age")


def settled_rows(
    engine: Engine,
    streams: Sequence[Series],
    first: F32,
    layout: StateLayout,
    local_times: LocalTimes,
) -> F32:
    """``first`` [N, S] with what the streams' points show, from steps of them all."""
    at = layout.slices()
    width = at["errors"].stop - at["errors"].start
    errors = np.zeros((sum(map(len, streams)), width), np.float32)

    def step(wave: Wave, state: F32) -> F32:
        output = engine.step(wave.x, wave.clock, state)
        errors[wave.rows] = output.next_state[:, at["errors"]]
        return output.next_state

    rows = first.copy()
    for _ in range(_PASSES):
        last = walk(streams, rows, local_times, step)
        for part in _FOLLOWED:
            rows[:, at[part]] = last[:, at[part]]
        levels = [_levels(own) for own in by_stream(errors, streams)]
        counts = np.array([len(own) for own in levels])
        rows[:, at["own_median"]] = [np.median(own, axis=0) for own in levels]
        own_widths = np.array([_width(own) for own in levels])
        rows[:, at["own_width"]] = _towards_fleet(own_widths, counts)
        rows[:, at["fresh"]] = _WEIGHT * counts[:, None]
    return rows


def _width(level: F64) -> F64:
    """From the median to one unit, float64 [2], of levels [n, 2].

    The quantile is that of most blocks of rows, so that an incident among the rows does
    not become the unit.
    """
    blocks = min(_BLOCKS, max(1, len(level) // _LEAST_ROWS))
    parts = np.array_split(level, blocks)
    far = [np.quantile(part, _UNIT, axis=0) for part in parts]
    usual = np.quantile(far, _OVER_BLOCKS, axis=0)
    return np.asarray(np.maximum(usual - np.median(level, axis=0), LEAST_UNIT))


def _towards_fleet(widths: F64, counts: I64) -> F64:
    """``widths`` [N, 2], the nearer to the fleet's median the fewer rows they have."""
    known = np.log(widths)
    fleet = np.median(known, axis=0)
    share = _FLEET_ROWS / (_FLEET_ROWS + counts[:, None])
    return np.asarray(np.exp(known + share * (fleet - known)))


def _levels(errors: F32) -> F64:
    """float64 [n, 2]: :func:`training.models.evidence.levels` of smoothed errors."""
    half = errors.shape[1] // 2
    energy = errors[:, :half].sum(axis=1, dtype=np.float64)
    surprise = errors[:, half:].sum(axis=1, dtype=np.float64)
    return np.stack([np.log10(energy + TINY), np.sqrt(surprise)], axis=1)
