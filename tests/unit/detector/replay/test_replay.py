"""``replay``: one row out for each row in; one sentence if the operator must act."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from detector.cli.main import main
from detector.errors import ConfigError
from detector.model.bundle import load_bundle
from detector.replay.chunks import FileSource
from detector.replay.replay import Outputs, replay
from detector.settings.alerting import AlertingSettings
from tests.fakes import write_bundle

Rows = list[dict[str, str]]


class Workplace:
    """A folder with a bundle, and a history with one fault on stream ``a``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = str(write_bundle(folder / "bundle"))
        self.data = folder / "history.csv"
        self.scores = folder / "scores.csv"
        self.alerts = folder / "alerts.ndjson"
        rows = ["timestamp,stream,cpu,mem"]
        for t in range(100):
            rows.append(f"{60 * (t + 1)},a,{40 if 20 <= t < 25 else 0},0")
            rows.append(f"{60 * (t + 1)},b,0,")
        rows += ["60,a,1,1", "9999,b,,"]  # late; without a value
        self.data.write_text("\n".join(rows) + "\n")

    def replay(self, *options: str) -> int:
        """The exit status of the command over its data."""
        data = str(self.data)
        return main(["replay", "--bundle", self.bundle, "--data", data, *options])

    def score(self, *options: str) -> Rows:
        """The rows of ``--scores``."""
        assert self.replay("--scores", str(self.scores), *options) == 0
        return rows_of(self.scores)


def rows_of(path: Path) -> Rows:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_each_input_row_gives_one_row_in_its_order(place: Workplace) -> None:
    rows = place.score()
    assert [(r["timestamp"], r["stream"]) for r in rows] == [
        (r["timestamp"], r["stream"]) for r in rows_of(place.data)
    ]
    assert [r["status"] for r in rows[:6]] == ["warming"] * 6
    assert [r["status"] for r in rows[38:44:2]] == ["ok", "firing", "firing"]
    assert [(r["status"], r["score"]) for r in rows[-2:]] == [("dropped", "")] * 2
    assert rows[42]["cpu"] == "1"


def test_alerts_are_written_without_scores_too(place: Workplace) -> None:
    assert place.replay("--alerts", str(place.alerts)) == 0
    assert not place.scores.exists()
    alerts = [json.loads(line) for line in place.alerts.read_text().splitlines()]
    assert [(a["status"], a["labels"]["stream"], a["startsAt"]) for a in alerts] == [
        ("firing", "a", "1970-01-01T00:21:00.000Z"),
        ("resolved", "a", "1970-01-01T00:21:00.000Z"),
    ]


