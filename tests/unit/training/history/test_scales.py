"""A scale is the stream's own and robust; the fleet's stands in where it has none."""

from __future__ import annotations

import numpy as np

from detector.events import F32
from training.history.scales import Scales, scales


def of(*heads: F32) -> Scales:
    found = scales([np.asarray(head, np.float32) for head in heads])
    assert found is not None
    return found


def noise(mean: float, deviation: float, seed: int = 0, rows: int = 5000) -> F32:
    rng = np.random.default_rng(seed)
    return rng.normal(mean, deviation, (rows, 1)).astype(np.float32)


def test_a_few_anomalies_and_gaps_cost_little() -> None:
    rng = np.random.default_rng(0)
    clean = noise(10, 2)
    dirty = clean.copy()
    dirty[rng.random(5000) < 0.008] = 500
    dirty[rng.random(5000) < 0.02] = np.nan
    found = of(clean, dirty)
    assert abs(found.center[1, 0] - found.center[0, 0]) < 0.5 * found.scale[0, 0]
    # the plain deviation is 20 times as large
    assert 0.7 < found.scale[1, 0] / found.scale[0, 0] < 3.5


def test_streams_in_other_units_do_not_set_a_scale() -> None:
    alone = of(noise(50, 5))
    among_bytes = of(noise(50, 5), noise(8e9, 1e9, seed=1), noise(4e9, 1e9, seed=2))
    assert among_bytes.scale[0, 0] == alone.scale[0, 0]
    assert among_bytes.center[0, 0] == alone.center[0, 0]


def test_a_unit_scales_center_and_scale_and_changes_nothing_else() -> None:
    values = [noise(50, 5), noise(70, 9, seed=1), np.full((500, 1), 60, np.float32)]
    usual = of(*values)
    for unit in (1e-3, 1e6):
        found = of(*[unit * v for v in values])
        np.testing.assert_allclose(found.scale, unit * usual.scale, rtol=1e-4)
        np.testing.assert_allclose(found.center, unit * usual.center, rtol=1e-4)


def test_the_fleet_stands_in_for_what_a_stream_does_not_tell() -> None:
    unknown = np.full((500, 1), np.nan, np.float32)
    constant = np.full((500, 1), 40, np.float32)
    found = of(noise(50, 1), noise(50, 100, seed=1), unknown, constant)
    between = np.sqrt(found.scale[0, 0] * found.scale[1, 0])
    np.testing.assert_allclose(found.scale[2, 0], between, rtol=1e-4)
    np.testing.assert_allclose(found.scale[3, 0], 0.1 * between, rtol=1e-4)
    assert found.center[3, 0] == 40


def test_a_flag_has_its_range_as_scale() -> None:
    flag = np.zeros((500, 1), np.float32)
    flag[::100] = 3
    assert of(flag).scale[0, 0] == 3


def test_there_are_no_scales_if_nothing_varies() -> None:
    assert scales([np.full((500, 2), 7, np.float32)]) is None
