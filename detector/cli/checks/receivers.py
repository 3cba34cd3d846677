"""Whether receivers can be reached; nothing is posted."""

from __future__ import annotations

from collections.abc import Iterator

from urllib3.util import parse_url

from detector.cli.checks.connection import NoConnectionError, opened
from detector.errors import ConfigError
from detector.notify.receivers.http_settings import host_of
from detector.notify.receivers.settings import ReceiverSettings
from detector.settings.load import Settings

_PORTS = {"http": 80, "https": 443}


def receiver_faults(settings: Settings) -> Iterator[str]:
    """Faults of each receiver that keep alerts from it."""
    for receiver in settings.alerting.destinations():
        for address in receiver.addresses:
            try:
                _connect(receiver, address)
            except ConfigError as error:
                yield str(error)
            except NoConnectionError as error:
                yield (
                    f"receiver {receiver.name}: {host_of(address)} {error}:"
                    " correct its url or its TLS settings, or start it"
                )


def _connect(receiver: ReceiverSettings, address: str) -> None:
    """Raises ConfigError, or NoConnectionError."""
    url = parse_url(address)
    scheme = url.scheme or "http"
    context = receiver.tls() if scheme == "https" else None
    host = (url.host or "").strip("[]")
    with opened(host, url.port or _PORTS[scheme], context):
        pass
