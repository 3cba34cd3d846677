"""History -> arrays per stream, in time order, with each stream's own scaling.

Theory of operation. Scaling is robust, because training data is never clean. A
metric's values are winsorised (Tukey 1962) at its 1st and 99th percentiles, widened by
five times their distance, before its mean and deviation are taken. So broken readings
move neither far, while what a metric does now and then is part of its scale. (Closer
clipping makes rare but normal excursions loud.) Floors are relative to the metric's
largest range over the fleet, so nothing here has a unit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.csv_and_parquet import read_tables
from detector.events import F32, F64
from detector.model.local_time import UTC, Zones
from training.errors import TrainingError
from training.history.labels import Labels, label_column
from training.history.notes import notes_on
from training.history.reading import read_streams, usable

# Scales to which a value is clipped.
CLIP = 30.0
# Shares of the metric's largest range over the fleet: the range below which a metric is
# constant, the scale of a constant one, and the least scale of any other.
_CONSTANT_RANGE = 1e-4
_CONSTANT = 0.1
_FLOOR = 0.02
# Percentiles at which values are winsorised, and how often their distance is added.
_PERCENTILES = (0.01, 0.99)
_ROOM = 5


@dataclass(frozen=True, slots=True)
class Series:
    """One stream.

    Attributes:
        times: float64 [n], event times in epoch seconds, rising.
        values: float32 [n, F], NaN where missing.
        center, scale: float32 [F].
        tick: seconds between two points, the median.
    """

    name: str
    times: F64
    values: F32
    center: F32
    scale: F32
    tick: float

    def __len__(self) -> int:
        return len(self.times)

    def part(self, start: int, stop: int) -> Series:
        """Rows ``start`` to ``stop``, with the whole stream's scaling and tick."""
        times = self.times[start:stop]
        return replace(self, times=times, values=self.values[start:stop])

    def scaled(self) -> F32:
        """float32 [n, F]: clipped at ±30, 0 where missing."""
        z = np.clip((self.values - self.center) / self.scale, -CLIP, CLIP)
        return np.where(np.isnan(z), 0, z).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Split:
    """Row numbers that part one stream in time: fit [0, fit), validation [fit,
    calibration), calibration [calibration, n).
    """

    fit: int
    calibration: int


@dataclass(frozen=True, slots=True)
class History:
    """All streams.

    Attributes:
        tick: seconds between two points, the median over streams.
        digest: SHA-256 of names, times, values and features.
        notes: what was done to the rows, for people.
        labels: when each stream is labelled anomalous.
        zones: the streams' time zones.
    """

    features: tuple[str, ...]
    series: tuple[Series, ...]
    tick: float
    digest: str
    notes: tuple[str, ...]
    labels: Labels
    zones: Zones = UTC

    @property
    def rows(self) -> int:
        return sum(map(len, self.series))

    def splits(self, fit_share: float, validation_share: float) -> list[Split]:
        """How each stream is parted in time."""
        return [split(len(s), fit_share, validation_share) for s in self.series]

    def local_times(self, times: F64) -> F64:
        """Event times as the clocks of the streams' time zone show them."""
        return self.zones.local_times(times, self.zones.default)


def split(length: int, fit_share: float, validation_share: float) -> Split:
    fit = max(1, int(length * fit_share))
    return Split(fit, max(fit + 1, int(length * (fit_share + validation_share))))


def load_history(
    data: Path, fit_share: float, validation_share: float = 0.0
) -> History:
    """DATA as streams in time order; a stream that is too short is left out.

    Raises DataError: nothing to read, no rows, no finite value, no stream long enough.
    Raises TrainingError: nothing varies in the fit rows.
    """
    tables = read_tables(data)
    features = tables[0].features
    raw, notes = read_streams(tables)
    kept, left_out = usable(data, features, raw)
    heads = {}
    for name, (_, values) in kept.items():
        fit_rows = max(1, int(len(values) * fit_share))
        heads[name] = values[:fit_rows]
    fleet = np.max([_robust_range(values) for values in heads.values()], axis=0)
    if not fleet.any():
        raise TrainingError(_nothing_varies(data, fit_share))
    pooled = _pooled(heads)
    series = []
    digest = hashlib.sha256()
    for name, (times, values) in kept.items():
        center, scale, _ = scaling(heads[name], fleet, pooled)
        tick = float(np.median(np.diff(times)))
        series.append(Series(name, times, values, center, scale, tick))
        digest.update(name.encode() + times.tobytes() + values.tobytes())
    digest.update("\0".join(features).encode())
    calibrated = 1 - fit_share - validation_share
    return History(
        features=features,
        series=tuple(series),
        tick=float(np.median([s.tick for s in series])),
        digest=digest.hexdigest(),
        notes=(*left_out, *notes, *notes_on(features, heads, kept, calibrated)),
        labels=label_column(tables) or {},
    )


def _nothing_varies(data: Path, fit_share: float) -> str:
    return (
        f"{data}: nothing in it varies: every metric of every stream is constant "
        f"in the first {fit_share:.0%} of its rows, which are fitted to: give it a "
        "history in which one varies, or set no bundle: the built-in one learns "
        "from each stream while it runs"
    )


def scaling(values: F32, fleet: F64, pooled: F64) -> tuple[F32, F32, list[int]]:
    """Center and scale [F] of one stream's fit rows [n, F], and its constant features.

    ``fleet`` [F] is each metric's largest range over the fleet; ``pooled`` [F] the
    center of one that this stream never reported.
    """
    relative_to_center = np.where(pooled != 0, np.abs(pooled), 1.0)
    magnitude = np.where(fleet > 0, fleet, relative_to_center)
    center = pooled.copy()
    scale = magnitude.copy()
    constant = []
    for j in range(values.shape[1]):
        x = _finite(values, j).astype(np.float64)
        if not len(x):
            continue
        low = x.min()
        high = x.max()
        if high - low < _CONSTANT_RANGE * magnitude[j]:
            center[j] = x.mean()
            scale[j] = _CONSTANT * magnitude[j]
            constant.append(j)
        elif np.all((x == low) | (x == high)):
            center[j] = x.mean()
            scale[j] = high - low
        else:
            x = _winsorised(x)
            center[j] = x.mean()
            scale[j] = max(x.std(), _FLOOR * magnitude[j])
    return center.astype(np.float32), scale.astype(np.float32), constant


def _finite(values: F32, j: int) -> F32:
    """The finite values of one metric."""
    column = values[:, j]
    return column[np.isfinite(column)]


def _winsorised(x: F64) -> F64:
    low, high = np.quantile(x, _PERCENTILES)
    room = _ROOM * (high - low)
    return np.clip(x, low - room, high + room)


def _robust_range(values: F32) -> F64:
    """float64 [F]: range after winsorising.

    A single spike is not a metric's range; a flag that flips rarely still has one.
    """
    out = np.zeros(values.shape[1])
    for j in range(values.shape[1]):
        x = _finite(values, j).astype(np.float64)
        if len(x):
            out[j] = np.ptp(_winsorised(x)) or np.ptp(x)
    return out


def _pooled(heads: Mapping[str, F32]) -> F64:
    """float64 [F]: the median over streams of each feature's median; 0 if no stream
    reports it.
    """
    width = next(iter(heads.values())).shape[1]
    pooled = np.zeros(width)
    for j in range(width):
        columns = [_finite(values, j) for values in heads.values()]
        medians = [float(np.median(x)) for x in columns if len(x)]
        if medians:
            pooled[j] = np.median(medians)
    return pooled
