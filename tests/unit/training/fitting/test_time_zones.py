"""A fit in a zone: the hour of every row is that of the wall, from the first pass over
it to the comparison with another bundle.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import Tensor

from detector.alerting.policy import AlertTuning
from detector.model.bundle import Bundle, load_bundle
from detector.model.local_time import UTC
from detector.model.onnx_engine import OnnxEngine
from detector.model.settings import ModelSettings, zones_of
from detector.settings.alerting import AlertingSettings
from tests.fakes import write_bundle
from training.cli import main as training
from training.evaluation.backtest import backtest, rows_by_stream, tables_for
from training.evaluation.cases import find_cases
from training.evaluation.gate import Candidate, Comparison, compare_candidates
from training.fitting import build_bundle as build
from training.fitting.candidate import tail_fitter
from training.fitting.export import AnyStep, verify
from training.history.history import History, load_history, split
from training.models.network_input import channels
from training.models.surprise import Front
from training.models.walk import score_history

KOLKATA = 5.5 * 3600  # ahead of UTC, all the year round


def history(path: Path, ahead: float = 0.0) -> Path:
    """Two streams of one metric, a point every quarter of an hour, with the rhythm of a
    day; ``ahead`` moves their timestamps.
    """
    rng = np.random.default_rng(3)
    lines = ["timestamp,stream,cpu"]
    for name in ("a", "b"):
        for t in range(700):
            time = 1_767_225_600 + 900 * t + ahead
            value = 5 + np.sin(2 * np.pi * t / 96) + rng.normal(0, 0.1)
            lines.append(f"{time:.0f},{name},{value:.5g}")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def there(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Rows of a zone."""
    return replace(
        load_history(history(tmp_path_factory.mktemp("there") / "h.csv"), 0.6),
        zones=zones_of("Asia/Kolkata"),
    )


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> History:
    """The same, with the timestamps that its wall clock shows."""
    return load_history(
        history(tmp_path_factory.mktemp("here") / "h.csv", KOLKATA), 0.6
    )


@pytest.fixture(scope="module")
def by_the_hour(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(
        write_bundle(tmp_path_factory.mktemp("bundle"), ["cpu"], by_the_hour=True)
    )


def test_the_network_learns_hours_in_local_time(there: History, here: History) -> None:
    front = Front(()).eval()
    zoned, plain, wrong = (
        channels(h, [300, 300], front) for h in (there, here, replace(there, zones=UTC))
    )
    np.testing.assert_array_equal(zoned, plain)
    assert np.abs(np.array(zoned) - np.array(wrong)).max() > 0.1


def test_rows_are_walked_in_local_time(
    there: History, here: History, by_the_hour: Bundle
) -> None:
    first = np.repeat(by_the_hour.initial[None], 2, axis=0)
    zoned, plain, wrong = (
        score_history(OnnxEngine(by_the_hour), h, first).scores
        for h in (there, here, replace(there, zones=UTC))
    )
    np.testing.assert_array_equal(zoned, plain)
    assert np.abs(np.array(zoned) - np.array(wrong)).max() > 0.5


def test_candidates_are_compared_in_local_time(
    there: History, here: History, by_the_hour: Bundle
) -> None:
    candidates = [
        Candidate(
            name,
            OnnxEngine(by_the_hour),
            np.repeat(by_the_hour.initial[None], 2, axis=0),
            tail_fitter(AlertTuning(), None),
        )
        for name in ("one", "other")
    ]

    def tried(of: History) -> Comparison:
        parts = [split(len(s), 0.4, 0.1) for s in of.series]
        found = find_cases(of, parts, seed=0)
        assert found is not None
        return compare_candidates(of, parts, found, candidates, AlertTuning(), seed=0)

    assert tried(there) == tried(here)
    assert tried(there) != tried(replace(there, zones=UTC))


def test_an_export_is_verified_in_local_time(
    there: History, by_the_hour: Bundle
) -> None:
    hours = []

    def step(x: Tensor, clock: Tensor, state: Tensor) -> tuple[Tensor]:
        hours.append(float(clock[0, 1]) / 3600)
        return (
            torch.from_numpy(
                OnnxEngine(by_the_hour)
                .step(x.numpy(), clock.numpy(), state.numpy())
                .score
            ),
        )

    verify(by_the_hour.path, cast(AnyStep, step), there, {"a": 5, "b": 5})
    assert hours[:2] == [6.75, 7.0]  # from 01:15 UTC on


def test_the_zone_of_a_fit_is_kept_and_goes_through_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[History] = []

    def spied(stage: Path, step: AnyStep, of: History, first: dict[str, int]) -> float:
        fitted.append(of)
        return verify(stage, step, of, first)

    monkeypatch.setattr(build, "verify", spied)
    (tmp_path / "fit.toml").write_text(
        'timezone = "Europe/Berlin"\ndetector = "ewma"\n'
    )
    command = [
        "fit",
        "--data",
        str(history(tmp_path / "h.csv")),
        "--config",
        str(tmp_path / "fit.toml"),
    ]
    assert (
        training([*command, "--out", str(tmp_path / "b"), "--timezone", "Asia/Kolkata"])
        == 0
    )
    assert load_bundle(tmp_path / "b").manifest.timezone == "Asia/Kolkata"
    assert [float(of.local_times(np.zeros(1))[0]) for of in fitted] == [KOLKATA]


def test_an_unknown_zone_is_named_with_its_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        training(
            [
                "fit",
                "--data",
                "x",
                "--out",
                str(tmp_path / "b"),
                "--timezone",
                "Europe/Atlantis",
            ]
        )
        == 2
    )
    assert (
        "timezone: 'Europe/Atlantis' is not a time zone: "
        "use a name such as Europe/Berlin" in capsys.readouterr().err
    )


