"""A webhook whose body a template makes: for services with an API of their own.

Templates are Jinja2's (https://jinja.palletsprojects.com), in its sandbox: they see the
post and nothing else. A name that does not exist is a fault, not an empty text. A label
that an alert lacks is empty, since streams have different tags. What a template makes
of a sample is checked when settings are loaded: a slip is found at the start and not in
the night.

A *preset* is a template with what else its service needs: whether each alert is a
request of its own, and the path of the request.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any, Final

import msgspec
from jinja2 import StrictUndefined, Template, TemplateError, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from detector.clock import Clock
from detector.errors import Permanent
from detector.events import Alert, FeatureDeviation, Partition, Reason, Severity
from detector.notify.backlog_summary import post_body
from detector.notify.message import message_of
from detector.notify.payload import AlertBody, OutgoingPost, idempotency_key
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.http import HttpClient

JSON: Final = "application/json"
_FOLDER = resources.files("detector.notify.receivers") / "presets"
_MARKDOWN = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_[]()<>#~|"})
_LARGEST = 1 << 20  # characters that a template may make


@dataclass(frozen=True, slots=True)
class BodyTemplate:
    """What a request is made of.

    Attributes:
        body: template of the body.
        path: template of what is added to the address; may be empty.
        is_for_each: whether each alert is a request of its own.
        fields: what the operator gives it beside the post.
    """

    body: str
    path: str = ""
    is_for_each: bool = False
    fields: Mapping[str, str] = field(default_factory=dict)


# The presets: all but the body, which is the file of that name.
_PRESETS: Final[Mapping[str, tuple[str, bool]]] = {
    "discord": ("", False),
    "google_chat": ("", False),
    "ntfy": ("", False),
    "opsgenie": (
        "/v2/alerts"
        "{% if state == 'resolved' and not is_summary %}/{{ thread | urlencode }}/close"
        "?identifierType=alias{% endif %}",
        True,
    ),
    "splunk_on_call": ("", True),
}
PRESETS: Final = tuple(sorted(_PRESETS))


def preset(name: str, fields: Mapping[str, str]) -> BodyTemplate:
    """The template of one of :data:`PRESETS`."""
    path, is_for_each = _PRESETS[name]
    body = (_FOLDER / f"{name}.json.j2").read_text(encoding="utf-8")
    return BodyTemplate(body, path, is_for_each, fields)


class TemplatedWebhook:
    """Posts what a template makes, one request at a time. Implements Receiver."""

    def __init__(
        self,
        address: str,
        template: BodyTemplate,
        client: HttpClient,
        context: ReceiverContext,
    ) -> None:
        """Raises ValueError if the template can't be read."""
        self._address = address
        self._context = context
        self._client = client
        self._is_for_each = template.is_for_each
        self._fields = template.fields
        self._body = _compiled(template.body)
        self._path = _compiled(template.path)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def deliver(self, post: OutgoingPost) -> None:
        """Raises Transient or Permanent."""
        for part in self._parts(post):
            seen = _visible(part, self._context, self._fields)
            try:
                content = _rendered(self._body, seen)
                path = _rendered(self._path, seen)
            except TemplateError as error:
                raise Permanent(f"the template fails: {error}") from None
            self._client.post(self._address + path, content.encode(), part.key)

    def _parts(self, post: OutgoingPost) -> Iterator[OutgoingPost]:
        if post.sums_up or not self._is_for_each:
            yield post
            return
        for alert in post.alerts:
            yield _alone(post, alert)


def check_template(template: BodyTemplate, content_type: str, clock: Clock) -> None:
    """Raises ValueError if it can't be read, or makes no JSON where it should."""
    context = ReceiverContext(external_url="http://streamwarden", clock=clock)
    for alert in _samples():
        sample = OutgoingPost("sample", "{}:{}", {}, (alert,), "key")
        seen = _visible(sample, context, template.fields)
        try:
            content = _rendered(_compiled(template.body), seen)
            _rendered(_compiled(template.path), seen)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            place = f"line {line}: " if line else ""
            raise ValueError(f"{place}{error}") from None
        if content_type == JSON:
            _check_json(content)


