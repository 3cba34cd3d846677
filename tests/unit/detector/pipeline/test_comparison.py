"""What a comparison counts: only what both bundles could have told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from detector.alerting.decide import Decisions
from detector.events import Alert, Partition, Phase, Reason
from detector.model.engine import StepOutput
from detector.pipeline.comparison import APART, Comparison, Side
from detector.pipeline.observer import ScoredBatch
from detector.state.decisions import fresh_decisions
from detector.timestamps import DAY
from tests.unit.detector.notify.alerts import fired

TICK = 60.0
P = Partition("metrics", 0)
NAMES = ["a", "b", "c", "d"]


def batch(
    time: float, margins: list[float], phase: Phase = Phase.OK, names: list[str] = NAMES
) -> ScoredBatch:
    """A point of each stream whose score is so far over a threshold of 3."""
    count = len(margins)
    rows = fresh_decisions(count)
    values = np.zeros((count, 1), np.float32)
    score = np.array(margins, np.float32) + np.float32(3)
    return ScoredBatch(
        partition=P,
        offsets=np.arange(count),
        slots=np.arange(count),
        names=names,
        times=np.full(count, time),
        x=values,
        step=StepOutput(score, values, values, values),
        before=rows,
        decisions=Decisions(
            np.full(count, phase, np.uint8),
            np.zeros(count, np.uint8),
            np.full(count, 3, np.float32),
            rows,
            np.zeros(count, np.bool_),
        ),
        transitions=np.empty(0, np.int64),
        kinds={},
        restarted=0,
    )


def both(comparison: Comparison, time: float, phase: Phase = Phase.OK) -> None:
    comparison.scored(Side.LIVE, batch(time, [-1.0] * 4))
    comparison.scored(Side.SHADOW, batch(time, [-2.0] * 4, phase))


def begins(stream: str, at: float) -> Alert:
    return replace(fired(stream), starts_at=at, at=at)


def ends(stream: str, at: float) -> Alert:
    return replace(fired(stream), reason=Reason.RECOVERED, at=at, ends_at=at)


def told(comparison: Comparison) -> list[tuple[int, int]]:
    """Incidents of each side, and how many it told alone."""
    report = comparison.report()
    return [(side.incidents, side.alone) for side in (report.live, report.shadow)]


@pytest.fixture
def comparison() -> Comparison:
    """Of four streams that the shadow has warmed up for at 0."""
    made = Comparison(TICK)
    both(made, 0.0)
    return made


def test_nothing_counts_before_the_shadow_has_warmed_up() -> None:
    comparison = Comparison(TICK)
    both(comparison, 0.0, Phase.WARMING)
    comparison.told(Side.LIVE, begins("a", 0.0))
    assert told(comparison) == [(0, 0), (0, 0)]
    assert comparison.warm_share() == 0
    both(comparison, TICK)
    assert comparison.warm_share() == 1
    report = comparison.report()
    assert (report.streams, report.warm, report.points) == (4, 4, 0)


@pytest.mark.parametrize("later", [-5, 0, 5, APART])
def test_incidents_that_overlap_or_almost_are_one(
    comparison: Comparison, later: int
) -> None:
    comparison.told(Side.LIVE, begins("a", 10 * TICK))
    comparison.told(Side.LIVE, ends("a", 20 * TICK))
    comparison.told(Side.SHADOW, begins("a", (20 + later) * TICK))
    assert told(comparison) == [(1, 0), (1, 0)]


def test_others_were_told_by_one_side_alone(comparison: Comparison) -> None:
    comparison.told(Side.LIVE, begins("a", 10 * TICK))
    comparison.told(Side.LIVE, ends("a", 20 * TICK))
    comparison.told(Side.SHADOW, begins("a", (21 + APART) * TICK))
    comparison.told(Side.SHADOW, begins("b", 10 * TICK))
    assert told(comparison) == [(1, 1), (2, 2)]
    report = comparison.report()
    assert [alone.stream for alone in report.shadow.told_alone] == ["b", "a"]
    assert (report.live.open, report.shadow.open) == (0, 2)


def test_the_poll_in_which_the_shadow_warms_up_is_fair() -> None:
    comparison = Comparison(TICK)
    comparison.scored(Side.LIVE, batch(TICK, [-1.0] * 4))
    comparison.told(Side.LIVE, begins("a", TICK))
    comparison.scored(Side.SHADOW, batch(0.0, [-1.0] * 4))
    comparison.told(Side.SHADOW, begins("a", TICK))
    assert told(comparison) == [(1, 0), (1, 0)]


def test_the_rate_is_a_stream_week_s(comparison: Comparison) -> None:
    comparison.told(Side.LIVE, begins("a", TICK))
    assert comparison.report().live.per_week is None
    both(comparison, 7 * DAY)
    report = comparison.report()
    assert report.stream_weeks == pytest.approx(4)
    assert report.live.per_week == pytest.approx(0.25)
    assert report.shadow.per_week == 0


def test_ranks_say_which_streams_moved(comparison: Comparison) -> None:
    comparison.scored(Side.LIVE, batch(TICK, [4.0, 3.0, 2.0, 1.0]))
    comparison.scored(Side.SHADOW, batch(TICK, [1.0, 3.0, 2.0, 4.0]))
    report = comparison.report()
    assert report.rank_correlation == pytest.approx(-0.8)
    assert [(moved.stream, moved.live, moved.shadow) for moved in report.moved] == [
        ("a", 1, 4),
        ("d", 4, 1),
    ]
    assert report.moved[0].live_margin == pytest.approx(4)


def test_streams_with_one_margin_have_no_order(comparison: Comparison) -> None:
    comparison.scored(Side.LIVE, batch(TICK, [1.0] * 4))
    comparison.scored(Side.SHADOW, batch(TICK, [1.0, 2.0, 3.0, 4.0]))
    assert comparison.report().rank_correlation is None
    comparison.scored(Side.LIVE, batch(2 * TICK, [1.0, 1.0, 2.0, 2.0]))
    comparison.scored(Side.SHADOW, batch(2 * TICK, [1.0] * 4))
    assert comparison.report().rank_correlation == pytest.approx(0.894, abs=0.001)


def test_a_stream_keeps_its_place_when_its_row_moves(comparison: Comparison) -> None:
    comparison.scored(Side.LIVE, batch(TICK, [9.0, 0.0, 0.0, 0.0]))
    moved = list(reversed(NAMES))
    comparison.scored(Side.LIVE, batch(TICK, [0.0] * 4, names=moved))
    comparison.scored(Side.SHADOW, batch(TICK, [0.0, 1.0, 2.0, 3.0], names=moved))
    assert comparison.report().rank_correlation == pytest.approx(1.0, abs=0.5)
    assert comparison.report().streams == 4


def test_invented_names_take_no_memory() -> None:
    comparison = Comparison(TICK, most=2)
    for time in (0.0, TICK):
        both(comparison, time)
    comparison.told(Side.LIVE, begins("d", TICK))
    comparison.told(Side.LIVE, begins("a", TICK))
    report = comparison.report()
    assert (report.streams, report.warm, report.points) == (2, 2, 2)
    assert told(comparison) == [(1, 1), (0, 0)]


def test_streams_that_are_no_more_leave_what_was_counted(
    comparison: Comparison,
) -> None:
    both(comparison, 7 * DAY)
    comparison.told(Side.LIVE, begins("a", TICK))
    comparison.told(Side.LIVE, ends("a", 2 * TICK))
    comparison.told(Side.SHADOW, begins("b", TICK))
    comparison.forget(["a", "b", "never seen"])
    report = comparison.report()
    assert (report.streams, report.warm) == (2, 2)
    assert report.stream_weeks == pytest.approx(4)
    assert told(comparison) == [(1, 1), (1, 1)]
    assert report.shadow.open == 1


def test_the_place_of_a_stream_that_is_no_more_is_used_again() -> None:
    comparison = Comparison(TICK, most=4)
    both(comparison, 0.0)
    comparison.forget(["b", "c"])
    names = ["a", "x", "y", "d"]
    comparison.scored(Side.LIVE, batch(TICK, [4.0, 3.0, 2.0, 1.0], names=names))
    comparison.scored(Side.SHADOW, batch(TICK, [4.0, 3.0, 2.0, 1.0], names=names))
    report = comparison.report()
    assert (report.streams, report.warm) == (4, 4)
    # what began just now is compared from its next point on
    assert report.points == 2
    comparison.scored(Side.LIVE, batch(2 * TICK, [4.0, 3.0, 2.0, 1.0], names=names))
    comparison.scored(Side.SHADOW, batch(2 * TICK, [1.0, 3.0, 2.0, 4.0], names=names))
    moved = comparison.report().moved
    # "a" keeps what it had before: it shares the first rank with "d"
    assert [(rank.stream, rank.live, rank.shadow) for rank in moved] == [
        ("d", 4, 1),
        ("x", 2, 3),
        ("y", 3, 4),
        ("a", 1, 1),
    ]


def test_the_cost_is_that_of_a_point(comparison: Comparison) -> None:
    assert comparison.report().live.microseconds_per_point is None
    comparison.took(Side.LIVE, 0.5, 100_000)
    comparison.took(Side.LIVE, 0.5, 100_000)
    assert comparison.report().live.microseconds_per_point == pytest.approx(5.0)
