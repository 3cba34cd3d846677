"""The ``webhook`` kind: Alertmanager's webhook body, version 4, at one address."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
from pydantic import Field, SecretStr, field_validator

from detector.notify.backlog_summary import post_body
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import check_address
from detector.notify.receivers.http_settings import HttpSettings


class WebhookSettings(HttpSettings):
    """A receiver that understands Alertmanager's webhook body."""

    kind: Literal["webhook"] = Field("webhook", description="the kind of receiver")
    url: SecretStr = Field(description="http:// or https:// address")

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        return check_address(url)

    @property
    def addresses(self) -> Sequence[str]:
        return (self.url.get_secret_value(),)

    def receiver(self, context: ReceiverContext) -> Webhook:
        """Raises ConfigError if a TLS file cannot be used."""
        return Webhook(self, context)


class Webhook:
    """Posts to one receiver, one post at a time. Implements Receiver."""

    def __init__(self, settings: WebhookSettings, context: ReceiverContext) -> None:
        self._address = settings.url.get_secret_value()
        self._context = context
        self._client = settings.client(context.clock)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        context = self._context
        whole = post_body(post, context.labelling, context.external_url)
        self._client.post(self._address, msgspec.json.encode(whole), post.key)
