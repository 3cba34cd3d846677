"""What an event was worth: told or missed, by which metric, how gravely, until when,
and whether its score outranks quiet hours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from detector.events import Reason, Severity
from detector.model.bundle import load_bundle
from detector.settings.alerting import AlertingSettings
from detector.timestamps import HOUR
from tests.fakes import write_bundle, write_each_metric_bundle
from training.evaluation import evaluate as evaluation
from training.evaluation.backtest import Backtest, Incident, StreamRows
from training.evaluation.evaluate import Evaluation, evaluate
from training.evaluation.event_worth import (
    EventWorth,
    JudgedStream,
    StreamWorth,
    count_ranked,
    count_severities,
    judge_worth,
    quiet_hours,
    worst_hours,
)
from training.evaluation.matching import MetricRows, match_events
from training.evaluation.overlay import Overlay, merge_overlapping

TICK = 60.0
LATE = 5 * TICK
EVENT = (600.0, 900.0)


def history(path: Path, jumps: Mapping[str, tuple[float, float]]) -> Path:
    """Streams at 0 that jump by so much of cpu and mem at ticks 100 to 109, which are
    labelled in every stream.
    """
    rows = ["timestamp,stream,cpu,mem,label"]
    for t in range(300):
        is_event = 100 <= t < 110
        for name, (cpu, mem) in jumps.items():
            values = f"{cpu * is_event},{mem * is_event}"
            rows.append(f"{TICK * (t + 1)},{name},{values},{int(is_event)}")
    path.write_text("\n".join(rows) + "\n")
    return path


def judged(bundle: Path, data: Path, budgets: tuple[float, ...] = (1.0,)) -> Evaluation:
    return evaluate(
        bundle, data, None, AlertingSettings(), budgets, lambda done, total: None
    )


def worth_by_stream(found: Evaluation) -> dict[str, EventWorth]:
    return {e.stream: e for stream in found.worth(0) for e in stream.events}


# -- through the daemon's own pipeline -------------------------------------------------


def test_an_event_is_told_by_the_metric_that_contributed_most(tmp_path: Path) -> None:
    jumps = {"a": (40.0, 10.0), "b": (10.0, 40.0)}
    data = history(tmp_path / "h.csv", jumps)
    found = worth_by_stream(judged(write_bundle(tmp_path / "b"), data))
    assert {name: event.metric for name, event in found.items()} == {
        "a": "cpu",
        "b": "mem",
    }
    for event in found.values():
        assert (event.start, event.end) == (101 * TICK, 110 * TICK)
        assert (event.told_at, event.delay) == (event.start, 0.0)
        assert event.first is event.highest is Severity.CRITICAL
        assert event.ended_early is None
        assert event.ended_as is Reason.RECOVERED
        assert event.margin > 0


def test_an_event_that_gets_worse_is_told_as_a_warning_first(tmp_path: Path) -> None:
    data = history(tmp_path / "h.csv", {"a": (12.0, 0.0)})
    worse = f"{TICK * 106},a,40.0,"  # the sixth point of the event
    lines = data.read_text().replace(f"{TICK * 106},a,12.0,", worse)
    data.write_text(lines)
    event = worth_by_stream(judged(write_bundle(tmp_path / "b"), data))["a"]
    assert (event.delay, event.first) == (0.0, Severity.WARNING)
    assert event.highest is Severity.CRITICAL


def test_a_missed_event_names_the_metric_that_came_nearest(tmp_path: Path) -> None:
    data = history(tmp_path / "h.csv", {"a": (0.0, 1.0), "b": (40.0, 0.0)})
    found = worth_by_stream(judged(write_bundle(tmp_path / "b"), data))
    missed = found["a"]
    assert missed.told_at is None
    assert np.isnan(missed.delay)
    assert missed.metric == "mem"
    assert missed.first is missed.highest is Severity.NONE
    assert (missed.ended_early, missed.ended_as) == (None, None)
    assert missed.margin < 0
    assert found["b"].is_told


def test_an_event_is_told_when_evaluate_counts_it_as_found(tmp_path: Path) -> None:
    jumps = {"a": (0.0, 40.0), "b": (0.0, 1.0), "c": (40.0, 0.0)}
    data = history(tmp_path / "h.csv", jumps)
    for bundle in (
        write_bundle(tmp_path / "b"),
        write_each_metric_bundle(tmp_path / "e"),
    ):
        found = judged(bundle, data)
        for stream in found.streams:
            (worth,) = stream.worth
            (outcome,) = stream.outcomes
            assert tuple(e.is_told for e in worth.events) == outcome.found
            delays = tuple(e.delay for e in worth.events if e.is_told)
            assert delays == outcome.delays
            assert len(worth.false) == outcome.false_alarms
        assert sum(map(len, [w.events for w in found.worth(0)])) == 3


def test_a_metric_that_is_a_stream_of_its_own_tells_of_its_stream_s_event(
    tmp_path: Path,
) -> None:
    data = history(tmp_path / "h.csv", {"a": (0.0, 40.0)})
    event = worth_by_stream(judged(write_each_metric_bundle(tmp_path / "b"), data))["a"]
    assert (event.is_told, event.metric) == (True, "mem")


def test_budgets_that_processes_share_keep_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv", {"a": (40.0, 0.0), "b": (6.0, 0.0)})
    alone = judged(bundle, data, (0.1, 1.0, 10.0))
    monkeypatch.setattr(evaluation, "WORTH_A_PROCESS", 1)
    monkeypatch.setattr(evaluation, "available_cores", lambda: 6)
    monkeypatch.setattr(
        evaluation,
        "on_cores",
        lambda work, shares, report: [work(share, report) for share in shares],
    )
    together = judged(bundle, data, (0.1, 1.0, 10.0))
    assert [s.worth for s in together.streams] == [s.worth for s in alone.streams]


# -- incidents against an event --------------------------------------------------------


def incident(
    fired_at: float,
    ended_at: float | None = None,
    ended_as: Reason | None = None,
    critical_at: float | None = None,
    metric: str = "cpu",
) -> Incident:
    return Incident(
        stream="a",
        starts_at=fired_at,
        fired_at=fired_at,
        ended_at=ended_at,
        score=5.0,
        threshold=3.0,
        metrics=(metric,),
        critical_at=critical_at,
        ended_as=ended_as,
    )


def test_a_merged_incident_keeps_the_first_critical_moment_and_the_last_end() -> None:
    first = incident(100, 300, Reason.RECOVERED, critical_at=250)
    second = incident(200, 400, Reason.ACCEPTED, critical_at=210)
    (merged,) = merge_overlapping("a", [first, second])
    assert (merged.critical_at, merged.ended_as) == (210, Reason.ACCEPTED)
    (still_open,) = merge_overlapping("a", [first, incident(200)])
    assert (still_open.critical_at, still_open.ended_as) == (250, None)


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> JudgedStream:
    """One event, whose score is 2 over its threshold of 3 for one point of mem."""
    bundle = load_bundle(write_bundle(tmp_path_factory.mktemp("worth") / "b"))
    times = np.arange(0.0, 6000.0, TICK)
    scores = np.ones(len(times), np.float32)
    at_peak = times == EVENT[0] + TICK
    scores[at_peak] = 5
    values = np.zeros((len(times), 2))
    observed = values.astype(np.float32)
    contribution = np.zeros_like(observed)
    contribution[:, 0] = 1
    contribution[at_peak] = (0.25, 0.75)
    thresholds = np.full(len(times), 3, np.float32)
    rows = StreamRows("a", "a", times, values)
    found = Backtest(scores, observed, observed, contribution, (thresholds,), ((),))
    events = np.array([EVENT])
    return JudgedStream(
        bundle=bundle,
        name="a",
        metrics=[MetricRows(rows, found, times, events, TICK)],
        whole=Overlay(times, scores, observed),
        events=events,
        late=LATE,
        quiet=np.zeros(0, np.float32),
    )


def worth(stream: JudgedStream, *incidents: Incident) -> StreamWorth:
    times = stream.whole.times
    matches = match_events(stream.events, incidents, times, LATE, 1.0)
    return judge_worth(stream, [matches], 0)


def event(stream: JudgedStream, *incidents: Incident) -> EventWorth:
    (found,) = worth(stream, *incidents).events
    return found


def test_severity_is_that_of_the_first_notification_and_the_highest_one(
    stream: JudgedStream,
) -> None:
    told = event(stream, incident(660, critical_at=720))
    assert (told.delay, told.first, told.highest) == (
        60.0,
        Severity.WARNING,
        Severity.CRITICAL,
    )
    too_late = event(stream, incident(660, critical_at=EVENT[1] + LATE + 1))
    assert too_late.highest is Severity.WARNING


def test_the_earliest_incident_tells_and_of_several_the_gravest(
    stream: JudgedStream,
) -> None:
    early = incident(610, 640, Reason.RECOVERED)
    assert event(stream, incident(700, critical_at=700), early).delay == 10
    at_once = event(
        stream,
        incident(660, metric="cpu"),
        incident(660, metric="mem", critical_at=660),
    )
    assert (at_once.metric, at_once.first) == ("mem", Severity.CRITICAL)


def test_an_incident_that_fires_already_tells_at_the_start(
    stream: JudgedStream,
) -> None:
    told = event(stream, incident(100, critical_at=700))
    assert (told.told_at, told.delay) == (EVENT[0], 0.0)
    assert told.first is Severity.WARNING


@pytest.mark.parametrize("reason", [Reason.RECOVERED, Reason.ACCEPTED])
def test_an_incident_that_ends_within_its_event_is_named(
    stream: JudgedStream, reason: Reason
) -> None:
    told = event(stream, incident(660, 800, reason))
    assert (told.ended_early, told.ended_as) == (reason, reason)


def test_an_incident_that_outlasts_its_event_was_still_firing(
    stream: JudgedStream,
) -> None:
    told = event(stream, incident(660, 2000, Reason.ACCEPTED))
    assert (told.ended_early, told.ended_as) == (None, Reason.ACCEPTED)
    open_to_the_end = event(stream, incident(660))
    assert (open_to_the_end.ended_early, open_to_the_end.ended_as) == (None, None)
    again = event(
        stream,
        incident(610, 700, Reason.ACCEPTED),
        incident(800, 2000, Reason.RECOVERED),
    )
    assert (again.ended_early, again.ended_as) == (None, Reason.RECOVERED)


def test_an_event_told_after_its_end_was_still_firing(stream: JudgedStream) -> None:
    told = event(stream, incident(EVENT[1] + 60, 3000, Reason.RECOVERED))
    assert told.is_told
    assert told.ended_early is None


def test_the_margin_is_the_largest_over_the_threshold(stream: JudgedStream) -> None:
    assert event(stream).margin == pytest.approx(2)
    assert event(stream).metric == "mem"
    assert event(stream, incident(660)).metric == "cpu"


def test_an_event_without_a_scored_point_has_no_margin(stream: JudgedStream) -> None:
    (metric,) = stream.metrics
    silent = replace(metric.found, scores=np.full_like(metric.found.scores, np.nan))
    unscored = replace(stream, metrics=[replace(metric, found=silent)])
    found = event(unscored)
    assert np.isnan(found.margin)
    assert (found.metric, found.hours_above, found.outranks) == ("", None, False)


def test_severities_are_counted_for_events_and_false_alarms(
    stream: JudgedStream,
) -> None:
    missed = worth(stream, incident(3000, 4000), incident(5000, critical_at=5100))
    warned = worth(stream, incident(660))
    critical = worth(stream, incident(660, critical_at=700))
    counts = count_severities([missed, warned, warned, critical])
    assert (counts.missed, counts.warning, counts.critical) == (1, 2, 1)
    assert (counts.false_warning, counts.false_critical) == (1, 1)


# -- rank among quiet hours ------------------------------------------------------------


def test_an_hour_is_quiet_if_no_point_is_in_an_event_or_shortly_after() -> None:
    times = np.arange(0.0, 5 * HOUR, 600.0)
    scores = np.arange(len(times), dtype=np.float32)
    whole = Overlay(times, scores, np.zeros((len(times), 1), np.float32))
    in_hour_1 = np.array([[1.5 * HOUR, 1.6 * HOUR]])
    assert quiet_hours(whole, in_hour_1, 0.0).tolist() == [29, 23, 17, 5]
    into_hour_2 = np.array([[1.5 * HOUR, 2 * HOUR - 1]])
    assert quiet_hours(whole, into_hour_2, 600.0).tolist() == [29, 23, 5]
    everywhere = np.array([[0.0, 5 * HOUR]])
    assert not len(quiet_hours(whole, everywhere, 0.0))


def test_the_worst_hours_are_ten_but_at_most_a_tenth_of_the_quiet_ones() -> None:
    assert [worst_hours(quiet) for quiet in (1, 19, 20, 99, 100, 5000)] == [
        1,
        1,
        2,
        9,
        10,
        10,
    ]


@pytest.mark.parametrize(
    ("above", "outranks"), [(0, True), (9, True), (10, False), (200, False)]
)
def test_an_event_outranks_the_ten_worst_quiet_hours(
    stream: JudgedStream, above: int, outranks: bool
) -> None:
    quiet = np.full(200, 1, np.float32)
    quiet[:above] = 5  # as high as the event
    found = event(replace(stream, quiet=quiet))
    assert (found.hours_above, found.outranks) == (above, outranks)


def test_events_that_outrank_quiet_hours_are_counted_with_those_told(
    stream: JudgedStream,
) -> None:
    best = replace(stream, quiet=np.full(200, 1, np.float32))
    good = replace(stream, quiet=np.array([6.0] + 199 * [1], np.float32))
    bad = replace(stream, quiet=np.full(200, 9, np.float32))
    told = incident(660)
    judged = [
        worth(best, told),
        worth(best),
        worth(good, told),
        worth(good),
        worth(bad, told),
    ]
    counts = count_ranked(judged)
    assert (counts.above_ten, counts.above_ten_told) == (4, 2)
    assert (counts.above_all, counts.above_all_told) == (2, 1)
