"""What the operator says of incidents: only upwards, not under 5 %, never this stream.

A rule names streams, metrics and labels by patterns, and the first that matches a
metric of a stream holds for it. Rules are judged when an incident begins, by the values
of the metrics that lead it (:mod:`detector.alerting.deviations`): if the rules refuse
every one of them, none begins. They say nothing of an incident that goes on, so it is
never cut short, and its end is always told.

A rule changes no score and no threshold, so what streams learn does not depend on it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from detector.events import Labels, Severity


class Direction(enum.StrEnum):
    """Which side of the expected value an incident may begin on."""

    UP = "up"
    DOWN = "down"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class Rule:
    """Conditions that must all hold, and what an incident then needs to begin.

    Attributes:
        name: what the operator calls it.
        stream: its whole name must match; None: any.
        metric: its whole name must match; None: any.
        labels: label -> what its whole value must match.
        direction: which side of the expected value counts.
        least_absolute: deviation, in the metric's own unit, under which none begins.
        least_relative: the same as a share of the larger of both values; None: that of
            the policy holds.
        plausible: an observed value from the first to the second is never anomalous.
        most_severe: incidents get no graver; None: no cap.
        is_muted: whether none begins at all.
    """

    name: str
    stream: re.Pattern[str] | None = None
    metric: re.Pattern[str] | None = None
    labels: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    direction: Direction = Direction.BOTH
    least_absolute: float = 0.0
    least_relative: float | None = None
    plausible: tuple[float, float] | None = None
    most_severe: Severity | None = None
    is_muted: bool = False

    def matches(self, stream: str, metric: str, labels: Labels) -> bool:
        """Whether it holds for this metric of this stream."""
        if self.stream is not None and not self.stream.fullmatch(stream):
            return False
        if self.metric is not None and not self.metric.fullmatch(metric):
            return False
        return all(
            pattern.fullmatch(labels.get(name, ""))
            for name, pattern in self.labels.items()
        )

    def refuses(self, observed: float, expected: float, *, is_still: bool) -> bool:
        """Whether no incident begins at this value.

        A metric that stands still (``is_still``) deviates little, and in no direction:
        only its value and a mute are judged.
        """
        if self.is_muted or self._is_plausible(observed):
            return True
        if is_still:
            return False
        off = observed - expected
        if self.direction is Direction.UP and off < 0:
            return True
        if self.direction is Direction.DOWN and off > 0:
            return True
        larger = max(abs(observed), abs(expected))
        least = max(self.least_absolute, (self.least_relative or 0.0) * larger)
        return abs(off) < least

    def _is_plausible(self, observed: float) -> bool:
        if self.plausible is None:
            return False
        lowest, highest = self.plausible
        return lowest <= observed <= highest


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a daemon, in order."""

    rules: Sequence[Rule] = ()

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of(self, stream: str, metric: str, labels: Labels) -> Rule | None:
        """The first that matches, or None."""
        for rule in self.rules:
            if rule.matches(stream, metric, labels):
                return rule
        return None


#: Anything may begin an incident.
NO_RULES: Final = Rules()
