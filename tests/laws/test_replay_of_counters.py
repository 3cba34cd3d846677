"""Totals as JSON through the decoder, and as a file through replay: the same rates."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.events import Partition
from detector.ingest.decoder import metric_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.build import build_pipeline
from detector.pipeline.observer import ScoredBatch
from detector.recovery.snapshot import Restored
from detector.replay.chunks import FileSource
from detector.replay.replay import Outputs, replay
from detector.settings.alerting import AlertingSettings
from tests.fakes import PipelineRecorder, raw_batch, write_each_metric_bundle

P = Partition("metrics", 0)
SETTINGS = AlertingSettings(cooldown_ticks=3, min_hours_between_incidents=0)
TICKS = 150
RESET = 100
SURGE = slice(120, 124)
Rows = list[dict[str, Any]]
Scores = dict[tuple[str, float], float]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(write_each_metric_bundle(tmp_path_factory.mktemp("bundle")))


def history() -> Rows:
    """A total beyond float32 that nobody calls one, one with a name, and a gauge.

    Both totals begin again, and grow faster for a while.
    """
    rng = np.random.default_rng(12)
    growth = 60 * rng.uniform(8, 12, (2, TICKS))
    growth[:, SURGE] *= 20
    totals = np.cumsum(growth, axis=1)
    totals[:, RESET:] -= totals[:, [RESET - 1]]
    totals[0, :RESET] += 1e13
    load = rng.normal(size=TICKS)
    return [
        {
            "timestamp": 1.7e9 + 60 * t,
            "stream": "web-1",
            "sent": float(totals[0, t]),
            "errors_total": float(totals[1, t]),
            "load": float(load[t]),
        }
        for t in range(TICKS)
    ]


class _ByTime(PipelineRecorder):
    """Keeps scores by stream and time."""

    def __init__(self) -> None:
        super().__init__()
        self.by_time: Scores = {}

    def scored(self, batch: ScoredBatch) -> None:
        names = [batch.names[slot] for slot in batch.slots.tolist()]
        places = zip(names, batch.times.tolist(), strict=True)
        self.by_time |= dict(zip(places, batch.step.score.tolist(), strict=True))


def over_json(bundle: Bundle, rows: Rows, poll: int) -> tuple[Scores, list[bytes]]:
    recorder = _ByTime()
    pipeline = build_pipeline(
        bundle, OnnxEngine(bundle), SETTINGS.tuning(), observer=recorder
    )
    pipeline.assign(P, Restored((), (), 0))
    decoder = metric_decoder(FORMATS["json"])
    for start in range(0, len(rows), poll):
        values = [json.dumps(row).encode() for row in rows[start : start + poll]]
        pipeline.process([decoder.decode(raw_batch(values, first=start, partition=P))])
    alerts = [msgspec.json.encode(alert_body(a, Labelling())) for a in recorder.alerts]
    return recorder.by_time, sorted(alerts)


def over_a_file(bundle: Bundle, folder: Path) -> tuple[Scores, list[bytes]]:
    replay(
        bundle,
        FileSource(folder / "history.csv", bundle.feature_names, True),
        Outputs(folder / "scores.csv", folder / "alerts.ndjson"),
        SETTINGS,
        lambda done, total: None,
    )
    with (folder / "scores.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["score"]]
    scores = {
        (line["stream"], float(line["timestamp"])): float(line["score"])
        for line in lines
    }
    return scores, sorted((folder / "alerts.ndjson").read_bytes().splitlines())


@pytest.mark.parametrize("poll", [1, 37, 1000])
def test_replay_raises_what_the_daemon_raises_of_counters(
    bundle: Bundle, tmp_path: Path, poll: int
) -> None:
    rows = history()
    with (tmp_path / "history.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    scores, alerts = over_json(bundle, rows, poll)
    replayed_scores, replayed_alerts = over_a_file(bundle, tmp_path)
    assert replayed_scores == pytest.approx(scores, rel=1e-4, abs=1e-5)
    assert replayed_alerts == alerts
    # neither first values of what is known to be a counter nor resets are scored
    assert len(scores) == 3 * TICKS - 3
    of_rates = [json.loads(alert) for alert in alerts if b'"rates"' in alert]
    streams = {alert["labels"]["stream"] for alert in of_rates}
    assert streams == {"web-1/sent", "web-1/errors_total"}
