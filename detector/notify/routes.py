"""Which receivers an alert goes to, and which others it shares a post with.

Theory of operation. Routes are tried in order, as in Alertmanager: the first one that
matches names the receiver and ends the search, unless it continues. The last one has no
conditions, so no alert is lost between them; an empty receiver drops an alert on
purpose. Without routes every receiver gets every alert, each incident in its own posts.
If several routes name a receiver for one alert, the first of them counts.

A route matches by the alert's labels, see :mod:`detector.notify.labels`. A *group* is a
route and the values of the labels it groups by. A group of a single stream is not
gathered: each notification has its own post, for receivers that look at one alert.

A receiver may have needs of its own, see :class:`ReceiverNeeds`: one that groups alerts
itself gets all alerts of a route in common posts, and one whose alerts run out gets
them again in time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from detector.events import Alert
from detector.notify.labels import Labelling

# A notification has about 1 kB, and proxies accept bodies of up to 1 MB by default.
MAX_ALERTS_PER_POST = 500
# More alerts than any post has: what shares a post whatever their number.
_ANY_NUMBER = sys.maxsize
EACH_STREAM = ("alertname", "stream")


@dataclass(frozen=True, slots=True)
class ReceiverNeeds:
    """What a receiver needs beyond what the routes say.

    Attributes:
        refresh_interval: seconds after which an incident that still fires is sent
            again; 0: never.
        groups_alerts: whether it groups alerts itself. Then posts ignore ``group_by``.
    """

    refresh_interval: float = 0.0
    groups_alerts: bool = False


_NO_NEEDS = ReceiverNeeds()


@dataclass(frozen=True, slots=True)
class Route:
    """Conditions that must all hold, and who gets the alerts they hold for.

    Attributes:
        receiver: a receiver's name, or "" for nobody.
        severities: any of these; empty: any at all.
        label_patterns: label -> what its whole value must match.
        continues: whether the routes after this one are tried too.
        group_wait: seconds that the first alert of a group waits for others.
        repeat_interval: seconds after which an incident that still fires is posted
            again; 0: never.
    """

    receiver: str
    severities: frozenset[str] = frozenset()
    label_patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    continues: bool = False
    group_by: tuple[str, ...] = EACH_STREAM
    group_wait: float = 0.0
    repeat_interval: float = 0.0

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.severities and labels["severity"] not in self.severities:
            return False
        return all(
            pattern.fullmatch(labels.get(name, ""))
            for name, pattern in self.label_patterns.items()
        )

    def __str__(self) -> str:
        """The conditions, as a group's key has them."""
        conditions = ",".join(self._conditions())
        return f"{{}}/{{{conditions}}}" if conditions else "{}"

    def _conditions(self) -> Iterator[str]:
        if self.severities:
            yield f'severity=~"{"|".join(sorted(self.severities))}"'
        for name, pattern in self.label_patterns.items():
            yield f"{name}=~{_quoted(pattern.pattern)}"


@dataclass(frozen=True, slots=True)
class Group:
    """Alerts that may share a post; the key names the route as well."""

    key: str
    labels: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver of one alert.

    Attributes:
        wait: seconds that the first alert of a group waits for others.
        repeat_interval: seconds until a firing alert is sent again; 0: never.
        max_alerts: how many alerts share a post at most.
    """

    receiver: str
    group: Group
    wait: float
    repeat_interval: float
    max_alerts: int


# Of the summary of a backlog: one post, whatever the routes group by.
_OF_BACKLOG = Group("{}:{backlog}", ())


class Routing:
    """The routes of a daemon."""

    def __init__(
        self,
        receivers: Collection[str],
        routes: Sequence[Route] = (),
        labelling: Labelling | None = None,
        needs: Mapping[str, ReceiverNeeds] | None = None,
    ) -> None:
        """``needs`` by receiver; those that are not in it have none."""
        self.receivers = tuple(receivers)
        self.labelling = labelling or Labelling()
        self._needs = needs or {}
        to_all = (Route(name, continues=True) for name in receivers)
        self._routes = tuple(routes) or tuple(to_all)

    def targets(self, alert: Alert) -> tuple[Target, ...]:
        """Each receiver at most once, in the order of the routes."""
        labels = self.labelling(alert)
        found: dict[str, Target] = {}
        for route in self._routes:
            if not route.matches(labels):
                continue
            if route.receiver and route.receiver not in found:
                found[route.receiver] = self._target(route, labels)
            if not route.continues:
                break
        return tuple(found.values())

    def targets_for(self, alert: Alert, receivers: Sequence[str]) -> tuple[Target, ...]:
        """Those receivers, whatever the routes say now.

        If one of them does not exist any more, the routes' receivers are added.
        """
        routed = {target.receiver: target for target in self.targets(alert)}
        names = [name for name in receivers if name in self.receivers]
        if not receivers or len(names) < len(receivers):
            names += [name for name in routed if name not in names]
        return tuple(routed.get(name) or self._default(alert, name) for name in names)

    def summary_targets(
        self, alert: Alert, receivers: Sequence[str] = ()
    ) -> tuple[Target, ...]:
        """Who gets the summary of a backlog that this alert is of.

        Those ``receivers`` if there are any, else those of the routes.
        """
        routed = (
            self.targets_for(alert, receivers) if receivers else self.targets(alert)
        )
        return tuple(
            Target(target.receiver, _OF_BACKLOG, 0.0, 0.0, _ANY_NUMBER)
            for target in routed
        )

    def repeat_interval(self, alert: Alert, receiver: str) -> float:
        """Seconds until the receiver gets a firing alert again; 0: never."""
        for target in self.targets(alert):
            if target.receiver == receiver:
                return target.repeat_interval
        # A warning's receiver may not be on the route of the critical alert that it
        # became. Its alert must not run out all the same.
        return self._needs_of(receiver).refresh_interval

    def _default(self, alert: Alert, receiver: str) -> Target:
        routes = (route for route in self._routes if route.receiver == receiver)
        route = next(routes, Route(receiver))
        return self._target(route, self.labelling(alert))

    def _needs_of(self, receiver: str) -> ReceiverNeeds:
        return self._needs.get(receiver, _NO_NEEDS)

    def _target(self, route: Route, labels: Mapping[str, str]) -> Target:
        needs = self._needs_of(route.receiver)
        group_by = () if needs.groups_alerts else route.group_by
        values = tuple((name, labels[name]) for name in group_by if name in labels)
        listed = ", ".join(f"{name}={_quoted(value)}" for name, value in values)
        intervals = (route.repeat_interval, needs.refresh_interval)
        return Target(
            receiver=route.receiver,
            group=Group(f"{route}:{{{listed}}}", values),
            wait=route.group_wait,
            repeat_interval=min(filter(None, intervals), default=0.0),
            max_alerts=1 if "stream" in group_by else MAX_ALERTS_PER_POST,
        )


def _quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
