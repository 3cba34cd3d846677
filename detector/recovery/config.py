"""Settings of recovery: ``DETECTOR_RECOVERY__…``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class RecoverySettings(BaseModel):
    """Where states survive, and how often they are written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    store: str = Field("local:state", description="local:DIR")
    interval: float = Field(10.0, gt=0, description="seconds between checkpoints")

    @field_validator("store")
    @classmethod
    def _kind(cls, value: str) -> str:
        kind, _, where = value.partition(":")
        if kind != "local" or not where:
            raise ValueError(f"{value!r} is no store: give local:DIR")
        return value

    @property
    def directory(self) -> Path:
        return Path(self.store.removeprefix("local:"))
