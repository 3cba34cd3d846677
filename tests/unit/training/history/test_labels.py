"""LABELS as intervals: from a file, from a column, or a sentence that says what is
wrong with them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from detector.data.per_metric import read_metrics
from detector.data.wide import read_tables
from detector.errors import DataError
from training.history.labels import (
    applied,
    label_column,
    marked,
    read_labels,
    refuse_strangers,
)


def labels_file(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(["stream,start,end,note", *rows]) + "\n")
    return path


def test_overlapping_intervals_in_either_form_of_time_are_one(
    tmp_path: Path,
) -> None:
    found = read_labels(
        labels_file(
            tmp_path / "l.csv",
            "a,300,400,x",
            "a,1970-01-01T00:01:40,250,",
            "a,350,500,",
            "b,7,7,",
        )
    )
    np.testing.assert_array_equal(found["a"], [[100, 250], [300, 500]])
    np.testing.assert_array_equal(found["b"], [[7, 7]])


def test_a_column_of_ones_is_intervals_over_files_and_in_any_order(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.csv").write_text(
        "timestamp,stream,x,label\n120,a,1,1\n60,a,1,0\n60,b,1,\n180,a,1,1\n"
    )
    (tmp_path / "2.csv").write_text("timestamp,stream,x,label\n240,a,1,0\n300,a,1,1\n")
    found = label_column(read_tables(tmp_path))
    assert found is not None
    np.testing.assert_array_equal(found["a"], [[120, 180], [300, 300]])
    assert found["b"].shape == (0, 2)


def test_no_column_is_none(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("timestamp,stream,x\n120,a,1\n")
    assert label_column(read_tables(tmp_path)) is None


def test_both_ends_of_an_interval_are_in_it() -> None:
    times = np.arange(0.0, 100.0, 10.0)
    assert np.flatnonzero(
        marked(times, np.array([[20.0, 40.0], [75.0, 79.0], [90.0, 99.0]]))
    ).tolist() == [2, 3, 4, 9]
    assert not marked(times, np.zeros((0, 2))).any()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a,200,100,"], "row 1: the event of a ends (100) before it starts (200)"),
        (["a,100,200,", "a,noon,300,"], "row 2: start 'noon'"),
        (["a,100,nan,"], "row 1: end 'nan'"),
        (["a,100"], "row 1: end ''"),
    ],
)
def test_a_row_that_can_t_be_is_named(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    with pytest.raises(DataError, match=r"l\.csv") as raised:
        read_labels(labels_file(tmp_path / "l.csv", *rows))
    assert said in str(raised.value)


def test_a_file_without_the_columns_or_that_is_not_there_is_named(
    tmp_path: Path,
) -> None:
    (tmp_path / "l.csv").write_text("stream,from,to\n")
    with pytest.raises(DataError, match="no column start, end"):
        read_labels(tmp_path / "l.csv")
    with pytest.raises(DataError, match="No such file"):
        read_labels(tmp_path / "none.csv")


def test_a_label_that_is_no_0_or_1_is_named(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("timestamp,stream,x,label\n60,a,1,0\n120,a,1,2\n")
    with pytest.raises(DataError, match="row 2: label 2"):
        label_column(read_tables(tmp_path))


def test_labels_that_meet_no_data_are_refused() -> None:
    labels = {
        "a": np.array([[50.0, 150.0], [900.0, 950.0]]),
        "c": np.array([[1.0, 2.0]]),
    }
    with pytest.raises(DataError, match="labels c, which the data does not hold"):
        refuse_strangers(labels, {"a": (100, 1000), "b": (0, 1)}, Path("l.csv"))
    refuse_strangers({"a": labels["a"]}, {"a": (100, 1000)}, Path("l.csv"))
    with pytest.raises(DataError, match="from 900 to 950 is outside of its data"):
        refuse_strangers({"a": labels["a"]}, {"a": (100, 800)}, Path("l.csv"))


def test_a_stream_s_label_applies_to_its_metrics_and_the_reverse(
    tmp_path: Path,
) -> None:
    (tmp_path / "1.csv").write_text(
        "timestamp,stream,x,y\n60,a,1,1\n120,a,1,\n180,a,1,1\n60,b,1,1\n"
    )
    known = read_labels(labels_file(tmp_path / "labels", "a,60,120,", "a/y,120,180,"))
    assert {
        name: found.tolist()
        for name, found in applied(known, read_tables(tmp_path), tmp_path).items()
    } == {"a": [[60, 180]]}
    assert {
        name: found.tolist()
        for name, found in applied(
            known, read_tables(tmp_path, ["x"]), tmp_path
        ).items()
    } == {"a": [[60, 180]]}
    each = applied(known, read_metrics(tmp_path), tmp_path)
    assert {name: found.tolist() for name, found in each.items()} == {
        "a/x": [[60, 120]],
        "a/y": [[60, 180]],
    }
    for tables in (read_tables(tmp_path), read_metrics(tmp_path)):
        with pytest.raises(DataError, match="labels a/z, which the data does not hold"):
            applied({"a/z": np.array([[60.0, 120.0]])}, tables, tmp_path)
        with pytest.raises(
            DataError, match="event of b/x from 120 to 180 is outside of its data"
        ):
            applied({"b/x": np.array([[120.0, 180.0]])}, tables, tmp_path)
