"""HTTP: /metrics, /-/healthy, /-/ready, the page and /api/v1, on a thread of its own
(starlette on uvicorn).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

import msgspec
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from detector.clock import Clock
from detector.consumer.loop import Vitals
from detector.errors import ConfigError
from detector.history.incident_log import IncidentLog
from detector.metrics import Metrics
from detector.web.pages import page

STALLED = 30.0  # seconds without a turn of the loop: it hangs


class WebServer:
    """Serves one daemon. Raises ConfigError if the address is taken."""

    def __init__(
        self,
        address: tuple[str, int],
        metrics: Metrics,
        vitals: Vitals,
        view: IncidentLog,
        clock: Clock,
        refresh: Callable[[], None],
    ) -> None:
        self._metrics = metrics
        self._vitals = vitals
        self._view = view
        self._clock = clock
        self._refresh = refresh
        try:
            self._socket = socket.create_server(
                address, family=socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            )
        except OSError as error:
            raise ConfigError(
                f"DETECTOR_WEB__LISTEN: {address[0]}:{address[1]} can't be bound ({error.strerror})"
            ) from None
        routes = [
            Route("/metrics", self._show_metrics),
            Route("/-/healthy", self._healthy),
            Route("/-/ready", self._ready),
            Route("/api/v1/status", self._status),
            Route("/api/v1/alerts", self._alerts),
            Route("/", self._page),
        ]
        config = uvicorn.Config(
            Starlette(routes=routes),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="web", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """host and port in force: port 0 was given a free one."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(timeout=5)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

    async def _show_metrics(self, request: Request) -> Response:
        self._refresh()
        self._metrics.ready.set(self._serves())
        return Response(
            generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST
        )

    async def _healthy(self, request: Request) -> Response:
        still = self._clock.monotonic() - self._vitals.last_turn
        if still > STALLED:
            return PlainTextResponse(f"the loop has not moved for {still:.0f} s\n", 503)
        faults = [
            f
            for f in (
                self._vitals.store_fault,
                self._vitals.restore_fault,
                self._vitals.source_fault,
            )
            if f
        ]
        return PlainTextResponse(
            "".join(f"degraded: {f}\n" for f in faults) or "healthy\n"
        )

    async def _ready(self, request: Request) -> Response:
        ready = self._serves()
        return PlainTextResponse(
            "ready\n"
            if ready
            else "not ready: no partitions, or states not restored yet\n",
            200 if ready else 503,
        )

    def _serves(self) -> bool:
        return self._vitals.ready and not self._vitals.stopping

    async def _status(self, request: Request) -> Response:
        return _json(self._view.status)

    async def _alerts(self, request: Request) -> Response:
        return _json(self._view.alerts())

    async def _page(self, request: Request) -> Response:
        counts = {
            name: _value(self._metrics, name)
            for name in (
                "detector_streams",
                "detector_scored_total",
                "detector_lag_records",
            )
        }
        return HTMLResponse(page(self._view.status, self._view.alerts(), counts))


def _value(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
