"""The paths that change a running daemon, and the one that compares two bundles.

They need the token of ``DETECTOR_WEB__TOKEN``, in ``Authorization: Bearer``. Without
that setting they answer 403, and the API only reads. A token is compared in constant
time and never logged.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from detector.errors import DetectorError
from detector.metrics import ControlCommand
from detector.pipeline.comparison import ComparisonReport
from detector.web.facts import BundleName, ControlState

_MOST_BYTES: Final = 1 << 16  # of a request's body
_SCHEME: Final = "Bearer "


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request.

    Attributes:
        bundle: of ``shadow``: a directory on the daemon's machine; "" ends the shadow.
        anyway: of ``promote``: although the shadow has not warmed up.
    """

    bundle: str = ""
    anyway: bool = False


class Done(msgspec.Struct, frozen=True):
    """What a command did.

    Attributes:
        message: a sentence for the person who asked.
        changed: settings that are in force with other values now.
        streams: that went over to another bundle.
        cold: those of them whose network warms up.
        seconds: for which no record was scored.
    """

    message: str
    changed: Sequence[str] = ()
    streams: int = 0
    cold: int = 0
    seconds: float = 0.0


class Refusal(msgspec.Struct, frozen=True):
    """Why nothing was changed: what, where, and what to do."""

    error: str


class Compared(msgspec.Struct, frozen=True):
    """The answer of ``/api/v1/compare``.

    Attributes:
        live: the bundle in force.
        shadow: the one beside it.
        since: epoch seconds at which the shadow began.
        budget: incidents a stream-week that are allowed.
        report: what the two made of the same points.
    """

    live: BundleName
    shadow: BundleName
    since: float
    budget: float
    report: ComparisonReport


class Control(Protocol):
    """Carries out commands, one after the other. Any thread may call it."""

    def submit(self, command: ControlCommand, asked: Asked) -> Future[Done]:
        """The future raises DetectorError if nothing was changed."""
        ...

    def state(self) -> ControlState: ...

    def compared(self) -> Compared | None:
        """None if no bundle runs in shadow."""
        ...


class ControlEndpoints:
    """Answers the paths of commands. ``token``: without it none is carried out."""

    def __init__(self, control: Control, token: str | None) -> None:
        self._control = control
        self._token = token

    async def compare(self, request: Request) -> Response:
        found = self._control.compared()
        if found is None:
            return _refused(
                "no bundle runs in shadow: begin with `streamwarden shadow BUNDLE`", 404
            )
        return _json(found)

    async def reload(self, request: Request) -> Response:
        return await self._run(ControlCommand.RELOAD, request)

    async def shadow(self, request: Request) -> Response:
        return await self._run(ControlCommand.SHADOW, request)

    async def promote(self, request: Request) -> Response:
        return await self._run(ControlCommand.PROMOTE, request)

    async def rollback(self, request: Request) -> Response:
        return await self._run(ControlCommand.ROLLBACK, request)

    async def _run(self, command: ControlCommand, request: Request) -> Response:
        if self._token is None:
            return _refused("the API only reads: set DETECTOR_WEB__TOKEN", 403)
        given = request.headers.get("authorization", "")
        if not _is_same(given, _SCHEME + self._token):
            return _refused("the token is not that of DETECTOR_WEB__TOKEN", 401)
        try:
            asked = await _asked(request)
        except msgspec.DecodeError as error:
            return _refused(f"the body is not as docs/operate.md says: {error}", 400)
        future = self._control.submit(command, asked)
        try:
            done: Done = await asyncio.wrap_future(future)
            return _json(done)
        except DetectorError as error:
            return _refused(str(error), 409)


def _is_same(given: str, wanted: str) -> bool:
    """In constant time, whatever the two have in common."""
    return hmac.compare_digest(given.encode(), wanted.encode())


async def _asked(request: Request) -> Asked:
    """Raises DecodeError, also if the body is too long to be one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise msgspec.DecodeError("it is too long")
    return msgspec.json.decode(body, type=Asked) if body else Asked()


def _json(content: object) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")


def _refused(error: str, status: int) -> Response:
    text = msgspec.json.encode(Refusal(error))
    return Response(text, status, media_type="application/json")
