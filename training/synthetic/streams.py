"""Synthetic streams of one metric each, of the kinds that machines report, without any
fault; a point every second to every hour.

Theory of operation. A stream is one of :data:`KINDS`, drawn with its own parameters:
how it varies within the day and the week, how noisy it is and how the noise remembers,
how far apart its points are. Then it gets a unit: a scale from a thousandth to a
billion, and perhaps an offset. A few of its points are never reported. What it does is
rare at times, as in real metrics, but the stream always does it. Values keep five
significant digits, as most reported values do, so that the last bits of a processor's
arithmetic do not reach the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from detector.events import F64, SINGLE_METRIC
from detector.timestamps import DAY, WEEK
from training.history.history import History, Series

# The earliest start of a stream: 2026-01-01, a Thursday, in epoch seconds.
START = 1_767_225_600.0
# Seconds between two points; a minute and five minutes are twice as common.
CADENCES = (
    1.0,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
    60.0,
    120.0,
    300.0,
    300.0,
    600.0,
    900.0,
    1800.0,
    3600.0,
)
# Points of a stream, at least and at most.
POINTS = (1000, 10_000)
# Significant digits of a value.
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class _Draw:
    """What a kind makes its values of: event times ``t`` [n] in seconds, and chance."""

    t: F64
    rng: np.random.Generator

    def __len__(self) -> int:
        return len(self.t)

    def between(self, low: float, high: float) -> float:
        """A number between, evenly distributed."""
        return float(self.rng.uniform(low, high))

    def about(self, low: float, high: float) -> float:
        """A number between, evenly distributed in its logarithm."""
        return float(np.exp(self.rng.uniform(np.log(low), np.log(high))))


def _rhythm(d: _Draw) -> F64:
    """The load of a day and a week, between 0 and 1."""
    hour = (d.t % DAY) / DAY
    peak = d.between(0, 1)
    width = d.between(0.05, 0.2)
    near = np.abs((hour - peak + 0.5) % 1.0 - 0.5)
    second = np.abs((hour - peak - d.between(0.2, 0.45) + 0.5) % 1.0 - 0.5)
    shapes = (
        lambda: 0.5 + 0.5 * np.cos(2 * np.pi * (hour - peak)),
        lambda: 1.0 / (1.0 + np.exp((near - 0.2) / 0.03)),  # office hours
        lambda: np.maximum(
            np.exp(-((near / width) ** 2)),
            d.between(0.4, 0.9) * np.exp(-((second / width) ** 2)),
        ),
        lambda: (near < d.between(0.01, 0.04)).astype(np.float64),  # a job each night
    )
    daily = shapes[int(d.rng.integers(len(shapes)))]()
    weekend = ((d.t // DAY + 3) % 7) >= 5
    return daily * np.where(weekend, d.between(0.2, 1.0), 1.0)


def _remembering(d: _Draw, memory: float) -> F64:
    """Autoregressive noise of deviation 1."""
    shocks = d.rng.normal(0, np.sqrt(1 - memory**2), len(d))
    shocks[0] = d.rng.normal()
    return np.fromiter(
        accumulate(shocks.tolist(), lambda before, shock: memory * before + shock),
        np.float64,
        len(d),
    )


def _noise(d: _Draw) -> F64:
    return (
        d.rng.normal(0, 1, len(d))
        if d.rng.random() < 0.5
        else _remembering(d, d.between(0.3, 0.98))
    )


def _daily(d: _Draw) -> F64:
    return d.between(0.2, 2.0) + _rhythm(d) + d.about(0.01, 0.3) * _noise(d)


def _noisy_load(d: _Draw) -> F64:
    """The busier, the noisier."""
    load = 0.1 + _rhythm(d)
    return load * np.exp(d.about(0.03, 0.4) * _noise(d))


def _queue(d: _Draw) -> F64:
    """Waiting time of a single server whose load follows the day (Lindley 1952)."""
    load = d.between(0.3, 0.6) + d.between(0.0, 0.35) * _rhythm(d)
    moves = d.rng.exponential(load) - d.rng.exponential(1.0, len(d))
    return np.fromiter(
        accumulate(
            moves.tolist(), lambda before, move: max(0.0, before + move), initial=0.0
        ),
        np.float64,
        len(d) + 1,
    )[1:]


def _counts(d: _Draw) -> F64:
    return d.rng.poisson(d.about(0.05, 300.0) * (0.3 + _rhythm(d))).astype(np.float64)


def _clustered_counts(d: _Draw) -> F64:
    """More spread than Poisson's: its rate is itself gamma distributed."""
    shape = d.about(0.3, 8.0)
    rate = (
        d.about(0.2, 300.0) * (0.3 + _rhythm(d)) * d.rng.gamma(shape, 1 / shape, len(d))
    )
    return d.rng.poisson(rate).astype(np.float64)


