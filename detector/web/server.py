"""The HTTP server: starlette on uvicorn, on a thread of its own."""

from __future__ import annotations

import functools
import socket
import threading
from collections.abc import Awaitable, Callable
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from detector.errors import ConfigError
from detector.web.control import ControlEndpoints
from detector.web.endpoints import Endpoints

_Handler = Callable[[Endpoints, Request], Awaitable[Response]]
_Command = Callable[[ControlEndpoints, Request], Awaitable[Response]]
_STOP_S = 5.0  # seconds that a stop waits for the thread
_GRACE_S = 2  # seconds of these that answers under way may take

# One table: path, what it answers, and the method that does.
_TABLE: Final[tuple[tuple[str, str, _Handler], ...]] = (
    (
        "/",
        "A page for people: open and recent incidents, and how far behind it is.",
        Endpoints.page,
    ),
    (
        "/api/v1/alerts",
        "Open incidents, newest first, and the last ones that ended, as JSON.",
        Endpoints.alerts,
    ),
    (
        "/api/v1/status",
        "The bundle, the budget and the fleet's thresholds, as JSON.",
        Endpoints.status,
    ),
    (
        "/metrics",
        "Metrics in Prometheus' text format.",
        Endpoints.metrics,
    ),
    (
        "/-/healthy",
        "200 while the loop moves, also if it is degraded; 503 if it hangs.",
        Endpoints.healthy,
    ),
    (
        "/-/ready",
        "200 while partitions are assigned and their states restored; else 503.",
        Endpoints.ready,
    ),
    (
        "/static/style.css",
        "The style sheet of the page.",
        Endpoints.style,
    ),
)

# The same for what changes a running daemon, with the method of the request.
_COMMANDS: Final[tuple[tuple[str, str, str, _Command], ...]] = (
    (
        "GET",
        "/api/v1/compare",
        "How the bundle in shadow differs from the one in force, as JSON; 404 if none"
        " runs.",
        ControlEndpoints.compare,
    ),
    (
        "POST",
        "/api/v1/reload",
        "Reads the settings and the bundle again. Like the next ones, it needs the token"
        " of `DETECTOR_WEB__TOKEN`; 409 says why nothing was changed.",
        ControlEndpoints.reload,
    ),
    (
        "POST",
        "/api/v1/shadow",
        'Lets the bundle of `{"bundle": "DIR"}` score beside the one in force; `""`'
        " ends that.",
        ControlEndpoints.shadow,
    ),
    (
        "POST",
        "/api/v1/promote",
        'Puts the bundle in shadow in force; `{"anyway": true}`: although it has not'
        " warmed up.",
        ControlEndpoints.promote,
    ),
    (
        "POST",
        "/api/v1/rollback",
        "Goes back to what was in force before.",
        ControlEndpoints.rollback,
    ),
)

#: Every path that only reads, and what it answers in one sentence.
ROUTES: Final[dict[str, str]] = {path: answers for path, answers, _ in _TABLE}
#: Method and path of what concerns a change, and what it does.
COMMANDS: Final[dict[str, str]] = {
    f"{method} {path}": answers for method, path, answers, _ in _COMMANDS
}


class WebServer:
    """Serves one daemon at ``address``, host and port; port 0 takes a free one.

    Raises ConfigError if the address cannot be bound.
    """

    def __init__(
        self,
        address: tuple[str, int],
        endpoints: Endpoints,
        control: ControlEndpoints | None = None,
    ) -> None:
        self._socket = bind(address)
        routes = [
            Route(path, functools.partial(handler, endpoints))
            for path, _, handler in _TABLE
        ]
        if control is not None:
            routes += [
                Route(path, functools.partial(handler, control), methods=[method])
                for method, path, _, handler in _COMMANDS
            ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_GRACE_S,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port in force."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=_STOP_S)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def bind(address: tuple[str, int]) -> socket.socket:
    """A socket that listens there. Raises ConfigError if the address can't be bound."""
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while attempting")
        raise ConfigError(
            f"DETECTOR_WEB__LISTEN: {host}:{port} can't be bound ({reason}):"
            " stop what listens there, or name another port"
        ) from None
