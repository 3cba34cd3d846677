"""What is said of a history: in sums, with the place, once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from detector.errors import DataError
from training.history.history import History, load_history

BEGIN = 1_700_000_000
# Rows of an hour that leave more than a week to calibrate on, at a fit share of 0.6.
ENOUGH = 500

Cell = Callable[[int, int], str]


def moving(stream: int, row: int) -> str:
    return str((row * 7 + stream) % 11)


def lines(
    *columns: Cell, streams: int = 4, rows: int = ENOUGH, tick: float = 3600
) -> list[str]:
    return [
        f"{BEGIN + tick * t:.0f},host-{s},{','.join(c(s, t) for c in columns)}"
        for s in range(streams)
        for t in range(rows)
    ]


def load(folder: Path, rows: Iterable[str], features: str = "cpu") -> History:
    path = folder / "h.csv"
    path.write_text("\n".join([f"timestamp,stream,{features}", *rows]) + "\n")
    return load_history(path, 0.6)


def test_streams_that_are_too_short_are_left_out_and_named(tmp_path: Path) -> None:
    short = [f"{BEGIN + 3600 * t},young-{s},5" for s in range(5) for t in range(20)]
    history = load(tmp_path, [*lines(moving), *short])
    assert [s.name for s in history.series] == [f"host-{s}" for s in range(4)]
    (note,) = history.notes
    assert note.startswith(
        "5 of 9 streams left out, with fewer than the 100 rows that a fit needs "
        "(young-0: 20, young-1: 20, young-2: 20 and 2 more): "
    )


def test_only_if_no_stream_is_left_a_short_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the longest, host-1, has 99"):
        load(tmp_path, lines(moving, streams=2, rows=99))


def test_a_stream_without_any_value_is_left_out(tmp_path: Path) -> None:
    history = load(tmp_path, lines(lambda s, t: "" if s == 2 else moving(s, t)))
    assert len(history.series) == 3
    (note,) = history.notes
    assert note.startswith("1 of 4 streams left out, without any value (host-2): ")


def test_constant_metrics_are_summed_over_streams(tmp_path: Path) -> None:
    rows = lines(
        moving,
        lambda s, t: "7" if s < 3 else moving(s, t),
        lambda s, t: "0" if s < 3 else moving(s, t),
        lambda s, t: "1",
    )
    notes = load(tmp_path, rows, "cpu,swap,dirty,up").notes
    assert [note.split(":")[0] for note in notes] == [
        "all 4 streams have constant `up`",
        "3 of 4 streams (host-0, host-1, host-2) have constant `swap`, `dirty`",
    ]


def test_a_metric_that_is_small_beside_another_stream_s_is_not_constant(
    tmp_path: Path,
) -> None:
    rows = lines(lambda s, t: str((t * 7) % 11 * (1e9 if s else 1e-3)))
    assert load(tmp_path, rows).notes == ()


def test_many_different_sets_of_streams_are_few_notes(tmp_path: Path) -> None:
    def resting(j: int) -> Cell:
        return lambda s, t: "3" if s == j else moving(s, t)

    features = ",".join(f"m{j}" for j in range(12))
    cells = [resting(j) for j in range(12)]
    notes = load(tmp_path, lines(*cells, streams=12), features).notes
    assert len(notes) == 5
    assert notes[-1].startswith("8 of 12 streams have constant one or more of `m2`, ")


def test_an_empty_column_is_said(tmp_path: Path) -> None:
    rows = lines(moving, lambda s, t: "", lambda s, t: "" if s == 1 else moving(s, t))
    notes = load(tmp_path, rows, "cpu,void,net").notes
    assert [note.split(":")[0] for note in notes] == [
        "all 4 streams never report `void`",
        "1 of 4 streams (host-1) never reports `net`",
    ]


def test_a_metric_that_begins_after_the_fit_rows_is_said(tmp_path: Path) -> None:
    rows = lines(moving, lambda s, t: "" if s == 1 and t < 400 else moving(s, t))
    (note,) = load(tmp_path, rows, "cpu,net").notes
    assert note.startswith("1 of 4 streams (host-1) only lately reports `net`: ")


def test_mixed_ticks_and_gaps_are_said(tmp_path: Path) -> None:
    slow = [f"{BEGIN + 7200 * t},slow,{moving(0, t)}" for t in range(300)]
    regular = [row for row in lines(moving) if ",host-1," not in row]
    torn = [
        f"{BEGIN + 3600 * (t + 48 * (t > 99))},torn,{moving(0, t)}" for t in range(400)
    ]
    notes = load(tmp_path, [*slow, *regular, *torn]).notes
    assert [note.split(":")[0] for note in notes] == [
        "1 of 5 streams has a point at another interval than 3600 s (slow",
        "1 of 5 streams has gaps of more than 10 points, the longest in torn",
    ]
    assert "slow: 7200 s" in notes[0]
    assert "its threshold follows it" in notes[0]
    assert "2 d from 2023-11-19T01:13:20Z" in notes[1]


def test_mixed_ticks_of_several_metrics_need_a_bundle_each(tmp_path: Path) -> None:
    slow = [f"{BEGIN + 7200 * t},slow,{moving(0, t)},1" for t in range(300)]
    rows = [*slow, *lines(moving, moving)]
    mixed, _ = load(tmp_path, rows, "cpu,mem").notes
    assert mixed.endswith("fit one for each interval")


@pytest.mark.parametrize(
    ("stamp", "said"),
    [
        ("2026-03-{:02d}T{:02d}:00:00", True),
        ("2026-03-{:02d} {:02d}:00:00", True),
        ("2026-03-{:02d}T{:02d}:00:00Z", False),
        ("2026-03-{:02d}T{:02d}:00:00+01:00", False),
        ("2026-03-{:02d}T{:02d}:00:00.5-0330", False),
    ],
)
def test_times_without_an_offset_are_said(
    tmp_path: Path, stamp: str, said: bool
) -> None:
    rows = [
        f"{stamp.format(1 + t // 24, t % 24)},a,{moving(0, t)}" for t in range(ENOUGH)
    ]
    notes = load(tmp_path, rows).notes
    assert [
        note.startswith("500 times (h.csv) without an offset") for note in notes
    ] == ([True] if said else [])


def test_few_rows_to_calibrate_on_are_said_with_their_number(tmp_path: Path) -> None:
    (note,) = load(tmp_path, lines(moving, streams=1, rows=100, tick=60)).notes
    assert note.startswith("40 rows calibrate (0.004 stream-weeks), too few ")


def test_notes_do_not_change_the_digest_or_name_a_folder(tmp_path: Path) -> None:
    values = np.arange(ENOUGH) % 7
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    texts = [
        f"{BEGIN + 3600 * t},a,{'inf' if t == 9 else v}" for t, v in enumerate(values)
    ]
    one = load(tmp_path / "one", texts)
    other = load(tmp_path / "other", texts)
    assert one.notes == other.notes
    assert one.digest == other.digest
