"""DATA as it comes: CSV or Parquet, any timestamp, missing cells, and a sentence for
what can't be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from detector.data.files import data_files
from detector.data.table import Table
from detector.data.wide import read_table, read_tables
from detector.errors import DataError

MOMENT = 1_704_067_200.0  # 2024-01-01T00:00:00Z


def read_csv(folder: Path, text: str, name: str = "host-9.csv") -> Table:
    (folder / name).write_text(text)
    return read_table(folder / name)


def read_parquet(folder: Path, **columns: Any) -> Table:
    pyarrow.parquet.write_table(pa.table(columns), folder / "host-9.parquet")
    return read_table(folder / "host-9.parquet")


@pytest.mark.parametrize(
    "cell",
    [
        "1704067200",
        "1704067200.0",
        "2024-01-01",
        "2024-01-01T00:00:00Z",
        "2024-01-01 00:00:00",
        "2024-01-01T01:00:00+01:00",
    ],
)
def test_a_csv_timestamp_is_epoch_seconds_or_iso_8601(
    tmp_path: Path, cell: str
) -> None:
    assert read_csv(tmp_path, f"timestamp,cpu\n{cell},1\n").times.tolist() == [MOMENT]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([MOMENT]),
        pa.array([int(MOMENT)]),
        pa.array([int(MOMENT)], pa.timestamp("s")),
        pa.array([int(MOMENT) * 1000], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([int(MOMENT) * 10**9 + 1], pa.timestamp("ns")),
        pa.array(["2024-01-01"]),
        pa.array(["2024-01-01"], pa.large_string()),
    ],
)
def test_a_parquet_timestamp_may_have_any_type_and_unit(
    tmp_path: Path, column: pa.Array
) -> None:
    assert read_parquet(tmp_path, timestamp=column, cpu=[1.0]).times.tolist() == [
        MOMENT
    ]


@pytest.mark.parametrize("cell", ["", "NaN", "nan", "NA", "null"])
def test_an_empty_cell_is_missing(tmp_path: Path, cell: str) -> None:
    values = read_csv(tmp_path, f"timestamp,cpu,mem\n1,{cell},2\n2,3,4\n").values
    assert np.isnan(values).tolist() == [[True, False], [False, False]]


def test_the_files_stem_names_a_stream_without_a_column(
    tmp_path: Path,
) -> None:
    table = read_csv(tmp_path, "timestamp,cpu\n1,2\n2,3\n")
    assert (table.streams, table.stream.tolist()) == (("host-9",), [0, 0])


def test_streams_keep_their_rows_order(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "timestamp,stream,cpu\n1,b,2\n2,007,3\n3,b,4\n")
    assert [table.streams[i] for i in table.stream.tolist()] == ["b", "007", "b"]


def test_an_integer_beyond_the_floats_is_rounded(tmp_path: Path) -> None:
    assert read_csv(
        tmp_path, "timestamp,bytes\n1,9007199254740993\n"
    ).values.tolist() == [[2.0**53]]


def test_a_label_column_is_not_a_feature(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "timestamp,cpu,label\n1,2,1\n")
    assert table.features == ("cpu",)
    assert table.label is not None
    assert table.label.tolist() == [1.0]


def test_the_index_of_a_data_frame_is_not_a_feature(
    tmp_path: Path,
) -> None:
    assert read_csv(tmp_path, ",timestamp,cpu\n0,1,2\n1,2,2\n").features == ("cpu",)
    pyarrow.parquet.write_table(
        pa.table({"timestamp": [1, 2], "cpu": [2.0, 3.0], "__index_level_0__": [7, 8]}),
        tmp_path / "a.parquet",
    )
    assert read_table(tmp_path / "a.parquet").features == ("cpu",)


def test_a_value_beyond_float32_is_missing_for_a_fit(
    tmp_path: Path,
) -> None:
    table = read_csv(tmp_path, "timestamp,cpu\n1,1e308\n2,-inf\n3,2\n4,\n")
    assert table.values[:3, 0].tolist() == [1e308, -np.inf, 2]
    assert np.isnan(table.finite[:, 0]).tolist() == [True, True, False, True]


def test_a_file_of_only_a_header_has_no_rows(tmp_path: Path) -> None:
    assert len(read_csv(tmp_path, "timestamp,stream,cpu\n")) == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "can't be read"),
        ("when,cpu\n1,2\n", "no `timestamp` column (it has when, cpu)"),
        ("timestamp,stream\n1,a\n", "no feature column"),
        ("timestamp cpu mem\n1 2 3\n", "separated by spaces: separate its columns"),
        ("date cpu\n2026-03-01 12:00:00 2\n", "separated by spaces"),
        ("timestamp,cpu,cpu\n1,2,3\n", "names a column twice"),
        ("timestamp,cpu\n1,2\n2,high\n3,low\n", "row 2: column `cpu` holds 'high'"),
        ("timestamp,cpu\n1,2\nnoon,3\n", "row 2: timestamp 'noon'"),
        ("timestamp,cpu\n,2\n", "row 1: timestamp ''"),
        ("timestamp,cpu\n-5,2\n", "row 1: timestamp '-5' is not a time between 1970"),
        ("timestamp,cpu\n20260301,2\n", "dates of eight digits: write them as"),
        ("timestamp,cpu\n45244.5,2\n", "days as Excel counts them"),
        ("timestamp,stream,cpu\n1,a,2\n1,,2\n", "row 2: the stream is empty"),
        ("timestamp,cpu\n1,2,3\n", "can't be read"),
    ],
)
def test_unreadable_data_is_refused_by_file_and_row(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_csv(tmp_path, text)
    assert said in str(caught.value)
    assert "host-9.csv" in str(caught.value)


@pytest.mark.parametrize(
    "data", [b"timestamp,stream,cpu\n1,\xe9,2\n", b"timestamp,c\xe9\n1,2\n"]
)
def test_another_encoding_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.csv can't be read.*(UTF8|UTF-8)"):
        read_table(tmp_path / "a.csv")


@pytest.mark.parametrize("streams", [pa.array([b"\xff"]), pa.array([[1]])])
def test_a_stream_column_without_text_is_refused(
    tmp_path: Path, streams: pa.Array
) -> None:
    with pytest.raises(DataError, match="`stream` is not text"):
        read_parquet(tmp_path, timestamp=[1.0], stream=streams, cpu=[1.0])


@pytest.mark.parametrize(
    "column", [pa.array([None, 1.0]), pa.array([None, 1], pa.timestamp("s"))]
)
def test_a_null_timestamp_is_refused(tmp_path: Path, column: pa.Array) -> None:
    with pytest.raises(DataError, match="row 1: timestamp None"):
        read_parquet(tmp_path, timestamp=column, cpu=[1.0, 2.0])


def test_a_directory_means_its_files_in_name_order(
    tmp_path: Path,
) -> None:
    for name in ("b.csv", "a.csv", "notes.txt"):
        (tmp_path / name).write_text("timestamp,cpu\n1,2\n")
    assert [p.name for p in data_files(tmp_path)] == ["a.csv", "b.csv"]


def test_files_may_order_their_features_differently(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("timestamp,cpu,mem\n1,2,3\n")
    (tmp_path / "b.csv").write_text("timestamp,mem,cpu\n1,30,20\n")
    first, second = read_tables(tmp_path)
    assert first.features == second.features == ("cpu", "mem")
    assert second.values.tolist() == [[20, 30]]


def test_files_of_different_features_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("timestamp,cpu\n1,2\n")
    (tmp_path / "b.csv").write_text("timestamp,cpu,mem\n1,2,3\n")
    with pytest.raises(DataError, match="differ in their features: mem"):
        read_tables(tmp_path)


def test_columns_that_are_not_named_are_ignored(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.csv").write_text("timestamp,zone,mem,cpu\n1,east,3,2\n")
    (tmp_path / "b.csv").write_text("timestamp,cpu,mem,disk\n1,20,30,40\n")
    first, second = read_tables(tmp_path, ["cpu", "mem"])
    assert first.features == second.features == ("cpu", "mem")
    assert (first.values.tolist(), second.values.tolist()) == ([[2, 3]], [[20, 30]])
    assert (first.aside, second.aside) == (("zone",), ("disk",))
    with pytest.raises(
        DataError,
        match=r"a\.csv lacks the bundle's features disk: it has zone, mem, cpu",
    ):
        read_tables(tmp_path, ["cpu", "disk"])


@pytest.mark.parametrize("name", ["none", "."])
def test_absent_data_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"no data at|holds no \.csv"):
        read_tables(tmp_path / name)