def test_a_summary_counts_rows_and_incidents(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.score()
    printed = capsys.readouterr().out
    assert "200 scored, 2 dropped; 1 incidents, 1 resolved" in printed
    assert "dropped: 1 no_features, 1 late" in printed
    assert "no stream has a day of points" in printed


def test_alerts_have_the_configured_labels(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__LABELS", '{"team": "core"}')
    assert place.replay("--alerts", str(place.alerts)) == 0
    lines = place.alerts.read_text().splitlines()
    assert {json.loads(line)["labels"]["team"] for line in lines} == {"core"}


def test_an_infinite_value_costs_itself_and_not_its_row(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.data.write_text(
        "timestamp,stream,cpu,mem\n60,a,0,0\n120,a,inf,0\n180,a,inf,-1e308\n"
    )
    rows = place.score()
    times = {row["timestamp"] for row in rows if row["status"] == "dropped"}
    assert times == {"180"}
    assert "dropped: 1 infinite" in capsys.readouterr().out


def test_infinite_values_are_dropped_and_counted_if_each_metric_is_a_stream(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.bundle = "builtin"
    place.data.write_text("timestamp,stream,cpu,mem\n60,a,0,0\n120,a,inf,0\n")
    rows = place.score()
    dropped = [row["stream"] for row in rows if row["status"] == "dropped"]
    assert dropped == ["a/cpu"]
    assert "dropped: 1 infinite" in capsys.readouterr().out


def test_a_table_that_is_newest_first_is_scored_as_the_sorted_one(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    in_order = place.score()
    head, *rows = place.data.read_text().splitlines()
    place.data.write_text("\n".join([head, *reversed(rows)]) + "\n")
    assert place.score() == in_order[::-1]
    assert "newest first" in capsys.readouterr().err


def test_a_table_in_no_order_is_scored_as_the_sorted_one(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    head, *rows = place.data.read_text().splitlines()
    by_key = {tuple(row.split(",")[:2]): row for row in rows}  # times that differ
    rows = sorted(by_key.values(), key=lambda row: float(row.split(",")[0]))
    place.data.write_text("\n".join([head, *rows]) + "\n")
    in_order = place.score()
    order = np.random.default_rng(5).permutation(len(rows)).tolist()
    shuffled = [rows[i] for i in order]
    place.data.write_text("\n".join([head, *shuffled]) + "\n")
    assert place.score() == [in_order[i] for i in order]
    assert "in no order" in capsys.readouterr().err


def test_columns_that_are_not_features_change_nothing(place: Workplace) -> None:
    plain = place.score()
    head, *rows = place.data.read_text().splitlines()
    more = [f"east,{row},{t}" for t, row in enumerate(rows)]
    place.data.write_text("\n".join([f"zone,{head},disk", *more]) + "\n")
    assert place.score() == plain


def test_the_budget_moves_the_threshold_without_training_again(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for budget, threshold in (("1", "4.80618"), ("10", "2.80618")):
        monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK", budget)
        assert place.score()[0]["threshold"] == threshold


def test_streams_share_a_budget_of_the_fleet(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    for total, stated, threshold in (("2", "", "4.80618"), ("40", "4", "2.80618")):
        monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", total)
        if stated:
            monkeypatch.setenv("DETECTOR_ALERTING__FLEET_STREAMS", stated)
        assert place.score()[0]["threshold"] == threshold


def test_an_explanation_has_the_threshold_of_the_shared_budget(
    place: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert place.replay("--explain", "a@600") == 0
    of_stream = capsys.readouterr().out
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", "2")
    assert place.replay("--explain", "a@600") == 0
    assert capsys.readouterr().out == of_stream


def test_a_summary_says_what_the_budget_allows_the_fleet(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"{60 * (t + 1)},{name},0,0" for t in range(1600) for name in "abc"]
    nothing = "60,d,,"  # no point of d can be scored, so it is not a stream
    lines = ["timestamp,stream,cpu,mem", *rows, nothing]
    place.data.write_text("\n".join(lines) + "\n")
    place.score()
    assert (
        "3 streams: at most about 3 false alarms a week at this budget;"
        " this data: no incident\n"
    ) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        (None, "for `run`, set DETECTOR_ALERTING__FLEET_STREAMS: 2 if this data is"),
        ("8", "DETECTOR_ALERTING__FLEET_STREAMS is 8, and this data has 2 streams"),
        ("2", ""),
    ],
)
def test_a_summary_says_which_number_of_streams_to_state(
    place: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stated: str | None,
    sentence: str,
) -> None:
    monkeypatch.setenv("DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL", "4")
    if stated:
        monkeypatch.setenv("DETECTOR_ALERTING__FLEET_STREAMS", stated)
    place.score()
    printed = capsys.readouterr().out
    assert "the budget of 4 false alarms a week for the whole fleet is" in printed
    assert sentence in printed
    assert ("FLEET_STREAMS" in printed) is bool(sentence)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("when,stream,cpu,mem\n1,a,1,1\n", "no `timestamp` column"),
        ("timestamp,stream,cpu\n1,a,1\n", "lacks the bundle's features mem"),
        ("timestamp,stream,cpu,mem\n1,a,high,1\n", "'high'"),
        ("timestamp,stream,cpu,mem\nnoon,a,1,1\n", "'noon'"),
        ("timestamp,stream,cpu,mem\n-1,a,1,1\n", "row 1"),
        ("timestamp,stream,cpu,mem\n1,,1,1\n", "the stream is empty"),
        ("timestamp,stream,cpu,mem\n", "has no rows"),
    ],
)
def test_unreadable_data_is_one_sentence_and_status_2(
    place: Workplace, capsys: pytest.CaptureFixture[str], content: str, fault: str
) -> None:
    place.data.write_text(content)
    assert place.replay("--scores", str(place.scores)) == 2
    error = capsys.readouterr().err
    assert fault in error
    assert "history.csv" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize("option", ["--scores", "--alerts"])
def test_an_output_never_replaces_the_data(
    place: Workplace, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    before = place.data.read_bytes()
    assert place.replay(option, str(place.data)) == 2
    assert "name another place" in capsys.readouterr().err
    assert place.data.read_bytes() == before


def test_an_output_that_cannot_be_written_is_named(place: Workplace) -> None:
    bundle = load_bundle(Path(place.bundle))
    source = FileSource(place.data, bundle.feature_names)
    nowhere = place.folder / "absent" / "alerts.ndjson"
    outputs = Outputs(scores=place.scores, alerts=nowhere)
    with pytest.raises(ConfigError, match=r"absent/alerts\.ndjson can't be written"):
        replay(bundle, source, outputs, AlertingSettings(), lambda done, total: None)


def test_a_replay_without_an_output_says_what_to_name(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.replay() == 2
    assert "--scores, --alerts or --explain" in capsys.readouterr().err


# -- --explain -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (
            "1970-01-01T00:23:00Z",
            "It fires: the incident began at 1970-01-01T00:21:00Z",
        ),
        ("600", "It does not fire: the score is 4.81 below the threshold"),
        ("900", "cpu has had this value for 14 min"),
    ],
)
def test_a_point_is_explained_whether_it_fired_or_not(
    place: Workplace, capsys: pytest.CaptureFixture[str], at: str, reason: str
) -> None:
    assert place.replay("--explain", f"a@{at}") == 0
    assert reason in capsys.readouterr().out
    assert not place.scores.exists()


def test_an_explanation_is_the_same_with_scores_and_without(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert place.replay("--explain", "a@1380") == 0
    alone = capsys.readouterr().out
    place.score("--explain", "a@1380")
    with_summary = capsys.readouterr().out
    assert "It fires" in alone
    assert "200 scored" in with_summary
    assert with_summary.endswith(alone)


@pytest.mark.parametrize(("at", "is_earlier"), [("650", False), ("99999", True)])
def test_an_explanation_says_if_its_point_is_an_earlier_one(
    place: Workplace, capsys: pytest.CaptureFixture[str], at: str, is_earlier: bool
) -> None:
    assert place.replay("--explain", f"a@{at}") == 0
    printed = capsys.readouterr().out
    assert ("a has no point at 1970-01-02T03:46:39" in printed) is is_earlier


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ("a", "name a stream and a time"),
        ("a@noon", "name a stream and a time"),
        ("a@1767691200000", "divide milliseconds by 1,000"),
        ("z@600", "history.csv holds no stream z: it holds a, b"),
        ("aa@600", "the nearest are a"),
        ("a@1", "a has no point"),
    ],
)
def test_a_point_that_cannot_be_explained_is_one_sentence(
    place: Workplace, capsys: pytest.CaptureFixture[str], asked: str, remedy: str
) -> None:
    assert place.replay("--explain", asked) == 2
    assert remedy in capsys.readouterr().err


def test_a_metric_is_found_by_the_name_of_its_host(
    place: Workplace, capsys: pytest.CaptureFixture[str]
) -> None:
    place.bundle = "builtin"
    assert place.replay("--explain", "a@600") == 2
    error = capsys.readouterr().err
    assert "each metric is a stream of its own" in error
    assert "ask for a/cpu, a/mem" in error


@pytest.mark.parametrize("other", ["scores.csv", "there/../scores.csv", "link", "hard"])
def test_one_file_for_scores_and_alerts_is_refused(
    place: Workplace, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place.scores.write_text("kept")
    (place.folder / "there").mkdir()
    (place.folder / "link").symlink_to(place.scores)
    (place.folder / "hard").hardlink_to(place.scores)
    alerts = place.folder / other
    assert place.replay("--scores", str(place.scores), "--alerts", str(alerts)) == 2
    assert capsys.readouterr().err == (
        f"streamwarden: --scores {place.scores} and --alerts {alerts} are the same"
        " file: give each a file of its own\n"
    )
    assert place.scores.read_text() == "kept"
