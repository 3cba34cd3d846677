"""Which receivers get an alert, and what it shares a post with."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from detector.events import Alert
from detector.notify.labels import Labelling
from detector.notify.routes import ReceiverNeeds, Route, Routing
from tests.unit.detector.notify.alerts import escalated, fired

WARNING = fired("eu/host-1")
CRITICAL = escalated(WARNING)
LABELLING = Labelling({"team": "core"}, re.compile(r"(?P<cluster>[^/]+)/.*"))
CATCH_ALL = Route("desk")


def receivers_of(alert: Alert, *routes: Route) -> list[str]:
    return [
        t.receiver for t in Routing(["pager", "desk"], routes, LABELLING).targets(alert)
    ]


def test_without_routes_every_receiver_gets_it() -> None:
    assert receivers_of(WARNING) == ["pager", "desk"]


def test_the_first_route_that_matches_ends_the_search() -> None:
    pager = Route("pager", frozenset({"critical"}))
    assert receivers_of(CRITICAL, pager, CATCH_ALL) == ["pager"]
    assert receivers_of(WARNING, pager, CATCH_ALL) == ["desk"]


def test_a_route_that_continues_adds_receivers_each_once() -> None:
    pager = Route("pager", frozenset({"critical"}), continues=True)
    assert receivers_of(CRITICAL, pager, pager, CATCH_ALL) == ["pager", "desk"]


def test_a_route_to_nobody_drops_an_alert() -> None:
    assert (
        receivers_of(WARNING, Route("pager", frozenset({"critical"})), Route("")) == []
    )


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [("eu", True), ("e.*", True), ("u", False), ("eu|us", True), ("(?!eu).*", False)],
    ids=["exact", "prefix", "part", "or", "not"],
)
def test_a_pattern_must_match_the_whole_value(pattern: str, matches: bool) -> None:
    assert receivers_of(
        WARNING,
        Route("pager", label_patterns={"cluster": re.compile(pattern)}),
        CATCH_ALL,
    ) == (["pager"] if matches else ["desk"])


def test_a_label_that_an_alert_does_not_have_is_empty() -> None:
    assert receivers_of(
        replace(WARNING, stream="nowhere"),
        Route("pager", label_patterns={"cluster": re.compile("")}),
        CATCH_ALL,
    ) == ["pager"]


def test_a_group_has_one_key_and_another_routes_group_another() -> None:
    by_cluster = Routing(
        ["pager", "desk"],
        [
            Route("pager", frozenset({"critical"}), group_by=("cluster",)),
            Route("desk", group_by=("cluster",)),
        ],
        LABELLING,
    )
    (here,) = by_cluster.targets(WARNING)
    (there,) = by_cluster.targets(replace(WARNING, stream="eu/host-2"))
    (elsewhere,) = by_cluster.targets(replace(WARNING, stream="us/host-1"))
    (urgent,) = by_cluster.targets(CRITICAL)
    assert here.group == there.group
    assert len({here.group.key, elsewhere.group.key, urgent.group.key}) == 3
    assert (here.group.key, here.group.labels) == (
        '{}:{cluster="eu"}',
        (("cluster", "eu"),),
    )
    assert urgent.group.key == '{}/{severity=~"critical"}:{cluster="eu"}'


def test_a_receiver_that_groups_alerts_gets_those_of_a_route_together() -> None:
    needs = {"pager": ReceiverNeeds(groups_alerts=True)}
    routing = Routing(["pager"], needs=needs)
    (one,) = routing.targets(WARNING)
    (other,) = routing.targets(replace(WARNING, stream="us/host-1"))
    assert one.group == other.group
    assert one.max_alerts > 1
