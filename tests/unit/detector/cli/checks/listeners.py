"""Small servers for the checks: one that accepts, one that speaks TLS."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

#: of 127.0.0.1, signed by itself, with its key
CERTIFICATE = Path(__file__).parents[2] / "notify/receivers/data/loopback.pem"


@contextmanager
def listening(context: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of a server that accepts connections, and says nothing on them.

    With a context it speaks TLS; without one it hangs up on whatever it is sent.
    """
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as ending:
        thread = threading.Thread(target=_serve, args=(server, context))
        thread.start()
        ending.callback(thread.join)
        ending.callback(server.shutdown, socket.SHUT_RDWR)
        yield server.getsockname()[1]


def tls_context() -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(CERTIFICATE)
    return context


def closed_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _serve(server: socket.socket, context: ssl.SSLContext | None) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return  # it is shut down
        with connection, suppress(OSError):
            if context is None:
                connection.recv(1)
                continue
            with context.wrap_socket(connection, server_side=True) as secured:
                secured.recv(1)
