"""A line on each input topic: what its records are, and whether they can be scored."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from detector.cli.inspecting import inspect_topic
from detector.compose import own_topics
from detector.errors import DetectorError
from detector.inspection.report import in_one_line
from detector.kafka.scan import Scanner, scanner
from detector.kafka.subscription import Subscription
from detector.settings.load import Settings

_RECORDS: Final = 100  # of each partition
_MOST: Final = 10  # topics that are looked at


def topic_lines(settings: Settings) -> Iterator[str]:
    """What the newest records of each input topic are. Changes nothing."""
    try:
        with scanner(settings.kafka) as scan:
            yield from _lines(settings, scan)
    except DetectorError as error:
        yield f"topics: not looked at, since {error}"


def _lines(settings: Settings, scan: Scanner) -> Iterator[str]:
    topics = _input_topics(settings, scan)
    for topic in topics[:_MOST]:
        try:
            yield in_one_line(inspect_topic(settings, scan, topic, _RECORDS))
        except DetectorError as error:
            yield f"topic {topic}: not looked at, since {error}"
    others = len(topics) - _MOST
    if others > 0:
        yield f"topics: {others} more are not looked at"


def _input_topics(settings: Settings, scan: Scanner) -> list[str]:
    inputs = Subscription(settings.kafka.topics, own_topics(settings))
    if inputs.pattern is None:
        return list(inputs.topics)
    pattern = re.compile(inputs.pattern)
    return sorted(topic for topic in scan.topics() if pattern.match(topic))
