"""Settings of one receiver: where posts go, how they prove where they come from, and
whom TLS trusts.

``DETECTOR_ALERTING__WEBHOOK_…`` describes the one receiver that most need. Secrets may
stand in files: ``url_file`` in place of ``url``. The address counts as a secret, since
many receivers put a token into it; so do the values of headers.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from detector.errors import ConfigError

# the name of a header: RFC 9110, section 5.6.2
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # the value of one, section 5.5
_OURS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
}
_FILED = ("url", "secret", "bearer_token", "password")


def address(value: SecretStr) -> SecretStr:
    """Raises ValueError, without the address in it, where it is none."""
    try:
        url = parse_url(value.get_secret_value())
    except LocationParseError:
        raise ValueError("it is not a http:// or https:// address") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("it is not a http:// or https:// address")
    return value


class ReceiverSettings(BaseModel):
    """One receiver of notifications."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="what routes call it; also `receiver` in the body",
    )
    url: SecretStr = Field(description="http:// or https:// address")
    secret: SecretStr | None = Field(
        None, description="key of the HMAC-SHA256 signature"
    )
    bearer_token: SecretStr | None = Field(
        None, description="sent as Authorization: Bearer"
    )
    user: str | None = Field(None, description="user of basic authorisation")
    password: SecretStr | None = Field(
        None, description="password of basic authorisation"
    )
    headers: Mapping[str, SecretStr] = Field(
        {}, description="further headers of each post"
    )
    tls_ca: Path | None = Field(
        None, description="certificates to trust, PEM; the system's where it is not set"
    )
    tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    tls_key: Path | None = Field(
        None,
        description="its private key, PEM; none where the certificate's file holds it",
    )
    tls_verify: bool = Field(
        True, description="whether the receiver must prove who it is"
    )
    timeout: float = Field(
        10.0, gt=0, description="seconds to wait for a connection and for an answer"
    )

    @model_validator(mode="before")
    @classmethod
    def _files(cls, given: Any) -> Any:
        """Each secret may be named by a file that holds it."""
        if not isinstance(given, dict):
            return given
        values = dict(given)
        for name in _FILED:
            file = values.pop(f"{name}_file", None)
            if file is not None:
                if name in values:
                    raise ValueError(f"{name} and {name}_file are both set: keep one")
                values[name] = _read(name, file)
        return values

    @field_validator("url")
    @classmethod
    def _address(cls, value: SecretStr) -> SecretStr:
        return address(value)

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: Mapping[str, SecretStr]) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            if not _TOKEN.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a header")
            if name.lower() in _OURS or name.lower().startswith("x-streamwarden-"):
                raise ValueError(f"{name} is set by the daemon itself")
            if not _VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} holds what a header can't carry")
        return headers

    @model_validator(mode="after")
    def _one_authorisation(self) -> ReceiverSettings:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are set together")
        ways = [
            self.bearer_token,
            self.password,
            next(
                (v for k, v in self.headers.items() if k.lower() == "authorization"),
                None,
            ),
        ]
        if sum(way is not None for way in ways) > 1:
            raise ValueError(
                "give one of bearer_token, user with password, and an Authorization header"
            )
        if self.bearer_token is not None and not _VALUE.fullmatch(
            self.bearer_token.get_secret_value()
        ):
            raise ValueError("bearer_token holds what a header can't carry")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    @property
    def host(self) -> str:
        """For logs: the rest of the address may be a secret."""
        url = parse_url(self.url.get_secret_value())
        return f"{url.host}:{url.port}" if url.port else str(url.host)

    def sent_headers(self) -> dict[str, str]:
        """Those of every post that do not depend on it; secrets are in the clear here,
        so log them nowhere.
        """
        headers = {
            name: value.get_secret_value() for name, value in self.headers.items()
        }
        if self.bearer_token is not None:
            headers["Authorization"] = f"Bearer {self.bearer_token.get_secret_value()}"
        if self.user is not None and self.password is not None:
            pair = f"{self.user}:{self.password.get_secret_value()}".encode()
            headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return headers

    def tls(self) -> ssl.SSLContext:
        """Raises ConfigError where a file can't be used."""
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            files = ", ".join(
                str(f)
                for f in (self.tls_ca, self.tls_certificate, self.tls_key)
                if f is not None
            )
            raise ConfigError(
                f"receiver {self.name}: {files} can't be used for TLS ({error.strerror or error})"
            ) from None
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def faulty(place: Sequence[int | str], message: str) -> str:
    """One fault of these settings as a sentence: where it stands where that is known,
    and what is wrong.
    """
    said = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {said}" if place else said


def _read(name: str, file: object) -> str:
    """Raises ValueError."""
    try:
        return Path(str(file)).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{name}_file: {file} can't be read ({getattr(error, 'strerror', 'it is not text')})"
        ) from None