def _switching(d: _Draw) -> F64:
    """On and off, each for a while."""
    lengths = np.maximum(
        1,
        np.stack(
            [
                d.rng.exponential(d.about(3, 150), len(d)),
                d.rng.exponential(d.about(3, 60), len(d)),
            ],
            1,
        ).ravel(),
    )
    state = np.repeat(np.arange(len(lengths)) % 2, lengths.astype(np.int64))[: len(d)]
    return state * d.between(0.5, 3.0) * np.exp(
        d.between(0.0, 0.3) * _noise(d)
    ) + d.between(0.0, 0.1) * np.abs(_noise(d))


def _steps(d: _Draw) -> F64:
    """Flat, but for a change every few hundred points."""
    change = d.rng.random(len(d)) < d.about(0.001, 0.01)
    sizes = d.rng.integers(1, 5, len(d)) * d.rng.choice([-1, 1], len(d))
    return np.asarray(50.0 + np.cumsum(change * sizes))


def _coarse(d: _Draw) -> F64:
    """Few distinct values."""
    levels = d.between(3, 20)
    return np.round(levels * (_rhythm(d) + d.between(0.02, 0.2) * _noise(d))) / levels


def _walk(d: _Draw) -> F64:
    return _remembering(d, 1 - d.about(1e-4, 1e-2)) * d.between(1, 5)


def _leak(d: _Draw) -> F64:
    """A slow drift over all of it, with noise and perhaps a rhythm."""
    return (
        d.between(1, 3)
        + d.between(-1, 1) * np.linspace(0, 1, len(d))
        + d.between(0, 0.5) * _rhythm(d)
        + d.about(0.01, 0.2) * _noise(d)
    )


def _heavy(d: _Draw) -> F64:
    """Latencies: most alike, some far out."""
    kind = int(d.rng.integers(3))
    if kind == 0:
        return np.exp(d.between(0.3, 1.0) * _noise(d)) * (0.5 + _rhythm(d))
    if kind == 1:
        return 1.0 + d.rng.pareto(d.between(1.8, 4.0), len(d))
    return d.rng.standard_t(d.between(2.5, 6.0), len(d))


def _saturating(d: _Draw) -> F64:
    """A share in per cent that often meets its end."""
    load = (
        d.between(-1.0, 1.5)
        + d.between(0.5, 3.0) * _rhythm(d)
        + d.between(0.1, 1.0) * _noise(d)
    )
    return np.clip(100.0 * load / 2.0, 0.0, 100.0)


def _counter(d: _Draw) -> F64:
    """Counts up, and from zero again after a restart."""
    added = d.rng.poisson(d.about(0.5, 100.0) * (0.3 + _rhythm(d)))
    restarts = d.rng.random(len(d)) < d.about(2e-4, 3e-3)
    return np.fromiter(
        accumulate(
            zip(added.tolist(), restarts.tolist(), strict=True), _counted, initial=0
        ),
        np.float64,
        len(d) + 1,
    )[1:]


