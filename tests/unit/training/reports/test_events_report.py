"""``evaluate``'s list of events: on the terminal, on the page and in events.csv."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.fakes import write_bundle
from tests.unit.training.evaluation.test_event_worth import TICK, history
from training.cli import evaluate as command
from training.cli import main
from training.reports.events_report import LISTED

# a is told as mem jumps, b is missed
JUMPS = {"a": (0.0, 40.0), "b": (1.0, 0.0), "c": (40.0, 0.0)}


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    bundle = write_bundle(tmp_path / "b")
    data = history(tmp_path / "h.csv", JUMPS)
    return ["evaluate", "--bundle", str(bundle), "--data", str(data)]


def shown(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> list[str]:
    """The lines that a command prints."""
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def cells(lines: list[str], stream: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(f"{stream}  ")]
    return line.split()


def test_each_event_is_listed_with_what_it_was_worth(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, arguments)
    head = [line for line in lines if line.startswith("stream ")]
    assert "first told as" in head[0]
    told = cells(lines, "a")
    assert told[1:4] == ["1970-01-01T01:41:00Z", "9", "min"]
    assert told[4:10] == ["told", "0", "s", "mem", "critical", "critical"]
    assert told[10:13] == ["still", "firing", "recovered"]
    assert told[13].startswith("+")
    missed = cells(lines, "b")
    assert missed[4:10] == ["missed", "-", "cpu", "-", "-", "-"]
    assert missed[-1].startswith("-")


def test_missed_events_come_first_and_the_rest_is_counted(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, [*arguments, "--events", "1"])
    assert lines[-2].startswith("b ")
    assert lines[-1] == "… and 2 more (--events 3 lists them)"
    none = shown(capsys, [*arguments, "--events", "0"])
    assert not any("missed ones first" in line for line in none)


def test_the_figures_above_the_list_are_unchanged_by_its_options(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    everything = shown(capsys, arguments)
    fewer = shown(capsys, [*arguments, "--events", "1"])
    assert fewer[:7] == everything[:7]


def test_severities_and_ranked_events_are_summed_for_each_budget(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(capsys, [*arguments, "--budgets", "1,10"])
    start = lines.index("events and false alarms at each budget, by highest severity:")
    assert [line.split() for line in lines[start + 2 : start + 4]] == [
        ["1", "1", "0", "2", "0", "0"],
        ["10", "1", "0", "2", "0", "0"],
    ]
    assert lines[start + 4] == (
        "events whose score ranks above the ten worst quiet hours of their stream: "
        "3, told: 2 at 1, 2 at 10 a week; above every quiet hour: 3, told: 2, 2"
    )


def test_missed_events_over_the_threshold_are_counted(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert not any("held back" in line for line in shown(capsys, arguments))
    lines = (tmp_path / "h.csv").read_text().splitlines()
    # tick 2 of a, during the warm-up, is an event of its own
    early = f"{2 * TICK},a,40.0,40.0,1"
    edited = [early if line.startswith(f"{2 * TICK},a,") else line for line in lines]
    (tmp_path / "h.csv").write_text("\n".join(edited) + "\n")
    assert (
        "missed at 1 a week: 2, of them over the threshold but held back by warm-up, "
        "gap or confirmation: 1"
    ) in shown(capsys, arguments)


def test_the_list_is_of_the_middle_budget_unless_one_is_given(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    title = "events at {} a week, missed ones first, then the slowest:"
    assert title.format("1") in shown(capsys, arguments)
    lines = shown(capsys, [*arguments, "--budget", "5"])
    assert title.format("5") in lines
    assert any(line.split()[:2] == ["5", "0"] for line in lines)  # its own row


def test_every_event_is_in_the_file_and_on_the_page(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    lines = shown(capsys, [*arguments, "--events", "1", "--out", str(out)])
    assert lines[-1] == f"every event: {out / 'events.csv'}"
    with (out / "events.csv").open(encoding="utf-8", newline="") as file:
        records = {record["stream"]: record for record in csv.DictReader(file)}
    assert list(records) == ["a", "b", "c"]
    told = records["a"]
    assert told["start"] == "1970-01-01T01:41:00.000Z"
    assert (told["length_seconds"], told["budget"]) == (f"{9 * TICK:g}", "1")
    assert (told["told"], told["told_after_seconds"]) == ("told", "0")
    assert (told["metric"], told["first_severity"]) == ("mem", "critical")
    assert (told["at_event_end"], told["ended_as"]) == ("still firing", "recovered")
    assert float(told["peak_margin"]) > 0
    assert told["quiet_hours_above"] == "0"
    missed = records["b"]
    assert (missed["told"], missed["told_after_seconds"]) == ("missed", "")
    assert (missed["first_severity"], missed["at_event_end"]) == ("", "")
    assert float(missed["peak_margin"]) < 0
    page = (out / "evaluation.html").read_text()
    for event in ("a", "b", "c"):
        assert f"<td>{event}<td>1970-01-01T01:41:00Z" in page
    assert "above the ten worst quiet hours" in page
    assert "Missed at 1 a week: 1, of them over the threshold" in page


def test_an_events_file_that_is_there_is_kept_unless_forced(
    arguments: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    kept = tmp_path / "events.csv"
    kept.write_text("mine")
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert f"{kept} exists" in capsys.readouterr().err
    assert kept.read_text() == "mine"
    assert main([*arguments, "--out", str(tmp_path), "--force"]) == 0
    assert kept.read_text().startswith("stream,start")


def test_the_default_of_events_is_that_of_the_report() -> None:
    (option,) = [p for p in command.params if p.name == "events"]
    assert option.default == LISTED
