"""The same records as JSON through the decoder, and as a file through replay: the same
scores, the same alerts.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from detector.events import Partition, Phase
from detector.ingest.decoder import feature_decoder
from detector.ingest.formats.registry import FORMATS
from detector.model.bundle import Bundle, load_bundle
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings, TimezoneSettings
from detector.notify.labels import Labelling
from detector.notify.payload import alert_body
from detector.pipeline.build import build_pipeline
from detector.recovery.snapshot import Restored
from detector.replay.chunks import FileSource
from detector.replay.replay import Outputs, replay
from detector.settings.alerting import AlertingSettings
from tests.fakes import (
    PipelineRecorder,
    fake_bundle,
    raw_batch,
    write_bundle,
)

P = Partition("metrics", 0)
SETTINGS = AlertingSettings(
    breaching_steps=2, cooldown_ticks=3, min_hours_between_incidents=0
)
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"))


def history() -> Rows:
    """Faults, missing cells, rows without any value, and rows that are late."""
    rng = np.random.default_rng(11)
    rows: Rows = []
    for t in range(80):
        for s in range(6):
            fault = 25.0 if (t + 7 * s) % 30 in (12, 13, 14, 15) else 0.0
            cells = [
                round(float(v), 6) if rng.random() > 0.1 else None
                for v in rng.normal(size=2) + fault
            ]
            when = 1.7e9 + 60 * t - (150 if rng.random() < 0.03 else 0)
            rows.append(
                {
                    "timestamp": when,
                    "stream": f"host-{s}",
                    "cpu": cells[0],
                    "mem": cells[1],
                }
            )
    return rows


def over_json(
    bundle: Bundle, rows: Rows, poll: int, model: ModelSettings | None = None
) -> tuple[dict[int, float], list[str], list[bytes]]:
    """Score by row, status of each row, alerts."""
    recorder = PipelineRecorder()
    pipeline = build_pipeline(
        bundle,
        OnnxEngine(bundle),
        SETTINGS.tuning(),
        observer=recorder,
        zones=(model or ModelSettings()).zones(bundle),
    )
    pipeline.assign(P, Restored((), (), 0))
    decoder = feature_decoder(FORMATS["json"], bundle.feature_names)
    for start in range(0, len(rows), poll):
        values = [json.dumps(row).encode() for row in rows[start : start + poll]]
        raw = raw_batch(values, first=start, partition=P)
        pipeline.process([decoder.decode(raw)])
    status = [
        Phase(recorder.phases.get(i, Phase.DROPPED)).name.lower()
        for i in range(len(rows))
    ]
    return (
        recorder.scores,
        status,
        sorted(
            msgspec.json.encode(alert_body(a, Labelling())) for a in recorder.alerts
        ),
    )


def over_a_file(
    bundle: Bundle, data: Path, folder: Path, model: ModelSettings | None = None
) -> tuple[dict[int, float], list[str], list[bytes]]:
    replay(
        bundle,
        FileSource(data, bundle.feature_names),
        Outputs(folder / "scores.csv", folder / "alerts.ndjson"),
        SETTINGS,
        lambda done, total: None,
        model=model,
    )
    with (folder / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = {i: float(row["score"]) for i, row in enumerate(rows) if row["score"]}
    return (
        scores,
        [row["status"] for row in rows],
        sorted((folder / "alerts.ndjson").read_bytes().splitlines()),
    )


def write(rows: Rows, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("poll", [1, 37, 10_000])
def test_replay_raises_what_the_daemon_raises(
    bundle: Bundle, tmp_path: Path, poll: int
) -> None:
    rows = history()
    write(rows, tmp_path / "history.csv")
    ran = over_json(bundle, rows, poll)
    replayed = over_a_file(bundle, tmp_path / "history.csv", tmp_path)
    assert replayed[0] == pytest.approx(ran[0], rel=1e-4, abs=1e-5)
    assert replayed[1] == ran[1]
    assert set(ran[1]) == {"warming", "ok", "pending", "firing", "dropped"}
    assert replayed[2] == ran[2]
    assert len(ran[2]) >= 12


def test_a_history_cut_into_files_is_replayed_as_one(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = history()
    folder = tmp_path / "history"
    folder.mkdir()
    for number, start in enumerate(range(0, len(rows), 100)):
        write(rows[start : start + 100], folder / f"{number:03d}.csv")
    ran = over_json(bundle, rows, 64)
    replayed = over_a_file(bundle, folder, tmp_path)
    assert replayed[0] == pytest.approx(ran[0], rel=1e-4, abs=1e-5)
    assert replayed[1:] == ran[1:]


def test_replay_raises_what_the_daemon_raises_by_each_streams_wall_clock(
    tmp_path: Path,
) -> None:
    bundle = load_bundle(
        write_bundle(tmp_path / "bundle", by_the_hour=True, timezone="Europe/Berlin")
    )
    rows = history()
    write(rows, tmp_path / "history.csv")
    model = ModelSettings(
        timezones=(TimezoneSettings(streams="[45]$", zone="Asia/Kolkata"),)
    )
    ran = over_json(bundle, rows, 37, model)
    replayed = over_a_file(bundle, tmp_path / "history.csv", tmp_path, model)
    assert replayed[0] == pytest.approx(ran[0], rel=1e-4, abs=1e-5)
    assert replayed[1:] == ran[1:]
    in_utc, _, _ = over_json(bundle, rows, 37, ModelSettings(timezone="UTC"))
    later = {
        rows[i]["stream"]: round((ran[0][i] - in_utc[i]) * 10, 3)
        for i in ran[0]
        if rows[i]["timestamp"] < 1.7e9 + 600
    }
    # at 23:43 local, UTC 22:13; in Kolkata 03:43
    assert later == {f"host-{s}": 1.0 if s < 4 else -18.5 for s in range(6)}
