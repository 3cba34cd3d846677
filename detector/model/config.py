"""Settings of the model: ``DETECTOR_MODEL__…``."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, field_validator


class ModelSettings(BaseModel):
    """Which bundle runs, and how many streams it may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path | None = Field(None, description="that `training fit` wrote; none: the package's own, each metric a stream")
    max_streams: int = Field(200_000, ge=1, description="held in memory; new streams beyond this are rejected with reason capacity")
    evict_after: float = Field(86_400.0, gt=0, description="seconds without a point after which a stream's state lies in the store alone")

    @field_validator("bundle", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "" else value
