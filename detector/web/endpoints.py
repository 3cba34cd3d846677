"""What each HTTP path answers. The server's table names them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from detector.clock import Clock
from detector.consumer.health import Health
from detector.errors import ResetCause
from detector.history.incident_log import IncidentLog
from detector.metrics import Metrics
from detector.web.facts import Status
from detector.web.pages import SHOWN, STYLE, page

# Seconds without a turn of the loop until it counts as hung. A poll takes 0.2 s, and
# restoring or a rebalance at most 15 s.
STALLED = 30.0
_RESETS = Metrics.state_resets.exposed_name
_SHOWN = ("detector_streams", "detector_scored_total", "detector_lag_records")
# The page loads its own style sheet, runs no script, and nobody may frame it.
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'"
}


class Endpoints:
    """Reads one daemon's parts; changes none of them.

    ``refresh`` sets the gauges that are read only on demand; ``read_status`` reads what
    is in force and what all streams in memory raise.
    """

    def __init__(
        self,
        metrics: Metrics,
        health: Health,
        incidents: IncidentLog,
        clock: Clock,
        refresh: Callable[[], None],
        read_status: Callable[[], Status],
    ) -> None:
        self._metrics = metrics
        self._health = health
        self._incidents = incidents
        self._clock = clock
        self._refresh = refresh
        self._read_status = read_status

    async def metrics(self, request: Request) -> Response:
        self._refresh()
        self._metrics.ready.set(self._health.is_serving())
        text = generate_latest(self._metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    async def healthy(self, request: Request) -> Response:
        """503 if the loop hangs; a fault that is retried is ``degraded``, not dead."""
        idle = self._clock.monotonic() - self._health.last_turn
        if idle > STALLED:
            return PlainTextResponse(f"the loop has not moved for {idle:.0f} s\n", 503)
        lines = [f"degraded: {fault}\n" for fault in self._health.faults()]
        return PlainTextResponse("".join(lines) or "healthy\n")

    async def ready(self, request: Request) -> Response:
        cause = self._health.not_ready_because()
        if not cause:
            return PlainTextResponse("ready\n")
        return PlainTextResponse(f"not ready: {cause}\n", 503)

    async def status(self, request: Request) -> Response:
        return _json(self._read_status())

    async def alerts(self, request: Request) -> Response:
        return _json(self._incidents.alerts())

    async def page(self, request: Request) -> Response:
        sample = self._metrics.registry.get_sample_value
        counts = {name: sample(name) or 0.0 for name in _SHOWN}
        status = self._read_status()
        cause = self._health.not_ready_because()
        incidents = self._incidents.alerts(SHOWN)
        html = page(status, incidents, counts, cause, self._resets())
        return HTMLResponse(html, headers=_PAGE_HEADERS)

    def _resets(self) -> dict[str, int]:
        """How many states began anew since the start, by cause."""
        sample = self._metrics.registry.get_sample_value
        found = {
            cause.value: sample(_RESETS, {"cause": cause.value}) or 0.0
            for cause in ResetCause
        }
        return {cause: int(count) for cause, count in found.items() if count}

    async def style(self, request: Request) -> Response:
        return Response(STYLE, media_type="text/css")


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
