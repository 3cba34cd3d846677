"""Made faults: where they are said to be and nowhere else, and nothing that the metric
could not have reported.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from training.history.labels import runs
from training.synthetic.faults import (
    FAULTS,
    KINDS,
    SHORTEST_STRETCH,
    SIZES,
    inject,
    own_spread,
)

F32 = npt.NDArray[np.float32]


def excerpt(rows: int = 1500, seed: int = 0) -> F32:
    """A daily load with noise, a count of it, a metric that never moves and one with
    gaps.
    """
    rng = np.random.default_rng(seed)
    load = 50 + 20 * np.sin(np.arange(rows) / 200) + rng.normal(size=rows)
    gaps = np.where(rng.random(rows) < 0.2, np.nan, load - 100)
    return np.stack(
        [load, np.round(load * 3), np.full(rows, 7.0), gaps], axis=1
    ).astype(np.float32)


SCALE = np.array([15, 45, 1, 15], np.float32)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_marked_rows_changed_and_no_others(kind: str, size: float) -> None:
    values = excerpt()
    copy = inject(values, SCALE, kind, size, np.random.default_rng(1))
    starts, ends = runs(copy.truth)
    changed = (copy.values != values) & ~(np.isnan(copy.values) & np.isnan(values))
    assert len(starts) == FAULTS
    assert not changed[~copy.truth].any()
    assert all(changed[a : b + 1].any() for a, b in zip(starts, ends, strict=True))
    assert not changed[:, 2].any(), "a metric that does not move has no faults"
    assert copy.truth.mean() < 0.3


@pytest.mark.parametrize("kind", KINDS)
def test_a_metric_stays_one_that_could_be_reported(kind: str) -> None:
    values = excerpt()
    copy = inject(values, SCALE, kind, SIZES[-1], np.random.default_rng(2))
    known = np.isfinite(copy.values)
    assert np.isfinite(copy.values[:, :2]).all()
    assert (copy.values[:, :2] >= 0).all()
    np.testing.assert_array_equal(copy.values[:, 1], np.round(copy.values[:, 1]))
    if kind not in ("decoupling", "flat line"):
        np.testing.assert_array_equal(known, np.isfinite(values))


@pytest.mark.parametrize("kind", KINDS)
def test_units_don_t_matter(kind: str) -> None:
    values = excerpt()[:, [0, 3]]
    small = inject(values, SCALE[[0, 3]], kind, 3.0, np.random.default_rng(3))
    large = inject(
        values * 1024, SCALE[[0, 3]] * 1024, kind, 3.0, np.random.default_rng(3)
    )
    np.testing.assert_array_equal(small.truth, large.truth)
    np.testing.assert_allclose(small.values * 1024, large.values, rtol=1e-5)


def test_a_larger_size_changes_more() -> None:
    values = excerpt()[:, :1]
    for kind in ("level shift", "spike", "burst", "drift", "variance", "dropout"):
        changes = [
            np.abs(
                inject(values, SCALE[:1], kind, size, np.random.default_rng(4)).values
                - values
            ).max()
            for size in SIZES
        ]
        assert changes == sorted(changes)
        assert changes[0] < changes[-1]


def test_a_fault_that_changes_nothing_is_not_marked() -> None:
    values = np.full((1500, 1), 5.0, np.float32)
    values[:3] = 0  # it moves, but is long at rest wherever a fault would be
    assert not inject(
        values, SCALE[:1], "flat line", 6.0, np.random.default_rng(0)
    ).truth.any()
    assert inject(values, SCALE[:1], "spike", 6.0, np.random.default_rng(0)).truth.any()


def test_only_a_stream_that_moves_gets_faults() -> None:
    flat = np.full((SHORTEST_STRETCH, 2), 3.0, np.float32)
    assert not inject(
        flat, np.ones(2, np.float32), "spike", 6.0, np.random.default_rng(0)
    ).truth.any()
    for kind in KINDS:
        assert inject(
            excerpt(SHORTEST_STRETCH), SCALE, kind, 6.0, np.random.default_rng(0)
        ).truth.any()


def test_the_spread_is_the_metric_s_own_and_a_broken_reading_does_not_move_it() -> None:
    values = excerpt()[:, [0, 2, 3]]
    spread = own_spread(values)
    assert spread[0] == pytest.approx(np.std(values[:, 0]), rel=0.05)
    assert spread[1] == 0
    broken = values.copy()
    broken[700] = 1e9
    np.testing.assert_allclose(own_spread(broken)[[0, 2]], spread[[0, 2]], rtol=0.3)
    np.testing.assert_allclose(own_spread(values * 1e6), spread * 1e6, rtol=1e-5)


def test_a_metric_that_moves_once_in_a_while_has_a_spread() -> None:
    rare = np.zeros((1000, 1), np.float32)
    rare[::250] = 1
    assert own_spread(rare)[0] > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_flag_keeps_to_its_two_states(kind: str) -> None:
    rng = np.random.default_rng(5)
    flag = np.where(np.repeat(rng.random(75) < 0.3, 20), 4.0, 1.0)
    values = flag[:, None].astype(np.float32)
    values[::50] = np.nan
    spread = own_spread(values)
    copy = inject(values, spread, kind, 6.0, np.random.default_rng(6))
    known = copy.values[np.isfinite(copy.values)]
    assert set(np.unique(known)) == {1.0, 4.0}
