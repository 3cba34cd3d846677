"""Settings of the model: ``DETECTOR_MODEL__…``."""

from __future__ import annotations

import re
from pathlib import Path
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, field_validator

from detector.errors import ConfigError
from detector.model.bundle import BUILTIN, Bundle
from detector.model.local_time import Zones, compile_zones
from detector.setting_types import compiled
from detector.timestamps import DAY

UTC = "UTC"


def known_zone(name: str) -> str:
    """The name, if it is a time zone's. Raises ValueError with the remedy."""
    try:
        ZoneInfo(name)
    # an unknown name; a path or a file of another kind; a folder of zones
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"{name!r} is not a time zone: use a name such as Europe/Berlin, "
            "America/New_York or UTC"
        ) from None
    return name


def zones_of(
    default: str, rules: tuple[tuple[re.Pattern[str], str], ...] = ()
) -> Zones:
    """Zones by name, all of them known: the default one, and those of the rules."""
    names = list(dict.fromkeys((UTC, default, *(zone for _, zone in rules))))
    numbered = [(pattern, names.index(zone)) for pattern, zone in rules]
    others = [ZoneInfo(name) for name in names[1:]]
    return compile_zones(others, names.index(default), numbered)


class TimezoneSettings(BaseModel):
    """Streams in a time zone of their own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    streams: str = Field(
        description="regular expression, searched for in a stream's name"
    )
    zone: str = Field(description="the time zone of these streams, as Europe/Berlin")

    @field_validator("streams")
    @classmethod
    def _pattern(cls, pattern: str) -> str:
        compiled(pattern)
        return pattern

    @field_validator("zone")
    @classmethod
    def _zone(cls, name: str) -> str:
        return known_zone(name)


class ModelSettings(BaseModel):
    """Which bundle runs, how many streams it holds, and their time zones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: Path | None = Field(
        None,
        description="directory that `streamwarden fit` wrote; "
        "none, or `builtin`: the package's own, with each metric a stream",
    )
    shadow: Path | None = Field(
        None,
        description="directory of a bundle that scores beside the first, its alerts"
        " only counted; `builtin`: the package's own",
    )
    max_streams: int = Field(
        200_000,
        ge=1,
        description="streams in memory; "
        "new ones beyond this are rejected with reason capacity",
    )
    evict_after: float = Field(
        DAY,
        gt=0,
        description="seconds without a point after which a stream's state "
        "is only in the store",
    )
    max_newcomers: int = Field(
        4096,
        ge=1,
        description="streams with a single point that each partition keeps; "
        "beyond them the oldest are forgotten",
    )
    expire_after: float = Field(
        30 * DAY,
        gt=0,
        description="seconds of event time without a point after which a stream is "
        "forgotten, in the store too; it starts anew if it comes back",
    )
    timezone: str | None = Field(
        None,
        description="time zone whose local time the streams follow; "
        "none: the bundle's, else UTC",
    )
    timezones: tuple[TimezoneSettings, ...] = Field(
        (),
        description="streams in a zone of their own, "
        "in the TOML file: [[model.timezones]]",
    )

    @field_validator("bundle", "shadow", "timezone", mode="before")
    @classmethod
    def _unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("bundle", mode="before")
    @classmethod
    def _shipped(cls, value: object) -> object:
        """``builtin`` is the bundle in the package; ``./builtin`` is a directory."""
        return None if value == BUILTIN.name else value

    @field_validator("shadow", mode="before")
    @classmethod
    def _shipped_shadow(cls, value: object) -> object:
        return BUILTIN if value == BUILTIN.name else value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, name: str | None) -> str | None:
        return None if name is None else known_zone(name)

    def zone(self, bundle: Bundle) -> str:
        """The zone of a stream that no rule matches.

        Raises ConfigError if it is the bundle's and this machine does not know it.
        """
        if self.timezone is not None:
            return self.timezone
        try:
            return known_zone(bundle.manifest.timezone)
        except ValueError as error:
            raise ConfigError(
                f"bundle {bundle.path} was fitted in a zone that is not known here "
                f"({error}), in DETECTOR_MODEL__TIMEZONE"
            ) from None

    def zones(self, bundle: Bundle) -> Zones:
        """Every stream's zone; the first rule that matches decides.

        Raises ConfigError as :meth:`zone` does.
        """
        rules = tuple((compiled(rule.streams), rule.zone) for rule in self.timezones)
        return zones_of(self.zone(bundle), rules)
