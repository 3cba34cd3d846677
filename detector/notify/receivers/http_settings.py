"""Settings that receivers of every kind share: credentials, headers, TLS, a timeout.

Each secret may be in a file: ``url_file`` in place of ``url``. An address counts as a
secret, because many receivers put a token into it. So do the values of headers.
"""

from __future__ import annotations

import re
import ssl
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
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
from detector.notify.payload import RECEIVER
from detector.setting_types import with_secrets_of_files

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")  # RFC 9110, section 5.5
_OWN_HEADERS = {
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "idempotency-key",
}
_OWN_PREFIX = "x-streamwarden-"


class HttpSettings(BaseModel):
    """A receiver that is reached over HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="what routes call it; also `receiver` in the body",
    )
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
        None, description="certificates to trust, PEM; by default the system's"
    )
    tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    tls_key: Path | None = Field(
        None, description="its private key, PEM; by default in the certificate's file"
    )
    tls_verify: bool = Field(True, description="whether to verify the receiver's name")
    timeout: float = Field(
        10.0, gt=0, description="seconds to wait for a connection and for an answer"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, given: Any) -> Any:
        return with_secrets_of_files(cls, given)

    @field_validator("headers")
    @classmethod
    def _check_headers(
        cls, headers: Mapping[str, SecretStr]
    ) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            lower = name.lower()
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a header")
            if lower in _OWN_HEADERS or lower.startswith(_OWN_PREFIX):
                raise ValueError(f"{name} is set by the daemon itself")
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} cannot be sent in a header")
        return headers

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password are set together")
        if sum(self._ways_to_authorise()) > 1:
            raise ValueError(
                "give one of bearer_token, user with password, "
                "and an Authorization header"
            )
        token = self.bearer_token
        if token is not None and not _HEADER_VALUE.fullmatch(token.get_secret_value()):
            raise ValueError("bearer_token cannot be sent in a header")
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    def _ways_to_authorise(self) -> Iterator[bool]:
        yield self.bearer_token is not None
        yield self.password is not None
        yield any(name.lower() == "authorization" for name in self.headers)

    @property
    def addresses(self) -> Sequence[str]:
        """Where it posts; secrets, so log :attr:`host` instead."""
        raise NotImplementedError

    @property
    def host(self) -> str:
        """For logs: the rest of an address may be a secret."""
        return ",".join(map(host_of, self.addresses))

    def sent_headers(self) -> dict[str, str]:
        """Those of every post. They hold secrets in the clear: log them nowhere."""
        sent = {name: value.get_secret_value() for name, value in self.headers.items()}
        if self.bearer_token is not None:
            sent["Authorization"] = f"Bearer {self.bearer_token.get_secret_value()}"
        if self.user is not None and self.password is not None:
            pair = f"{self.user}:{self.password.get_secret_value()}".encode()
            sent["Authorization"] = f"Basic {b64encode(pair).decode()}"
        return sent

    def tls(self) -> ssl.SSLContext:
        """Raises ConfigError if a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:  # ssl.SSLError is one
            given = ", ".join(self._tls_files())
            cause = error.strerror or error
            raise ConfigError(
                f"{given} can't be used for TLS ({cause}):"
                " name PEM files that this user may read"
            ) from None
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def _tls_files(self) -> Iterator[str]:
        """The files that are set, each with its setting."""
        for name in ("tls_ca", "tls_certificate", "tls_key"):
            file = getattr(self, name)
            if file is None:
                continue
            if self.name == RECEIVER:
                yield f"DETECTOR_ALERTING__WEBHOOK_{name.upper()} {file}"
            else:
                yield f"{name} {file} of receiver {self.name}"


def check_address(value: SecretStr) -> SecretStr:
    """Raises ValueError, without the address in it, if it is not one."""
    try:
        url = parse_url(value.get_secret_value())
    except LocationParseError:
        url = Url()
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("it is not a http:// or https:// address")
    return value


def host_of(address: str) -> str:
    """Host and port of an address: all of it that may be shown."""
    url = parse_url(address)
    return f"{url.host}:{url.port}" if url.port else str(url.host)
