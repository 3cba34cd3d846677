"""The commands of training: which there are, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.cli import compare, main
from training.evaluation.compare import TOLERANCE


def test_the_module_offers_the_commands_of_training(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert "Usage: python -m training" in shown
    assert "  fit  " in shown
    assert "  run  " not in shown


def test_the_tolerance_of_compare_is_that_of_the_comparison() -> None:
    (option,) = [p for p in compare.params if p.name == "tolerance"]
    assert option.default == TOLERANCE


@pytest.mark.parametrize("budget", ["0", "-1", "one", "nan", "10001"])
def test_a_budget_out_of_range_is_refused(
    capsys: pytest.CaptureFixture[str], budget: str
) -> None:
    command = ["compare", "a", "b", "--data", "d.csv", f"--budget={budget}"]
    assert main(command) == 2
    assert f"{budget!r} is not a budget" in capsys.readouterr().err


@pytest.mark.parametrize("ticks", ["nan", "inf", "-1", "some"])
def test_a_tolerance_that_is_no_number_of_ticks_is_refused(
    capsys: pytest.CaptureFixture[str], ticks: str
) -> None:
    command = ["compare", "a", "b", "--data", "d.csv", f"--tolerance={ticks}"]
    assert main(command) == 2
    assert f"{ticks!r} is not a number of ticks" in capsys.readouterr().err


@pytest.mark.parametrize("force", [[], ["--force"]])
@pytest.mark.parametrize("place", ["{here}/file", "{here}/file/deep", "/proc/x"])
def test_fit_refuses_a_place_without_room_for_a_bundle(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str, force: list[str]
) -> None:
    (tmp_path / "file").touch()
    out = f"{place.format(here=tmp_path)}/b"
    assert main(["fit", "--data", "d.csv", "--out", out, *force]) == 2
    shown = capsys.readouterr().err
    assert f"--out {out}: no directory can be made in" in shown
    assert "name a place that this user may write to" in shown


def test_a_fit_that_finds_no_data_leaves_no_directory(tmp_path: Path) -> None:
    out = tmp_path / "new" / "deep" / "b"
    assert main(["fit", "--data", str(tmp_path / "no.csv"), "--out", str(out)]) == 2
    assert not list(tmp_path.iterdir())


def test_an_interrupt_of_fit_says_that_nothing_was_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("training.history.history.load_history", interrupted)
    out = tmp_path / "bundle"
    assert main(["fit", "--data", "d.csv", "--out", str(out)]) == 130
    assert "interrupted; nothing was written" in capsys.readouterr().err
    assert not out.exists()
