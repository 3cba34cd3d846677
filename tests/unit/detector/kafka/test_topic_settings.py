"""Topics by name and by pattern, and which settings each one has."""

from __future__ import annotations

import re
from typing import Any

import pytest
from pydantic import ValidationError

from detector.kafka.settings import KafkaSettings
from detector.kafka.subscription import Subscription
from detector.kafka.topic_settings import tables_apart


def kafka(*topics: dict[str, Any] | str, **others: object) -> KafkaSettings:
    return KafkaSettings.model_validate({"topics": topics, **others})


def test_tables_name_the_topics_that_are_read() -> None:
    settings = kafka({"name": "a", "format": "influx"}, "b", {"name": "c"})
    assert set(settings.topics) == {"a", "b", "c"}
    formats = [settings.settings_of(topic).format for topic in "abc"]
    assert formats == ["influx", "", ""]


def test_a_pattern_reads_all_topics_whose_whole_name_matches() -> None:
    settings = kafka({"name": "a.b"}, {"pattern": "m.*|n", "framing": "lines"})
    pattern = Subscription(settings.topics).pattern
    assert pattern is not None
    read = [t for t in ("a.b", "axb", "m1", "n", "nn") if re.match(pattern, t)]
    assert read == ["a.b", "m1", "n"]
    assert settings.settings_of("m1").framing == "lines"
    assert settings.settings_of("a.b").framing == "auto"


def test_the_first_settings_that_fit_count() -> None:
    settings = kafka({"name": "a", "format": "json"}, {"pattern": ".*", "format": "x"})
    assert [settings.settings_of(t).format for t in "ab"] == ["json", "x"]


def test_other_topics_may_be_read_with_the_settings_of_the_file() -> None:
    file = tables_apart({"topics": [{"name": "a", "format": "influx"}]})
    settings = KafkaSettings.model_validate({**file, "topics": "a,b"})
    assert settings.topics == ("a", "b")
    assert settings.settings_of("a").format == "influx"


@pytest.mark.parametrize(
    ("topic", "message"),
    [
        ({}, "either a name or a pattern"),
        ({"name": "a", "pattern": "b"}, "either a name or a pattern"),
        ({"name": "a b"}, "no topic can have the name"),
        ({"pattern": "("}, "not a regular expression"),
    ],
)
def test_a_topic_has_a_possible_name_or_a_pattern(
    topic: dict[str, str], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        kafka(topic)


def test_a_topic_may_say_itself_whether_unreadable_batches_are_skipped() -> None:
    settings = kafka(
        {"name": "a", "skip_unreadable": False},
        {"name": "b"},
        skip_unreadable=True,
    )
    assert [settings.may_skip(topic) for topic in "ab"] == [False, True]
    assert not kafka("a").may_skip("a")
