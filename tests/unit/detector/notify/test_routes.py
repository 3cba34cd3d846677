"""Who is told of an alert, and with which others."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from detector.events import Alert, Partition, Reason, Severity
from detector.notify.labels import Labelling
from detector.notify.routes import Route, Routing

WARNING = Alert(
    Partition("metrics", 0),
    "eu/host-1",
    Severity.WARNING,
    Reason.FIRED,
    60.0,
    None,
    60.0,
    7.0,
    6.0,
)
CRITICAL = replace(WARNING, severity=Severity.CRITICAL)
LABELLED = Labelling({"team": "core"}, re.compile(r"(?P<cluster>[^/]+)/.*"))
CATCH_ALL = Route("desk")


def told(alert: Alert, *routes: Route) -> list[str]:
    return [
        t.receiver for t in Routing(["pager", "desk"], routes, LABELLED).targets(alert)
    ]


def test_without_routes_every_receiver_is_told() -> None:
    assert told(WARNING) == ["pager", "desk"]


def test_the_first_route_that_takes_an_alert_ends_the_search() -> None:
    pager = Route("pager", frozenset({"critical"}))
    assert told(CRITICAL, pager, CATCH_ALL) == ["pager"]
    assert told(WARNING, pager, CATCH_ALL) == ["desk"]


def test_a_route_that_continues_lets_others_be_told_too_and_each_once() -> None:
    pager = Route("pager", frozenset({"critical"}), continues=True)
    assert told(CRITICAL, pager, pager, CATCH_ALL) == ["pager", "desk"]


def test_a_route_to_nobody_tells_nobody() -> None:
    assert told(WARNING, Route("pager", frozenset({"critical"})), Route("")) == []


@pytest.mark.parametrize(
    ("pattern", "taken"),
    [("eu", True), ("e.*", True), ("u", False), ("eu|us", True), ("(?!eu).*", False)],
    ids=["exact", "prefix", "part", "or", "not"],
)
def test_a_pattern_must_match_the_whole_value(pattern: str, taken: bool) -> None:
    assert told(
        WARNING,
        Route("pager", label_patterns={"cluster": re.compile(pattern)}),
        CATCH_ALL,
    ) == (["pager"] if taken else ["desk"])


def test_a_label_that_an_alert_does_not_have_is_empty() -> None:
    assert told(
        replace(WARNING, stream="nowhere"),
        Route("pager", label_patterns={"cluster": re.compile("")}),
        CATCH_ALL,
    ) == ["pager"]


def test_alerts_of_one_group_have_one_key_and_those_of_another_route_another() -> None:
    by_cluster = Routing(
        ["pager", "desk"],
        [
            Route("pager", frozenset({"critical"}), group_by=("cluster",)),
            Route("desk", group_by=("cluster",)),
        ],
        LABELLED,
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
