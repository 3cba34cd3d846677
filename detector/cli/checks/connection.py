"""One connection for ``check``, with TLS if it is asked for, and why it fails."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator

from detector.errors import DetectorError

TIMEOUT = 5.0  # seconds for a connection, and for each answer


class NoConnectionError(DetectorError):
    """A connection failed; the text is a predicate, as in "does not resolve"."""


class RefusedError(NoConnectionError):
    """Nothing listens on the port."""


class NotTLSError(NoConnectionError):
    """The port is open, and does not speak TLS."""


@contextlib.contextmanager
def opened(
    host: str, port: int, context: ssl.SSLContext | None
) -> Iterator[socket.socket]:
    """A connection, after the TLS handshake if there is a context.

    Raises NoConnectionError.
    """
    with _plain(host, port) as plain:
        if context is None:
            yield plain
            return
        with _secured(plain, host, context) as secured:
            yield secured


def speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake succeeds, whoever the certificate is for."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with opened(host, port, context):
            return True
    except NoConnectionError:
        return False


def _plain(host: str, port: int) -> socket.socket:
    try:
        return socket.create_connection((host, port), timeout=TIMEOUT)
    except socket.gaierror as error:
        raise NoConnectionError(f"does not resolve ({error.strerror})") from None
    except ConnectionRefusedError:
        raise RefusedError("refuses connections") from None
    except TimeoutError:
        raise NoConnectionError(f"does not answer within {TIMEOUT:g} s") from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise NoConnectionError(f"can't be reached ({reason})") from None


def _secured(plain: socket.socket, host: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message
        raise NoConnectionError(f"has no trusted certificate ({reason})") from None
    except ssl.SSLError as error:
        if str(error.reason).startswith(("TLSV1", "SSLV3_ALERT")):
            raise NoConnectionError(f"refuses TLS ({error.reason})") from None
        raise NotTLSError("does not speak TLS") from None
    except OSError:  # it hangs up, or waits for more of what it takes for a request
        raise NotTLSError("does not speak TLS") from None
