"""Settings of receivers that take any HTTP post: credentials, headers, a signature.

The values of headers are secrets, as all credentials are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from detector.clock import Clock
from detector.http_settings import authorization, check_pair
from detector.notify.receivers.connection import ConnectionSettings
from detector.notify.receivers.http import HttpClient
from detector.notify.receivers.signature import Signer, own_signer, standard_signer

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
_OWN_PREFIXES = ("x-streamwarden-", "webhook-")


class HttpSettings(ConnectionSettings):
    """A receiver that is reached over HTTP."""

    secret: SecretStr | None = Field(
        None, description="key of the HMAC-SHA256 signature"
    )
    signature: Literal["streamwarden", "standard"] = Field(
        "streamwarden",
        description="headers of the signature; standard: those of Standard Webhooks",
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

    @field_validator("headers")
    @classmethod
    def _check_headers(
        cls, headers: Mapping[str, SecretStr]
    ) -> Mapping[str, SecretStr]:
        for name, value in headers.items():
            lower = name.lower()
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a header")
            if lower in _OWN_HEADERS or lower.startswith(_OWN_PREFIXES):
                raise ValueError(f"{name} is set by the daemon itself")
            if not _HEADER_VALUE.fullmatch(value.get_secret_value()):
                raise ValueError(f"the value of {name} cannot be sent in a header")
        return headers

    @model_validator(mode="after")
    def _check_credentials(self) -> Self:
        check_pair(self.user, self.password)
        if sum(self._ways_to_authorise()) > 1:
            raise ValueError(
                "give one of bearer_token, user with password, "
                "and an Authorization header"
            )
        try:
            self.signer()
        except ValueError as error:
            raise ValueError(f"secret: {error}") from None
        token = self.bearer_token
        if token is not None and not _HEADER_VALUE.fullmatch(token.get_secret_value()):
            raise ValueError("bearer_token cannot be sent in a header")
        return self

    def _ways_to_authorise(self) -> Iterator[bool]:
        yield self.bearer_token is not None
        yield self.password is not None
        yield any(name.lower() == "authorization" for name in self.headers)

    def client(self, clock: Clock, content_type: str = "") -> HttpClient:
        """Raises ConfigError if a TLS file cannot be used."""
        headers = self.sent_headers()
        if content_type:
            headers["Content-Type"] = content_type
        return HttpClient(self, clock, headers, self.signer())

    def signer(self) -> Signer | None:
        """None without a secret."""
        if self.secret is None:
            return None
        make = standard_signer if self.signature == "standard" else own_signer
        return make(self.secret.get_secret_value())

    def sent_headers(self) -> dict[str, str]:
        """Those of every post. They hold secrets in the clear: log them nowhere."""
        sent = {name: value.get_secret_value() for name, value in self.headers.items()}
        own = authorization(self.bearer_token, self.user, self.password)
        return {**sent, **own}
