"""``training compare``: each incident is in both, only in A, or only in B."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import write_bundle, write_each_metric_bundle
from tests.unit.training.evaluation.test_evaluate import history, incident, labels
from training.cli import main as training
from training.evaluation.backtest import Incident
from training.evaluation.compare import pair


def split(
    a: list[Incident], b: list[Incident], tolerance: float = 10
) -> tuple[list[tuple[float, float]], list[float], list[float]]:
    found = pair(a, b, tolerance)
    return (
        [(x.starts_at, y.starts_at) for x, y in found.both],
        [x.starts_at for x in found.only_a],
        [y.starts_at for y in found.only_b],
    )


def test_incidents_pair_where_they_overlap_or_begin_close_together() -> None:
    assert split([incident(0, 100)], [incident(90, 95)]) == ([(0, 90)], [], [])
    assert split([incident(0, 5)], [incident(10, 15)]) == ([(0, 10)], [], [])
    assert split([incident(0, 5)], [incident(11, 15)]) == ([], [0], [11])
    assert split([incident(0, None)], [incident(1e6, 2e6)]) == ([(0, 1e6)], [], [])
    assert split([], [incident(1, 2)]) == ([], [], [1])


def test_a_long_incident_matches_one_event_the_nearest() -> None:
    assert split(
        [incident(100, 900)], [incident(0, 300), incident(110, 120), incident(800, 810)]
    ) == ([(100, 110)], [], [0, 800])


def test_the_same_bundle_differs_in_nothing_and_another_in_what_it_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = write_bundle(tmp_path / "a")
    deaf = write_bundle(tmp_path / "b", features=["mem"])
    data = history(tmp_path / "h.csv", label=False)
    intervals = labels(tmp_path / "l.csv")
    assert training(["compare", str(both), str(both), "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("only in") == 2
    assert f"only in {both}: 0" in shown.replace("\n", "")
    assert "in both: 4" in shown
    assert "VUS-PR" not in shown
    assert (
        training(
            [
                "compare",
                str(both),
                str(deaf),
                "--data",
                str(data),
                "--labels",
                str(intervals),
                "--budget",
                "0.1",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "VUS-PR" in shown
    assert "1970-01-01T01:41:00.000Z" in shown
    assert "3 of 4" in shown


def test_beside_a_bundle_of_whole_streams_metrics_are_laid_over_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = write_bundle(tmp_path / "a")
    each = write_each_metric_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv", label=False)
    intervals = labels(tmp_path / "l.csv")
    assert (
        training(
            [
                "compare",
                str(whole),
                str(each),
                "--data",
                str(data),
                "--labels",
                str(intervals),
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "in both: 4" in shown
    assert shown.count("3 of 4") == 2
    assert f"{each} scores each metric by itself" in shown
    assert training(["compare", str(each), str(each), "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "in both: 8" in shown  # metric by metric
    assert "by itself" not in shown


@pytest.mark.parametrize("stated", [None, "100"])
def test_the_streams_of_each_bundle_share_a_budget_of_the_fleet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stated: str | None,
) -> None:
    whole = str(write_bundle(tmp_path / "a"))
    each = str(write_each_metric_bundle(tmp_path / "b"))
    data = str(history(tmp_path / "h.csv"))
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", "12")
    if stated:  # no one number is that of streams and of their metrics
        monkeypatch.setenv("DETECTOR_ALERTING__FLEET_STREAMS", stated)
    assert training(["compare", whole, each, "--data", data]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("at 12 false alarms a week for the whole fleet")
    assert f"a stream-week 4 of {whole} and 2 of {each}:" in shown


def test_a_budget_that_is_named_replaces_that_of_the_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = str(write_bundle(tmp_path / "a"))
    data = str(history(tmp_path / "h.csv"))
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", "12")
    command = ["compare", bundle, bundle, "--data", data, "--budget", "3"]
    assert training(command) == 0
    assert capsys.readouterr().out.startswith("at 3 false alarms a stream-week:")


def test_the_bundle_in_the_package_can_be_a_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        training(
            [
                "compare",
                "builtin",
                str(write_bundle(tmp_path / "a")),
                "--data",
                str(history(tmp_path / "h.csv")),
            ]
        )
        == 0
    )
    assert "builtin scores each metric by itself" in capsys.readouterr().out


def test_a_bundle_that_the_data_can_t_feed_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write_bundle(tmp_path / "a")
    b = write_bundle(tmp_path / "b", features=["disk"])
    assert (
        training(
            ["compare", str(a), str(b), "--data", str(history(tmp_path / "h.csv"))]
        )
        == 2
    )
    assert "lacks the bundle's features disk" in capsys.readouterr().err
