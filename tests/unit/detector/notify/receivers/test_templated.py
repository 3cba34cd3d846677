"""Webhooks with a template: another API's body, and a slip that shows at the start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.templated import PRESETS
from detector.notify.receivers.webhook import WebhookSettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    HOSTILE,
    WORSE,
    post,
    storm,
)

CONTEXT = ReceiverContext(external_url="http://us", clock=FakeClock())


class Sink:
    """Keeps path and body of each request."""

    def __init__(self, server: HTTPServer) -> None:
        self.requests: list[tuple[str, Any, str]] = []
        self.url = server.url_for("")
        server.expect_request(re.compile("/.*")).respond_with_handler(self._keep)

    def _keep(self, request: Request) -> Response:
        path = request.full_path.rstrip("?")
        body = json.loads(request.data) if request.is_json else request.data.decode()
        self.requests.append((path, body, request.headers["Content-Type"]))
        return Response(status=202)


@pytest.fixture
def sink(httpserver: HTTPServer) -> Sink:
    return Sink(httpserver)


def settings(sink: Sink | None = None, **given: object) -> WebhookSettings:
    url = "http://h" if sink is None else sink.url
    return WebhookSettings.model_validate({"name": "h", "url": url, **given})


def deliver(made: WebhookSettings, *posts: Any) -> None:
    receiver = made.receiver(CONTEXT)
    for each in posts:
        receiver.deliver(each)
    receiver.close()


def test_a_template_makes_the_body_from_what_an_alert_says(sink: Sink) -> None:
    text = '{"text": {{ title | tojson }}, "how": {{ state | tojson }}}'
    deliver(settings(sink, template=text), post(FIRED), post(ENDED))
    bodies = [body for _, body, _ in sink.requests]
    assert bodies[0] == {
        "text": "web-1: requests per second dropped to 0, expected about 120",
        "how": "warning",
    }
    assert bodies[1]["how"] == "resolved"


def test_a_template_may_make_anything_in_a_type_of_its_own(
    sink: Sink, tmp_path: Path
) -> None:
    file = tmp_path / "body.j2"
    file.write_text("{% for a in alerts %}{{ a.labels.host }};{% endfor %}")
    made = settings(sink, template_file=str(file), content_type="text/plain")
    deliver(made, storm(3))
    assert sink.requests == [("/", "web-1;web-1;web-1;", "text/plain")]


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_makes_json_of_any_post(sink: Sink, name: str) -> None:
    made = settings(sink, preset=name)
    deliver(made, post(FIRED), post(WORSE), post(ENDED), post(HOSTILE), storm(40))
    assert len(sink.requests) >= 5


def test_opsgenie_opens_and_closes_one_alert_for_each_incident(sink: Sink) -> None:
    deliver(settings(sink, preset="opsgenie"), post(FIRED), post(WORSE), post(ENDED))
    (opened, worse, closed) = sink.requests
    alias = opened[1]["alias"]
    assert (opened[0], opened[1]["priority"]) == ("/v2/alerts", "P3")
    assert (worse[1]["alias"], worse[1]["priority"]) == (alias, "P1")
    assert closed[0] == f"/v2/alerts/{alias}/close?identifierType=alias"
    deliver(settings(sink, preset="opsgenie"), storm(3))
    aliases = {body["alias"] for _, body, _ in sink.requests[3:]}
    assert len(aliases) == 3
    longest = max(len(body.get("message", "")) for _, body, _ in sink.requests)
    assert longest <= 130


def test_splunk_on_call_gets_the_state_as_its_type(sink: Sink) -> None:
    made = settings(sink, preset="splunk_on_call")
    deliver(made, post(FIRED), post(WORSE), post(ENDED))
    kinds = [body["message_type"] for _, body, _ in sink.requests]
    assert kinds == ["WARNING", "CRITICAL", "RECOVERY"]
    assert len({body["entity_id"] for _, body, _ in sink.requests}) == 1


def test_discord_mentions_nobody_whatever_a_name_says(sink: Sink) -> None:
    deliver(settings(sink, preset="discord"), post(HOSTILE))
    ((_, body, _),) = sink.requests
    assert body["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"template": "{{ titel | tojson }}"}, "'titel' is undefined"),
        ({"template": "{% if %}"}, "template: line 1"),
        ({"template": '{"text": "{{ title }}"}'}, "it makes no JSON"),
        ({"template": "{{ ''.__class__.__mro__ }}"}, "unsafe"),
        (
            {"template": "{{ 'x' * 9999999 }}", "content_type": "text/plain"},
            "more than",
        ),
        ({"template_file": "/no/file"}, "template_file: /no/file can't be read"),
        ({"preset": "pigeon"}, "there is no pigeon; one of discord"),
        ({"preset": "ntfy", "template": "1"}, "give one of preset"),
    ],
)
def test_a_template_that_cannot_work_is_refused_at_the_start(
    given: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        settings(**given)
