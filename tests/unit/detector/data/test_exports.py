"""Files as other programs export them: each comes out as the plain table would."""

from __future__ import annotations

import gzip
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from detector.data.per_metric import read_metrics
from detector.data.read_options import ReadOptions
from detector.data.table import Table
from detector.data.wide import file_notes, read_table, read_tables
from detector.errors import DataError

MOMENT = 1_772_366_400.0  # 2026-03-01T12:00:00Z
BERLIN = ZoneInfo("Europe/Berlin")

Points = dict[tuple[str, float], float]


def points(*tables: Table) -> Points:
    """(stream, time) -> value of tables with one feature."""
    found: Points = {}
    for table in tables:
        for i, time in enumerate(table.times.tolist()):
            found[table.streams[table.stream[i]], time] = float(table.values[i, 0])
    return found


def metrics(folder: Path, text: str, name: str = "export.csv") -> Points:
    """What the built-in bundle reads of a file."""
    (folder / name).write_text(text)
    return points(*read_metrics(folder))


@pytest.mark.parametrize(
    "text",
    [
        "timestamp;stream;cpu\n2026-03-01T12:00:00Z;web-1;2,5\n",
        "sep=;\nTime;Host;cpu\n2026-03-01 12:00:00;web-1;2,5\n",
        "\ufeffTime\tHost\tcpu\n2026-03-01 12:00:00\tweb-1\t2.5\n",
        '"Time","host","cpu"\n1772366400000,"web-1","2.5"\n',
        "_time,instance,cpu\n1772366400000000000,web-1,2.5\n",
        "when,device_id,cpu\n2026-03-01T13:00:00+01:00,web-1,2.5 %\n",
        "host,metric,value,time\nweb-1,cpu,2.5,1772366400\n",
        "Date,Series,Field,Value\n2026-03-01 12:00,web-1,cpu,2.5\n",
    ],
)
def test_the_usual_exports_need_no_setting(tmp_path: Path, text: str) -> None:
    assert metrics(tmp_path, text) == {("web-1/cpu", MOMENT): 2.5}


def test_grafanas_series_to_columns_is_a_stream_for_each_series(tmp_path: Path) -> None:
    text = (
        '"Time","cpu {host=""a""}","cpu {host=""b""}"\n'
        "2026-03-01 12:00:00,12.5%,undefined\n"
        "2026-03-01 12:01:00,13%,7%\n"
    )
    assert metrics(tmp_path, text) == {
        ('export/cpu {host="a"}', MOMENT): 12.5,
        ('export/cpu {host="a"}', MOMENT + 60): 13,
        ('export/cpu {host="b"}', MOMENT + 60): 7,
    }


def test_influxdbs_annotated_csv_has_several_tables(tmp_path: Path) -> None:
    text = (
        "#datatype,string,long,dateTime:RFC3339,double,string,string,string,string\n"
        "#group,false,false,false,false,true,true,true,true\n"
        "#default,_result,,,,,,,\n"
        ",result,table,_time,_value,_field,_measurement,cpu,host\n"
        ",,0,2026-03-01T12:00:00Z,2.5,usage_idle,cpu,cpu0,web-1\n"
        "\n"
        "#datatype,string,long,dateTime:RFC3339,double,string,string,string\n"
        "#group,false,false,false,false,true,true,true\n"
        "#default,_result,,,,,,\n"
        ",result,table,_time,_value,_field,_measurement,host\n"
        ",,1,2026-03-01T12:00:00Z,7,free,mem,web-1\n"
    )
    assert metrics(tmp_path, text) == {
        ("web-1/cpu{cpu=cpu0}/usage_idle", MOMENT): 2.5,
        ("web-1/mem/free", MOMENT): 7,
    }


def test_influxdbs_plain_csv_names_streams_by_measurement_and_tags(
    tmp_path: Path,
) -> None:
    text = (
        "name,tags,time,usage_idle,usage_user\n"
        'cpu,"cpu=cpu0,host=web-1",1772366400000000000,97.5,1.5\n'
    )
    assert metrics(tmp_path, text) == {
        ("web-1/cpu{cpu=cpu0}/usage_idle", MOMENT): 97.5,
        ("web-1/cpu{cpu=cpu0}/usage_user", MOMENT): 1.5,
    }


