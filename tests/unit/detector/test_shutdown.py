"""A fault in one part of a stop does not keep the other parts from being closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import structlog

from detector.errors import Transient
from detector.shutdown import Cleanups, Deadline
from tests.fakes import FakeClock


def failing(error: Exception) -> Callable[[], None]:
    def part() -> None:
        raise error

    return part


def end(cleanups: Cleanups) -> None:
    """Close all parts, as at the end of a ``with``."""
    with cleanups:
        pass


def test_parts_are_closed_in_reverse_order() -> None:
    closed: list[str] = []
    with Cleanups() as cleanups:
        cleanups.add("store", lambda: closed.append("store"))
        cleanups.add("web", lambda: closed.append("web"))
    assert closed == ["web", "store"]


def test_a_full_disk_and_an_absent_broker_are_logged_and_end_nothing() -> None:
    with structlog.testing.capture_logs() as lines, Cleanups() as cleanups:
        cleanups.add("store", failing(OSError("disk full")))
        cleanups.add("source", failing(Transient("no broker")))
    assert [(line["part"], line["cause"]) for line in lines] == [
        ("source", "Transient: no broker"),
        ("store", "OSError: disk full"),
    ]


def test_a_fault_of_ours_is_raised_once_the_other_parts_are_closed() -> None:
    closed: list[str] = []
    cleanups = Cleanups()
    cleanups.add("store", lambda: closed.append("store"))
    cleanups.add("web", failing(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        end(cleanups)
    assert closed == ["store"]


def test_a_part_gets_its_share_and_at_most_what_is_left() -> None:
    clock = FakeClock()
    deadline = Deadline(clock, 20.0)
    clock.now += 100  # it does not run before it is asked
    assert deadline.remaining(0.25) == 5.0
    clock.now += 18
    assert deadline.remaining(0.25) == 2.0
    assert deadline.remaining() == 2.0


def test_a_part_gets_a_moment_after_the_deadline_too() -> None:
    clock = FakeClock()
    deadline = Deadline(clock, 20.0)
    deadline.remaining()
    clock.now += 21
    assert 0 < deadline.remaining() < 1
