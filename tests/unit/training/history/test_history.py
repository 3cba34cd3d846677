"""History as ``fit`` takes it: in time order, and what was done to that end is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.history.history import load_history


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
