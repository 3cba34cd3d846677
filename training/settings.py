"""Settings of ``training fit``: a TOML file over defaults."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from detector.errors import ConfigError
from detector.model.settings import UTC, known_zone

Detector = Literal["lstm", "ewma", "gaussian", "pca"]


class FitSettings(BaseModel):
    """Every number that the fit depends on; with the data and the seed they determine
    the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("streams", min_length=1, description="the bundle's name")
    version: str = Field("1", min_length=1)
    seed: int = Field(0, ge=0)
    detector: Detector = Field(
        "lstm", description="the network, or a plain baseline in its place"
    )
    hidden: int | None = Field(
        None,
        ge=1,
        le=1024,
        description="width of both LSTMs; 16 for one feature, else 48",
    )
    lean: bool = Field(
        False, description="one feature: leave out how new a shape is, at a lower cost"
    )
    steps: int = Field(1200, ge=1, description="gradient steps at most")
    window: int = Field(64, ge=8, description="steps of truncated backpropagation")
    learning_rate: float = Field(4e-3, gt=0)
    patience: int = Field(
        6, ge=1, description="validations without an improvement before the fit stops"
    )
    power: float = Field(
        1.75, gt=0, le=4, description="exponent of the residual in the error"
    )
    fit_share: float = Field(
        0.65, gt=0, lt=1, description="the earliest rows of each stream"
    )
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="the rows after those; the rest calibrates"
    )
    warm_up: int = Field(
        120,
        ge=1,
        description="steps of a stream that training has not seen before it may alert",
    )
    learning: int = Field(
        2000,
        ge=1,
        description="points over which such a stream learns its own scale: more than a day of them, to have seen its rhythm",
    )
    timezone: str = Field(
        UTC,
        description="time zone whose wall clock the streams follow; the daemon takes it from the bundle",
    )
    units: dict[str, str] = Field(
        default_factory=dict,
        description="unit of each feature, for alerts and the report",
    )

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return known_zone(name)


def load(path: Path | None, **given: Any) -> FitSettings:
    """Raises ConfigError that names the setting. ``given`` are the command's own
    options; None means not given.
    """
    try:
        table = tomllib.loads(path.read_text()) if path else {}
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read as TOML: {error}") from None
    try:
        settings = FitSettings(
            **{**table, **{k: v for k, v in given.items() if v is not None}}
        )
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"settings of the fit: {'; '.join(faults)}") from None
    if settings.fit_share + settings.validation_share >= 0.95:
        raise ConfigError(
            "fit_share and validation_share leave less than 5 % of the rows to calibrate on: lower one"
        )
    return settings
