"""Replay interleaves streams: however a file is sorted, each stream has the same
result, and the output keeps the order of the input.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detector.events import Phase
from detector.model.bundle import Bundle
from detector.model.onnx_engine import OnnxEngine
from detector.replay import chunks
from detector.replay.chunks import FileSource
from detector.replay.explain_point import ExplainRequest, explain
from detector.replay.offline import offline_pipeline
from detector.replay.replay import Outputs, Summary, replay
from detector.timestamps import seconds
from tests.fakes import PipelineRecorder, fake_bundle
from tests.laws.test_replay_equals_run import SETTINGS, Rows, history, write

Lines = list[list[str]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return fake_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(
    params=[(1 << 20, 1 << 14), (100, 7), (1, 1)], ids=["whole", "parted", "row by row"]
)
def rows_at_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a chunk and in a poll."""
    monkeypatch.setattr(chunks, "CHUNK", request.param[0])
    monkeypatch.setattr(chunks, "POLL", request.param[1])


class Replayed:
    """What a replay wrote and returned."""

    def __init__(self, bundle: Bundle, data: Path, folder: Path) -> None:
        folder.mkdir()
        self.progress: list[tuple[int, int]] = []
        scores = folder / "scores.csv"
        alerts = folder / "alerts.ndjson"
        self.summary: Summary = replay(
            bundle,
            FileSource(data, bundle.feature_names),
            Outputs(scores, alerts),
            SETTINGS,
            lambda done, total: self.progress.append((done, total)),
        )
        with scores.open() as file:
            self.scores: Lines = list(csv.reader(file))[1:]
        self.alerts: list[dict[str, Any]] = [
            json.loads(line) for line in alerts.read_text().splitlines()
        ]

    def by_stream(self) -> dict[str, tuple[Lines, list[dict[str, Any]]]]:
        """The rows and alerts of each stream."""
        found: dict[str, tuple[Lines, list[dict[str, Any]]]] = {}
        for row in self.scores:
            found.setdefault(row[0], ([], []))[0].append(row)
        for alert in self.alerts:
            found[alert["labels"]["stream"]][1].append(alert)
        return found

    def raised_by(self) -> list[int]:
        """The row of each alert."""
        rows = {
            (row[0], float(row[1])): i
            for i, row in enumerate(self.scores)
            if row[4] != "dropped"
        }
        return [
            rows[alert["labels"]["stream"], seconds(alert["annotations"]["at"])]
            for alert in self.alerts
        ]


def uneven() -> Rows:
    """One stream begins late, one is sparse, and one repeats some timestamps."""
    rows: Rows = []
    every = history()
    for i, row in enumerate(every):
        if row["stream"] == "host-1" and i <= len(every) / 2:
            continue
        if row["stream"] == "host-2" and i % 24 != 2:
            continue
        rows.append(row)
        if row["stream"] == "host-3" and (len(rows) - 1) % 7 == 0:
            rows.append(dict(row))
    return rows


def by_stream(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: str(row["stream"]))


@pytest.mark.usefixtures("rows_at_once")
def test_the_order_of_rows_changes_no_result(bundle: Bundle, tmp_path: Path) -> None:
    write(uneven(), tmp_path / "by-time.csv")
    write(by_stream(uneven()), tmp_path / "by-stream.csv")
    one = Replayed(bundle, tmp_path / "by-time.csv", tmp_path / "by-time")
    other = Replayed(bundle, tmp_path / "by-stream.csv", tmp_path / "by-stream")
    assert other.by_stream() == one.by_stream()
    assert other.summary == one.summary
    assert other.summary.dropped.keys() == {"no_features", "late", "duplicate"}
    assert other.summary.fired >= 10


@pytest.mark.usefixtures("rows_at_once")
def test_a_file_for_each_stream_equals_one_file(bundle: Bundle, tmp_path: Path) -> None:
    rows = by_stream(uneven())
    write(rows, tmp_path / "one.csv")
    (tmp_path / "files").mkdir()
    for name in sorted({row["stream"] for row in rows}):
        own = [row for row in rows if row["stream"] == name]
        write(own, tmp_path / "files" / f"{name}.csv")
    one = Replayed(bundle, tmp_path / "one.csv", tmp_path / "a")
    other = Replayed(bundle, tmp_path / "files", tmp_path / "b")
    assert other.scores == one.scores
    assert other.alerts == one.alerts
    assert other.summary == one.summary


