"""``training evaluate``: the daemon's own alerts against labels, and a sentence where
labels and data don't meet.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from detector.cli.main import main as detector
from detector.data.wide import read_tables
from detector.model.bundle import load_bundle
from detector.settings.alerting import AlertingSettings
from detector.timestamps import rfc3339
from tests.fakes import write_bundle, write_each_metric_bundle
from training.cli import main as training
from training.evaluation import evaluate as evaluation
from training.evaluation.backtest import (
    Incident,
    at_budgets,
    backtest,
    rows_by_stream,
)
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.matching import match_events

BUDGETS = (0.1, 1.0, 10.0)
# ticks; the second of a's leaves no trace
EVENTS = {"a": [(20, 24), (110, 111), (240, 250)], "b": [(80, 84)]}


def history(
    path: Path, label: bool = True, ticks: int = 320, by_stream: bool = False
) -> Path:
    """Streams that rest at 0 but for jumps: all of EVENTS but one, and one in stream c
    that nobody labelled.
    """
    head = "timestamp,stream,cpu,mem" + (",label" if label else "")
    rows = []
    for name in "abc":
        for t in range(ticks):
            marked = any(a <= t <= b for a, b in EVENTS.get(name, []))
            jump = (marked and not 110 <= t <= 111) or (name == "c" and 100 <= t < 106)
            mem = "" if t % 17 == 0 else f"{3 * jump * (t % 5)}"
            rows.append(
                (
                    t if not by_stream else 0,
                    f"{60 * (t + 1)},{name},{40 * jump},{mem}"
                    + (f",{int(marked)}" if label else ""),
                )
            )
    rows.sort(key=lambda row: row[0])
    # late; nothing in it
    late = ["60,a,9,9" + (",0" if label else ""), "99999,b,," + (",0" if label else "")]
    path.write_text("\n".join([head, *(line for _, line in rows), *late]) + "\n")
    return path


def labels(path: Path) -> Path:
    rows = [
        f"{name},{60 * (a + 1)},{60 * (b + 1)}"
        for name, found in EVENTS.items()
        for a, b in found
    ]
    path.write_text("\n".join(["stream,start,end", *rows]) + "\n")
    return path


def note_remaining(remaining: list[int], done: int, total: int) -> None:
    """Progress: how many rows are left."""
    remaining.append(total - done)


def judged(bundle: Path, data: Path, intervals: Path | None = None) -> Evaluation:
    return evaluate(
        bundle, data, intervals, AlertingSettings(), BUDGETS, lambda done, total: None
    )


@pytest.mark.parametrize("by_stream", [False, True])
@pytest.mark.parametrize("budget", BUDGETS)
def test_the_alerts_are_those_of_replay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: float, by_stream: bool
) -> None:
    path = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv", label=False, by_stream=by_stream)
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", str(budget))
    outputs = [
        "--scores",
        str(tmp_path / "s.csv"),
        "--alerts",
        str(tmp_path / "a.ndjson"),
    ]
    assert (
        detector(["replay", "--bundle", str(path), "--data", str(data), *outputs]) == 0
    )
    alerts = [
        json.loads(line) for line in (tmp_path / "a.ndjson").read_text().splitlines()
    ]
    replayed = {
        (a["labels"]["stream"], a["startsAt"], a["endsAt"])
        for a in alerts
        if a["status"] == "resolved"
    }
    bundle = load_bundle(path)
    of = rows_by_stream(read_tables(data), bundle.feature_names)
    found = backtest(
        bundle, of, at_budgets(AlertingSettings(), BUDGETS), lambda count: None
    )
    incidents = [i for s in found for i in s.incidents[BUDGETS.index(budget)]]
    assert {
        (i.stream, rfc3339(i.starts_at), rfc3339(i.ended_at))
        for i in incidents
        if i.ended_at is not None
    } == replayed
    assert len(replayed) == 4


def test_scores_and_expectations_are_filed_under_their_own_rows(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    of = rows_by_stream(
        read_tables(history(tmp_path / "h.csv", label=False)), bundle.feature_names
    )
    for track, found in zip(
        of,
        backtest(
            bundle, of, at_budgets(AlertingSettings(), (1.0,)), lambda count: None
        ),
        strict=True,
    ):
        mean = np.zeros(2)
        dropped = np.isnan(found.scores)
        for t in np.flatnonzero(~dropped):
            present = np.isfinite(track.values[t])
            difference = np.where(present, np.nan_to_num(track.values[t]) - mean, 0)
            np.testing.assert_allclose(found.expected[t], mean, atol=1e-4)
            assert found.scores[t] == pytest.approx(
                np.abs(difference).sum() / present.sum(), abs=1e-4
            )
            mean += 0.1 * difference
        # the late row of a, the empty row of b
        assert dropped.sum() == (track.name != "c")


def test_labels_from_a_file_or_the_column_come_to_the_same(tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path / "b")
    column = judged(bundle, history(tmp_path / "h.csv"))
    intervals = judged(
        bundle, history(tmp_path / "plain.csv", label=False), labels(tmp_path / "l.csv")
    )
    assert column.budgets == intervals.budgets
    assert (column.auc_pr, column.vus_pr) == (intervals.auc_pr, intervals.vus_pr)
    assert 0 < column.auc_pr < 1


def test_found_missed_and_false_are_distinguished(tmp_path: Path) -> None:
    found = judged(write_bundle(tmp_path / "b"), history(tmp_path / "h.csv"))
    at = found.budgets[1]
    assert (at.events, at.found, at.incidents, at.false_alarms) == (4, 3, 4, 1)
    assert at.false_alarms_per_week == pytest.approx(1 / (960 * 60 / 604_800), rel=0.01)
    assert at.delay_median == 0  # the first step over the threshold fires
    missed = found.worst(miss=True)
    assert [p.stream for p in missed] == ["a"]
    event = (missed[0].times >= 60 * 111) & (missed[0].times <= 60 * 112)
    # in force at the event's two rows
    assert missed[0].badness == pytest.approx(
        missed[0].threshold - missed[0].scores[event].max()
    )
    alarm = found.worst(miss=False)[0]
    assert (alarm.stream, alarm.metric) == ("c", "cpu")
    assert 60 * 100 <= alarm.moment <= 60 * 107
    assert alarm.observed.max() == 40


def test_every_core_gives_the_figures_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    alone = judged(bundle, data)
    monkeypatch.setattr(evaluation, "WORTH_A_PROCESS", 1)
    # fewer than the streams, and more: then budgets are parted too
    for cores in (2, 6):
        monkeypatch.setattr(evaluation, "available_cores", lambda cores=cores: cores)
        if cores > 2:  # two processes show that a share travels
            monkeypatch.setattr(
                evaluation,
                "on_cores",
                lambda work, shares, tell: [work(share, tell) for share in shares],
            )
        remaining: list[int] = []
        together = evaluate(
            bundle,
            data,
            None,
            AlertingSettings(),
            BUDGETS,
            partial(note_remaining, remaining),
        )
        assert together.budgets == alone.budgets
        assert (together.auc_pr, together.vus_pr) == (alone.auc_pr, alone.vus_pr)
        assert [p.moment for p in together.worst(miss=False)] == [
            p.moment for p in alone.worst(miss=False)
        ]
        assert remaining[-1] == 0


def test_any_metric_finds_an_event_and_false_alarms_are_each_metric_s(
    tmp_path: Path,
) -> None:
    found = judged(
        write_each_metric_bundle(tmp_path / "b"),
        history(tmp_path / "h.csv"),
        labels(tmp_path / "l.csv"),
    )
    assert [(s.stream, s.metrics, s.events) for s in found.streams] == [
        ("a", 2, 3),
        ("b", 2, 1),
        ("c", 2, 0),
    ]
    at = found.budgets[1]
    assert (at.events, at.found) == (4, 3)
    raised = {i.stream for s in found.streams for i in s.outcomes[1].incidents}
    assert raised == {"a/cpu", "a/mem", "b/cpu", "b/mem", "c/cpu", "c/mem"}
    assert at.false_alarms == 2
    points = sum(320 + 320 - len(range(0, 320, 17)) for _ in "abc")
    assert found.weeks == pytest.approx(points * 60 / 604_800, rel=0.001)
    assert {(p.stream, p.metric) for p in found.worst(miss=False)} == {
        ("c/cpu", "cpu"),
        ("c/mem", "mem"),
    }
    assert [p.stream for p in found.worst(miss=True)] in (["a/cpu"], ["a/mem"])


def test_a_label_of_one_metric_is_found_by_that_metric_alone(tmp_path: Path) -> None:
    # b's, where its metrics rest
    (tmp_path / "l.csv").write_text(
        "stream,start,end\na/cpu,1260,1500\nc/mem,6060,6360\nb/cpu,600,900\n"
    )
    found = judged(
        write_each_metric_bundle(tmp_path / "b"),
        history(tmp_path / "h.csv"),
        tmp_path / "l.csv",
    )
    assert {s.stream: s.outcomes[1].found for s in found.streams} == {
        "a": (True,),
        "b": (False,),
        "c": (True,),
    }
    # a/cpu later, a/mem twice; both of b; c/cpu
    assert {s.stream: s.outcomes[1].false_alarms for s in found.streams} == {
        "a": 3,
        "b": 2,
        "c": 1,
    }


def incident(start: float, end: float | None) -> Incident:
    return Incident("a", start, start, end, 5.0, 3.0, ("cpu",))


def met(
    events: list[tuple[float, float]], *incidents: Incident
) -> tuple[tuple[bool, ...], tuple[float, ...], int]:
    times: npt.NDArray[np.float64] = np.arange(0.0, 1000.0, 10.0)
    outcome = match_events(
        np.array(events, float).reshape(-1, 2), incidents, times, late=50.0, budget=1.0
    ).outcome
    return outcome.found, outcome.delays, outcome.false_alarms


def test_an_event_is_found_from_its_start_to_a_little_after_its_end() -> None:
    event = [(200.0, 300.0)]
    assert met(event, incident(350, 400)) == ((True,), (150.0,), 0)
    assert met(event, incident(351, 400)) == ((False,), (), 1)
    assert met(event, incident(100, 199)) == ((False,), (), 1)
    assert met(event, incident(100, 200)) == ((True,), (0.0,), 0)
    assert met(event, incident(100, None)) == ((True,), (0.0,), 0)
    assert met(event, incident(260, 270), incident(210, 220)) == ((True,), (10.0,), 0)
    assert met(event) == ((False,), (), 0)
    assert met([], incident(1, 2)) == ((), (), 1)


def test_the_time_spent_firing_outside_of_events_is_measured() -> None:
    times = np.arange(0.0, 1000.0, 10.0)
    stuck = match_events(
        np.array([[500.0, 590.0]]), [incident(0, None)], times, late=0.0, budget=1.0
    ).outcome
    assert stuck.firing_outside == 1
    short = match_events(
        np.array([[500.0, 590.0]]), [incident(0, 90)], times, late=0.0, budget=1.0
    ).outcome
    assert short.firing_outside == pytest.approx(9 / 90)


def test_the_command_prints_a_table_and_writes_a_self_contained_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    assert (
        training(
            [
                "evaluate",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--out",
                str(tmp_path / "out"),
                "--budgets",
                "10,1",
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "3 of 4 (75%)" in shown
    page = (tmp_path / "out/evaluation.html").read_text()
    assert page.count("<img") >= 5
    assert "http" not in page.replace("http-equiv", "")
    assert str(tmp_path) not in page


def test_a_budget_of_the_fleet_is_among_those_that_are_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    command = ["evaluate", "--bundle", str(bundle), "--data", str(data)]
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", "6")
    assert training(command) == 0
    shown = capsys.readouterr().out
    rows = [line.split()[0] for line in shown.splitlines() if " of 4 (" in line]
    assert rows == ["0.1", "1", "2", "10"]
    assert "asked 2 is a stream's share of the fleet's budget" in shown
    assert training([*command, "--budgets", "1"]) == 0
    assert "share" not in capsys.readouterr().out
    assert training([*command, "--budget", "3"]) == 0
    assert "events at 3 a week" in capsys.readouterr().out


def test_a_page_that_is_there_is_kept_unless_forced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    page = tmp_path / "evaluation.html"
    page.write_text("last month's")
    command = [
        "evaluate",
        "--bundle",
        str(bundle),
        "--data",
        str(data),
        "--out",
        str(tmp_path),
    ]
    assert training(command) == 2
    assert (
        f"{page} exists: choose another --out, or replace it with --force"
        in capsys.readouterr().err
    )
    assert page.read_text() == "last month's"
    assert training([*command, "--force"]) == 0
    assert "<img" in page.read_text()


def test_the_built_in_bundle_is_judged_by_name_and_by_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = history(tmp_path / "h.csv")
    assert training(["evaluate", "--data", str(data)]) == 0
    shown = capsys.readouterr().out
    assert "points of 6 metrics of 3 streams" in shown
    assert "each metric is a stream of its own" in shown
    assert (
        training(
            [
                "evaluate",
                "--bundle",
                "builtin",
                "--data",
                str(data),
                "--out",
                str(tmp_path / "out"),
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.startswith(shown)
    assert (
        "points of 6 metrics of 3 streams"
        in (tmp_path / "out/evaluation.html").read_text()
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "stream,start,end\nz,60,120\n",
            "labels z, which the data does not hold (it holds a, b, c)",
        ),
        ("stream,start,end\na,1700000000,1700000060\n", "is outside of its data"),
        (
            "stream,start,end\na,300,200\n",
            "row 1: the event of a ends (200) before it starts (300)",
        ),
        ("stream,start,end\n", "labels no event"),
        ("a,1,2\n", "no column stream, start, end"),
    ],
)
def test_labels_that_do_not_fit_are_one_sentence_and_status_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, said: str
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv")
    (tmp_path / "l.csv").write_text(content)
    assert (
        training(
            [
                "evaluate",
                "--bundle",
                str(bundle),
                "--data",
                str(data),
                "--labels",
                str(tmp_path / "l.csv"),
            ]
        )
        == 2
    )
    error = capsys.readouterr().err
    assert said in error
    assert "l.csv" in error
    assert len(error.strip().splitlines()) == 1


def test_data_without_labels_is_refused_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv", label=False)
    assert training(["evaluate", "--bundle", str(bundle), "--data", str(data)]) == 2
    assert "--labels" in capsys.readouterr().err


@pytest.mark.parametrize("budgets", ["0", "1,-1", "one", "nan", "1,,2"])
def test_a_budget_that_is_none_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], budgets: str
) -> None:
    status = training(
        [
            "evaluate",
            "--bundle",
            str(tmp_path),
            "--data",
            str(tmp_path),
            "--budgets",
            budgets,
        ]
    )
    assert status == 2
    assert "is not a budget" in capsys.readouterr().err


def test_judging_needs_no_torch() -> None:
    code = "import sys, training.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