def test_columns_of_text_tell_streams_apart_where_their_times_are_the_same(
    tmp_path: Path,
) -> None:
    text = "timestamp,host,cpu,region,idle\n60,a,0,eu,1\n60,a,1,eu,2\n60,b,0,eu,3\n"
    (tmp_path / "export.csv").write_text(text.replace("cpu", "core"))
    rows = read_metrics(tmp_path)
    # `core` is a column of numbers: only text is a tag
    assert {name for name, _ in points(*rows)} >= {"a/idle", "b/idle"}
    text = "timestamp,host,core,region,idle\n60,a,c0,eu,1\n60,a,c1,eu,2\n60,b,c0,eu,3\n"
    assert metrics(tmp_path, text) == {
        ("a{core=c0}/idle", 60): 1,
        ("a{core=c1}/idle", 60): 2,
        ("b{core=c0}/idle", 60): 3,
    }


def test_a_narrow_file_becomes_rows_of_features(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "time,host,metric,value\n60,a,cpu,1\n60,a,mem,2\n120,a,mem,4\n120,b,cpu,5\n"
    )
    (table,) = read_tables(tmp_path, ["cpu", "mem"])
    named = [table.streams[i] for i in table.stream.tolist()]
    assert list(zip(named, table.times.tolist(), strict=True)) == [
        ("a", 60),
        ("a", 120),
        ("b", 120),
    ]
    np.testing.assert_equal(table.values, [[1, 2], [np.nan, 4], [5, np.nan]])


def test_folders_of_hive_are_columns(tmp_path: Path) -> None:
    for host in ("web%201", "web-2"):
        folder = tmp_path / "year=2026" / f"host={host}"
        folder.mkdir(parents=True)
        rows = pa.table({"time": [60.0], "cpu": [1.0]})
        pyarrow.parquet.write_table(rows, folder / "part-0.parquet")
    assert points(*read_metrics(tmp_path)) == {
        ("web 1/cpu", 60): 1,
        ("web-2/cpu", 60): 1,
    }


@pytest.mark.parametrize(
    "streams",
    [
        pa.array(["a", "b"], pa.string_view()),
        pa.array(["a", "b"], pa.large_string()),
        pa.array(["a", "b"]).dictionary_encode(),
    ],
)
def test_parquet_may_hold_any_kind_of_text(tmp_path: Path, streams: pa.Array) -> None:
    rows = pa.table({"timestamp": [60, 120], "stream": streams, "cpu": [1.0, 2.0]})
    pyarrow.parquet.write_table(rows, tmp_path / "a.parquet")
    assert points(*read_tables(tmp_path)) == {("a", 60): 1, ("b", 120): 2}


def test_thousands_are_no_decimals_whatever_the_separator(tmp_path: Path) -> None:
    text = "timestamp\thost\trps\n60\ta\t1,008\n120\ta\t991\n180\ta\t1,006\n"
    assert list(metrics(tmp_path, text).values()) == [1008, 991, 1006]
    text = "timestamp;host;cpu;rps\n60;a;50.12%;1,204\n120;a;49%;998\n"
    found = metrics(tmp_path, text)
    assert found["a/rps", 60] == 1204
    assert found["a/cpu", 60] == 50.12


def test_a_packed_file_is_read_and_named_without_its_suffixes(tmp_path: Path) -> None:
    packed = gzip.compress(b"timestamp,cpu\n60,1\n")
    (tmp_path / "web-1.csv.gz").write_bytes(packed)
    assert points(*read_metrics(tmp_path)) == {("web-1/cpu", 60): 1}


def test_a_zone_is_that_of_times_without_an_offset(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "timestamp,cpu\n2026-03-01 13:00:00,1\n2026-07-01 14:00:00,2\n"
    )
    table = read_table(tmp_path / "a.csv", options=ReadOptions(zone=BERLIN))
    assert table.times.tolist() == [MOMENT, MOMENT + 122 * 86_400]


@pytest.mark.parametrize("newest_first", [False, True])
def test_the_repeated_hour_is_told_apart_by_the_order(
    tmp_path: Path, newest_first: bool
) -> None:
    """On 2026-10-25 Berlin's clocks go from 03:00 back to 02:00."""
    clocks = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
    rows = [f"2026-10-25 {clock}:00,1" for clock in clocks]
    if newest_first:
        rows.reverse()
    (tmp_path / "a.csv").write_text("\n".join(["timestamp,cpu", *rows]) + "\n")
    table = read_table(tmp_path / "a.csv", options=ReadOptions(zone=BERLIN))
    times = sorted(table.times.tolist())
    assert np.diff(times).tolist() == [1800.0] * 5


