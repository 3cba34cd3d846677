"""replay and the commands around it: one row out for each row in, and one sentence
where the operator must act.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from detector.cli.main import main
from tests.fakes import write_bundle


def history(path: Path) -> Path:
    rows = ["timestamp,stream,cpu,mem"]
    for t in range(100):
        rows.append(f"{60 * (t + 1)},a,{40 if 20 <= t < 25 else 0},0")
        rows.append(f"{60 * (t + 1)},b,0,")
    rows += ["60,a,1,1", "9999,b,,"]  # late; nothing in it
    path.write_text("\n".join(rows) + "\n")
    return path


def test_there_is_one_row_for_each_input_row_in_its_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    outputs = [
        "--scores",
        str(tmp_path / "s.csv"),
        "--alerts",
        str(tmp_path / "a.ndjson"),
    ]
    assert main(["replay", "--bundle", str(bundle), "--data", str(data), *outputs]) == 0
    with (tmp_path / "s.csv").open() as file:
        rows = list(csv.DictReader(file))
    with data.open() as file:
        assert [(r["timestamp"], r["stream"]) for r in rows] == [
            (r["timestamp"], r["stream"]) for r in csv.DictReader(file)
        ]
    assert [r["status"] for r in rows[:6]] == ["warming"] * 6
    assert [r["status"] for r in rows[38:44:2]] == ["ok", "firing", "firing"]
    assert [(r["status"], r["score"]) for r in rows[-2:]] == [("dropped", "")] * 2
    assert rows[42]["cpu"] == "1"
    alerts = [
        json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()
    ]
    assert [(a["status"], a["labels"]["stream"], a["startsAt"]) for a in alerts] == [
        ("firing", "a", "1970-01-01T00:21:00.000Z"),
        ("resolved", "a", "1970-01-01T00:21:00.000Z"),
    ]
    said = capsys.readouterr().out
    assert "200 scored, 2 dropped; 1 incidents, 1 resolved" in said
    assert "dropped: 1 no_features, 1 late" in said
    assert "no stream has a day of points" in said


def test_alerts_have_the_configured_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__LABELS", '{"team": "core"}')
    data = history(tmp_path / "h.csv")
    arguments = {
        "--bundle": write_bundle(tmp_path / "b"),
        "--data": data,
        "--scores": tmp_path / "s.csv",
        "--alerts": tmp_path / "a.ndjson",
    }
    flat = [str(part) for pair in arguments.items() for part in pair]
    assert main(["replay", *flat]) == 0
    lines = (tmp_path / "a.ndjson").read_text().splitlines()
    assert {json.loads(line)["labels"]["team"] for line in lines} == {"core"}


def test_rows_with_a_value_that_is_infinite_are_dropped_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "h.csv").write_text(
        "timestamp,stream,cpu,mem\n60,a,0,0\n120,a,inf,0\n180,a,0,-1e308\n240,a,0,0\n"
    )
    for bundle in (write_bundle(tmp_path / "b"), "builtin"):
        assert (
            main(
                [
                    "replay",
                    "--bundle",
                    str(bundle),
                    "--data",
                    str(tmp_path / "h.csv"),
                    "--scores",
                    str(tmp_path / "s.csv"),
                ]
            )
            == 0
        )
        with (tmp_path / "s.csv").open() as file:
            assert {
                row["timestamp"]
                for row in csv.DictReader(file)
                if row["status"] == "dropped"
            } == {"120", "180"}
        assert (
            f"dropped: {2 if bundle != 'builtin' else 4} infinite"
            in capsys.readouterr().out
        )


def test_what_is_explained_for_want_of_a_point_at_that_time_is_said_to_lie_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    command = [
        "replay",
        "--bundle",
        str(bundle),
        "--data",
        str(data),
        "--scores",
        str(tmp_path / "s.csv"),
        "--explain",
    ]
    for at, said in (("a@650", False), ("a@99999", True)):
        assert main([*command, at]) == 0
        assert (
            "has no point at 1970-01-02T03:46:39" in capsys.readouterr().out
        ) is said


def test_columns_that_are_no_features_of_the_bundle_change_nothing(
    tmp_path: Path,
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    head, *rows = data.read_text().splitlines()
    (tmp_path / "more.csv").write_text(
        "\n".join(
            [f"zone,{head},disk", *(f"east,{row},{t}" for t, row in enumerate(rows))]
        )
        + "\n"
    )
    for path, scores in (
        (data, tmp_path / "s.csv"),
        (tmp_path / "more.csv", tmp_path / "more-s.csv"),
    ):
        assert (
            main(
                [
                    "replay",
                    "--bundle",
                    str(bundle),
                    "--data",
                    str(path),
                    "--scores",
                    str(scores),
                ]
            )
            == 0
        )
    assert (tmp_path / "s.csv").read_text() == (tmp_path / "more-s.csv").read_text()


def test_the_budget_moves_the_level_without_training_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    scores = tmp_path / "s.csv"
    for budget, threshold in (("1", "4.80618"), ("10", "2.80618")):
        monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", budget)
        assert (
            main(
                [
                    "replay",
                    "--bundle",
                    str(bundle),
                    "--data",
                    str(data),
                    "--scores",
                    str(scores),
                ]
            )
            == 0
        )
        assert scores.read_text().splitlines()[1].split(",")[3] == threshold


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("time,stream,cpu,mem\n1,a,1,1\n", "no `timestamp` column"),
        ("timestamp,stream,cpu\n1,a,1\n", "lacks the bundle's features mem"),
        ("timestamp,stream,cpu,mem\n1,a,high,1\n", "'high'"),
        ("timestamp,stream,cpu,mem\nnoon,a,1,1\n", "'noon'"),
        ("timestamp,stream,cpu,mem\n1700000000000,a,1,1\n", "row 1"),
        ("timestamp,stream,cpu,mem\n1,,1,1\n", "the stream is empty"),
        ("timestamp,stream,cpu,mem\n", "has no rows"),
    ],
)
def test_data_that_cannot_be_read_is_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = tmp_path / "h.csv"
    data.write_text(content)
    assert (
        main(
            [
                "replay",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--scores",
                str(tmp_path / "s.csv"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert said in error
    assert "h.csv" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--scores", "--alerts"])
def test_what_is_written_never_replaces_the_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    before = data.read_bytes()
    outputs = {
        "--scores": str(tmp_path / "s.csv"),
        "--alerts": str(tmp_path / "a.ndjson"),
        option: str(data),
    }
    command = [
        "replay",
        "--bundle",
        str(bundle),
        "--data",
        str(data),
        *(part for pair in outputs.items() for part in pair),
    ]
    assert main(command) == 2
    assert "name another place" in capsys.readouterr().err
    assert data.read_bytes() == before


def test_run_without_a_topic_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run"]) == 2
    assert "DETECTOR_KAFKA__TOPICS" in capsys.readouterr().err


def test_a_point_is_explained_where_it_fired_and_where_it_did_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    command = [
        "replay",
        "--bundle",
        str(bundle),
        "--data",
        str(data),
        "--scores",
        str(tmp_path / "s.csv"),
        "--explain",
    ]
    for at, said in (
        (
            "1970-01-01T00:23:00Z",
            "It fires: the incident began at 1970-01-01T00:21:00Z",
        ),
        ("600", "It does not fire: the score is 4.81 under"),
        ("900", "cpu has stood at this value for 14 min"),
    ):
        assert main([*command, f"a@{at}"]) == 0
        assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("a", "name a stream and a time"),
        ("a@noon", "name a stream and a time"),
        ("a@1767691200000", "divide milliseconds by 1,000"),
        ("z@600", "h.csv holds no stream z: it holds a, b"),
        ("aa@600", "the nearest are a"),
        ("a@1", "a has no point"),
    ],
)
def test_what_cannot_be_explained_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], asked: str, said: str
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    assert (
        main(
            [
                "replay",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--scores",
                str(tmp_path / "s.csv"),
                "--explain",
                asked,
            ]
        )
        == 2
    )
    assert said in capsys.readouterr().err