@pytest.mark.usefixtures("rows_at_once")
def test_scores_and_alerts_keep_the_order_of_the_rows(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = by_stream(uneven())
    write(rows, tmp_path / "rows.csv")
    found = Replayed(bundle, tmp_path / "rows.csv", tmp_path / "out")
    assert [(row[0], float(row[1])) for row in found.scores] == [
        (row["stream"], row["timestamp"]) for row in rows
    ]
    raised_by = found.raised_by()
    assert raised_by == sorted(raised_by)
    assert len({rows[i]["stream"] for i in raised_by}) > 3
    done = [done for done, _ in found.progress]
    assert done == sorted(set(done))
    assert found.progress[-1] == (len(rows), len(rows))


@pytest.mark.parametrize("rows_at_once", [(100, 7)], indirect=True)
@pytest.mark.usefixtures("rows_at_once")
def test_a_point_is_explained_as_a_replay_of_all_streams_decides_it(
    bundle: Bundle, tmp_path: Path
) -> None:
    write(uneven(), tmp_path / "rows.csv")
    source = FileSource(tmp_path / "rows.csv", bundle.feature_names)
    recorder = PipelineRecorder()
    engine = OnnxEngine(bundle)
    tuning = SETTINGS.tuning()
    whole = offline_pipeline(bundle, engine, tuning, recorder, probe_engine=engine)
    explained = set[Phase]()
    for chunk in source.chunks():
        for poll in chunk.polls():
            whole.process([poll])
        offsets = np.arange(chunk.first, chunk.first + len(chunk))
        rows = chunk.rows(offsets)
        for offset, row in zip(offsets.tolist(), rows.tolist(), strict=True):
            name = chunk.names[int(chunk.stream[row])]
            if name != "host-4" or offset not in recorder.scores:
                continue
            if recorder.phases[offset] == Phase.OK and offset % 4:
                continue  # most points are quiet, and a quarter of them will do
            request = ExplainRequest(name, float(chunk.times[row]))
            answer = explain(request, bundle, source, tuning)
            phase = Phase(recorder.phases[offset])
            explained.add(phase)
            assert f"Score {recorder.scores[offset]:.2f}:" in answer
            assert f"Threshold {recorder.thresholds[offset]:.2f}:" in answer
            assert ("It fires" in answer) == (phase is Phase.FIRING)
    assert explained == {Phase.WARMING, Phase.OK, Phase.PENDING, Phase.FIRING}


def test_a_row_without_a_value_is_explained_as_not_scored(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = uneven()
    write(rows, tmp_path / "rows.csv")
    empty = next(row for row in rows if row["cpu"] is None and row["mem"] is None)
    source = FileSource(tmp_path / "rows.csv", bundle.feature_names)
    request = ExplainRequest(empty["stream"], empty["timestamp"])
    answer = explain(request, bundle, source, SETTINGS.tuning())
    assert answer.startswith(f"{empty['stream']} at ")
    assert "it was not scored" in answer


def test_streams_of_a_sorted_file_are_stepped_together(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = [
        {"timestamp": 60.0 * t, "stream": f"host-{s}", "cpu": 0.5, "mem": 0.5}
        for s in range(9)
        for t in range(1, 31)
    ]
    write(rows, tmp_path / "rows.csv")
    source = FileSource(tmp_path / "rows.csv", bundle.feature_names)
    (chunk,) = source.chunks()
    (poll,) = chunk.polls()
    waves = [list(poll.names[i : i + 9]) for i in range(0, len(rows), 9)]
    assert waves == [[f"host-{s}" for s in range(9)]] * 30
    times = [rows[i]["timestamp"] for i in chunk.rows(poll.offsets).tolist()]
    assert times == poll.times.tolist()


def test_a_chunk_of_wide_rows_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "CELLS", 20)
    rows = [
        {"timestamp": 60.0 * t, "stream": "a", "cpu": 0.5, "mem": 0.5}
        for t in range(1, 26)
    ]
    write(rows, tmp_path / "rows.csv")
    found = list(FileSource(tmp_path / "rows.csv", ("mem", "cpu")).chunks())
    assert [(chunk.first, len(chunk)) for chunk in found] == [
        (0, 10),
        (10, 10),
        (20, 5),
    ]
