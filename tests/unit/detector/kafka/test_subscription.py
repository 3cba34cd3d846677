"""A ^regex of topics never reads as input what the daemon itself writes."""

from __future__ import annotations

import re

import pytest

from detector.kafka.subscription import Subscription


def matching(subscription: Subscription, *topics: str) -> list[str]:
    """As kafka-python chooses them."""
    assert subscription.pattern is not None
    pattern = re.compile(subscription.pattern)
    return [topic for topic in topics if pattern.match(topic)]


def test_a_regex_leaves_the_store_topic_out() -> None:
    subscription = Subscription(("^metrics",), ("metrics.state", "elsewhere"))
    assert subscription.left_out == ("metrics.state",)
    topics = ("metrics", "metrics.state", "metrics.state2", "metrics-state", "logs")
    assert matching(subscription, *topics) == [
        "metrics",
        "metrics.state2",
        "metrics-state",
    ]


def test_a_regex_leaves_out_every_topic_that_the_daemon_writes() -> None:
    subscription = Subscription(("^m",), ("m.state", "m.dead"))
    assert matching(subscription, "m", "m.state", "m.dead") == ["m"]


@pytest.mark.parametrize("regex", ["^a|b", "^a$|^b$", "^(?i:A)|b"])
def test_a_regex_keeps_its_meaning(regex: str) -> None:
    subscription = Subscription((f"{regex}|state",), ("state",))
    assert matching(subscription, "a", "b", "c", "state") == ["a", "b"]


@pytest.mark.parametrize("own", [(), ("logs",)])
def test_a_regex_that_does_not_match_an_own_topic_stays_as_it_is(
    own: tuple[str, ...],
) -> None:
    subscription = Subscription(("^metrics",), own)
    assert subscription.pattern == "^metrics"
    assert not subscription.left_out


def test_named_topics_are_no_regex() -> None:
    subscription = Subscription(("metrics",), ("metrics-state",))
    assert subscription.pattern is None
    assert not subscription.left_out
