"""A ^regex of topics never reads the daemon's own state as input."""

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
    subscription = Subscription(("^metrics",), "metrics.state")
    assert subscription.leaves_out_store
    topics = ("metrics", "metrics.state", "metrics.state2", "metrics-state", "logs")
    assert matching(subscription, *topics) == [
        "metrics",
        "metrics.state2",
        "metrics-state",
    ]


@pytest.mark.parametrize("regex", ["^a|b", "^a$|^b$", "^(?i:A)|b"])
def test_a_regex_keeps_its_meaning(regex: str) -> None:
    subscription = Subscription((f"{regex}|state",), "state")
    assert matching(subscription, "a", "b", "c", "state") == ["a", "b"]


@pytest.mark.parametrize("store", [None, "logs"])
def test_a_regex_that_does_not_match_the_store_stays_as_it_is(
    store: str | None,
) -> None:
    subscription = Subscription(("^metrics",), store)
    assert subscription.pattern == "^metrics"
    assert not subscription.leaves_out_store


def test_named_topics_are_no_regex() -> None:
    subscription = Subscription(("metrics",), "metrics-state")
    assert subscription.pattern is None
    assert not subscription.leaves_out_store