def _check_json(content: str) -> None:
    try:
        msgspec.json.decode(content)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"it makes no JSON ({error}): write texts with `| tojson`,"
            " or set content_type"
        ) from None


@functools.cache
def _compiled(text: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_function"] = _dumps
    environment.policies["truncate.leeway"] = 0  # limits of services are exact
    environment.filters["markdown"] = _without_markdown
    environment.filters["angles"] = _without_angles
    return environment.from_string(text)


def _without_markdown(text: str) -> str:
    """Text in which Markdown finds no link and no emphasis."""
    return text.translate(_MARKDOWN)


def _without_angles(text: str) -> str:
    """Text without the brackets that Google Chat takes for links and mentions.

    It has no escape for them, so they are replaced.
    """
    return text.replace("<", "‹").replace(">", "›")


def _dumps(value: object, **options: Any) -> str:
    """JSON, in which a name that does not exist is named."""
    return json.dumps(value, default=_refuse, **options)


def _refuse(value: object) -> object:
    """Raises TemplateError."""
    if isinstance(value, Undefined):
        return str(value)
    raise TemplateError(f"{type(value).__name__} can't be written as JSON")


def _rendered(template: Template, seen: Mapping[str, Any]) -> str:
    try:
        text = template.render(seen)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise TemplateError(f"{type(error).__name__}: {error}") from None
    if len(text) > _LARGEST:
        raise TemplateError(f"it makes more than {_LARGEST:,} characters")
    return text


def _visible(
    post: OutgoingPost, context: ReceiverContext, fields: Mapping[str, str]
) -> dict[str, Any]:
    """The names that a template sees."""
    message = message_of(post, context.labelling, context.external_url)
    body = post_body(post, context.labelling, context.external_url)
    return {
        "title": message.title,
        "state": message.state,
        "severity": message.severity.label,
        "description": message.description,
        "since": message.since,
        "members": message.members,
        "not_named": message.not_named,
        "labels": _Texts(body.commonLabels),
        "url": message.url,
        "thread": message.thread,
        "is_summary": message.is_summary,
        "fields": fields,
        "post": msgspec.to_builtins(body),
        "alerts": [_visible_alert(alert) for alert in body.alerts],
    }


def _visible_alert(alert: AlertBody) -> dict[str, Any]:
    seen: dict[str, Any] = msgspec.to_builtins(alert)
    seen["labels"] = _Texts(alert.labels)
    seen["annotations"] = _Texts(alert.annotations)
    return seen


class _Texts(dict[str, str]):
    """Labels or annotations: one that an alert lacks is an empty text."""

    def __missing__(self, _name: str) -> str:
        return ""


def _alone(post: OutgoingPost, alert: Alert) -> OutgoingPost:
    return OutgoingPost(
        receiver=post.receiver,
        group_key=post.group_key,
        group=post.group,
        alerts=(alert,),
        key=idempotency_key(alert),
    )


def _samples() -> Sequence[Alert]:
    """An incident as it begins and as it ends, with what JSON must escape."""
    deviation = FeatureDeviation('a "b" \\ \n', "", 1.0, 2.0, 1.0)
    began = Alert(
        partition=Partition("sample", 0),
        stream='host-1/a "b"',
        severity=Severity.WARNING,
        reason=Reason.FIRED,
        starts_at=1.7e9,
        ends_at=None,
        at=1.7e9,
        score=9.0,
        threshold=7.0,
        deviations=(deviation,),
        tags={"host": "host-1"},
    )
    ended = Alert(
        partition=began.partition,
        stream=began.stream,
        severity=began.severity,
        reason=Reason.RECOVERED,
        starts_at=1.7e9,
        ends_at=1.7e9 + 60,
        at=1.7e9 + 60,
        score=1.0,
        threshold=7.0,
    )
    return (began, ended)
