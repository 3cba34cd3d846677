"""A fit against the plain baselines: the table is kept, a network that is worse is not
written, and labels count where there are enough.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.alerting.policy import AlertTuning
from detector.model.onnx_engine import OnnxEngine
from detector.model.tail import TailFit
from training.evaluation.at_budget import AtBudget, FitTail
from training.evaluation.cases import Basis, find_cases, why_no_cases
from training.evaluation.gate import (
    Candidate,
    Comparison,
    Result,
    compare_candidates,
)
from training.evaluation.interval import Interval
from training.evaluation.metrics import average_precision
from training.fitting.candidate import (
    open_graph,
    tail_fitter,
)
from training.fitting.export import graph
from training.history.history import History, Split, load_history, split
from training.history.labels import marked
from training.models.baselines import (
    AnyBaseline,
    Baseline,
    baseline,
    first_rows,
)
from training.models.walk import score_history
from training.settings import FitSettings
from training.synthetic.faults import KINDS


def rhythm(path: Path, label: bool = False, streams: str = "ab") -> Path:
    """Streams whose metrics ride one slow wave; with ``label``, the last rows hold a
    marked jump.
    """
    rng = np.random.default_rng(0)
    lines = ["timestamp,stream,cpu,mem,io" + (",label" if label else "")]
    for name in streams:
        wave = np.sin(np.arange(1400) / 90)
        for t, w in enumerate(wave):
            bad = 1300 <= t < 1310
            x = 50 + 20 * w + rng.normal(0, 0.5, 3) + (200 if label and bad else 0)
            lines.append(
                f"{1_700_000_000 + 60 * t},{name},"
                + ",".join(f"{v:.5g}" for v in x)
                + (f",{int(bad)}" if label else "")
            )
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    return load_history(rhythm(tmp_path_factory.mktemp("rhythm") / "h.csv"), 0.6)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> History:
    path = tmp_path_factory.mktemp("labelled") / "h.csv"
    return load_history(rhythm(path, label=True, streams="abcde"), 0.6)


@pytest.fixture(scope="module", params=["gaussian", "pca"])
def plain(request: pytest.FixtureRequest, labelled: History) -> Candidate:
    return candidate(
        request.param, baseline(request.param, labelled, FitSettings()), labelled
    )


def candidate(name: str, step: AnyBaseline, history: History) -> Candidate:
    return Candidate(
        name,
        open_graph(graph(step), history, step.layout.size),
        first_rows(step, history),
        tail_fitter(AlertTuning(), None),
    )


def splits(history: History) -> list[Split]:
    return [split(len(s), 0.6, 0.15) for s in history.series]


def held(history: History, *candidates: Candidate) -> Comparison:
    cases = find_cases(history, splits(history), seed=0)
    assert cases is not None
    return compare_candidates(
        history, splits(history), cases, candidates, AlertTuning(), seed=0
    )


def test_a_detector_that_forgets_everything_is_worse(
    history: History,
) -> None:
    sound = candidate("pca", baseline("pca", history, FitSettings()), history)
    forgetful = candidate("forgetful", Baseline(3, 1.0, float("inf"), None), history)
    outcome = held(history, forgetful, sound)
    assert (outcome.basis, outcome.streams) == ("faults", 2)
    assert set(outcome.results[0].by_kind) == set(KINDS)
    assert outcome.worse
    assert "is worse than the best baseline, pca" in outcome.sentence
    assert "is better than" in held(history, sound, forgetful).sentence
    alike = held(history, sound, sound)
    assert not alike.worse
    assert "is on a par with" in alike.sentence
    assert held(history, forgetful, sound) == outcome


def test_labels_are_what_counts_where_there_are_enough(
    labelled: History, plain: Candidate
) -> None:
    outcome = held(labelled, plain, plain)
    assert (outcome.basis, outcome.streams, outcome.cases) == ("labels", 5, 5)
    assert outcome.results[0].told.told_events == 5
    assert outcome.results[0].auc_pr > 0.8


def test_labels_of_a_few_streams_decide_nothing_and_faults_are_made(
    tmp_path: Path,
) -> None:
    path = rhythm(tmp_path / "h.csv", label=True, streams="abcd")
    few = load_history(path, 0.6)
    cases = find_cases(few, splits(few), seed=0)
    assert cases is not None
    assert cases.basis == "faults"
    assert cases.why == (
        "only 4 streams have labels in the held-out rows, which is too few to judge "
        "by: faults made in 4 streams judge instead"
    )


def test_faults_of_a_stream_do_not_depend_on_the_units_of_another(
    tmp_path: Path,
) -> None:
    """Beside a stream in bytes, a percentage is still one."""
    found = []
    for unit in (1, 1_048_576):
        lines = rhythm(tmp_path / "h.csv").read_text().splitlines()
        cells = [line.split(",") for line in lines]
        for row in cells[1:]:
            if row[1] == "b":
                row[2:] = [f"{float(cell) * unit:.7g}" for cell in row[2:]]
        text = "\n".join(",".join(row) for row in cells)
        (tmp_path / "h.csv").write_text(text + "\n")
        history = load_history(tmp_path / "h.csv", 0.6)
        cases = find_cases(history, splits(history), seed=0)
        assert cases is not None
        found.append([c.rows.values for c in cases.cases if c.number == 0])
    np.testing.assert_array_equal(found[0], found[1])


def result(name: str, vus: float, told: int, false_alarms: int = 0) -> Result:
    at = AtBudget(
        budget=1.0,
        threshold=5.0,
        told=(),
        events=100,
        told_events=told,
        false_alarms=false_alarms,
        weeks=10.0,
    )
    return Result(name, vus, vus, at, {})


def outcome(lead: Interval, told_lead: Interval, basis: Basis = "labels") -> Comparison:
    own = result("lstm", 0.4, 50)
    rival = result("pca", 0.4 - lead.mean, 50)
    return Comparison(
        basis=basis,
        why="",
        streams=9,
        cases=9,
        results=(own, rival),
        best_baseline=rival,
        lead=lead,
        told_lead=told_lead,
    )


LOWER = Interval(-0.04, -0.06, -0.02, "streams")
UNSURE = Interval(-0.04, -0.09, 0.01, "streams")
HIGHER = Interval(0.04, 0.02, 0.06, "streams")
ALIKE = Interval(0.0, -0.02, 0.02, "streams")


def test_better_and_worse_are_said_only_if_the_interval_says_so() -> None:
    assert outcome(LOWER, ALIKE).worse
    assert not outcome(UNSURE, ALIKE).worse
    assert outcome(HIGHER, ALIKE).better
    assert not outcome(UNSURE, ALIKE).better
    said = outcome(UNSURE, ALIKE).sentence
    assert "is on a par with" in said
    assert "-0.040, 95% interval over streams -0.090 to +0.010, which has 0" in said


def test_made_faults_must_show_more_than_labels() -> None:
    assert not outcome(LOWER, ALIKE, "faults").worse


def test_what_ranks_lower_but_tells_more_is_not_worse() -> None:
    assert not outcome(LOWER, HIGHER).worse
    assert outcome(LOWER, LOWER).worse
    assert not outcome(HIGHER, LOWER).better


def test_what_exceeds_the_budget_is_not_the_best_baseline(history: History) -> None:
    sound = candidate("pca", baseline("pca", history, FitSettings()), history)
    plain = candidate("ewma", baseline("ewma", history, FitSettings()), history)

    def at(threshold: float) -> FitTail:
        return lambda scores, ticks: TailFit((threshold,), (0.5,), -1.0, 1.0)

    loud = replace(sound, fit_tail=at(1.0))
    quiet = replace(plain, fit_tail=at(50.0))
    hasty = AlertTuning(min_gap=1.0, cooldown_ticks=0.0, clear_steps=1, hysteresis=0.0)
    cases = find_cases(history, splits(history), seed=0)
    assert cases is not None
    found = compare_candidates(
        history, splits(history), cases, [quiet, loud, quiet], hasty, seed=0
    )
    exceeding = {r.name: r.told.exceeds for r in found.results}
    assert exceeding == {"ewma": False, "pca": True}
    assert found.best_baseline.name == "ewma"
    assert found.results[1].vus_pr > found.results[2].vus_pr


def test_a_candidate_arrives_at_the_held_out_rows_as_the_daemon_would(
    labelled: History, plain: Candidate
) -> None:
    assert isinstance(plain.engine, OnnxEngine)
    walked = score_history(plain.engine, labelled, plain.first)
    wanted = [
        average_precision(
            scores[part.calibration :],
            marked(series.times, labelled.labels[series.name])[part.calibration :],
        )
        for series, scores, part in zip(
            labelled.series, walked.scores, splits(labelled), strict=True
        )
    ]
    assert held(labelled, plain, plain).results[0].auc_pr == pytest.approx(
        np.mean(wanted), abs=1e-6
    )


def test_too_few_rows_are_not_compared(tmp_path: Path) -> None:
    path = rhythm(tmp_path / "h.csv")
    path.write_text("\n".join(path.read_text().splitlines()[:900]) + "\n")
    history = load_history(path, 0.6)
    assert find_cases(history, splits(history), seed=0) is None
    assert (
        why_no_cases(history, splits(history))
        == "no labels in the held-out rows, and at most 225 held-out rows in a stream: "
        "made faults need 300"
    )


def test_the_reason_is_that_nothing_moves_and_not_too_few_rows(
    tmp_path: Path,
) -> None:
    lines = [
        f"{60 * t + 60},a,{t % 7 if t < 900 else 3},{int(t >= 900)}"
        for t in range(1400)
    ]
    (tmp_path / "h.csv").write_text(
        "\n".join(["timestamp,stream,cpu,label", *lines]) + "\n"
    )
    history = load_history(tmp_path / "h.csv", 0.6)
    assert find_cases(history, splits(history), seed=0) is None
    said = why_no_cases(history, splits(history))
    assert said.startswith(
        "the labels mark all held-out rows of a stream or none, and no metric moves"
    )
