"""Whether receivers can be reached; nothing is posted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from urllib3.util import parse_url

from detector.cli.checks.connection import NoConnectionError, opened
from detector.errors import ConfigError
from detector.notify.receivers.connection import host_of
from detector.settings.load import Settings

_PORTS = {"http": 80, "https": 443, "smtp": 25, "smtps": 465}


def receiver_faults(settings: Settings) -> Iterator[str]:
    """Faults of each receiver that keep alerts from it."""
    for receiver in settings.alerting.destinations():
        try:
            # the daemon reads the files of TLS whether or not an address uses them
            context = receiver.tls()
        except ConfigError as error:
            yield str(error)
            continue
        for address in receiver.addresses:
            try:
                _connect(address, context)
            except NoConnectionError as error:
                yield (
                    f"receiver {receiver.name}: {host_of(address)} {error}:"
                    " correct its url or its TLS settings, or start it"
                )


def _connect(address: str, tls: ssl.SSLContext) -> None:
    """Raises NoConnectionError."""
    url = parse_url(address)
    scheme = url.scheme or "http"
    host = (url.host or "").strip("[]")
    context = tls if scheme in ("https", "smtps") else None
    with opened(host, url.port or _PORTS[scheme], context):
        pass
