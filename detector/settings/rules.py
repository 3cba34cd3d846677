"""Settings of rules: ``[[alerting.rules]]``, what incidents need to begin."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from detector.alerting.rules import Direction, Rule
from detector.events import Severity
from detector.setting_types import Patterns, compiled

_CONDITIONS = {"name", "stream", "metric", "labels"}


class RuleSettings(BaseModel):
    """A rule: which metrics it holds for, and what an incident needs to begin there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[^\x00-\x1f]{1,100}$", description="what `rules test` calls it"
    )
    stream: str = Field(
        "", description="pattern that the whole name of the stream matches; empty: any"
    )
    metric: str = Field(
        "", description="pattern that the whole name of the metric matches; empty: any"
    )
    labels: Patterns = Field(
        {}, description="label = pattern that its whole value matches"
    )
    direction: Direction = Field(
        Direction.BOTH,
        description="side of the expected value on which incidents begin: up, down, both",
    )
    least_absolute: float = Field(
        0.0,
        ge=0,
        description="least deviation that begins an incident, in the metric's own unit",
    )
    least_relative: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="the same as a share of the larger of observed and expected value; "
        "in place of `min_relative_deviation`",
    )
    plausible: tuple[float, float] | None = Field(
        None, description="lowest and highest value that begin no incident"
    )
    severity: Literal["warning", "critical"] = Field(
        "critical", description="how grave an incident gets at most"
    )
    mute: bool = Field(False, description="whether no incident begins at all")

    @field_validator("stream", "metric")
    @classmethod
    def _check_pattern(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern

    @model_validator(mode="after")
    def _check_effect(self) -> Self:
        if not self.model_fields_set - _CONDITIONS:
            raise ValueError(
                "it says nothing of incidents: set direction, least_absolute,"
                " least_relative, plausible, severity or mute"
            )
        if self.plausible is not None and not self.plausible[0] <= self.plausible[1]:
            raise ValueError("plausible: the first value is above the second")
        return self

    def rule(self) -> Rule:
        return Rule(
            name=self.name,
            stream=compiled(self.stream) if self.stream else None,
            metric=compiled(self.metric) if self.metric else None,
            labels={name: compiled(text) for name, text in self.labels.items()},
            direction=self.direction,
            least_absolute=self.least_absolute,
            least_relative=self.least_relative,
            plausible=self.plausible,
            most_severe=Severity.WARNING if self.severity == "warning" else None,
            is_muted=self.mute,
        )
