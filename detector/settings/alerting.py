"""Settings of alerting: ``DETECTOR_ALERTING__…``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from detector.alerting.policy import AlertTuning
from detector.alerting.rules import Rules
from detector.errors import ConfigError
from detector.notify.delivery import RetryPolicy
from detector.notify.labels import OWN_LABELS, Labelling
from detector.notify.payload import RECEIVER
from detector.notify.receivers.connection import check_address
from detector.notify.receivers.settings import ReceiverSettings
from detector.notify.receivers.webhook import WebhookSettings
from detector.notify.routes import Route, Routing
from detector.notify.settings import RouteSettings, check_routes
from detector.setting_types import compiled
from detector.settings.plain_words import message
from detector.settings.rules import RuleSettings
from detector.timestamps import HOUR

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DEFAULT = AlertTuning()

# False alarms a stream-week. A stream that alerts once a minute raises as many.
_LARGEST_BUDGET = 10_000
_TOTAL = "DETECTOR_ALERTING__FALSE_ALARMS_PER_WEEK_TOTAL"
_STREAMS = "DETECTOR_ALERTING__FLEET_STREAMS"


class AlertingSettings(BaseModel):
    """When an incident begins and ends, and where notifications go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: SecretStr | None = Field(
        None, description="address of a receiver; none: alerts are only logged"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="key of the HMAC-SHA256 signature"
    )
    webhook_signature: Literal["streamwarden", "standard"] = Field(
        "streamwarden",
        description="headers of the signature; standard: those of Standard Webhooks",
    )
    webhook_bearer_token: SecretStr | None = Field(
        None, description="sent as Authorization: Bearer"
    )
    webhook_user: str | None = Field(None, description="user of basic authorisation")
    webhook_password: SecretStr | None = Field(
        None, description="password of basic authorisation"
    )
    webhook_headers: Mapping[str, SecretStr] = Field(
        {}, description="further headers of each post; in the environment a JSON object"
    )
    webhook_tls_ca: Path | None = Field(
        None, description="certificates to trust, PEM; by default the system's"
    )
    webhook_tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    webhook_tls_key: Path | None = Field(None, description="its private key, PEM")
    webhook_tls_verify: bool = Field(
        True, description="whether to verify the receiver's name"
    )
    webhook_timeout: float = Field(
        10.0, gt=0, description="seconds to wait for a connection and for an answer"
    )
    receivers: tuple[ReceiverSettings, ...] = Field(
        (), description="receivers, in the TOML file: [[alerting.receivers]]"
    )
    routes: tuple[RouteSettings, ...] = Field(
        (), description="who gets which alerts, in the TOML file: [[alerting.routes]]"
    )
    labels: Mapping[str, str] = Field({}, description="labels that every alert has")
    stream_labels: str = Field(
        "",
        description="regular expression for a stream's whole name; "
        "its named groups are labels",
    )
    repeat_interval: float = Field(
        0.0,
        ge=0,
        description="seconds after which a firing alert is posted again, "
        "if there are no routes; 0: never",
    )
    queue_in_memory: int = Field(
        10_000,
        ge=100,
        description="notifications in memory for each receiver; more spill to the store",
    )
    retry_first: float = Field(
        0.5, gt=0, description="seconds before the first retry; doubles"
    )
    retry_max: float = Field(
        60.0, gt=0, description="longest pause between retries in seconds"
    )
    retry_refusals: float = Field(
        3600.0,
        ge=0,
        allow_inf_nan=False,
        description="seconds for which what a receiver refuses (3xx, 4xx) is tried"
        " again before it is dead-lettered",
    )
    backlog_after: float = Field(
        HOUR,
        ge=0,
        allow_inf_nan=False,
        description="seconds; incidents of records that waited for longer before the"
        " daemon came back are told in one notification. Those that are still open are"
        " told by themselves",
    )
    false_alarms_per_week: float = Field(
        _DEFAULT.false_alarms_per_week,
        gt=0,
        le=_LARGEST_BUDGET,
        allow_inf_nan=False,
        description="budget for each stream",
    )
    false_alarms_per_week_total: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="budget for the whole fleet, instead of false_alarms_per_week; "
        "each stream gets an equal share",
    )
    fleet_streams: int | None = Field(
        None,
        ge=1,
        description="streams of the whole fleet, on all members, that share the total; "
        "`replay` prints how many its data has",
    )
    hysteresis: float = Field(
        _DEFAULT.hysteresis,
        ge=0,
        description="how far under the threshold the score must fall to clear",
    )
    breaching_steps: int = Field(
        _DEFAULT.breach_steps,
        ge=1,
        le=1000,
        description="points in a row over the threshold until an incident begins",
    )
    clearing_steps: int = Field(
        _DEFAULT.clear_steps,
        ge=1,
        le=1000,
        description="points in a row under the clearing threshold until it ends",
    )
    cooldown_ticks: float = Field(
        _DEFAULT.cooldown_ticks,
        ge=0,
        description="tick intervals after an incident in which a score near the "
        "threshold begins no new one",
    )
    min_hours_between_incidents: float = Field(
        _DEFAULT.min_gap / HOUR,
        ge=0,
        description="minimum gap between a stream's incidents, from 48 to 144 ticks; "
        "a score far over the threshold does not wait",
    )
    max_incident_hours: float = Field(
        _DEFAULT.max_incident / HOUR,
        gt=0,
        description="maximum length of an incident; "
        "one that lasts longer is no longer reported",
    )
    min_relative_deviation: float = Field(
        _DEFAULT.min_relative_deviation,
        ge=0,
        lt=1,
        description="smallest difference of a value from the expected one that begins "
        "an incident, as a share of the larger of the two; 0: any",
    )
    rules: tuple[RuleSettings, ...] = Field(
        (), description="rules, in the TOML file: [[alerting.rules]]"
    )
    external_url: str = Field(
        "", description="this daemon's address as people reach it, for links in alerts"
    )

    @field_validator("webhook_url")
    @classmethod
    def _check_webhook_url(cls, url: SecretStr | None) -> SecretStr | None:
        return check_address(url) if url and url.get_secret_value() else None

    @field_validator("external_url")
    @classmethod
    def _check_external_url(cls, url: str) -> str:
        if url:
            check_address(SecretStr(url))
        return url

    @model_validator(mode="after")
    def _check_whole(self) -> AlertingSettings:
        names = [receiver.name for receiver in self.destinations()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two receivers are called {name}")
        rules = [rule.name for rule in self.rules]
        for name in rules:
            if rules.count(name) > 1:
                raise ValueError(f"two rules are called {name}")
        self._check_budget()
        labels = (*self.labels, *self._stream_groups())
        for label in labels:
            if not _LABEL.fullmatch(label) or label in OWN_LABELS:
                raise ValueError(
                    f"{label!r} cannot be a label: letters, digits and underscores, "
                    f"and none of {', '.join(OWN_LABELS)}"
                )
        if self.routes:
            check_routes(self.routes, names, {*OWN_LABELS, *labels})
        return self

    def _check_budget(self) -> None:
        """Raises ValueError unless the budget is given in one way."""
        has_total = self.false_alarms_per_week_total is not None
        if has_total and "false_alarms_per_week" in self.model_fields_set:
            raise ValueError(
                "false_alarms_per_week and false_alarms_per_week_total are both set: "
                "keep the budget of each stream, or that of the whole fleet"
            )
        if self.fleet_streams is not None and not has_total:
            raise ValueError(
                "fleet_streams divides false_alarms_per_week_total, which is not set: "
                "set both, or neither"
            )

    def _stream_groups(self) -> tuple[str, ...]:
        pattern = compiled(self.stream_labels, "stream_labels")
        if self.stream_labels and not pattern.groupindex:
            raise ValueError(
                "stream_labels: the pattern has no named group, "
                "as in (?P<cluster>[^/]+)/.*"
            )
        return tuple(pattern.groupindex)

    def webhook(self) -> WebhookSettings | None:
        """The receiver that the ``webhook_`` settings describe. Raises ValueError."""
        if self.webhook_url is None:
            return None
        try:
            return WebhookSettings(
                name=RECEIVER,
                url=self.webhook_url,
                secret=self.webhook_secret,
                signature=self.webhook_signature,
                bearer_token=self.webhook_bearer_token,
                user=self.webhook_user,
                password=self.webhook_password,
                headers=self.webhook_headers,
                tls_ca=self.webhook_tls_ca,
                tls_certificate=self.webhook_tls_certificate,
                tls_key=self.webhook_tls_key,
                tls_verify=self.webhook_tls_verify,
                timeout=self.webhook_timeout,
            )
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise ValueError("; ".join(map(_webhook_fault, faults))) from None

    def destinations(self) -> tuple[ReceiverSettings, ...]:
        """All receivers, the one of the ``webhook_`` settings first."""
        webhook = self.webhook()
        return self.receivers if webhook is None else (webhook, *self.receivers)

    def labelling(self) -> Labelling:
        pattern = re.compile(self.stream_labels) if self.stream_labels else None
        return Labelling(dict(self.labels), pattern)

    def routing(self) -> Routing:
        needs = {receiver.name: receiver.needs for receiver in self.destinations()}
        routes = [route.route() for route in self.routes]
        to_all = [
            Route(name, continues=True, repeat_interval=self.repeat_interval)
            for name in needs
        ]
        return Routing(list(needs), routes or to_all, self.labelling(), needs)

    def retry(self) -> RetryPolicy:
        return RetryPolicy(self.retry_first, self.retry_max, self.retry_refusals)

    def stream_budget(self, streams: int | None = None) -> float:
        """False alarms that one stream may raise in a week.

        ``streams`` is how many there are in the data. They share the total if
        ``fleet_streams`` is not set. A daemon has no such number: one that grew with
        its table would move every threshold, and a replay would differ from the run.
        Raises ConfigError if no number is known, or the share is too large.
        """
        total = self.false_alarms_per_week_total
        if total is None:
            return self.false_alarms_per_week
        sharing = self.fleet_streams or streams
        if sharing is None:
            raise ConfigError(
                f"{_TOTAL} needs {_STREAMS}: set it to the number of streams that"
                " share the budget (`streamwarden replay` prints how many its data has)"
            )
        share = total / sharing
        if share > _LARGEST_BUDGET:
            raise ConfigError(
                f"{_TOTAL}: {total:g} is {share:g} for each of {sharing:,} streams:"
                f" at most {_LARGEST_BUDGET:,} make sense"
            )
        return share

    def tuning(self, streams: int | None = None) -> AlertTuning:
        """The numbers that detection depends on; ``streams`` is how many the data has.

        Raises ConfigError as :meth:`stream_budget` does.
        """
        return AlertTuning(
            false_alarms_per_week=self.stream_budget(streams),
            hysteresis=self.hysteresis,
            breach_steps=self.breaching_steps,
            clear_steps=self.clearing_steps,
            cooldown_ticks=self.cooldown_ticks,
            min_gap=self.min_hours_between_incidents * HOUR,
            max_incident=self.max_incident_hours * HOUR,
            min_relative_deviation=self.min_relative_deviation,
            rules=Rules(tuple(rule.rule() for rule in self.rules)),
        )


def _webhook_fault(fault: ErrorDetails) -> str:
    fields = WebhookSettings.model_fields
    place = ".".join(map(str, fault["loc"]))
    if place:
        return f"webhook_{place}: {message(fault, fields.get(place))}"

    def prefixed(word: re.Match[str]) -> str:
        return f"webhook_{word[0]}" if word[0] in fields else word[0]

    return re.sub(r"\w+", prefixed, message(fault))
