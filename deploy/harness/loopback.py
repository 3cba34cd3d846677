"""An HTTP server on loopback, on a thread of its own; a context manager."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

_POLL: Final = 0.05  # seconds until a stop is noticed


class LoopbackServer:
    """Serves from entry to exit; other classes extend it."""

    def __init__(self, server: ThreadingHTTPServer, name: str) -> None:
        """``server`` is bound, and ``name`` is that of its thread."""
        server.daemon_threads = True
        self._server = server
        self._thread = threading.Thread(
            target=server.serve_forever,
            kwargs={"poll_interval": _POLL},
            name=name,
            daemon=True,
        )

    @property
    def address(self) -> str:
        """Without a path."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
