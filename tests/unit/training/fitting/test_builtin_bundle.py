"""The bundle that the package carries is what its command makes, and finds a fault in a
metric it was never trained on.
"""

from __future__ import annotations

import math
import random
from pathlib import Path

import numpy as np

from detector.alerting.policy import AlertTuning
from detector.model.bundle import BUILTIN, GRAPH, MANIFEST, STREAMS, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.replay.chunks import FileSource
from detector.replay.offline import offline_pipeline
from tests.fakes import PipelineRecorder
from training.fitting import builtin_bundle
from training.fitting.pretrained import NETWORK
from training.fitting.provenance import STATED
from training.settings import FitSettings
from training.synthetic.streams import KINDS, made_history


def test_the_built_in_bundle_follows_from_its_command() -> None:
    """If this fails, make it again: python -m training.fitting.builtin_bundle --out
    detector/bundles/builtin.
    """
    bundle = load_bundle(BUILTIN)
    origin = bundle.manifest.provenance
    fitted, calibrated = (
        made_history(
            builtin_bundle.STREAMS_OF_EACH_HALF, builtin_bundle.SETTINGS.seed + k
        )
        for k in (0, 1)
    )
    assert (origin["data_sha256"], origin["calibration_sha256"]) == (
        fitted.digest,
        calibrated.digest,
    )
    assert origin["settings"] == builtin_bundle.SETTINGS.model_dump(exclude=STATED)
    assert (
        bundle.manifest.each_metric,
        bundle.manifest.tick_interval,
        len(bundle.rows),
    ) == (True, builtin_bundle.TICK, 0)


def test_the_bundle_in_the_package_is_small_and_holds_no_more_than_is_read() -> None:
    files = {path.name: path.stat().st_size for path in BUILTIN.iterdir()}
    assert set(files) == {MANIFEST, GRAPH, STREAMS, NETWORK}
    assert sum(files.values()) < 1_000_000


def test_streams_are_made_the_same_again_and_others_by_another_seed() -> None:
    one, again, other = (
        made_history(2 * len(KINDS), seed).digest for seed in (3, 3, 4)
    )
    assert one == again != other


def test_made_streams_are_finite_in_time_order_and_of_every_size() -> None:
    series = made_history(4 * len(KINDS), 5).series
    assert all(
        np.isfinite(s.values).all() and (np.diff(s.times) > 0).all() for s in series
    )
    assert all(np.isclose(np.median(np.diff(s.times)), s.tick) for s in series)
    sizes = [float(np.abs(s.values).max()) for s in series]
    assert min(sizes) < 1
    assert max(sizes) > 1e8


def test_the_command_makes_a_bundle_that_the_daemon_opens(tmp_path: Path) -> None:
    builtin_bundle.build_builtin(
        tmp_path / "bundle", FitSettings(name="builtin", steps=3, seed=7), 6, (150, 200)
    )
    made = load_bundle(tmp_path / "bundle")
    assert made.manifest.each_metric
    assert (
        made.manifest.provenance["data_sha256"] == made_history(6, 7, (150, 200)).digest
    )
    assert np.isfinite(
        OnnxEngine(made)
        .step(
            np.ones((1, 1), np.float32), np.ones((1, 3), np.float32), made.initial[None]
        )
        .score
    ).all()


def test_an_unseen_metric_fires_soon_after_the_warm_up_and_resolves(
    tmp_path: Path,
) -> None:
    rng = random.Random(1)
    fault = range(180, 200)
    rows = ["timestamp,stream,load,temperature"]
    for t in range(600):
        load = (
            2e7
            * (1 + 0.2 * math.sin(t / 60) + 0.05 * rng.gauss(0, 1))
            * (3 if t in fault else 1)
        )
        rows.append(
            f"{1.7e9 + 30 * t:.0f},host-1,{load:.0f},{21 + 0.1 * rng.gauss(0, 1):.2f}"
        )
    (tmp_path / "history.csv").write_text("\n".join(rows) + "\n")
    bundle = load_bundle(BUILTIN)
    recorder = PipelineRecorder()
    pipeline = offline_pipeline(
        bundle,
        OnnxEngine(bundle),
        AlertTuning(false_alarms_per_week=10),
        recorder,
    )
    (chunk,) = FileSource(
        tmp_path / "history.csv", bundle.feature_names, each_metric=True
    ).chunks()
    for columns in chunk.polls():
        pipeline.process([columns])
    raised = recorder.alerts
    assert {alert.stream for alert in raised} == {"host-1/load"}
    assert 1.7e9 + 30 * fault.start <= raised[0].starts_at <= 1.7e9 + 30 * fault.stop
    assert raised[0].firing
    assert not raised[-1].firing
