"""The kinds of receivers, as a union that ``kind`` selects from.

A further kind is one new module with its settings and its receiver, one more member of
:data:`ReceiverSettings`, and one line of the table in docs/alerts.md.

Pydantic's own discriminator needs ``kind`` in every table, and puts the kind into the
place of every fault. Here ``kind`` may be absent, and a fault's place is what the
operator wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator

from detector.notify.receivers.alertmanager import AlertmanagerSettings
from detector.notify.receivers.email import EmailSettings
from detector.notify.receivers.kafka import KafkaReceiverSettings
from detector.notify.receivers.msteams import TeamsSettings
from detector.notify.receivers.pagerduty import PagerDutySettings
from detector.notify.receivers.slack import SlackSettings
from detector.notify.receivers.webhook import WebhookSettings

Kinds = (
    WebhookSettings
    | AlertmanagerSettings
    | SlackSettings
    | PagerDutySettings
    | TeamsSettings
    | EmailSettings
    | KafkaReceiverSettings
)
BY_KIND = {model.model_fields["kind"].default: model for model in get_args(Kinds)}
DEFAULT_KIND = "webhook"


def _of_its_kind(given: Any) -> Any:
    """Validated by the settings of its kind. Raises ValueError."""
    if not isinstance(given, Mapping):
        return given
    kind = given.get("kind", DEFAULT_KIND)
    model = BY_KIND.get(kind)
    if model is None:
        raise ValueError(f"kind: there is no {kind!r}; one of {', '.join(BY_KIND)}")
    return model.model_validate(given)


ReceiverSettings = Annotated[Kinds, BeforeValidator(_of_its_kind)]
