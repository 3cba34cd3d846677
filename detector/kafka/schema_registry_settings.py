"""Settings of the schema registry: ``[kafka.schema_registry]``.

They stand with those of the Kafka client, because a registry belongs to a cluster. In
the environment the table is JSON. Each secret may be in a file: ``password_file``.
"""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from detector.errors import ConfigError
from detector.setting_types import Listed, with_secrets_of_files

_TABLE = "[kafka.schema_registry]"


class SchemaRegistrySettings(BaseModel):
    """A registry with the HTTP API of Confluent's, as Karapace and Redpanda have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    tls_ca: Path | None = Field(
        None, description="certificates to trust, PEM; by default the system's"
    )
    tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    tls_key: Path | None = Field(
        None, description="its private key, PEM; by default in the certificate's file"
    )
    tls_verify: bool = Field(True, description="whether to verify the registry's name")
    timeout: float = Field(
        5.0, gt=0, description="seconds to wait for a connection and for an answer"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: Any) -> Any:
        return with_secrets_of_files(cls, given)

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
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are set together")
        if self.user is not None and self.bearer_token is not None:
            raise ValueError("give either bearer_token, or user with password")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    def headers(self) -> Mapping[str, str]:
        """Those of each request. They hold secrets in the clear: log them nowhere."""
        if self.bearer_token is not None:
            return {"Authorization": f"Bearer {self.bearer_token.get_secret_value()}"}
        if self.user is not None and self.password is not None:
            pair = f"{self.user}:{self.password.get_secret_value()}".encode()
            return {"Authorization": f"Basic {b64encode(pair).decode()}"}
        return {}

    def tls(self) -> ssl.SSLContext:
        """Raises ConfigError if a file can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            files = (self.tls_ca, self.tls_certificate, self.tls_key)
            given = ", ".join(str(file) for file in files if file is not None)
            cause = error.strerror or error
            raise ConfigError(
                f"{_TABLE}: {given} can't be used for TLS ({cause}):"
                " name PEM files that this user may read"
            ) from None
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _parsed(address: str) -> Url:
    try:
        return parse_url(address)
    except LocationParseError:
        return Url()
