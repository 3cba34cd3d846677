"""Which receivers an alert goes to, and which others it shares a post with.

Theory of operation. Routes are tried in their order, as Alertmanager's are: the first
that takes an alert names its receiver and ends the search, unless it says ``continue``.
The last one has no conditions, so that no alert is lost between them; a route whose
receiver is empty says on purpose that nobody is told. Without routes every receiver
gets every alert, each incident in posts of its own. A receiver that several routes name
for one alert is told once, by the first.

An alert is matched by its labels: its name, severity and stream, the fixed ones of the
settings, and those that the named groups of one regular expression take out of the
stream's name. A *group* is a route and the values of the labels it groups by. A group
of one stream is not gathered: each of its notifications has a post of its own, for
receivers that look at one alert.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from detector.events import Alert
from detector.notify.labels import Labelling

# notifications of about 1 kB each: a body under the megabyte that proxies take unless
# told otherwise
MOST = 500
EACH_STREAM = ("alertname", "stream")


@dataclass(frozen=True, slots=True)
class Route:
    """Conditions, all of which must hold, and what becomes of the alerts that meet
    them.

    Attributes:
        receiver: a receiver's name, or "": nobody is told.
        severities: any of these; empty: any at all.
        like: label -> what its whole value must match.
        further: whether the routes after this one are tried too.
        group_wait: seconds that the first alert of a group waits for others.
        repeat_interval: seconds after which an incident that still fires is told again;
            0: never.
    """

    receiver: str
    severities: frozenset[str] = frozenset()
    label_patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    continues: bool = False
    group_by: tuple[str, ...] = EACH_STREAM
    group_wait: float = 0.0
    repeat_interval: float = 0.0

    def takes(self, labelled: Mapping[str, str]) -> bool:
        if self.severities and labelled["severity"] not in self.severities:
            return False
        return all(
            pattern.fullmatch(labelled.get(name, ""))
            for name, pattern in self.label_patterns.items()
        )

    def __str__(self) -> str:
        """Its conditions, as they stand in the key of a group."""
        severity = (
            [f'severity=~"{"|".join(sorted(self.severities))}"']
            if self.severities
            else []
        )
        conditions = severity + [
            f"{name}=~{_quoted(pattern.pattern)}"
            for name, pattern in self.label_patterns.items()
        ]
        return "{}" + (f"/{{{','.join(conditions)}}}" if conditions else "")


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts of one of these may leave in one post: the key names the route as well."""

    key: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver of one alert, and how many at most share its post."""

    receiver: str
    group: Group
    wait: float
    repeat: float
    most: int


class Routing:
    """The routes of a daemon."""

    def __init__(
        self,
        receivers: Sequence[str],
        routes: Sequence[Route] = (),
        labelled: Labelling | None = None,
    ) -> None:
        self.receivers = tuple(receivers)
        self.labelled = labelled or Labelling()
        self._routes = tuple(routes) or tuple(
            Route(name, continues=True) for name in receivers
        )
        #: Whether an incident must be remembered while it is open: to repeat it, or to
        #: tell its end to those who heard of its beginning.
        self.remembers = any(
            route.repeat_interval
            or route.severities
            or "severity" in route.label_patterns
            for route in self._routes
        )

    def targets(self, alert: Alert) -> tuple[Target, ...]:
        """Each receiver at most once, in the order of the routes."""
        labelled = self.labelled(alert)
        found: dict[str, Target] = {}
        for route in self._routes:
            if route.takes(labelled):
                if route.receiver and route.receiver not in found:
                    found[route.receiver] = _target(route, labelled)
                if not route.continues:
                    break
        return tuple(found.values())

    def targets_for(self, alert: Alert, receivers: Sequence[str]) -> tuple[Target, ...]:
        """Those that are owed it whatever the routes say now; those of the routes too
        where one that was owed it is no receiver any more.
        """
        routed = {target.receiver: target for target in self.targets(alert)}
        known = [name for name in receivers if name in self.receivers]
        names = (
            known
            if len(known) == len(receivers) > 0
            else [*known, *(name for name in routed if name not in known)]
        )
        return tuple(routed.get(name) or self._default(alert, name) for name in names)

    def interval(self, alert: Alert, receiver: str) -> float:
        """Seconds after which the receiver is told of it again; 0: never."""
        return next(
            (
                target.repeat
                for target in self.targets(alert)
                if target.receiver == receiver
            ),
            0.0,
        )

    def _default(self, alert: Alert, receiver: str) -> Target:
        route = next(
            (r for r in self._routes if r.receiver == receiver), Route(receiver)
        )
        return _target(route, self.labelled(alert))


def _target(route: Route, labelled: Mapping[str, str]) -> Target:
    by = tuple((name, labelled[name]) for name in route.group_by if name in labelled)
    key = f"{route}:{{{', '.join(f'{name}={_quoted(value)}' for name, value in by)}}}"
    return Target(
        route.receiver,
        Group(key, by),
        route.group_wait,
        route.repeat_interval,
        1 if "stream" in route.group_by else MOST,
    )


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
