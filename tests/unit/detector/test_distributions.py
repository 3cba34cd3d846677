"""Means and quantiles of what came since the point before."""

from __future__ import annotations

import math

import pytest

from detector.distributions import (
    MOST_BUCKETS,
    Bucket,
    Totals,
    explicit_buckets,
    exponential_buckets,
    mean_totals,
    quantile_totals,
)


def told(now: Totals, before: Totals) -> float:
    return now.metric_since(before)


def median(counts: list[int], start: float = 0.0) -> Totals:
    return totals(explicit_buckets([1.0, 2.0, 4.0], counts), start)


def totals(buckets: list[Bucket], start: float = 0.0, share: float = 0.5) -> Totals:
    found = quantile_totals(buckets, share, start)
    assert found is not None
    return found


def test_a_mean_is_the_growth_of_the_sum_by_that_of_the_count() -> None:
    before = mean_totals(total=100.0, count=50, start=0)
    assert told(mean_totals(130.0, 60, 0), before) == 3.0


def test_a_quantile_is_that_of_the_growth_of_the_buckets() -> None:
    before = median([1000, 0, 0, 0])
    assert told(median([1000, 0, 10, 0]), before) == 3.0
    assert median([1000, 0, 10, 0]).metric() < 1.0


def test_without_an_observation_there_is_nothing_to_tell() -> None:
    assert math.isnan(told(mean_totals(3.0, 2, 0), mean_totals(3.0, 2, 0)))
    assert math.isnan(told(median([1, 2, 3, 4]), median([1, 2, 3, 4])))
    assert math.isnan(median([0, 0, 0, 0]).metric())


@pytest.mark.parametrize(
    ("now", "before"),
    [
        (mean_totals(8.0, 4, 0), mean_totals(100.0, 50, 0)),
        (mean_totals(8.0, 4, 90.0), mean_totals(3.0, 1, 10.0)),
    ],
    ids=["it fell", "its start is later"],
)
def test_after_a_restart_all_observations_count(now: Totals, before: Totals) -> None:
    assert now.has_restarted(before)
    assert told(now, before) == 2.0


def test_a_start_that_moves_by_rounding_is_no_restart() -> None:
    now = mean_totals(9.0, 2, 10.4)
    assert told(now, mean_totals(4.0, 1, 10.0)) == 5.0


def test_other_buckets_tell_nothing_once() -> None:
    before = median([1, 2, 3, 4])
    others = totals(explicit_buckets([1.0, 3.0], [9, 9, 9]))
    assert others.since(before) is None
    assert not others.has_restarted(before)


def test_a_bucket_that_falls_without_a_restart_tells_nothing() -> None:
    assert median([1, 9, 9, 9]).since(median([2, 2, 2, 2])) is None


def exponential(*counts: int, offset: int = 0, scale: int = 0) -> Totals:
    buckets = exponential_buckets(scale, 0, (offset, counts), (0, ()))
    return totals(buckets)


def test_a_bucket_that_was_empty_before_grows_from_nothing() -> None:
    before = exponential(8, offset=1)
    now = exponential(8, 0, 4, offset=1)
    assert told(now, before) == pytest.approx(math.sqrt(8.0 * 16.0))


def test_a_coarser_scale_tells_nothing_once() -> None:
    before = exponential(8, 8, scale=1)
    assert exponential(16, 4, scale=0).since(before) is None


def test_a_quantile_of_a_bucket_of_one_value_is_that_value() -> None:
    assert totals([Bucket(2.0, 2.0, 5)], share=0.95).metric() == 2.0


def test_what_a_page_holds_of_a_stream_is_bounded() -> None:
    buckets = [Bucket(i, i + 1, 1) for i in range(MOST_BUCKETS)]
    assert totals([*buckets, Bucket(500, 501, 0)]).metric() == MOST_BUCKETS / 2
    assert quantile_totals([*buckets, Bucket(500, 501, 1)], 0.5, 0) is None


@pytest.mark.parametrize("total", [3e39, -3e39, 1.7e308])
def test_a_mean_that_float32_does_not_hold_is_not_told(total: float) -> None:
    before = mean_totals(-1e308 if total > 1e300 else 0.0, 10, 0.0)
    assert math.isnan(told(mean_totals(total, 11, 0.0), before))
