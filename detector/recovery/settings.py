"""Settings of recovery: ``DETECTOR_RECOVERY__…``."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator

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
    dead_letters: Path | None = Field(
        None,
        description="directory for dead letters; without it the store's own, or `state`"
        " if the store is a topic",
    )

    @field_validator("store")
    @classmethod
    def _kind(cls, value: str) -> str:
        kind, _, where = value.partition(":")
        if kind not in ("local", "kafka") or not where:
            raise ValueError(f"{value!r} is not local:DIR or kafka:TOPIC")
        if kind == "kafka" and not _TOPIC.fullmatch(where):
            raise ValueError(
                f"{where!r} is not a topic's name: use letters, digits, dots, dashes"
                " and underscores, at most 249"
            )
        return value

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
    def dead_letter_directory(self) -> Path:
        return self.dead_letters or self.directory or Path("state")
