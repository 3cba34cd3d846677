"""A loop does not wait for a registry that is slow or down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from detector.errors import BadRecord, RejectReason, Transient
from detector.ingest.framing.registry_requests import PAUSE, PatientRequests
from tests.fakes import FakeClock

SHORT = 0.05  # seconds
LONG = 20.0  # for what comes at once


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Opens at the end, so that no thread stays."""
    opened = threading.Event()
    yield opened
    opened.set()


def fails(error: Exception) -> Callable[[], str]:
    def ask() -> str:
        raise error

    return ask


def test_an_answer_that_comes_soon_is_given() -> None:
    requests = PatientRequests[str](LONG, FakeClock())
    assert requests.get("a", lambda: "schema") == "schema"
    unknown = BadRecord(RejectReason.SCHEMA, "no such schema")
    with pytest.raises(BadRecord):
        requests.get("b", fails(unknown))
    # which says nothing of others
    assert requests.get("c", lambda: "schema") == "schema"


def test_a_request_that_takes_long_goes_on_while_nobody_waits(
    gate: threading.Event,
) -> None:
    clock = FakeClock()
    requests = PatientRequests[str](SHORT, clock)
    asked = []
    answered = threading.Event()

    def slow() -> str:
        asked.append(1)
        gate.wait(LONG)
        answered.set()
        return "schema"

    for _ in range(3):
        with pytest.raises(Transient, match="not answered yet"):
            requests.get("a", slow)
        clock.now += PAUSE
    gate.set()
    assert answered.wait(LONG)
    assert PatientRequests[str](LONG, clock).get("b", lambda: "other") == "other"
    requests._patience = LONG  # the thread has answered, and is about to end
    assert requests.get("a", slow) == "schema"
    assert len(asked) == 1


def test_after_a_fault_nobody_asks_for_a_while() -> None:
    clock = FakeClock()
    requests = PatientRequests[str](LONG, clock)
    with pytest.raises(Transient, match="down"):
        requests.get("a", fails(Transient("it is down")))
    with pytest.raises(Transient, match="down"):
        requests.get("b", lambda: "schema")
    clock.now += PAUSE
    assert requests.get("b", lambda: "schema") == "schema"


def test_without_patience_who_asks_waits() -> None:
    requests = PatientRequests[str](None, FakeClock())
    with pytest.raises(Transient):
        requests.get("a", fails(Transient("it is down")))
    assert requests.get("a", lambda: threading.current_thread().name) == "MainThread"
