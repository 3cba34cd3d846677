"""Settings of one input topic, or of all whose names match: ``[[kafka.topics]]``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from detector.kafka.mapping_settings import MappingSettings
from detector.setting_types import compiled

_NAME = re.compile(r"[a-zA-Z0-9._-]{1,249}")  # as brokers check it


def check_topic(topic: str) -> None:
    """Raises ValueError if no topic can have this name."""
    if _NAME.fullmatch(topic) and topic not in (".", ".."):
        return
    raise ValueError(
        f"no topic can have the name {topic!r}: use letters, digits, dots,"
        " dashes and underscores, at most 249"
    )


class TopicSettings(BaseModel):
    """An input topic, or all that match a pattern, and how their records are read.

    The first that fits a topic counts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="the topic; or give a pattern")
    pattern: str = Field(
        "", description="regular expression for the whole name of the topics"
    )
    format: str = Field(
        "",
        description="how records are written: a name from docs/formats.md;"
        " empty: DETECTOR_KAFKA__FORMAT",
    )
    framing: str = Field(
        "auto",
        description="how messages are packed into records: auto, none, lines, array or confluent",
    )
    mapping: MappingSettings = Field(
        default_factory=MappingSettings,
        description="which fields are what, as a table: [kafka.topics.mapping]",
    )
    counters: tuple[str, ...] = Field(
        (),
        description="regular expressions for the whole names of metrics that are"
        " counters: they are scored as a rate",
    )
    gauges: tuple[str, ...] = Field(
        (), description="the same for metrics that are none, whatever they look like"
    )
    future_seconds: float | None = Field(
        None,
        ge=0,
        description="seconds by which a record may be ahead of the topic's own time;"
        " unset: DETECTOR_KAFKA__FUTURE_SECONDS",
    )
    lateness_seconds: float | None = Field(
        None,
        ge=0,
        description="seconds by which a point may come later than its successor; unset:"
        " DETECTOR_KAFKA__LATENESS_SECONDS",
    )
    earliest: float | None = Field(
        None,
        ge=0,
        description="epoch seconds before which a timestamp is refused; unset:"
        " DETECTOR_KAFKA__EARLIEST",
    )
    skip_unreadable: bool | None = Field(
        None,
        description="skip batches that can't be read; unset:"
        " DETECTOR_KAFKA__SKIP_UNREADABLE",
    )

    @field_validator("name")
    @classmethod
    def _possible(cls, name: str) -> str:
        if name:
            check_topic(name)
        return name

    @field_validator("counters", "gauges")
    @classmethod
    def _all_compile(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            compiled(pattern)
        return patterns

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def _one_of_both(self) -> TopicSettings:
        if bool(self.name) == bool(self.pattern):
            raise ValueError("name: give a topic either a name or a pattern")
        return self

    def fits(self, topic: str) -> bool:
        """Whether these settings are those of a topic."""
        if self.name:
            return self.name == topic
        return re.fullmatch(self.pattern, topic) is not None


def tables_apart(kafka: Mapping[str, Any]) -> Mapping[str, Any]:
    """``[kafka]`` with the tables among its ``topics`` as ``topic_settings``.

    ``topics`` then holds what they name, so that it alone says what is read. The
    environment may replace it, and the tables still say how those topics are read.
    What is not of the right type is left as it is, for validation to find.
    """
    given = kafka.get("topics", ())
    if not isinstance(given, list | tuple):
        return kafka
    tables = [item for item in given if isinstance(item, Mapping)]
    others = [item for item in given if not isinstance(item, Mapping)]
    settings = kafka.get("topic_settings", ())
    if not isinstance(settings, list | tuple):
        return kafka
    tables = [*settings, *tables]
    if not given or len(others) < len(given):
        given = _named_by(tables, others)
    return {**kafka, "topics": given, "topic_settings": tables}


def _named_by(tables: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Names of topics, or one ^regex for all if a table has a pattern."""
    found = [t.get("name") for t in tables if isinstance(t, Mapping)]
    names = [*others, *(name for name in found if name and isinstance(name, str))]
    found = [t.get("pattern") for t in tables if isinstance(t, Mapping)]
    patterns = [pattern for pattern in found if pattern and isinstance(pattern, str)]
    if not patterns:
        return names
    either = [*(re.escape(str(name)) for name in names), *patterns]
    joined = "|".join(f"(?:{pattern})" for pattern in either)
    return [rf"^(?:{joined})\Z"]
