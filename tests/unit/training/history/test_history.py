"""History as ``fit`` takes it: in time order, and what was done to that end is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.history.history import load_history, scaling


def test_rows_that_come_late_are_put_in_order_and_what_is_left_out_is_said(
    tmp_path: Path,
) -> None:
    rows = [f"{1_700_000_000 + 60 * t},{50 + t % 7}" for t in range(200)]
    rows[20], rows[21] = rows[21], rows[20]
    rows.append(rows[199].replace(",", ",9"))
    rows.append(f"{1_700_000_000 + 60 * 200},inf")
    (tmp_path / "h.csv").write_text("\n".join(["timestamp,cpu", *rows]))
    history = load_history(tmp_path / "h.csv", 0.6)
    (series,) = history.series
    assert np.array_equal(series.times, 1_700_000_000 + 60.0 * np.arange(201))
    assert np.array_equal(series.values[:200, 0], 50 + np.arange(200) % 7)
    assert np.isnan(series.values[200, 0])
    assert [note.split(":")[0].split(",")[0] for note in history.notes[:3]] == [
        "1 row (h) came after later ones of their stream",
        "1 row (h) with a repeated timestamp left out",
        "1 infinite value (h.csv) taken as missing",
    ]


def test_nothing_is_said_of_history_in_order(tmp_path: Path) -> None:
    (tmp_path / "h.csv").write_text(
        "\n".join(
            [
                "timestamp,cpu",
                *(f"{1_700_000_000 + 3600 * t},{t % 7}" for t in range(500)),
            ]
        )
    )
    assert load_history(tmp_path / "h.csv", 0.6).notes == ()


def test_anomalies_and_gaps_do_not_bend_a_scale() -> None:
    rng = np.random.default_rng(0)
    clean = rng.normal(10, 2, (5000, 1)).astype(np.float32)
    dirty = clean.copy()
    dirty[rng.random(5000) < 0.01] = 500
    dirty[rng.random(5000) < 0.02] = np.nan
    fleet = np.array([12.0])
    pooled = np.array([10.0])
    (center, scale, _) = scaling(clean, fleet, pooled)
    (dirty_center, dirty_scale, _) = scaling(dirty, fleet, pooled)
    assert abs(dirty_center[0] - center[0]) < 0.5 * scale[0]
    # the plain deviation is 25 times as large
    assert 0.7 < dirty_scale[0] / scale[0] < 3.5
