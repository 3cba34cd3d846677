"""The slack kind: a thread for each incident, and Slack's own limits and errors."""

from __future__ import annotations

import json

import pytest
from pydantic import SecretStr, ValidationError
from pytest_httpserver import HTTPServer
from werkzeug import Response

from detector.errors import Permanent, Refused, Transient
from detector.notify.labels import Labelling
from detector.notify.receiver import Receiver, ReceiverContext
from detector.notify.receivers.slack import SlackSettings
from tests.fakes import FakeClock
from tests.unit.detector.notify.receivers.posts import (
    ENDED,
    FIRED,
    HOSTILE,
    WORSE,
    backlog,
    post,
    storm,
)
from tests.unit.detector.notify.receivers.services import TOKEN, Slack

CONTEXT = ReceiverContext(Labelling(), "http://us", FakeClock())
TITLE = "web-1: requests per second dropped to 0, expected about 120"


@pytest.fixture
def slack(httpserver: HTTPServer) -> Slack:
    return Slack(httpserver)


def bot(slack: Slack, token: str = TOKEN, channel: str = "#alerts") -> Receiver:
    settings = SlackSettings(
        name="chat", token=SecretStr(token), channel=channel, api=slack.api
    )
    return settings.receiver(CONTEXT)


def test_an_incident_is_one_message_with_what_follows_in_its_thread(
    slack: Slack,
) -> None:
    receiver = bot(slack)
    receiver.deliver(post(FIRED))
    ((first, text),) = slack.messages.items()
    assert text == f"[warning] {TITLE}"
    receiver.deliver(post(WORSE))
    assert slack.messages == {first: f"[critical] {TITLE}"}
    receiver.deliver(post(ENDED))
    assert slack.messages[first].startswith("[resolved] web-1: requests per second")
    assert [text.split()[0] for text in slack.replies[first]] == [
        "[critical]",
        "[resolved]",
    ]


def test_the_next_incident_of_a_stream_is_a_message_of_its_own(slack: Slack) -> None:
    receiver = bot(slack)
    for alert in (FIRED, ENDED, FIRED):
        receiver.deliver(post(alert))
    assert len(slack.messages) == 2


def test_an_end_whose_beginning_is_not_known_is_a_message(slack: Slack) -> None:
    bot(slack).deliver(post(ENDED))
    (text,) = slack.messages.values()
    assert text.startswith("[resolved]")


def test_a_retry_after_a_fault_answers_once(slack: Slack) -> None:
    receiver = bot(slack)
    receiver.deliver(post(FIRED))
    changed = Response('{"ok": true, "channel": "C1", "ts": "1"}')
    slack.fail_next = [changed, Response("", 503)]
    with pytest.raises(Transient):
        receiver.deliver(post(WORSE))
    receiver.deliver(post(WORSE))
    assert [len(texts) for texts in slack.replies.values()] == [1]


@pytest.mark.parametrize("error", ["edit_window_closed", "message_not_found"])
def test_a_message_that_cannot_be_changed_keeps_no_end_back(
    slack: Slack, error: str
) -> None:
    receiver = bot(slack)
    receiver.deliver(post(FIRED))
    slack.fail_next = [Response(json.dumps({"ok": False, "error": error}))]
    receiver.deliver(post(ENDED))
    (texts,) = slack.replies.values()
    assert [text.split()[0] for text in texts] == ["[resolved]"]


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Response('{"ok": false, "error": "ratelimited"}'), Transient),
        (Response('{"ok": false, "error": "internal_error"}'), Transient),
        (Response("<html>", 200), Transient),
        (Response('{"ok": false, "error": "is_archived"}'), Refused),
        (Response("[1]"), Transient),
    ],
)
def test_an_error_with_status_200_is_an_error(
    slack: Slack, answer: Response, fault: type[Exception]
) -> None:
    slack.fail_next = [answer]
    with pytest.raises(fault):
        bot(slack).deliver(post(FIRED))
    assert not slack.messages


def test_too_many_posts_wait_as_long_as_slack_asks(slack: Slack) -> None:
    slack.fail_next = [Response("", 429, headers={"Retry-After": "7"})]
    with pytest.raises(Transient) as fault:
        bot(slack).deliver(post(FIRED))
    assert fault.value.retry_after == 7


@pytest.mark.parametrize("way", ["token", "channel"])
def test_what_is_wrong_is_said_without_the_token(slack: Slack, way: str) -> None:
    wrong = {"token": "xoxb-wrong", "channel": "#nowhere"}[way]
    with pytest.raises(Permanent) as fault:
        bot(slack, **{way: wrong}).deliver(post(FIRED))
    assert str(fault.value) in (
        "chat.postMessage refused it: invalid_auth",
        "chat.postMessage refused it: channel_not_found",
    )


def test_a_webhook_gets_each_post_as_a_message(slack: Slack) -> None:
    receiver = SlackSettings(name="chat", url=SecretStr(slack.hook)).receiver(CONTEXT)
    for alert in (FIRED, ENDED):
        receiver.deliver(post(alert))
    assert [text.split()[0] for text in slack.hooked] == ["[warning]", "[resolved]"]


def test_markup_of_a_record_is_text_and_no_text_is_too_long(
    slack: Slack, httpserver: HTTPServer
) -> None:
    bot(slack).deliver(post(HOSTILE))
    bot(slack).deliver(storm(500))
    assert len(slack.messages) == 2
    hostile = json.loads(httpserver.log[0][0].data)
    assert "<!channel>" not in json.dumps(hostile)
    assert "and 490 more" in json.dumps(json.loads(httpserver.log[1][0].data))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "give url of an incoming webhook, or token of a bot"),
        ({"token": "t", "url": "http://h"}, "give url of an incoming webhook"),
        ({"token": "t"}, "channel is missing"),
        ({"url": "hooks.slack.com"}, "not a http:// or https:// address"),
    ],
)
def test_settings_that_say_no_place_are_refused(
    given: dict[str, str], fault: str
) -> None:
    with pytest.raises(ValidationError, match=fault):
        SlackSettings.model_validate({"name": "chat", **given})


def test_the_summary_of_a_backlog_is_one_message(slack: Slack) -> None:
    bot(slack).deliver(backlog())
    (text,) = slack.messages.values()
    assert text.startswith("[resolved] While records waited, 2 streams had 3 incidents")
