"""A start is timed phase by phase, once."""

from __future__ import annotations

import math

from detector.consumer.health import Health
from detector.consumer.recovery_watch import CAUGHT_UP, RecoveryWatch
from detector.metrics import Metrics
from tests.fakes import FakeClock


def test_each_phase_is_timed_until_the_log_is_caught_up() -> None:
    clock = FakeClock()
    metrics = Metrics()
    health = Health(clock.monotonic(), source_fault="gone")
    watch = RecoveryWatch(metrics, clock)

    def seconds(phase: str) -> float | None:
        name = "detector_recovery_seconds"
        return metrics.registry.get_sample_value(name, {"phase": phase})

    def turn(after: float, lag: float = math.nan) -> None:
        clock.now += after
        watch.turn(health, lag)

    turn(1)
    assert seconds("connect") == 0
    health.source_fault = ""
    turn(1)
    health.restoring = 2
    turn(3)
    health.restoring = 0
    health.ready = True
    turn(4)
    turn(5, lag=CAUGHT_UP + 1)
    turn(6, lag=CAUGHT_UP)
    phases = ("connect", "join", "restore", "reread")
    assert [seconds(phase) for phase in phases] == [2, 3, 4, 11]
    turn(100, lag=0)
    assert seconds("reread") == 11


def test_a_start_without_pages_to_read_ends_phases_together() -> None:
    clock = FakeClock()
    metrics = Metrics()
    watch = RecoveryWatch(metrics, clock)
    clock.now += 2
    watch.turn(Health(clock.monotonic(), ready=True), 0)
    name = "detector_recovery_seconds"
    found = metrics.registry.get_sample_value(name, {"phase": "connect"})
    assert found == 2
