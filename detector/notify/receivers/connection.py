"""Settings that receivers of every kind share: a name, a timeout, and TLS.

Each secret may be in a file: ``url_file`` in place of ``url``. An address counts as a
secret, because many receivers put a token into it.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    model_validator,
)
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from detector.errors import ConfigError
from detector.notify.payload import RECEIVER
from detector.notify.routes import ReceiverNeeds
from detector.setting_types import with_secrets_of_files


class ConnectionSettings(BaseModel):
    """A receiver that is reached over the network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="what routes call it; also `receiver` in the body",
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

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if self.tls_key is not None and self.tls_certificate is None:
            raise ValueError("tls_key is set without tls_certificate")
        return self

    @property
    def addresses(self) -> Sequence[str]:
        """Where it posts; secrets, so log :attr:`host` instead."""
        raise NotImplementedError

    @property
    def needs(self) -> ReceiverNeeds:
        """Nothing beyond its routes."""
        return ReceiverNeeds()

    @property
    def host(self) -> str:
        """For logs: the rest of an address may be a secret."""
        return ",".join(map(host_of, self.addresses))

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
