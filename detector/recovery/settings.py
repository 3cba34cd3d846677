"""Settings of recovery: ``DETECTOR_RECOVERY__…``."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detector.timestamps import DAY

_IN_KAFKA = "kafka:"
_TOPIC = re.compile(r"[a-zA-Z0-9._-]{1,249}")


class RecoverySettings(BaseModel):
    """Where states survive, and how often they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field(
        "local:state",
        description="local:DIR, one for each daemon, or kafka:TOPIC, which the members"
        " of a group share",
    )
    interval: float = Field(10.0, gt=0, description="seconds between checkpoints")
    keep: float = Field(
        7 * DAY,
        ge=0,
        description="seconds that states which another bundle or another version wrote"
        " are kept, so that going back finds them",
    )
    warm_up: int = Field(
        100_000,
        ge=0,
        description="records of each partition that are read again at most, silently, so"
        " that streams warm up: after a change of the bundle, or without a checkpoint"
        " behind the group's offset",
    )
    dead_letters: str = Field(
        "",
        description="directory for dead letters; without it the store's own, or `state`"
        " if the store is a topic. kafka:TOPIC: rejected records go to that topic too",
    )

    @field_validator("store")
    @classmethod
    def _kind(cls, value: str) -> str:
        kind, _, where = value.partition(":")
        if kind not in ("local", "kafka") or not where:
            raise ValueError(f"{value!r} is not local:DIR or kafka:TOPIC")
        if kind == "kafka":
            _check_topic(where)
        return value

    @field_validator("dead_letters", mode="before")
    @classmethod
    def _place(cls, value: object) -> object:
        place = str(value) if isinstance(value, Path) else value
        if isinstance(place, str) and place.startswith(_IN_KAFKA):
            _check_topic(place.removeprefix(_IN_KAFKA))
        return place

    @property
    def directory(self) -> Path | None:
        """Of a local store; None for a topic."""
        kind, _, where = self.store.partition(":")
        return Path(where) if kind == "local" else None

    @property
    def topic(self) -> str | None:
        """Of a store in Kafka; None for a directory."""
        kind, _, where = self.store.partition(":")
        return where if kind == "kafka" else None

    @property
    def dead_letter_topic(self) -> str | None:
        """The topic that rejected records go to as well; None if there is none."""
        if not self.dead_letters.startswith(_IN_KAFKA):
            return None
        return self.dead_letters.removeprefix(_IN_KAFKA)

    @property
    def dead_letter_directory(self) -> Path:
        if self.dead_letters and self.dead_letter_topic is None:
            return Path(self.dead_letters)
        return self.directory or Path("state")


def _check_topic(name: str) -> None:
    """Raises ValueError if no topic can have this name."""
    if not _TOPIC.fullmatch(name):
        raise ValueError(
            f"{name!r} is not a topic's name: use letters, digits, dots, dashes"
            " and underscores, at most 249"
        )
