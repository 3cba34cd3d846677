"""Settings of ``training fit``: a TOML file over defaults, flags over both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from detector.alerting.policy import AlertTuning
from detector.errors import ConfigError
from detector.model.settings import UTC, known_zone
from detector.settings.load import load_alerting
from detector.settings.setting_errors import sentence
from detector.settings.toml_file import read_toml

Detector = Literal["lstm", "ewma", "gaussian", "pca", "variance", "difference"]

# Share of a stream's rows that fitting and validation may take together.
_MOST_FITTED = 0.95


class FitSettings(BaseModel):
    """Every number that the fit depends on; with the data and the seed they determine
    the bundle.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("streams", min_length=1, description="the bundle's name")
    version: str = Field("1", min_length=1, description="the bundle's version")
    seed: int = Field(0, ge=0, description="seed of every random choice")
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
        False, description="one feature: omit how new a shape is, at a lower cost"
    )
    steps: int = Field(1200, ge=1, description="maximum of gradient steps")
    window: int = Field(64, ge=8, description="steps of truncated backpropagation")
    learning_rate: float = Field(4e-3, gt=0, description="Adam's largest step")
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
        120, ge=1, description="points of an unseen stream before it may alert"
    )
    learning: int = Field(
        2000,
        ge=1,
        description="points over which an unseen stream learns its own scale: more "
        "than a day of minutes, so that it has seen its daily pattern",
    )
    timezone: str = Field(
        UTC,
        description="time zone whose wall clock the streams follow; the daemon takes it "
        "from the bundle",
    )
    units: dict[str, str] = Field(
        default_factory=dict,
        description="unit of each feature, for alerts and the report",
    )
    allow_worse: bool = Field(
        False, description="write a network that a plain baseline beats"
    )
    alerting: AlertTuning = Field(
        default_factory=AlertTuning,
        description="the rules that incidents are counted with: those of the daemon",
    )

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return known_zone(name)


def load(path: Path | None, **given: Any) -> FitSettings:
    """The effective settings; ``given`` are the command's own options, None if not
    given.

    The rules of alerting are those of the daemon: the environment
    (``DETECTOR_ALERTING__…``) over ``[alerting]`` of the file over the defaults. Raises
    ConfigError that names the setting.
    """
    table = read_toml(path)
    alerting = table.pop("alerting", {})
    if not isinstance(alerting, dict):
        raise ConfigError(f"alerting in {path} is not a table: write [alerting]")
    options = {name: value for name, value in given.items() if value is not None}
    tuning = load_alerting(alerting, path).tuning()
    try:
        settings = FitSettings(**{**table, **options, "alerting": tuning})
    except ValidationError as error:

        def named(parts: Sequence[str]) -> str:
            if parts[0] in options:
                return "--" + parts[0].replace("_", "-")
            return f"{'.'.join(parts)} in {path}"

        raise ConfigError(sentence(error, FitSettings, named)) from None
    if settings.fit_share + settings.validation_share >= _MOST_FITTED:
        raise ConfigError(
            "fit_share and validation_share leave less than 5 % of the rows "
            "to calibrate on: lower one"
        )
    return settings
