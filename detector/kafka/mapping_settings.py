"""Settings of a topic's mapping: ``[kafka.topics.mapping]``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detector.setting_types import Listed
from detector.timestamps import check_form


class MappingSettings(BaseModel):
    """Which fields of a record are what. What is not set is as the format has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    records: str = Field("", description="the array whose elements are records")
    timestamp: Listed = Field(
        (), description="field of the time; of several the first that is there"
    )
    unit: Literal["auto", "s", "ms", "us", "ns"] = Field(
        "auto", description="unit of a time that is a number; auto: by its magnitude"
    )
    time_format: str = Field(
        "",
        description="how a time is written that is no number and not ISO 8601, such as"
        " %d.%m.%Y %H:%M:%S; UTC without %z",
    )
    nanoseconds: str = Field(
        "", description="field of nanoseconds to add to a time in seconds"
    )
    stream: Listed = Field(
        (),
        description="field, or template such as {site}/{device}, that names the stream;"
        " {key}, {topic} and {header.NAME} are the record's",
    )
    tags: Listed = Field(
        (), description="fields, or objects of fields, that tell streams apart"
    )
    labels: Listed = Field(
        (), description="fields, or objects of fields, that alerts have as labels"
    )
    inside: str = Field("", description="the object that holds the metrics")
    metrics: Listed = Field(
        (), description="patterns of the fields that are metrics, such as cpu.*"
    )
    exclude: Listed = Field((), description="patterns of the fields that are not")
    name: Listed = Field(
        (), description="field or template of the metric's name, if a record holds one"
    )
    value: Listed = Field((), description="field of that metric's value")
    statistics: Listed = Field(
        ("average",),
        description="which statistics are metrics: average, sum, count, minimum,"
        " maximum, or a name that the record has, such as p99",
    )
    quality: str = Field(
        "", description="field of a quality flag; a value that is not good is missing"
    )
    good: Listed = Field(
        ("true", "good", "ok"), description="flags that are good; so is 192 and above"
    )
    decimal_comma: bool = Field(
        False, description="numbers in text have a decimal comma"
    )
    booleans: bool = Field(False, description="booleans are metrics, as 0 and 1")

    @field_validator("time_format")
    @classmethod
    def _reads_dates(cls, form: str) -> str:
        if form:
            check_form(form)
        return form

    def given(self) -> dict[str, Any]:
        """The parts that are set, by name."""
        return {name: getattr(self, name) for name in sorted(self.model_fields_set)}
