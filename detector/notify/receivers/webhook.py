"""The ``webhook`` kind: Alertmanager's webhook body, version 4, at one address.

With a template or a preset the body is that of another API
(:mod:`detector.notify.receivers.templated`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, Self

import msgspec
from pydantic import Field, SecretStr, field_validator, model_validator

from detector.clock import SystemClock
from detector.notify.backlog_summary import post_body
from detector.notify.payload import OutgoingPost
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import check_address
from detector.notify.receivers.http_settings import HttpSettings
from detector.notify.receivers.templated import (
    PRESETS,
    BodyTemplate,
    TemplatedWebhook,
    check_template,
    preset,
)


class WebhookSettings(HttpSettings):
    """A receiver that understands Alertmanager's webhook body."""

    kind: Literal["webhook"] = Field("webhook", description="the kind of receiver")
    url: SecretStr = Field(description="http:// or https:// address")
    preset: str = Field(
        "",
        description="body of a service with an API of its own: "
        "discord, google_chat, ntfy, opsgenie, splunk_on_call",
    )
    template: str = Field("", description="body as a Jinja2 template")
    template_file: Path | None = Field(None, description="file of such a template")
    fields: Mapping[str, str] = Field(
        {}, description="texts that a template sees as `fields`; ntfy needs `topic`"
    )
    content_type: str = Field(
        "application/json",
        pattern=r"^[!-~]+/[ -~]+$",
        description="Content-Type of what a template makes",
    )

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: SecretStr) -> SecretStr:
        return check_address(url)

    @model_validator(mode="after")
    def _check_body(self) -> Self:
        given = [self.preset, self.template, self.template_file]
        if sum(map(bool, given)) > 1:
            raise ValueError("give one of preset, template and template_file")
        template = self.body_template()
        if template is not None:
            try:
                check_template(template, self.content_type, SystemClock())
            except ValueError as error:
                raise ValueError(f"template: {error}") from None
        return self

    def body_template(self) -> BodyTemplate | None:
        """None: the body is Alertmanager's. Raises ValueError."""
        if self.preset:
            if self.preset not in PRESETS:
                there_are = ", ".join(PRESETS)
                raise ValueError(
                    f"preset: there is no {self.preset}; one of {there_are}"
                )
            return preset(self.preset, self.fields)
        text = self.template
        if self.template_file is not None:
            text = _read(self.template_file)
        return BodyTemplate(text, fields=self.fields) if text else None

    @property
    def addresses(self) -> Sequence[str]:
        return (self.url.get_secret_value(),)

    def receiver(self, context: ReceiverContext) -> Webhook | TemplatedWebhook:
        """Raises ConfigError if a TLS file cannot be used."""
        template = self.body_template()
        if template is None:
            return Webhook(self, context)
        client = self.client(context.clock, self.content_type)
        return TemplatedWebhook(self.addresses[0], template, client, context)


def _read(file: Path) -> str:
    """Raises ValueError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(f"template_file: {file} can't be read ({cause})") from None


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