def test_a_bundle_is_judged_in_its_own_zone_unless_another_is_set(
    tmp_path: Path,
) -> None:
    data = history(tmp_path / "h.csv")

    def hours(timezone: str, model: ModelSettings | None) -> float:
        """That the clock of these streams is ahead."""
        bundle = load_bundle(
            write_bundle(tmp_path / "b", ["cpu"], by_the_hour=True, timezone=timezone)
        )
        found = backtest(
            bundle,
            rows_by_stream(tables_for(data, bundle), ["cpu"]),
            [AlertingSettings()],
            lambda rows: None,
            model,
        )
        plain = load_bundle(write_bundle(tmp_path / "b", ["cpu"], by_the_hour=True))
        return (
            float(
                found[0].scores[1]
                - backtest(
                    plain,
                    rows_by_stream(tables_for(data, plain), ["cpu"]),
                    [AlertingSettings()],
                    lambda rows: None,
                )[0].scores[1]
            )
            * 10
        )

    assert hours("Asia/Kolkata", None) == pytest.approx(5.5, abs=1e-4)
    assert hours(
        "Asia/Kolkata", ModelSettings(timezone="Europe/Berlin")
    ) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("command", ["compare", "evaluate"])
def test_the_setting_reaches_the_commands_that_judge(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
) -> None:
    bundle = write_bundle(tmp_path / "b", ["cpu"], timezone="Mars/Olympus")
    data = history(tmp_path / "h.csv")
    (tmp_path / "l.csv").write_text("stream,start,end\na,1767240000,1767250000\n")
    arguments = (
        ["compare", str(bundle), str(bundle)]
        if command == "compare"
        else ["evaluate", "--bundle", str(bundle)]
    )
    arguments += ["--data", str(data), "--labels", str(tmp_path / "l.csv")]
    assert training(arguments) == 2
    assert "DETECTOR_MODEL__TIMEZONE" in capsys.readouterr().err
    monkeypatch.setenv("DETECTOR_MODEL__TIMEZONE", "UTC")
    assert training(arguments) == 0