def test_a_column_that_an_option_names_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("timestamp,measured,line,cpu\n1,60,7,2\n")
    options = ReadOptions(time_column="measured", stream_column="line")
    table = read_table(path, ["cpu"], options)
    assert points(table) == {("7", 60): 2}
    with pytest.raises(DataError, match=r"no column `when`, which --time-column names"):
        read_table(path, options=ReadOptions(time_column="when"))


def test_what_was_guessed_is_told_once_for_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.csv").write_text(
            "Time;host;mem\n2026-03-01 12:01:00;x;1,5 GiB\n2026-03-01 12:00:00;x;n\n"
        )
    (note,) = file_notes(read_tables(tmp_path))
    for said in (
        "a.csv and 1 more:",
        "separated by ';'",
        "`Time` is the time",
        "`host` is the stream",
        "`mem` has units (GiB), read as bytes",
        "`mem`: 1 cell is no number and counts as missing (the first: row 2, 'n')",
        "newest first",
    ):
        assert said in note


def test_a_plain_file_is_told_nothing_of(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("timestamp,stream,cpu\n60,a,1\n120,a,2\n")
    assert list(file_notes(read_tables(tmp_path))) == []


@pytest.mark.parametrize(
    ("text", "form", "suggested"),
    [
        ("31.12.2025 13:00", "%d.%m.%Y %H:%M", '"%d.%m.%Y %H:%M"'),
        ("31/12/2025 13:00:00", "%d/%m/%Y %H:%M:%S", '"%d/%m/%Y %H:%M:%S"'),
        ("12/31/2025 01:00 PM", "%m/%d/%Y %I:%M %p", '"%m/%d/%Y %I:%M %p"'),
        ("2025/12/31 13:00:00", "%Y/%m/%d %H:%M:%S", '"%Y/%m/%d %H:%M:%S"'),
        ("Wed Dec 31 13:00:00 2025", "%a %b %d %H:%M:%S %Y", "such as"),
    ],
)
def test_dates_of_any_notation_are_refused_with_the_option_that_reads_them(
    tmp_path: Path, text: str, form: str, suggested: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"date;cpu\n{text};1,5\n")
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert "row 1" in str(caught.value)
    assert f"set --time-format{'' if suggested == 'such as' else ' to'}" in (
        str(caught.value).replace(", such as", "")
    )
    assert suggested in str(caught.value)
    moment = 1_767_186_000.0  # 2025-12-31T13:00:00Z
    assert points(read_table(path, options=ReadOptions(time_format=form))) == {
        ("a", moment): 1.5
    }
    local = ReadOptions(time_format=form, zone=BERLIN)
    assert points(read_table(path, options=local)) == {("a", moment - 3600): 1.5}


def test_a_column_of_any_name_is_found_by_the_notation_of_its_times(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("Datum;cpu\n31.12.2025;1\n")
    options = ReadOptions(time_format="%d.%m.%Y")
    assert points(read_table(path, options=options)) == {("a", 1_767_139_200.0): 1}
    path.write_text("Datum;cpu\n31.12.25;1\n")
    with pytest.raises(DataError, match="--time-column"):
        read_table(path, options=options)


def test_a_time_that_is_not_written_as_the_option_says_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.csv"
    path.write_text("date,cpu\n31.12.2025,1\n2026-01-01,2\n")
    with pytest.raises(DataError, match=r"row 2: .*'2026-01-01' is not written as"):
        read_table(path, options=ReadOptions(time_format="%d.%m.%Y"))


@pytest.mark.parametrize(
    "name", ["eventTime", "unix_timestamp", "datetime-utc", "epoch"]
)
def test_the_names_of_times_are_those_of_records(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{name},cpu\n{MOMENT:.0f},1\n")
    assert points(read_table(path)) == {("a", MOMENT): 1}
    # a metric may be called so
    path.write_text(f"timestamp,{name}\n{MOMENT:.0f},7\n")
    assert points(read_table(path)) == {("a", MOMENT): 7}


def test_words_that_are_no_unit_are_told(tmp_path: Path) -> None:
    rows = "\n".join(f"2026-03-01T12:00:0{n}Z,{n},{n} apples" for n in range(3))
    (tmp_path / "a.csv").write_text(f"time,cpu,fruit\n{rows}\n")
    (table,) = read_metrics(tmp_path)
    assert table.streams == ("a/cpu",)
    (note,) = file_notes([table])
    assert "`fruit` is no metric: `apples` is no known unit" in note
    with pytest.raises(DataError, match="'0 apples', and `apples` is no known unit"):
        read_table(tmp_path / "a.csv", ["cpu", "fruit"])
