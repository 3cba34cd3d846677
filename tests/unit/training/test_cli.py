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
