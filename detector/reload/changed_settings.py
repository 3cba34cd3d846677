"""Which settings a running daemon can change, and which need a restart.

A setting that is not listed here needs a restart: where records come from, where states
are kept, which receivers there are, where the page listens. A change of one of them is
refused with its name, and never ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import BaseModel

from detector.compose import own_topics
from detector.kafka.settings import KafkaSettings
from detector.kafka.subscription import Subscription
from detector.phrases import listed
from detector.settings.load import PREFIX, Settings

_NAMED: Final = 5  # settings that a sentence names

#: By room: what is in force from the next poll on.
RELOADABLE: Final[Mapping[str, frozenset[str]]] = {
    "kafka": frozenset(
        {
            "format",
            "topic_settings",
            "schema_registry",
            "future_seconds",
            "lateness_seconds",
            "earliest",
            "max_poll_records",
            "max_record_bytes",
        }
    ),
    "model": frozenset(
        {
            "bundle",
            "shadow",
            "max_streams",
            "evict_after",
            "max_newcomers",
            "expire_after",
            "timezone",
            "timezones",
        }
    ),
    "alerting": frozenset(
        {
            "false_alarms_per_week",
            "false_alarms_per_week_total",
            "fleet_streams",
            "hysteresis",
            "breaching_steps",
            "clearing_steps",
            "cooldown_ticks",
            "min_hours_between_incidents",
            "max_incident_hours",
            "min_relative_deviation",
            "rules",
            "receivers",
            "routes",
            "repeat_interval",
            "retry_first",
            "retry_max",
            "retry_refusals",
            "webhook_url",
            "webhook_secret",
            "webhook_bearer_token",
            "webhook_user",
            "webhook_password",
            "webhook_headers",
            "webhook_tls_ca",
            "webhook_tls_certificate",
            "webhook_tls_key",
            "webhook_tls_verify",
            "webhook_timeout",
        }
    ),
    "recovery": frozenset({"interval"}),
    "log": frozenset({"format", "level"}),
}


def changed(before: Settings, after: Settings) -> list[str]:
    """The settings that differ, as variables of the environment."""
    return [_variable(room, name) for room, name in _differences(before, after)]


def need_restart(before: Settings, after: Settings) -> list[str]:
    """Those of them that a running daemon can't change."""
    names = [
        _variable(room, name)
        for room, name in _differences(before, after)
        if name not in RELOADABLE.get(room, frozenset())
    ]
    if _receivers(before) != _receivers(after):
        names.append("the names of the receivers")
    if _skips(before.kafka) != _skips(after.kafka):
        names.append("skip_unreadable of [[kafka.topics]]")
    if _left_out(before) != _left_out(after):
        names.append("the topics of receivers that the ^regex of topics matches")
    return names


def restart_sentence(names: list[str]) -> str:
    """What to do about settings that need a restart."""
    verb = "needs" if len(names) == 1 else "need"
    return (
        f"{listed(names, _NAMED)}: changed, and {verb} a restart. Nothing is changed:"
        " restart the daemon, or set it back and reload"
    )


def _differences(before: Settings, after: Settings) -> Iterator[tuple[str, str]]:
    for room in Settings.model_fields:
        one = getattr(before, room)
        other = getattr(after, room)
        if one == other:
            continue
        if not isinstance(one, BaseModel):
            yield room, ""
            continue
        for name in type(one).model_fields:
            if getattr(one, name) != getattr(other, name):
                yield room, name


def _variable(room: str, name: str) -> str:
    variable = f"{PREFIX}{room.upper()}"
    return f"{variable}__{name.upper()}" if name else variable


def _receivers(settings: Settings) -> set[str]:
    """Each has a queue of its own, which may hold notifications."""
    return {receiver.name for receiver in settings.alerting.destinations()}


def _left_out(settings: Settings) -> set[str]:
    """What the source never reads, by what it was made with."""
    topics = settings.kafka.topics
    if not topics:
        return set()
    return set(Subscription(topics, own_topics(settings)).left_out)


def _skips(kafka: KafkaSettings) -> dict[str, bool]:
    """What the source takes from the tables of topics."""
    return {
        str(how.name or how.pattern): how.skip_unreadable
        for how in kafka.topic_settings
        if how.skip_unreadable is not None
    }
