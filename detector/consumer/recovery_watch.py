"""How long a start takes until records are scored as they come, phase by phase."""

from __future__ import annotations

import math
from typing import Final

import structlog

from detector.clock import Clock
from detector.consumer.health import Health
from detector.metrics import Metrics, RecoveryPhase

#: Records behind the log's end at which a daemon has caught up: about one poll.
CAUGHT_UP: Final = 1000


_PHASES: Final = tuple(RecoveryPhase)


class RecoveryWatch:
    """Times the phases of one start, as turns of the loop begin and end."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._since = clock.monotonic()
        self._seconds: dict[RecoveryPhase, float] = {}
        self._log = structlog.get_logger("loop")

    def turn(self, health: Health, lag: float) -> None:
        """A turn begins or ends, ``lag`` records behind the log; NaN: not known."""
        while len(self._seconds) < len(_PHASES):
            phase = _PHASES[len(self._seconds)]
            if not _has_ended(phase, health, lag):
                return
            self._end(phase)

    def _end(self, phase: RecoveryPhase) -> None:
        now = self._clock.monotonic()
        seconds = now - self._since
        self._since = now
        self._seconds[phase] = seconds
        self._metrics.recovery_seconds.labels(phase.value).set(seconds)
        if phase is _PHASES[-1]:
            total = sum(self._seconds.values())
            rounded = {phase.value: round(s, 2) for phase, s in self._seconds.items()}
            self._log.info("recovered", seconds=round(total, 2), **rounded)


def _has_ended(phase: RecoveryPhase, health: Health, lag: float) -> bool:
    if phase is RecoveryPhase.CONNECT:
        return not health.source_fault
    if phase is RecoveryPhase.JOIN:
        return bool(health.restoring) or health.ready
    if phase is RecoveryPhase.RESTORE:
        return health.ready
    return not math.isnan(lag) and lag <= CAUGHT_UP
