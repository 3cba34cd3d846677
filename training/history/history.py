"""History -> arrays per stream, in time order, with each stream's own scaling."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from detector.data.read_options import ReadOptions
from detector.data.wide import file_notes, read_tables
from detector.events import F32, F64
from detector.model.local_time import UTC, Zones
from training.errors import TrainingError
from training.history.counters import as_rates
from training.history.labels import Labels, label_column
from training.history.notes import notes_on, notes_on_counters
from training.history.reading import Rows, read_streams, usable
from training.history.scales import Scales, scales

# Scales to which a value is clipped.
CLIP = 30.0
_DEFAULT = ReadOptions()


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
        counters: the features that are rates per second of what the history holds.
    """

    features: tuple[str, ...]
    series: tuple[Series, ...]
    tick: float
    digest: str
    notes: tuple[str, ...]
    labels: Labels
    zones: Zones = UTC
    counters: tuple[str, ...] = ()

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
    data: Path,
    fit_share: float,
    validation_share: float = 0.0,
    options: ReadOptions = _DEFAULT,
) -> History:
    """DATA as streams in time order; a stream that is too short is left out.

    Raises DataError: nothing to read, no rows, no finite value, no stream long enough.
    Raises TrainingError: nothing varies in the fit rows.
    """
    tables = read_tables(data, options=options)
    features = tables[0].features
    raw, notes = read_streams(tables)
    rated = as_rates(features, raw)
    kept, left_out = usable(data, features, rated.rows)
    heads = {}
    for name, (_, values) in kept.items():
        fit_rows = max(1, int(len(values) * fit_share))
        heads[name] = values[:fit_rows]
    found = scales(list(heads.values()))
    if found is None:
        raise TrainingError(_nothing_varies(data, fit_share))
    series = list(_scaled_series(kept, found))
    calibrated = 1 - fit_share - validation_share
    return History(
        features=features,
        series=tuple(series),
        tick=float(np.median([s.tick for s in series])),
        digest=_digest(kept, features),
        notes=(
            *file_notes(tables),
            *left_out,
            *notes,
            *notes_on_counters(rated.counters),
            *notes_on(features, heads, kept, calibrated),
        ),
        labels=label_column(tables) or {},
        counters=rated.counters,
    )


def _scaled_series(rows: Rows, found: Scales) -> Iterator[Series]:
    pairs = zip(found.center, found.scale, strict=True)
    for (name, (times, values)), (center, scale) in zip(
        rows.items(), pairs, strict=True
    ):
        tick = float(np.median(np.diff(times)))
        yield Series(name, times, values, center, scale, tick)


def _digest(rows: Rows, features: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name, (times, values) in rows.items():
        digest.update(name.encode() + times.tobytes() + values.tobytes())
    digest.update("\0".join(features).encode())
    return digest.hexdigest()


def _nothing_varies(data: Path, fit_share: float) -> str:
    return (
        f"{data}: nothing in it varies: every metric of every stream is constant "
        f"in the first {fit_share:.0%} of its rows, which are fitted to: give it a "
        "history in which one varies, or set no bundle: the built-in one learns "
        "from each stream while it runs"
    )
