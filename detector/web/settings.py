"""Settings of the HTTP endpoints: ``DETECTOR_WEB__…``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

_LEAST = 16  # characters of a token


class WebSettings(BaseModel):
    """Where /metrics, health, the page and the API are served."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    listen: str = Field(
        "127.0.0.1:8080", description="host:port; port 0 takes a free one"
    )

    token: SecretStr | None = Field(
        None,
        description="lets `streamwarden reload`, `shadow`, `promote` and `rollback`"
        " change a running daemon; without it the API only reads",
    )

    @field_validator("token")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        text = token.get_secret_value() if token else ""
        if not text:
            return None
        if len(text) < _LEAST or not text.isascii():
            raise ValueError(f"use {_LEAST} characters of ASCII at least")
        return token

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise ValueError(f"{value!r} is not host:port")
        return value

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)
