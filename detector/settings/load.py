"""All settings: the rooms' own, composed and cross-checked. The only module that reads
the environment.

Environment over a TOML file over defaults. ``DETECTOR_KAFKA__TOPICS`` sets ``topics``
of ``[kafka]``. Every secret can be given as a file:
``DETECTOR_ALERTING__WEBHOOK_SECRET_FILE=/run/secrets/webhook``.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from detector.errors import ConfigError
from detector.kafka.settings import KafkaSettings
from detector.model.settings import ModelSettings
from detector.recovery.settings import RecoverySettings
from detector.settings.alerting import AlertingSettings
from detector.web.settings import WebSettings

PREFIX = "DETECTOR_"


class LogSettings(BaseModel):
    """How the daemon logs."""

    format: Literal["text", "json"] = Field(
        "text", description="key=value text, or one JSON object a line"
    )
    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="the least severe line that is shown"
    )


class Settings(BaseSettings):
    """The effective settings, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    kafka: KafkaSettings = Field(default_factory=KafkaSettings)
    model: ModelSettings = Field(default_factory=ModelSettings)
    alerting: AlertingSettings = Field(default_factory=AlertingSettings)
    recovery: RecoverySettings = Field(default_factory=RecoverySettings)
    web: WebSettings = Field(default_factory=WebSettings)
    log: LogSettings = Field(default_factory=LogSettings)
    shutdown_deadline: float = Field(
        20.0, gt=0, description="seconds that a stop may take, all parts together"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        secrets = InitSettingsSource(
            settings_cls, _secret_files(settings_cls, os.environ)
        )
        return (
            secrets,
            _Environment(settings_cls),
            InitSettingsSource(settings_cls, dict(init_settings())),
        )


class _Environment(EnvSettingsSource):
    """The environment without the ``…_FILE`` names, which :func:`_secret_files` reads."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        files = {f"{name}_FILE".lower() for name, _ in _secrets(settings_cls)}
        self.env_vars = {
            k: v for k, v in self.env_vars.items() if k.lower() not in files
        }


def load(path: Path | None = None) -> Settings:
    """The effective settings. Raises ConfigError, one line for each fault, that names
    the setting and where it stands.
    """
    known = {f"{PREFIX}{n}" for n in _names(Settings)} | {
        f"{n}_FILE" for n, _ in _secrets(Settings)
    }
    strange = sorted(
        k for k in os.environ if k.startswith(PREFIX) and k.upper() not in known
    )
    if strange:
        raise ConfigError(
            f"no such setting: {', '.join(strange)}; README.md lists them under Settings"
        )
    try:
        return Settings(**_toml(path))
    except ValidationError as error:
        raise ConfigError(
            "; ".join(
                _fault(e, path)
                for e in error.errors(include_url=False, include_input=False)
            )
        ) from None
    except SettingsError as error:
        unread = getattr(error.__cause__, "doc", None)
        names = sorted(
            k
            for k, value in os.environ.items()
            if k.startswith(PREFIX) and value == unread
        )
        raise ConfigError(
            f"{', '.join(names) or 'the environment'}: it is not JSON, as tables are in the environment: give it in the TOML file"
        ) from None


def names_and_values(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every setting's environment name and its effective value, secrets masked."""
    for room in type(settings).model_fields:
        value = getattr(settings, room)
        if not isinstance(value, BaseModel):
            yield f"{PREFIX}{room.upper()}", str(value)
            continue
        for name in type(value).model_fields:
            yield (
                f"{PREFIX}{room.upper()}__{name.upper()}",
                _shown(getattr(value, name)),
            )


def _shown(value: object) -> str:
    """Masked down to the last secret within lists and tables."""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    if isinstance(value, BaseModel):
        return _shown({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{name}: {_shown(held)}" for name, held in value.items())
            + "}"
            if value
            else ""
        )
    return "" if value is None else str(value)


def _toml(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} can't be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def _names(settings: type[BaseSettings]) -> Iterator[str]:
    for room, field in settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{room}__{name}".upper() for name in inner.model_fields)
        else:
            yield room.upper()


def _secrets(settings: type[BaseSettings]) -> Iterator[tuple[str, tuple[str, str]]]:
    for room, field in settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            for name, setting in inner.model_fields.items():
                if "SecretStr" in str(setting.annotation):
                    yield f"{PREFIX}{room}__{name}".upper(), (room, name)


def _secret_files(
    settings: type[BaseSettings], environment: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for variable, (room, name) in _secrets(settings):
        file = environment.get(f"{variable}_FILE")
        if file is None:
            continue
        if variable in environment:
            raise ConfigError(f"{variable} and {variable}_FILE are both set: keep one")
        try:
            found.setdefault(room, {})[name] = Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{variable}_FILE: {file} can't be read ({getattr(error, 'strerror', 'it is not text')})"
            ) from None
    return found


def _fault(error: Any, path: Path | None) -> str:
    name = _where([str(part) for part in error["loc"]], path)
    message = str(error["msg"]).removeprefix("Value error, ")
    return (
        f"no such setting: {name}"
        if error["type"] == "extra_forbidden"
        else f"{name}: {message}"
    )


def _where(parts: Sequence[str], path: Path | None) -> str:
    """The name that a setting has where it was given: a variable's, or a key's of the
    file; a whole room may be given in both.
    """
    present = {name.upper() for name in os.environ}
    setting = f"{PREFIX}{'__'.join(parts[:2])}".upper()
    if path is None or not present.isdisjoint((setting, f"{setting}_FILE")):
        return f"{PREFIX}{'__'.join(parts)}".upper()
    both = any(name.startswith(f"{setting}__") for name in present)
    return f"{'.'.join(parts)} in {path}{' and the environment' if both else ''}"
