"""Counters in a history become the rates that the daemon scores."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from detector.events import F32, F64
from detector.model.bundle import MANIFEST, Bundle, Feature, Manifest, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.pipeline.observer import ScoredBatch
from detector.replay.chunks import FileSource
from detector.replay.offline import offline_pipeline
from detector.settings.alerting import AlertingSettings
from tests.fakes import PipelineRecorder, write_bundle
from training.history.counters import as_rates
from training.history.history import load_history

N = 600
TIMES: F64 = np.linspace(1.7e9, 1.7e9 + 60 * (N - 1), N)


def total(seed: int) -> F64:
    """A counter of 100±10 a tick from its start on, with a restart."""
    growth = 100 + 10 * np.random.default_rng(seed).normal(size=N)
    counted: F64 = np.cumsum(growth)
    counted[400:] -= counted[399]
    return counted


def noise(seed: int) -> F64:
    values: F64 = 50 + np.random.default_rng(seed).normal(size=N)
    return values


def write(path: Path, columns: dict[str, F64], streams: int = 2) -> Path:
    lines = [",".join(["timestamp", "stream", *columns])]
    for s in range(streams):
        for i, time in enumerate(TIMES.tolist()):
            cells = [f"{values[i]:.17g}" for values in columns.values()]
            lines.append(",".join([f"{time:.17g}", f"host-{s}", *cells]))
    path.write_text("\n".join(lines))
    return path


def test_a_total_is_fitted_as_a_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", {"sent": 1e13 + total(1), "load": noise(2)})
    history = load_history(path, 0.6)
    assert history.counters == ("sent",)
    series = history.series[0]
    assert len(series) == N
    assert np.isnan(series.values[[0, 400], 0]).all()
    rates = series.values[1:400, 0]
    assert rates.mean() == pytest.approx(100 / 60, rel=0.05)
    assert rates.std() == pytest.approx(10 / 60, rel=0.2)
    np.testing.assert_array_equal(series.values[:, 1], noise(2).astype(np.float32))
    (note,) = [note for note in history.notes if "counter" in note]
    assert note.startswith("1 counter (sent) fitted as a rate per second")


def test_gauges_stay_as_they_are(tmp_path: Path) -> None:
    columns = {"load": noise(2), "constant": np.full(N, 3.0)}
    history = load_history(write(tmp_path / "h.csv", columns), 0.6)
    assert history.counters == ()
    assert not any("counter" in note for note in history.notes)
    assert not np.isnan(history.series[0].values).any()


def test_rows_without_a_rate_are_no_rows_of_a_single_metric(tmp_path: Path) -> None:
    path = write(tmp_path / "h.csv", {"sent": total(1)}, streams=1)
    (series,) = load_history(path, 0.6).series
    np.testing.assert_array_equal(series.times, np.delete(TIMES, [0, 400]))


def test_idle_streams_leave_it_to_the_others() -> None:
    idle = np.full((N, 1), 7.0)
    counts = total(1)[:, None]
    streams = {"a": (TIMES, idle), "b": (TIMES, idle), "c": (TIMES, counts)}
    rated = as_rates(["sent"], streams)
    assert rated.counters == ("sent",)
    assert not rated.rows["a"][1].any()


def test_what_is_a_gauge_on_most_streams_is_a_gauge() -> None:
    gauge = noise(1)[:, None]
    streams = {
        "a": (TIMES, gauge),
        "b": (TIMES, gauge),
        "c": (TIMES, total(1)[:, None]),
    }
    assert as_rates(["sent"], streams).counters == ()


def test_a_name_tells_a_counter_that_seldom_rises() -> None:
    counts = np.repeat([3.0, 4.0], N // 2)[:, None]
    rated = as_rates(["errors_total"], {"a": (TIMES, counts)})
    assert rated.counters == ("errors_total",)


class _Observed(PipelineRecorder):
    """Keeps what was scored, by offset."""

    def __init__(self) -> None:
        super().__init__()
        self.x: dict[int, F32] = {}

    def scored(self, batch: ScoredBatch) -> None:
        super().scored(batch)
        self.x |= dict(zip(batch.offsets.tolist(), batch.x, strict=True))


def with_counter(folder: Path) -> Bundle:
    write_bundle(folder, ("sent", "load"))
    manifest = msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)
    features = (Feature("sent", counter=True), Feature("load"))
    changed = msgspec.structs.replace(manifest, features=features)
    (folder / MANIFEST).write_bytes(msgspec.json.encode(changed))
    return load_bundle(folder)


def test_what_is_fitted_is_what_the_daemon_scores(tmp_path: Path) -> None:
    values = total(1)
    values[200:210] = np.nan
    path = write(tmp_path / "h.csv", {"sent": 1e13 + values, "load": noise(2)}, 1)
    bundle = with_counter(tmp_path / "bundle")
    observed = _Observed()
    pipeline = offline_pipeline(
        bundle, OnnxEngine(bundle), AlertingSettings().tuning(), observed
    )
    for chunk in FileSource(path, bundle.feature_names).chunks():
        pipeline.process(list(chunk.polls()))
    scored = np.array([observed.x[i] for i in range(N)])
    (series,) = load_history(path, 0.6).series
    np.testing.assert_array_equal(series.values, scored)
    assert np.isnan(scored[:, 0]).sum() == 12
