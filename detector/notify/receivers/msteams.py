"""The ``msteams`` kind: adaptive cards in a channel of Microsoft Teams, by a workflow.

A workflow's webhook takes a message with one adaptive card and answers 202. It gives no
name of the message back, so each post is a card of its own; its title says whether the
incident goes on or is over. A message holds at most 28 KB, so long texts are cut.

Format: https://learn.microsoft.com/power-automate/teams/send-a-message-in-teams and
https://adaptivecards.io/explorer/AdaptiveCard.html, version 1.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from detector.notify.message import Message, cut, message_of
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import ConnectionSettings, check_address
from detector.notify.receivers.http import HttpClient

#: Bytes of a message at most.
LARGEST: Final = 28 * 1024
# Characters of each text at most, from the first that makes a message short enough. A
# character takes up to four bytes, or six if JSON escapes it.
_LONGEST = (1000, 500, 200, 100, 50)
_COLOURS = {"critical": "attention", "warning": "warning", "resolved": "good"}
_SCHEMA = "http://adaptivecards.io/schemas/adaptive-card.json"
_CARD = "application/vnd.microsoft.card.adaptive"
# What Teams reads as markup; a backslash before it makes it text.
_MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]<>#~|"})


class TeamsSettings(ConnectionSettings):
    """A channel of Microsoft Teams, by a workflow that a webhook starts."""

    kind: Literal["msteams"] = Field("msteams", description="the kind of receiver")
    url: SecretStr = Field(description="the workflow's address")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        return check_address(url)

    @property
    def addresses(self) -> Sequence[str]:
        return (self.url.get_secret_value(),)

    def receiver(self, context: ReceiverContext) -> Teams:
        """Raises ConfigError if a TLS file cannot be used."""
        return Teams(self, context)


class Teams:
    """Posts cards to one workflow. Implements Receiver."""

    def __init__(self, settings: TeamsSettings, context: ReceiverContext) -> None:
        self._address = settings.url.get_secret_value()
        self._context = context
        self._client = HttpClient(settings, context.clock)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        message = message_of(post, self._context.labelling, self._context.external_url)
        self._client.post(self._address, encoded(message), post.key)


def encoded(message: Message) -> bytes:
    """A message with one card, as JSON of at most :data:`LARGEST` bytes."""
    made = [msgspec.json.encode(content(message, longest)) for longest in _LONGEST]
    return next((each for each in made if len(each) <= LARGEST), made[-1])


def content(message: Message, longest: int) -> dict[str, Any]:
    """The same, with texts of at most ``longest`` characters."""
    card: dict[str, Any] = {
        "$schema": _SCHEMA,
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": list(_body(message, longest)),
        "msteams": {"width": "Full"},
    }
    if message.url:
        link = {"type": "Action.OpenUrl", "title": "Open", "url": message.url}
        card["actions"] = [link]
    attachment = {"contentType": _CARD, "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _body(message: Message, longest: int) -> Iterator[dict[str, Any]]:
    title = f"{message.state.upper()}: {_escaped(cut(message.title, longest))}"
    yield _text(title) | {
        "weight": "bolder",
        "size": "medium",
        "color": _COLOURS[message.state],
    }
    for line in message.members:
        yield _text(f"- {_escaped(cut(line, longest))}")
    if message.not_named:
        yield _text(f"and {message.not_named:,} more")
    if not message.members:
        yield _text(_escaped(cut(message.description, longest)))
    facts = [{"title": "since", "value": message.since}]
    facts += [
        {"title": cut(name, longest), "value": _escaped(cut(value, longest))}
        for name, value in message.labels.items()
    ]
    yield {"type": "FactSet", "facts": facts}


def _text(text: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": text, "wrap": True}


def _escaped(text: str) -> str:
    return text.translate(_MARKUP)
