"""The ``slack`` kind: messages in a channel, by a bot or by an incoming webhook.

Theory of operation. A bot posts an incident's first message, and answers in its thread
as the incident gets worse, returns or ends. It also changes the first message, so that
the channel shows at a glance what is over. Which message is whose is kept in memory: of
an incident that began before a restart, what follows is a message of its own. An
incoming webhook answers no thread at all, so each of its posts is a message.

A channel takes about a message a second; more are refused with 429 and ``Retry-After``,
which :mod:`detector.notify.receivers.http` keeps.

API: https://docs.slack.dev/reference/methods/chat.postMessage, limits of texts:
https://docs.slack.dev/reference/block-kit/blocks/section-block.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, Self

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from detector.errors import Refused, Transient
from detector.notify.message import Message, cut, message_of
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import ConnectionSettings, check_address
from detector.notify.receivers.http import HttpClient

_API = "https://slack.com/api"
_MAX_TEXT = 3000  # characters of a section
_MAX_PLAIN = 150  # characters of the text that a phone shows
_THREADS = 10_000  # incidents whose first message is known
# Errors that say "later", of all that a call may answer with status 200.
_PASSING = {"ratelimited", "rate_limited", "internal_error", "service_unavailable"}
_PASSING |= {"fatal_error", "request_timeout", "team_added_to_org"}
_SIGNS = {
    "critical": ":red_circle:",
    "warning": ":large_orange_circle:",
    "resolved": ":white_check_mark:",
}


class SlackSettings(ConnectionSettings):
    """A channel of Slack: ``url`` of an incoming webhook, or ``token`` of a bot."""

    kind: Literal["slack"] = Field("slack", description="the kind of receiver")
    url: SecretStr | None = Field(
        None, description="incoming webhook; it can't answer in threads"
    )
    token: SecretStr | None = Field(
        None, description="of a bot with the scope chat:write, `xoxb-…`"
    )
    channel: str = Field(
        "", max_length=80, description="the bot's channel: its id, or `#name`"
    )
    api: str = Field(_API, description="base address of Slack's web API")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr | None) -> SecretStr | None:
        return None if url is None else check_address(url)

    @field_validator("api")
    @classmethod
    def _check_api(cls, api: str) -> str:
        check_address(SecretStr(api))
        return api.rstrip("/")

    @model_validator(mode="after")
    def _check_way(self) -> Self:
        if (self.url is None) == (self.token is None):
            raise ValueError("give url of an incoming webhook, or token of a bot")
        if self.token is not None and not self.channel:
            raise ValueError("channel is missing: a bot must know where it posts")
        return self

    @property
    def addresses(self) -> Sequence[str]:
        return (self.api if self.url is None else self.url.get_secret_value(),)

    def receiver(self, context: ReceiverContext) -> SlackWebhook | SlackBot:
        """Raises ConfigError if a TLS file cannot be used."""
        return (
            SlackWebhook(self, context)
            if self.token is None
            else SlackBot(self, context)
        )


class SlackWebhook:
    """Posts to an incoming webhook. Implements Receiver."""

    def __init__(self, settings: SlackSettings, context: ReceiverContext) -> None:
        self._address = settings.addresses[0]
        self._context = context
        self._client = HttpClient(settings, context.clock)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        message = message_of(post, self._context.labelling, self._context.external_url)
        self._client.post(
            self._address, msgspec.json.encode(content(message)), post.key
        )


class SlackBot:
    """Posts as a bot, a thread for each incident. Implements Receiver."""

    def __init__(self, settings: SlackSettings, context: ReceiverContext) -> None:
        token = "" if settings.token is None else settings.token.get_secret_value()
        headers = {"Authorization": f"Bearer {token}"}
        self._api = settings.api
        self._channel = settings.channel
        self._context = context
        self._client = HttpClient(settings, context.clock, headers)
        # thread of a message -> where its first message is: (channel's id, timestamp)
        self._first: OrderedDict[str, tuple[str, str]] = OrderedDict()

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        message = message_of(post, self._context.labelling, self._context.external_url)
        first = self._first.get(message.thread)
        if first is None:
            self._begin(message, post.key)
        else:
            self._go_on(message, first, post.key)

    def _begin(self, message: Message, key: str) -> None:
        answer = self._call(
            "chat.postMessage",
            {"channel": self._channel, **content(message)},
            key,
        )
        channel, ts = str(answer.get("channel", "")), str(answer.get("ts", ""))
        if channel and ts:
            self._first[message.thread] = (channel, ts)
            if len(self._first) > _THREADS:
                self._first.popitem(last=False)

    def _go_on(self, message: Message, first: tuple[str, str], key: str) -> None:
        """Change the first message if that can be; then answer, which is done once."""
        channel, ts = first
        changed = {"channel": channel, "ts": ts, **content(message)}
        # somebody may have deleted it, or a workspace lets nobody edit old messages
        with contextlib.suppress(Refused):
            self._call("chat.update", changed, f"{key}-update")
        answer = {"channel": channel, "thread_ts": ts, **content(message)}
        self._call("chat.postMessage", answer, key)
        if not message.is_firing:
            del self._first[message.thread]

    def _call(self, method: str, sent: dict[str, Any], key: str) -> dict[str, Any]:
        """Raises Transient or Permanent, also for an error with status 200."""
        address = f"{self._api}/{method}"
        body = self._client.post(address, msgspec.json.encode(sent), key)
        try:
            answer = msgspec.json.decode(body, type=dict[str, Any])
        except msgspec.DecodeError:
            raise Transient(f"{method} answered what is no JSON") from None
        if answer.get("ok"):
            return answer
        error = cut(str(answer.get("error", "no reason")), 80)
        if error in _PASSING:
            raise Transient(f"{method}: {error}")
        raise Refused(f"{method} refused it: {error}")


def content(message: Message) -> dict[str, Any]:
    """Text and blocks of a message."""
    sign = _SIGNS[message.state]
    title = f"{sign} *{_escaped(message.title)}*"
    blocks = [_section(title)]
    if message.members:
        lines = [f"• {_escaped(line)}" for line in message.members]
        if message.not_named:
            lines.append(f"and {message.not_named:,} more")
        blocks.append(_section("\n".join(lines)))
    else:
        blocks.append(_section(_escaped(message.description)))
    blocks.append(_context(message))
    plain = f"[{message.state}] {message.title}"
    return {
        "text": _escaped(cut(plain, _MAX_PLAIN)),
        "blocks": blocks,
        "unfurl_links": False,
    }


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _markdown(text)}


def _context(message: Message) -> dict[str, Any]:
    parts = [f"{message.state} since {message.since}"]
    if not message.is_firing:
        parts = [f"resolved, began {message.since}"]
    parts += [f"{name} {value}" for name, value in message.labels.items()]
    text = _escaped(" · ".join(parts))
    if message.url:
        text += f" · <{_escaped(message.url)}|open>"
    return {"type": "context", "elements": [_markdown(text)]}


def _markdown(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": cut(text, _MAX_TEXT), "verbatim": True}


def _escaped(text: str) -> str:
    """The three characters that Slack's markup takes for its own.

    https://docs.slack.dev/messaging/formatting-message-text#escaping
    """
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
