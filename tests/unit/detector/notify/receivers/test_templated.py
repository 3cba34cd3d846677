"""Webhooks with a template: another API's body, and a slip that shows at the start."""

from __future__ import annotations

import json
import re
from dataclasses import replace
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


# What each service takes at most, as its documents say: characters of a field.
LIMITS = {
    "discord": {"title": 256, "description": 4096},
    "google_chat": {"text": 4096},
    "ntfy": {"title": 250, "message": 4096},
    "opsgenie": {"message": 130, "alias": 512, "description": 15_000, "entity": 512},
    "splunk_on_call": {"entity_id": 512, "state_message": 20_480},
}


def fields_of(body: Any) -> dict[str, Any]:
    """The fields that have limits; Discord puts them into an embed."""
    embeds = body.get("embeds")
    return dict(embeds[0] if embeds else body)


@pytest.mark.parametrize("name", PRESETS)
def test_each_preset_stays_within_the_limits_of_its_service(
    sink: Sink, name: str
) -> None:
    made = settings(sink, preset=name, fields={"topic": "t"})
    letters = ("x", "*", "\u6f22", '"')
    long = [
        replace(FIRED, stream=letter * length)
        for letter in letters
        for length in (80, 125, 131, 136, 245, 257, 262, 600, 1024)
    ]
    deliver(made, *map(post, long), post(WORSE), post(ENDED), post(HOSTILE), storm(40))
    assert len(sink.requests) >= len(long) + 4
    for _, body, _ in sink.requests:
        found = fields_of(body)
        for field, limit in LIMITS[name].items():
            assert len(found.get(field, "")) <= limit


def test_the_markup_of_a_chat_is_text() -> None:
    hostile = replace(FIRED, stream="<users/all> <http://e|log in> [a](http://e)")
    with HTTPServer() as server:
        sink = Sink(server)
        deliver(settings(sink, preset="google_chat"), post(hostile))
        deliver(settings(sink, preset="discord"), post(hostile))
    (_, google, _), (_, discord, _) = sink.requests
    assert "<" not in google["text"]
    assert "[a](" not in json.dumps(discord["embeds"]).replace("\\\\", "\\")


def test_a_backlog_reaches_people_as_something_new(sink: Sink) -> None:
    ended = replace(ENDED, repeats_since=ENDED.starts_at)
    summary = replace(post(ended), sums_up=True)
    deliver(settings(sink, preset="opsgenie"), summary)
    deliver(settings(sink, preset="splunk_on_call"), summary)
    (path, opsgenie, _), (_, splunk, _) = sink.requests
    assert (path, opsgenie["priority"]) == ("/v2/alerts", "P5")
    assert splunk["message_type"] == "INFO"


def test_a_preset_says_what_else_it_needs() -> None:
    with pytest.raises(ValidationError, match="no attribute 'topic'"):
        settings(preset="ntfy")


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
