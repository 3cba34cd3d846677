"""The end of the daemon: what may fail while its parts are closed, and what that keeps
from being closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog

from detector.app import Daemon
from detector.errors import Transient


def stop(*parts: Callable[[], None]) -> list[str]:
    """Close them one after the other, the last one first, as the daemon does; what was
    logged.
    """
    daemon = cast(Any, SimpleNamespace(_log=structlog.get_logger("daemon")))
    with structlog.testing.capture_logs() as said, contextlib.ExitStack() as cleanups:
        for part in parts:
            cleanups.callback(Daemon._run_cleanup, daemon, "part", part)
    return [line["cause"] for line in said]


def failing(error: Exception) -> Callable[[], None]:
    def part() -> None:
        raise error

    return part


def test_a_disk_that_is_full_and_a_broker_that_is_away_are_said_and_end_nothing() -> (
    None
):
    assert stop(failing(OSError("disk full")), failing(Transient("no broker"))) == [
        "Transient: no broker",
        "OSError: disk full",
    ]


def test_a_fault_of_ours_ends_the_command_once_the_other_parts_are_closed() -> None:
    closed: list[str] = []
    with pytest.raises(ZeroDivisionError):
        stop(lambda: closed.append("store"), failing(ZeroDivisionError()))
    assert closed == ["store"]


def test_the_last_checkpoint_is_written_whatever_became_of_the_delivery() -> None:
    written: list[float] = []
    loop = SimpleNamespace(
        vitals=SimpleNamespace(stopping=False),
        finish=lambda source, seconds: written.append(seconds),
    )
    delivery = SimpleNamespace(stop=lambda seconds: failing(ZeroDivisionError())())
    daemon = cast(
        Any,
        SimpleNamespace(
            _log=structlog.get_logger("daemon"),
            _loop=loop,
            _delivery=delivery,
            _outbox=(),
            _remaining=lambda share=1.0: share,
        ),
    )
    daemon._run_cleanup = lambda name, part: Daemon._run_cleanup(daemon, name, part)
    with pytest.raises(ZeroDivisionError):
        Daemon._drain(daemon, cast(Any, None))
    assert len(written) == 1
    assert loop.vitals.stopping
