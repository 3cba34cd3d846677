"""Eight kinds of fault, put into real rows at graded sizes: what a detector is tried on
if nobody has labelled anything.

Theory of operation. A fault changes a few metrics of one stream for a while, in units
of that metric's own spread in that stream (:func:`own_spread`). So nothing here knows a
unit, a cadence, or another stream. Sizes run from what a person would dispute to what
nobody could miss. A size is a multiple of the spread; for a flatline and a decoupled
metric it is a multiple of the length.

A metric stays what it can be: one that is never negative only rises or falls to zero,
one that takes whole numbers keeps to them, and a flag keeps to its two states. A fault
that would change next to nothing (a metric frozen that was not moving) is placed
elsewhere, or omitted after a few attempts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from detector.events import F32, F64, I64
from training.history.labels import Truth

# Sizes of a fault, in scales or lengths.
SIZES = (1.5, 3.0, 6.0)
# Faults in one copy of a stretch.
FAULTS = 3
# Rows of the shortest stretch. In fewer, faults would last for a point or two.
SHORTEST_STRETCH = 300
# A fault lasts for a few units; a unit is a sixtieth of the stretch, at most 20 points.
_LONGEST_UNIT = 20
_UNITS = 60
# Attempts to place a fault, and the scales by which it must change some point.
_ATTEMPTS = 6
_VISIBLE = 0.25
# Features of a stream for each metric that a fault is in.
_FEATURES_PER_METRIC = 4
# A metric with at most this many values is a flag.
_STATES = 2
# Percentiles at which values are winsorised for the spread, and how often their
# distance is added: as the scales of training do.
_PERCENTILES = (0.01, 0.99)
_ROOM = 5


def own_spread(values: F32) -> F32:
    """float32 [F]: the deviation of each metric of a stream, ``values`` float32 [n, F].

    Values are winsorised first (Tukey 1962), so that a broken reading does not count,
    and what a metric does now and then does. A metric that moves in fewer than one row
    in a hundred has its plain deviation. It is 0 for a metric that never moves.
    """
    spread = np.zeros(values.shape[1])
    for j, column in enumerate(values.T.astype(np.float64)):
        known = column[np.isfinite(column)]
        if len(known):
            low, high = np.quantile(known, _PERCENTILES)
            room = _ROOM * (high - low)
            winsorised = np.clip(known, low - room, high + room)
            spread[j] = winsorised.std() or known.std()
    return spread.astype(np.float32)


@dataclass(frozen=True, slots=True)
class Copy:
    """A stretch of one stream with faults of one kind and size: values float32 [n, F]
    and which rows are in a fault [n].
    """

    kind: str
    size: float
    values: F32
    truth: Truth


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a fault goes: one metric's values ``x`` float64 [n] (NaN missing), rows
    ``start`` to ``stop``, and how much.
    """

    x: F64
    start: int
    stop: int
    scale: float
    size: float
    sign: float
    rng: np.random.Generator

    @property
    def rows(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def here(self) -> F64:
        return self.x[self.rows]

    @property
    def lowest(self) -> float:
        """Where an outage leads: zero for what is never negative, else the least that
        was seen.
        """
        return min(0.0, float(np.nanmin(self.x)))


def _level_shift(p: _Place) -> F64:
    return p.here + p.sign * p.size * p.scale


def _spike(p: _Place) -> F64:
    return p.here + 2 * p.sign * p.size * p.scale


def _burst(p: _Place) -> F64:
    """Every third point or so stands out."""
    hit = p.rng.random(p.stop - p.start) < 0.35
    hit[0] = True
    return p.here + hit * 2 * p.sign * p.size * p.scale


def _drift(p: _Place) -> F64:
    """Rises to its full height at the end, as a leak does."""
    return p.here + p.sign * p.size * p.scale * np.linspace(0, 1, p.stop - p.start)


def _flat_line(p: _Place) -> F64:
    before = p.x[: p.start]
    last = before[np.isfinite(before)][-1]
    return np.where(np.isnan(p.here), np.nan, last)


def _variance(p: _Place) -> F64:
    return p.here + p.rng.normal(0, p.size * p.scale / 2, p.stop - p.start)


def _decoupling(p: _Place) -> F64:
    """The metric's own values of another time: each is plausible, and none fits the
    hour or the other metrics.
    """
    away = int(p.rng.integers(len(p.x) // 3, 2 * len(p.x) // 3))
    return np.asarray(np.roll(p.x, away)[p.rows])


def _dropout(p: _Place) -> F64:
    """Part of the load is gone; all of it at the largest size."""
    return p.here - min(1.0, p.size / SIZES[-1]) * (p.here - p.lowest)


#: kind -> what it makes of its rows, how many units it lasts, and whether its size is
#: its length
KINDS: dict[str, tuple[Callable[[_Place], F64], float, bool]] = {
    "level shift": (_level_shift, 2.0, False),
    "spike": (_spike, 0.1, False),
    "burst": (_burst, 2.0, False),
    "drift": (_drift, 6.0, False),
    "flat line": (_flat_line, 1.0, True),
    "variance": (_variance, 2.0, False),
    "decoupling": (_decoupling, 1.0, True),
    "dropout": (_dropout, 1.0, False),
}


def inject(
    values: F32,
    scale: F32,
    kind: str,
    size: float,
    rng: np.random.Generator,
) -> Copy:
    """A copy of ``values`` [n, F] with :data:`FAULTS` faults of a kind, one in each
    part of the stretch.

    ``scale`` [F] is each metric's own spread in this stream. The stretch has
    :data:`SHORTEST_STRETCH` rows at least. If no fault could be placed, no row is
    marked.
    """
    changed = values.copy()
    truth = np.zeros(len(values), np.bool_)
    moving = np.flatnonzero([_moves(x) for x in values.T] & (scale > 0))
    part = len(values) // FAULTS
    for k in range(FAULTS if len(moving) else 0):
        for _ in range(_ATTEMPTS):
            start = k * part
            rows = _rows(len(values), start, start + part, kind, size, rng)
            metrics = _chosen(moving, values.shape[1], rng)
            fault = _Fault(kind, size, -1.0 if rng.random() < 0.5 else 1.0)
            made = {}
            for j in metrics:
                x = values[:, j].astype(np.float64)
                made[j] = _faulty(x, rows, float(scale[j]), fault, rng)
            if _visible(made, values[rows], scale):
                for j, new in made.items():
                    changed[rows, j] = new
                truth[rows] = True
                break
    return Copy(kind, size, changed, truth)


@dataclass(frozen=True, slots=True)
class _Fault:
    """A fault's kind, size, and the sign of its direction."""

    kind: str
    size: float
    sign: float


def _chosen(moving: I64, features: int, rng: np.random.Generator) -> list[int]:
    """Some of the ``moving`` metrics in random order: one in four at most."""
    most = max(1, features // _FEATURES_PER_METRIC)
    shuffled = rng.permutation(moving)
    count = int(rng.integers(1, most + 1))
    return [int(j) for j in shuffled[:count]]


def _moves(x: F32) -> bool:
    """Whether a metric is mostly there and not constant."""
    finite = np.isfinite(x)
    return bool(finite.mean() > 0.5 and np.ptp(x[finite]) > 0)


def _visible(made: Mapping[int, F64], values: F32, scale: F32) -> bool:
    """Whether any metric changed enough."""
    changes = []
    for j, new in made.items():
        difference = np.abs(new - values[:, j])
        largest = float(np.nanmax(difference, initial=0.0))
        changes.append(largest / float(scale[j]))
    return max(changes) >= _VISIBLE


def _rows(
    length: int,
    first: int,
    last: int,
    kind: str,
    size: float,
    rng: np.random.Generator,
) -> slice:
    """A place for one fault between ``first`` and ``last``, some quiet before it."""
    unit = min(_LONGEST_UNIT, max(1, length // _UNITS))
    _, units, longer = KINDS[kind]
    rows = max(1, round(units * unit * (size if longer else 1.0)))
    lead = max(3, (last - first) // 10)
    rows = min(rows, last - first - lead)
    start = int(rng.integers(first + lead, last - rows + 1))
    return slice(start, start + rows)


def _faulty(
    x: F64,
    rows: slice,
    scale: float,
    fault: _Fault,
    rng: np.random.Generator,
) -> F64:
    """The metric's new values in ``rows``, as it could have reported them."""
    known = x[np.isfinite(x)]
    positive = bool((known >= 0).all())
    whole = bool((known == np.round(known)).all())
    if not np.isfinite(x[: rows.start]).any():
        return x[rows]
    states = np.unique(known)
    is_flag = len(states) <= _STATES
    sign = 1.0 if positive and not is_flag else fault.sign
    place = _Place(
        x,
        rows.start,
        rows.stop,
        scale,
        fault.size,
        sign,
        rng,
    )
    new = KINDS[fault.kind][0](place)
    if is_flag:
        return _nearest(states, new)
    new = np.round(new) if whole else new
    return np.asarray(np.maximum(new, 0.0) if positive else new)


def _nearest(states: F64, values: F64) -> F64:
    """Each of ``values`` [n] as the nearest of the states; NaN stays."""
    nearest = states[np.abs(values[:, None] - states).argmin(axis=1)]
    return np.where(np.isnan(values), np.nan, nearest)
