"""Small servers of the services that alerts go to, strict where the services are.

Each checks a request against the service's documented schema and limits, and answers as
the service does. Sources stand beside each check.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

TOKEN = "xoxb-secret-token"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


def _json(answer: object, status: int = 200) -> Response:
    return Response(json.dumps(answer), status, content_type="application/json")


class Slack:
    """https://docs.slack.dev/reference/methods/chat.postMessage and chat.update.

    Attributes:
        messages: timestamp -> text that the channel shows now.
        replies: timestamp of the first message -> texts in its thread.
        fail_next: answers for the next calls, in place of the usual ones.
    """

    def __init__(self, server: HTTPServer) -> None:
        self.messages: dict[str, str] = {}
        self.replies: dict[str, list[str]] = {}
        self.hooked: list[str] = []
        self.fail_next: list[Response] = []
        self.api = server.url_for("/api")
        self.hook = server.url_for("/services/T0/B0/secret")
        for path, handler in (
            ("/api/chat.postMessage", self._post),
            ("/api/chat.update", self._update),
        ):
            server.expect_request(path).respond_with_handler(self._as_api(handler))
        server.expect_request("/services/T0/B0/secret").respond_with_handler(self._hook)

    def _as_api(
        self, handler: Callable[[dict[str, Any]], Response]
    ) -> Callable[[Request], Response]:
        def call(request: Request) -> Response:
            if self.fail_next:
                return self.fail_next.pop(0)
            if request.headers.get("Authorization") != f"Bearer {TOKEN}":
                return _json({"ok": False, "error": "invalid_auth"})
            body = json.loads(request.data)
            error = _slack_error(body)
            if error:
                return _json({"ok": False, "error": error})
            return handler(body)

        return call

    def _post(self, body: dict[str, Any]) -> Response:
        thread = body.get("thread_ts")
        if body["channel"] not in ("#alerts", "C1"):
            return _json({"ok": False, "error": "channel_not_found"})
        ts = f"1700000000.{len(self.messages) + 1:06}"
        if thread is None:
            self.messages[ts] = body["text"]
        elif thread in self.messages:
            self.replies.setdefault(thread, []).append(body["text"])
        else:
            return _json({"ok": False, "error": "thread_not_found"})
        return _json({"ok": True, "channel": "C1", "ts": ts})

    def _update(self, body: dict[str, Any]) -> Response:
        if body["channel"] != "C1" or body.get("ts") not in self.messages:
            return _json({"ok": False, "error": "message_not_found"})
        self.messages[body["ts"]] = body["text"]
        return _json({"ok": True, "channel": "C1", "ts": body["ts"]})

    def _hook(self, request: Request) -> Response:
        body = json.loads(request.data)
        error = _slack_error(body)
        if error:
            return Response(error, 400)
        self.hooked.append(body["text"])
        return Response("ok", 200)


def _slack_error(body: dict[str, Any]) -> str:
    """https://docs.slack.dev/reference/block-kit/blocks: the limits of a message."""
    blocks = body.get("blocks", [])
    if not body.get("text"):
        return "no_text"
    if len(body["text"]) > 40_000 or len(blocks) > 50:
        return "msg_too_long"
    for block in blocks:
        texts = [block["text"]] if block["type"] == "section" else block["elements"]
        for text in texts:
            if text["type"] not in ("mrkdwn", "plain_text"):
                return "invalid_blocks"
            if not 1 <= len(text["text"]) <= 3000:
                return "invalid_blocks"
    return ""


class PagerDuty:
    """https://developer.pagerduty.com/docs/send-alert-event.

    Attributes:
        alerts: dedup key -> (state, payload).
    """

    def __init__(self, server: HTTPServer) -> None:
        self.alerts: dict[str, tuple[str, dict[str, Any]]] = {}
        self.url = server.url_for("/v2/enqueue")
        self.fail_next: list[Response] = []
        server.expect_request("/v2/enqueue").respond_with_handler(self._enqueue)

    def _enqueue(self, request: Request) -> Response:
        if self.fail_next:
            return self.fail_next.pop(0)
        event = json.loads(request.data)
        errors = list(_event_errors(event, len(request.data)))
        if errors:
            invalid = {"status": "invalid event", "errors": errors}
            return _json({**invalid, "message": "Event object is invalid"}, 400)
        key = event["dedup_key"]
        if event["event_action"] == "trigger":
            self.alerts[key] = ("triggered", event["payload"])
        elif key in self.alerts:
            self.alerts[key] = ("resolved", self.alerts[key][1])
        accepted = {"status": "success", "message": "Event processed"}
        return _json({**accepted, "dedup_key": key}, 202)


def _event_errors(event: dict[str, Any], size: int) -> list[str]:
    errors = []
    if size > 512 * 1024:
        errors.append("the event is too large")
    if event.get("routing_key") != ROUTING_KEY:
        errors.append("'routing_key' is invalid")
    if event.get("event_action") not in ("trigger", "acknowledge", "resolve"):
        errors.append("'event_action' is invalid")
    if not 1 <= len(event.get("dedup_key", "")) <= 255:
        errors.append("'dedup_key' is invalid")
    if event.get("event_action") != "trigger":
        return errors
    payload = event.get("payload", {})
    if not 1 <= len(payload.get("summary", "")) <= 1024:
        errors.append("'payload.summary' is invalid")
    if not payload.get("source"):
        errors.append("'payload.source' is missing or blank")
    if payload.get("severity") not in ("critical", "error", "warning", "info"):
        errors.append("'payload.severity' is invalid")
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", payload.get("timestamp", "")):
        errors.append("'payload.timestamp' is invalid")
    return errors


class Teams:
    """A workflow's webhook: one adaptive card of version 1.4 at most, within 28 KB.

    https://adaptivecards.io/explorer/AdaptiveCard.html
    """

    def __init__(self, server: HTTPServer) -> None:
        self.cards: list[dict[str, Any]] = []
        self.url = server.url_for("/workflows/secret")
        server.expect_request("/workflows/secret").respond_with_handler(self._post)

    def _post(self, request: Request) -> Response:
        body = json.loads(request.data)
        try:
            assert len(request.data) <= 28 * 1024
            assert body["type"] == "message"
            (attachment,) = body["attachments"]
            kind = "application/vnd.microsoft.card.adaptive"
            assert attachment["contentType"] == kind
            card = attachment["content"]
            assert card["type"] == "AdaptiveCard"
            assert tuple(map(int, card["version"].split("."))) <= (1, 5)
            for element in card["body"]:
                assert element["type"] in ("TextBlock", "FactSet")
                assert element["type"] != "TextBlock" or element["text"]
        except (AssertionError, KeyError, ValueError) as error:
            return Response(repr(error), 400)
        self.cards.append(card)
        return Response(status=202)
