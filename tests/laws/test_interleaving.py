"""Replay feeds streams side by side: however a file's rows lie, each stream comes to
the same, and what is written lies as the file does.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from detector.model.bundle import Bundle
from detector.replay import chunks as source_file
from detector.replay.replay import ExplainRequest, Summary, replay
from detector.timestamps import seconds
from tests.fakes import fake_bundle
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
    """In a stretch and in a poll."""
    monkeypatch.setattr(source_file, "STRETCH", request.param[0])
    monkeypatch.setattr(source_file, "POLL", request.param[1])


class Replayed:
    """What a replay of DATA wrote and said."""

    def __init__(
        self,
        bundle: Bundle,
        data: Path,
        folder: Path,
        asked: tuple[str, float] = ("host-1", 1.7e9),
    ) -> None:
        folder.mkdir()
        self.progress: list[tuple[int, int]] = []
        question = ExplainRequest(*asked)
        outputs = folder / "scores.csv", folder / "alerts.ndjson"
        self.summary: Summary = replay(
            bundle,
            data,
            *outputs,
            SETTINGS,
            lambda done, total: self.progress.append((done, total)),
            question,
        )
        self.answer = question.answer
        with outputs[0].open() as file:
            self.scores: Lines = list(csv.reader(file))[1:]
        self.alerts: list[dict[str, Any]] = [
            json.loads(line) for line in outputs[1].read_text().splitlines()
        ]

    def by_stream(self) -> tuple[dict[str, Lines], dict[str, list[dict[str, Any]]]]:
        streams = {row[0] for row in self.scores}
        alerts = {
            name: [a for a in self.alerts if a["labels"]["stream"] == name]
            for name in streams
        }
        return {
            name: [row for row in self.scores if row[0] == name] for name in streams
        }, alerts

    def raised_by(self) -> list[int]:
        """The row of each alert."""
        rows = {
            (row[0], float(row[1])): i
            for i, row in enumerate(self.scores)
            if row[4] != "dropped"
        }
        return [
            rows[a["labels"]["stream"], seconds(a["annotations"]["at"])]
            for a in self.alerts
        ]


def uneven() -> Rows:
    """Streams of which one begins late, one has a quarter of the others' points, and
    one says some of them twice.
    """
    rows = history()
    rows = [
        r
        for i, r in enumerate(rows)
        if (r["stream"] != "host-1" or i > len(rows) / 2)
        and (r["stream"] != "host-2" or i % 24 == 2)
    ]
    return [
        again
        for i, r in enumerate(rows)
        for again in (
            [r, {**r, "cpu": 99.0}] if r["stream"] == "host-3" and i % 7 == 0 else [r]
        )
    ]


def by_stream(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: str(row["stream"]))


@pytest.mark.usefixtures("rows_at_once")
def test_rows_sorted_by_stream_come_to_what_they_do_sorted_by_time(
    bundle: Bundle, tmp_path: Path
) -> None:
    write(uneven(), tmp_path / "by-time.csv")
    write(by_stream(uneven()), tmp_path / "by-stream.csv")
    one, other = (
        Replayed(bundle, tmp_path / f"{name}.csv", tmp_path / name)
        for name in ("by-time", "by-stream")
    )
    assert other.by_stream() == one.by_stream()
    assert other.summary == one.summary
    assert other.summary.dropped.keys() == {"no_features", "late", "duplicate"}
    assert other.summary.fired >= 10


@pytest.mark.usefixtures("rows_at_once")
def test_a_file_for_each_stream_comes_to_what_one_file_does(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = by_stream(uneven())
    write(rows, tmp_path / "one.csv")
    (tmp_path / "files").mkdir()
    for name in sorted({row["stream"] for row in rows}):
        write(
            [row for row in rows if row["stream"] == name],
            tmp_path / "files" / f"{name}.csv",
        )
    one = Replayed(bundle, tmp_path / "one.csv", tmp_path / "a")
    other = Replayed(bundle, tmp_path / "files", tmp_path / "b")
    assert (other.scores, other.alerts, other.summary) == (
        one.scores,
        one.alerts,
        one.summary,
    )


@pytest.mark.usefixtures("rows_at_once")
def test_what_is_written_lies_as_the_rows_that_it_is_of(
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


@pytest.mark.usefixtures("rows_at_once")
@pytest.mark.parametrize(
    ("place", "said"),
    [
        (lambda row, status: status == "firing", "It fires"),
        (
            lambda row, status: row["cpu"] is None and row["mem"] is None,
            "it was not scored",
        ),
    ],
    ids=["fired", "dropped"],
)
def test_a_point_is_explained_wherever_it_lies(
    bundle: Bundle, tmp_path: Path, place: Any, said: str
) -> None:
    rows = by_stream(uneven())
    write(rows, tmp_path / "rows.csv")
    status = [
        row[4]
        for row in Replayed(bundle, tmp_path / "rows.csv", tmp_path / "first").scores
    ]
    asked = [
        r
        for r, s in zip(rows, status, strict=True)
        if r["stream"] == "host-4" and place(r, s)
    ][-1]
    answer = Replayed(
        bundle,
        tmp_path / "rows.csv",
        tmp_path / "second",
        ("host-4", asked["timestamp"]),
    ).answer
    assert answer.startswith("host-4 at ")
    assert said in answer


def test_streams_of_a_sorted_file_are_stepped_together(
    bundle: Bundle, tmp_path: Path
) -> None:
    rows = [
        {"timestamp": 60.0 * t, "stream": f"host-{s}", "cpu": 0.5, "mem": 0.5}
        for s in range(9)
        for t in range(1, 31)
    ]
    write(rows, tmp_path / "rows.csv")
    (stretch,) = source_file.FileSource(
        tmp_path / "rows.csv", bundle.feature_names
    ).chunks()
    (poll,) = stretch.polls()
    assert [list(poll.names[i : i + 9]) for i in range(0, len(rows), 9)] == [
        [f"host-{s}" for s in range(9)]
    ] * 30
    assert [
        rows[i]["timestamp"] for i in stretch.rows(poll.offsets).tolist()
    ] == poll.times.tolist()


def test_a_stretch_of_wide_rows_is_shorter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_file, "CELLS", 20)
    write(
        [
            {"timestamp": 60.0 * t, "stream": "a", "cpu": 0.5, "mem": 0.5}
            for t in range(1, 26)
        ],
        tmp_path / "rows.csv",
    )
    found = list(source_file.FileSource(tmp_path / "rows.csv", ("mem", "cpu")).chunks())
    assert [(s.first, len(s)) for s in found] == [(0, 10), (10, 10), (20, 5)]
