"""The demo's summary: which alert belongs to which fault, and what is a false alarm."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from deploy.demo.generator import START, Fault, Kind
from deploy.demo.judge import SLACK_S, WEEK_S, judge
from deploy.demo.view import LineView, LiveView, Progress, span
from deploy.harness.receiver import Incident

FAULT = Fault(0, "host-001", Kind.DECOUPLING, START + 6000, START + 12_000)
OTHER = Fault(1, "host-002", Kind.FLAT_LINE, START + 6000, START + 12_000)


def incident(
    starts: float,
    stream: str = "host-001",
    ends: float | None = None,
    arrived: float = 0.0,
) -> Incident:
    return Incident(
        stream, "warning", starts, ends, starts + 60, arrived, f"{stream} is odd", ""
    )


def test_an_alert_within_a_fault_finds_it_and_its_delay_is_to_the_decision() -> None:
    verdict = judge(
        [FAULT, OTHER],
        [incident(START + 6540, ends=START + 7000, arrived=12.5)],
        streams=2,
        seconds=WEEK_S,
    )
    assert (verdict.found_count, verdict.incidents, verdict.resolved) == (1, 1, 1)
    assert verdict.event_delay() == 600
    assert verdict.wall_delay({FAULT: 12.0, OTHER: 12.0}) == 0.5
    assert verdict.false_alarms == ()


@pytest.mark.parametrize(
    ("starts", "found"),
    [
        (FAULT.start - 60, False),
        (FAULT.start, True),
        (FAULT.end + SLACK_S - 60, True),
        (FAULT.end + SLACK_S, False),
    ],
)
def test_what_starts_outside_a_fault_and_its_slack_is_a_false_alarm(
    starts: float, found: bool
) -> None:
    verdict = judge([FAULT], [incident(starts)], streams=2, seconds=WEEK_S)
    assert verdict.found_count == found
    assert len(verdict.false_alarms) == (not found)


def test_false_alarms_are_counted_by_the_stream_week() -> None:
    verdict = judge(
        [],
        [incident(START), incident(START, "host-002")],
        streams=4,
        seconds=WEEK_S / 2,
    )
    assert verdict.false_alarms_per_week == 1.0
    assert verdict.event_delay() is None


def test_a_fault_on_one_stream_excuses_no_alarm_on_another() -> None:
    assert (
        judge(
            [FAULT], [incident(FAULT.start, "host-009")], streams=9, seconds=1.0
        ).found_count
        == 0
    )


def progress(*incidents: Incident) -> Progress:
    return Progress(START, FAULT.end, START + 20_000, 2, 1000, 10.0, [FAULT], incidents)


def test_without_a_terminal_every_event_is_one_line_once() -> None:
    out = io.StringIO()
    view = LineView(Console(file=out, width=100))
    view.update(progress())
    view.update(progress(incident(START + 6540)))
    view.update(progress(incident(START + 6540)))
    view.update(progress(incident(START + 6540, ends=START + 9000)))
    lines = [line.split()[2] for line in out.getvalue().splitlines()]
    assert lines == ["injected", "progress", "warning", "resolved"]


def test_both_sides_can_be_read_without_colour() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, color_system=None)
    console.print(
        LiveView(console).render(
            progress(
                incident(START + 6540), incident(START, "host-002", ends=START + 60)
            )
        )
    )
    text = out.getvalue()
    for word in (
        "decoupling",
        "10 min",
        "resolved",
        "warning",
        "false alarm",
        "1,000 records, 100/s",
    ):
        assert word in text


def test_spans_read_as_people_say_them() -> None:
    assert [span(s) for s in (30, 420, 3600, 11_100)] == [
        "0 min",
        "7 min",
        "1 h 00 min",
        "3 h 05 min",
    ]
