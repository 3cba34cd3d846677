"""All settings, composed of those of each room; only this module reads the environment.

The environment overrides a TOML file, and the file overrides the defaults.
``DETECTOR_KAFKA__TOPICS`` sets ``topics`` of ``[kafka]``. Every secret can come from a
file: ``DETECTOR_ALERTING__WEBHOOK_SECRET_FILE=/run/secrets/webhook``. A table or a list
with secrets in it comes from its file as JSON, as it does from its variable.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator
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
from detector.kafka.topic_settings import tables_apart
from detector.model.settings import ModelSettings
from detector.recovery.settings import RecoverySettings
from detector.setting_types import holds_secret, is_plain_secret, models_in
from detector.settings.alerting import AlertingSettings
from detector.settings.setting_errors import Places, sentence, suggestion
from detector.settings.toml_file import read_toml
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

    @field_validator("format", "level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value


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
        secrets = _read_secret_files(settings_cls, os.environ)
        return (
            InitSettingsSource(settings_cls, secrets),
            _Environment(settings_cls),
            InitSettingsSource(settings_cls, dict(init_settings())),
        )


class _Environment(EnvSettingsSource):
    """The environment without the ``…_FILE`` names: see :func:`_read_secret_files`."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        files = {secret.file_variable.lower() for secret in _secrets(settings_cls)}
        self.env_vars = {
            name: value
            for name, value in self.env_vars.items()
            if name.lower() not in files
        }


def load(path: Path | None = None) -> Settings:
    """The effective settings.

    Raises ConfigError: a sentence for each fault, with the setting's name where it was
    given.
    """
    return _validated(read_toml(path), path)


def load_alerting(table: Mapping[str, Any], path: Path | None) -> AlertingSettings:
    """The effective settings of alerting, for a command with settings of its own.

    ``table`` is ``[alerting]`` of that command's file ``path``. The environment
    overrides it, as it does for the daemon. Raises ConfigError as :func:`load` does.
    """
    return _validated({"alerting": table} if table else {}, path).alerting


def _validated(tables: dict[str, Any], path: Path | None) -> Settings:
    _check_names(os.environ)
    _check_tables(tables, path)
    places = Places(PREFIX, path, os.environ, tables)
    if "kafka" in tables:
        tables = {**tables, "kafka": tables_apart(tables["kafka"])}
    try:
        return Settings(**tables)
    except ValidationError as error:
        raise ConfigError(sentence(error, Settings, places.name)) from None
    except SettingsError as error:
        raise ConfigError(_not_json(error)) from None


def _check_tables(tables: Mapping[str, Any], path: Path | None) -> None:
    """Raises ConfigError if a value of the file has the name of a table.

    The environment would replace it silently.
    """
    for name, value in tables.items():
        field = Settings.model_fields.get(name)
        is_table = field is not None and bool(models_in(field.annotation))
        if is_table and not isinstance(value, Mapping):
            raise ConfigError(f"{name} in {path} is not a table: write [{name}]")


def _check_names(environment: Mapping[str, str]) -> None:
    """Raises ConfigError if a variable with our prefix is not a setting."""
    known = {f"{PREFIX}{name}" for name in _names(Settings)}
    known |= {secret.file_variable for secret in _secrets(Settings)}
    unknown = sorted(
        name
        for name in environment
        if name.startswith(PREFIX) and name.upper() not in known
    )
    if unknown:
        named = ", ".join(f"{name}{suggestion(name, known)}" for name in unknown)
        raise ConfigError(
            f"no such setting: {named} (`streamwarden check` lists all settings)"
        )


def _not_json(error: SettingsError) -> str:
    """A sentence about the variable that was read as JSON and is not."""
    text = getattr(error.__cause__, "doc", None)
    names = sorted(
        name
        for name, value in os.environ.items()
        if name.startswith(PREFIX) and value == text
    )
    named = ", ".join(names) or "the environment"
    return f"{named}: give a table as JSON, or in the TOML file"


def names_and_values(settings: Settings) -> Iterator[tuple[str, str]]:
    """Every setting's environment name and its effective value, secrets masked."""
    for room in type(settings).model_fields:
        value = getattr(settings, room)
        variable = f"{PREFIX}{room.upper()}"
        if not isinstance(value, BaseModel):
            yield variable, str(value)
            continue
        for name in type(value).model_fields:
            yield f"{variable}__{name.upper()}", _shown(getattr(value, name))


def _shown(value: object) -> str:
    """A value as text, with every secret in its lists and tables masked."""
    if value is None or value == {}:
        return ""
    if isinstance(value, SecretStr):
        return "********"
    if isinstance(value, tuple):
        return ",".join(map(_shown, value))
    if isinstance(value, BaseModel):
        # of an item of a list, what is set: its many defaults are in the reference
        given = [n for n in type(value).model_fields if n in value.model_fields_set]
        return _shown({name: getattr(value, name) for name in given})
    if isinstance(value, Mapping):
        items = ", ".join(f"{name}: {_shown(held)}" for name, held in value.items())
        return f"{{{items}}}"
    return str(value)


def _names(settings: type[BaseSettings]) -> Iterator[str]:
    for room, field in settings.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from (f"{room}__{name}".upper() for name in inner.model_fields)
        else:
            yield room.upper()


@dataclass(frozen=True, slots=True)
class _Secret:
    """A setting that is a secret, or that has secrets in it."""

    room: str
    name: str
    plain: bool  # one secret, and not a table or a list

    @property
    def variable(self) -> str:
        return f"{PREFIX}{self.room}__{self.name}".upper()

    @property
    def file_variable(self) -> str:
        return f"{self.variable}_FILE"


def _secrets(settings: type[BaseSettings]) -> Iterator[_Secret]:
    for room, field in settings.model_fields.items():
        inner = field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            continue
        for name, setting in inner.model_fields.items():
            if holds_secret(setting.annotation):
                yield _Secret(room, name, is_plain_secret(setting.annotation))


def _read_secret_files(
    settings: type[BaseSettings], environment: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """The secrets that files hold, by room and name. Raises ConfigError."""
    found: dict[str, dict[str, Any]] = {}
    for secret in _secrets(settings):
        file = environment.get(secret.file_variable)
        if file is None:
            continue
        if secret.variable in environment:
            raise ConfigError(
                f"{secret.variable} and {secret.file_variable} are both set: keep one"
            )
        found.setdefault(secret.room, {})[secret.name] = _read_secret(secret, file)
    return found


def _read_secret(secret: _Secret, file: str) -> object:
    try:
        text = Path(file).read_text().strip()
        return text if secret.plain else json.loads(text)
    except OSError as error:
        reason = error.strerror
    except UnicodeDecodeError:
        reason = "it is not text"
    except json.JSONDecodeError:
        reason = "it is not JSON"
    raise ConfigError(f"{secret.file_variable}: {file} can't be read ({reason})")
