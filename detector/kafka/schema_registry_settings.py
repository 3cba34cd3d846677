"""Settings of the schema registry: ``[kafka.schema_registry]``.

They stand with those of the Kafka client, because a registry belongs to a cluster. In
the environment the table is JSON. Each secret may be in a file: ``password_file``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import (
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from detector.http_settings import TlsSettings, authorization, check_pair
from detector.setting_types import Listed

_TABLE = "[kafka.schema_registry]"


class SchemaRegistrySettings(TlsSettings):
    """A registry with the HTTP API of Confluent's, as Karapace and Redpanda have it."""

    url: Listed = Field(
        min_length=1, description="its addresses; the next is asked if one fails"
    )
    bearer_token: SecretStr | None = Field(
        None, description="sent as Authorization: Bearer"
    )
    user: str | None = Field(None, description="user of basic authorisation")
    password: SecretStr | None = Field(
        None, description="password of basic authorisation"
    )
    timeout: float = Field(
        5.0, gt=0, description="seconds to wait for a connection and for an answer"
    )

    @field_validator("url")
    @classmethod
    def _addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for address in urls:
            url = _parsed(address)
            if url.scheme not in ("http", "https") or not url.host:
                raise ValueError("it is not a http:// or https:// address")
            if url.auth:
                raise ValueError("it has a password in it: set user and password")
        return tuple(address.rstrip("/") for address in urls)

    @model_validator(mode="after")
    def _credentials(self) -> Self:
        check_pair(self.user, self.password)
        if self.user is not None and self.bearer_token is not None:
            raise ValueError("give either bearer_token, or user with password")
        return self

    def headers(self) -> Mapping[str, str]:
        """Those of each request. They hold secrets in the clear: log them nowhere."""
        return authorization(self.bearer_token, self.user, self.password)

    def named(self, setting: str, file: Path) -> str:
        return f"{_TABLE}: {setting} {file}"


def _parsed(address: str) -> Url:
    try:
        return parse_url(address)
    except LocationParseError:
        return Url()
