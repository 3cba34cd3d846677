"""What settings of anything that is reached over HTTP share: TLS and authorisation."""

from __future__ import annotations

import ssl
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from detector.errors import ConfigError
from detector.setting_types import with_secrets_of_files


class TlsSettings(BaseModel):
    """A server, its certificate and ours. Each secret may be in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tls_ca: Path | None = Field(
        None, description="certificates to trust, PEM; by default the system's"
    )
    tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    tls_key: Path | None = Field(
        None, description="its private key, PEM; by default in the certificate's file"
    )
    tls_verify: bool = Field(True, description="whether to verify the server's name")

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: Any) -> Any:
        return with_secrets_of_files(cls, given)

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    def tls(self) -> ssl.SSLContext:
        """Raises ConfigError if a file can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            names = ("tls_ca", "tls_certificate", "tls_key")
            files = {name: getattr(self, name) for name in names}
            given = [self.named(name, file) for name, file in files.items() if file]
            raise ConfigError(
                f"{', '.join(given)} can't be used for TLS"
                f" ({error.strerror or error}): name PEM files that this user may read"
            ) from None
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def named(self, setting: str, file: Path) -> str:
        """What a sentence calls the file of a setting."""
        return f"{setting} {file}"


def check_pair(user: str | None, password: SecretStr | None) -> None:
    """Raises ValueError if one of them is set alone."""
    if (user is None) != (password is None):
        raise ValueError("user and password are set together")


def authorization(
    bearer_token: SecretStr | None, user: str | None, password: SecretStr | None
) -> Mapping[str, str]:
    """The header, if any of them is set (RFC 6750, RFC 7617).

    It holds the secret in the clear: log it nowhere.
    """
    if bearer_token is not None:
        return {"Authorization": f"Bearer {bearer_token.get_secret_value()}"}
    if user is not None and password is not None:
        pair = f"{user}:{password.get_secret_value()}".encode()
        return {"Authorization": f"Basic {b64encode(pair).decode()}"}
    return {}