def _counted(before: int, now: tuple[int, bool]) -> int:
    return now[0] if now[1] else before + now[0]


def _autoregressive(d: _Draw) -> F64:
    return d.between(0.0, 5.0) + _remembering(d, d.between(0.2, 0.995))


def _sawtooth(d: _Draw) -> F64:
    """Fills and is emptied: a heap, a log, a disk."""
    lengths = np.maximum(
        2, d.about(10, 400) * np.exp(d.between(0.0, 0.3) * d.rng.normal(0, 1, len(d)))
    ).astype(np.int64)
    ramp = np.concatenate(
        [
            np.arange(n) / n
            for n in lengths[: 1 + int(np.searchsorted(np.cumsum(lengths), len(d)))]
        ]
    )[: len(d)]
    return d.between(0.1, 1.0) + ramp + d.about(0.005, 0.1) * _noise(d)


def _sparse(d: _Draw) -> F64:
    """Zero, but for a now and then."""
    return (d.rng.random(len(d)) < d.about(0.003, 0.1)).astype(np.float64) * np.ceil(
        d.rng.exponential(d.about(1, 50), len(d))
    )


def _mixed(d: _Draw) -> F64:
    one, two = (
        KINDS[int(i)](d) for i in d.rng.choice(len(KINDS) - 1, 2, replace=False)
    )
    return _unit(one) + d.between(0.2, 1.0) * _unit(two)


def _unit(x: F64) -> F64:
    return x / max(float(x.std()), 1e-9)


KINDS: tuple[Callable[[_Draw], F64], ...] = (
    _daily,
    _noisy_load,
    _queue,
    _counts,
    _clustered_counts,
    _switching,
    _steps,
    _coarse,
    _walk,
    _leak,
    _heavy,
    _saturating,
    _counter,
    _autoregressive,
    _sawtooth,
    _sparse,
    _mixed,
)
# counts have no other unit
WHOLE = frozenset((_counts, _clustered_counts, _counter, _sparse))


def made_history(count: int, seed: int, points: tuple[int, int] = POINTS) -> History:
    """``count`` streams of ``points`` points, at least and at most, the kinds in turn.

    The same seed gives the same streams.
    """
    series = tuple(
        _made(i, np.random.default_rng((seed, i)), points) for i in range(count)
    )
    digest = hashlib.sha256()
    for s in series:
        digest.update(s.name.encode() + s.times.tobytes() + s.values.tobytes())
    return History(
        (SINGLE_METRIC,),
        series,
        float(np.median([s.tick for s in series])),
        digest.hexdigest(),
        (),
        {},
    )


def _made(i: int, rng: np.random.Generator, points: tuple[int, int]) -> Series:
    kind = KINDS[i % len(KINDS)]
    tick = CADENCES[int(rng.integers(len(CADENCES)))]
    count = int(np.exp(rng.uniform(*np.log(points))))
    draw = _Draw(START + np.floor(rng.uniform(0, WEEK)) + tick * np.arange(count), rng)
    values = kind(draw)
    if kind not in WHOLE:
        values = (values + (rng.random() < 0.3) * draw.about(0.1, 100.0)) * draw.about(
            1e-3, 1e9
        )
    reported = rng.random(count) >= (rng.random() < 0.3) * draw.between(0.0, 0.02)
    kept = _rounded(values)[reported].astype(np.float32)
    center = np.array([np.median(kept)], np.float32)
    scale = np.array([float(kept.std()) or 1.0], np.float32)
    name = f"{kind.__name__.lstrip('_')}-{i}"
    return Series(
        name,
        draw.t[reported],
        kept[:, None],
        center,
        scale,
        tick,
    )


def _rounded(values: F64) -> F64:
    """To :data:`_DIGITS` significant digits."""
    least = np.maximum(np.abs(values), 1e-30)
    unit = 10.0 ** (np.floor(np.log10(least)) + 1 - _DIGITS)
    return np.round(values / unit) * unit
