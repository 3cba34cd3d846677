"""History -> arrays per stream, in time order, with each stream's own scaling.

Scaling is robust: training data is never clean. The mean and deviation of a metric are
taken after its values were winsorised at its 1st and 99th percentiles widened by five
times their distance: broken readings move neither far, while what a metric does now and
then is part of its scale. (Clipping closer makes rare but normal excursions loud.)
Floors are relative to the metric's largest range over the fleet, so nothing here has a
unit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.tables import Table, read_tables
from detector.errors import DataError
from detector.events import F32, F64
from detector.model.local_time import UTC, Zones
from training.errors import TrainingError
from training.history.labels import Labels, label_column

MIN_ROWS = 100
CLIP = 30.0
# of the fleet's range: scale of a constant metric, least scale of any other
_CONSTANT = 0.1
_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class Series:
    """One stream: times float64 [n], values float32 [n, F] (NaN missing), center and
    scale float32 [F].
    """

    name: str
    times: F64
    values: F32
    center: F32
    scale: F32
    tick: float

    def __len__(self) -> int:
        return len(self.times)

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
    """All streams, what is worth saying about them, when they are labelled anomalous,
    and where they live.
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

    def wall(self, times: F64) -> F64:
        """Event times as the streams' clocks on the wall show them."""
        return self.zones.local_times(times, self.zones.default)

    def in_local_time(self) -> History:
        """The same rows at the times that those clocks show: for who wants the hour of
        a row, and not how long it is to the next.
        """
        return replace(
            self,
            series=tuple(replace(s, times=self.wall(s.times)) for s in self.series),
            zones=UTC,
        )


def split(length: int, fit_share: float, validation_share: float) -> Split:
    fit = max(1, int(length * fit_share))
    return Split(fit, max(fit + 1, int(length * (fit_share + validation_share))))


def load_history(data: Path, fit_share: float) -> History:
    """Raises DataError: nothing to read, no rows, no finite value, a stream too short.
    Raises TrainingError: nothing varies in the fit rows.
    """
    tables = read_tables(data)
    features = tables[0].features
    raw, notes = _per_stream(tables)
    for name, (times, _) in raw.items():
        if len(times) < MIN_ROWS:
            raise DataError(
                f"stream {name} has {len(times)} rows, a fit needs {MIN_ROWS}: give it more history or leave it out"
            )
    if not any(np.isfinite(v).any() for _, v in raw.values()):
        raise DataError(f"{data} holds no finite value in {', '.join(features)}")
    heads = {
        name: values[: max(1, int(len(values) * fit_share))]
        for name, (_, values) in raw.items()
    }
    ranges = np.stack([_robust_range(v) for v in heads.values()])
    fleet = np.max(ranges, axis=0)
    if not fleet.any():
        raise TrainingError(
            f"{data}: nothing in it varies: every metric of every stream is constant in the first {fit_share:.0%} of its rows, which are fitted to: "
            "give it a history in which one does, or set no bundle: the package's own learns from each stream while it runs"
        )
    series = []
    digest = hashlib.sha256()
    pooled = _pooled(heads)
    for name, (times, values) in raw.items():
        center, scale, constant = scaling(heads[name], fleet, pooled)
        if constant:
            notes.append(
                f"{name}: constant in its fit rows, kept: {', '.join(features[j] for j in constant)}"
            )
        series.append(
            Series(name, times, values, center, scale, float(np.median(np.diff(times))))
        )
        digest.update(name.encode() + times.tobytes() + values.tobytes())
    digest.update("\0".join(features).encode())
    return History(
        features,
        tuple(series),
        float(np.median([s.tick for s in series])),
        digest.hexdigest(),
        tuple(notes),
        label_column(tables) or {},
    )


def scaling(values: F32, fleet: F64, pooled: F64) -> tuple[F32, F32, list[int]]:
    """Center and scale [F] of one stream's fit rows [n, F], and its constant features.

    ``fleet`` [F] is each metric's largest range over the fleet; ``pooled`` [F] the
    center of one that this stream never reported.
    """
    magnitude = np.where(fleet > 0, fleet, np.where(pooled != 0, np.abs(pooled), 1.0))
    center = pooled.copy()
    scale = magnitude.copy()
    constant = []
    for j in range(values.shape[1]):
        x = values[:, j][np.isfinite(values[:, j])].astype(np.float64)
        if not len(x):
            continue
        low = x.min()
        high = x.max()
        if high - low < 1e-4 * magnitude[j]:
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


def _winsorised(x: F64) -> F64:
    low, high = np.quantile(x, (0.01, 0.99))
    room = 5 * (high - low)
    return np.clip(x, low - room, high + room)


def _robust_range(values: F32) -> F64:
    """float64 [F]: range after winsorising; a single spike is not a metric's range, a
    flag that flips rarely still has one.
    """
    out = np.zeros(values.shape[1])
    for j in range(values.shape[1]):
        x = values[:, j][np.isfinite(values[:, j])].astype(np.float64)
        if len(x):
            kept = _winsorised(x)
            out[j] = np.ptp(kept) or np.ptp(x)
    return out


def _pooled(heads: dict[str, F32]) -> F64:
    """float64 [F]: the median over streams of each feature's median; 0 where nobody
    reports it.
    """
    medians = np.full((len(heads), next(iter(heads.values())).shape[1]), np.nan)
    for i, values in enumerate(heads.values()):
        for j in range(values.shape[1]):
            x = values[:, j][np.isfinite(values[:, j])]
            if len(x):
                medians[i, j] = np.median(x)
    return np.array(
        [
            np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else 0.0
            for c in medians.T
        ]
    )


def _per_stream(tables: list[Table]) -> tuple[dict[str, tuple[F64, F32]], list[str]]:
    """Each stream's rows over all files, in time order, one row a timestamp (the first
    of a repeated one), and what was done to that end.
    """
    parts: dict[str, list[tuple[F64, F32]]] = {}
    for table in tables:
        finite = table.finite
        for name, rows in table.by_stream():
            parts.setdefault(name, []).append((table.times[rows], finite[rows]))
    series = {}
    repeated = 0
    late = 0
    infinite = sum(int(np.isinf(table.values).sum()) for table in tables)
    for name in sorted(parts):
        times = np.concatenate([t for t, _ in parts[name]])
        late += int((times < np.maximum.accumulate(times)).sum())
        times, first = np.unique(times, return_index=True)
        values = np.concatenate([v for _, v in parts[name]])[first]
        repeated += sum(len(t) for t, _ in parts[name]) - len(times)
        series[name] = (times, values)
    said = (
        (
            late,
            "rows came after later ones of their stream: put in order, while the daemon would reject them",
        ),
        (repeated, "rows with a repeated timestamp left out"),
        (
            infinite,
            "infinite values taken as missing, where the daemon would reject their records",
        ),
    )
    return series, [f"{count:,} {what}" for count, what in said if count]
