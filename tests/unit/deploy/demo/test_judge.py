"""The demo: which incident belongs to which fault, and what is a false alarm."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console

from deploy.demo.generator import START, Fault, Kind
from deploy.demo.judge import SLACK_S, judge
from deploy.demo.run import Options, Run
from deploy.demo.summary import NO_FAULT, NONE_RESOLVED, next_steps, summarise
from deploy.demo.view import LineView, LiveView, Progress
from deploy.harness.broker import Broker
from deploy.harness.daemon import Daemon
from deploy.harness.receiver import Incident, Receiver
from detector.timestamps import WEEK

FAULT = Fault(0, "host-001", Kind.DECOUPLING, START + 6000, START + 12_000)
OTHER = Fault(1, "host-002", Kind.FLATLINE, START + 6000, START + 12_000)


def incident(
    starts: float,
    stream: str = "host-001",
    ends: float | None = None,
    arrived: float = 0.0,
) -> Incident:
    return Incident(
        stream=stream,
        severity="warning",
        starts=starts,
        ends=ends,
        fired_at=starts + 60,
        arrived=arrived,
        summary=f"{stream} is anomalous",
        description="",
    )


def test_the_first_incident_within_a_fault_finds_it() -> None:
    found = incident(START + 6540, ends=START + 7000, arrived=12.5)
    verdict = judge([FAULT, OTHER], [found], streams=2, seconds=WEEK)
    assert verdict.found == (found, None)
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
def test_an_incident_outside_a_fault_and_its_slack_is_a_false_alarm(
    starts: float, found: bool
) -> None:
    verdict = judge([FAULT], [incident(starts)], streams=2, seconds=WEEK)
    assert verdict.found_count == found
    assert len(verdict.false_alarms) == (not found)


def test_false_alarms_are_counted_by_the_stream_week() -> None:
    incidents = [incident(START), incident(START, "host-002")]
    verdict = judge([], incidents, streams=4, seconds=WEEK / 2)
    assert verdict.false_alarms_per_week == 1.0
    assert verdict.event_delay() is None


def test_a_fault_excuses_no_incident_of_another_stream() -> None:
    other = incident(FAULT.start, "host-009")
    verdict = judge([FAULT], [other], streams=9, seconds=1.0)
    assert verdict.found_count == 0
    assert verdict.false_alarms == (other,)


def progress(*incidents: Incident) -> Progress:
    return Progress(START, FAULT.end, START + 20_000, 2, 1000, 10.0, [FAULT], incidents)


def test_without_a_terminal_every_event_is_one_line_once() -> None:
    out = io.StringIO()
    view = LineView(Console(file=out, width=100))
    view.update(progress())
    view.update(progress(incident(START + 6540)))
    view.update(progress(incident(START + 6540)))
    view.update(progress(incident(START + 6540, ends=START + 9000)))
    events = [line.split()[2] for line in out.getvalue().splitlines()]
    assert events == ["injected", "progress", "warning", "resolved"]


def test_both_sides_can_be_read_without_colour() -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, height=24, color_system=None)
    shown = progress(
        incident(START + 6540), incident(START, "host-002", ends=START + 60)
    )
    console.print(LiveView(console).render(shown))
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


def test_the_summary_counts_faults_by_kind_and_names_the_budget() -> None:
    out = io.StringIO()
    console = Console(file=out, width=110, color_system=None)
    options = Options(
        streams=2,
        hours=1.0,
        seconds=1.0,
        faults=2,
        budget=0.2,
        seed=7,
        bundle=Path("bundle"),
    )
    run = Run(
        options,
        [FAULT, OTHER],
        broker=cast("Broker", None),
        daemon=cast("Daemon", None),
        receiver=cast("Receiver", None),
        records=1200,
        producing_s=2.0,
        scored=1100.0,
        scoring_s=2.0,
    )
    found = [incident(FAULT.start, ends=FAULT.end), incident(START, "host-009")]
    verdict = judge([FAULT, OTHER], found, streams=2, seconds=WEEK)
    summarise(run, verdict, console)
    text = out.getvalue()
    for words in (
        "1 (decoupling 1/1, flatline 0/1)",
        "1 in 2 stream-weeks (0.50 a stream-week, budget 0.2)",
        "1,200 produced at 600 a second",
        "1,100 at 550 a second",
        "-m detector check",
        "1 of 1 hours were not produced",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("ends", "failure"), [(None, NONE_RESOLVED), (FAULT.end, NO_FAULT)]
)
def test_a_run_without_a_find_or_a_resolution_says_that_it_failed(
    ends: float | None, failure: str
) -> None:
    faults = [FAULT] if ends is None else []
    verdict = judge(faults, [incident(FAULT.start, ends=ends)], streams=2, seconds=1.0)
    assert next_steps(verdict) == [failure]
