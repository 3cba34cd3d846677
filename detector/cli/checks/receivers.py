"""Whether receivers can be reached; nothing is posted."""

from __future__ import annotations

from collections.abc import Iterator

from urllib3.util import parse_url

from detector.cli.checks.connection import NoConnectionError, opened
from detector.errors import ConfigError
from detector.notify.receivers.settings import ReceiverSettings
from detector.settings.load import Settings

_PORTS = {"http": 80, "https": 443}


def receiver_faults(settings: Settings) -> Iterator[str]:
    """Faults of each receiver that keep alerts from it."""
    for receiver in settings.alerting.destinations():
        try:
            _connect(receiver)
        except ConfigError as error:
            yield str(error)
        except NoConnectionError as error:
            yield (
                f"receiver {receiver.name}: {receiver.host} {error}:"
                " correct its url or its TLS settings, or start it"
            )


def _connect(receiver: ReceiverSettings) -> None:
    """Raises ConfigError, or NoConnectionError."""
    url = parse_url(receiver.url.get_secret_value())
    scheme = url.scheme or "http"
    context = receiver.tls() if scheme == "https" else None
    host = (url.host or "").strip("[]")
    with opened(host, url.port or _PORTS[scheme], context):
        pass
