"""Settings that receivers of every kind share: a name, a timeout, and TLS.

Each secret may be in a file: ``url_file`` in place of ``url``. An address counts as a
secret, because many receivers put a token into it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, SecretStr
from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from detector.http_settings import TlsSettings
from detector.notify.payload import RECEIVER
from detector.notify.routes import ReceiverNeeds


class ConnectionSettings(TlsSettings):
    """A receiver that is reached over the network."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="what routes call it; also `receiver` in the body",
    )
    timeout: float = Field(
        10.0, gt=0, description="seconds to wait for a connection and for an answer"
    )

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

    def named(self, setting: str, file: Path) -> str:
        if self.name == RECEIVER:
            return f"DETECTOR_ALERTING__WEBHOOK_{setting.upper()} {file}"
        return f"{setting} {file} of receiver {self.name}"


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
