"""Settings of alerting: ``DETECTOR_ALERTING__…``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from detector.alerting.policy import AlertTuning
from detector.notify.labels import OWN_LABELS, Labelling
from detector.notify.payload import RECEIVER
from detector.notify.receivers.settings import ReceiverSettings, address, faulty
from detector.notify.routes import EACH_STREAM, Route, Routing
from detector.setting_types import Listed
from detector.timestamps import HOUR

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_DEFAULT = AlertTuning()


class RouteSettings(BaseModel):
    """Conditions, all of which must hold, and what becomes of the alerts that meet
    them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    receiver: str = Field(description="a receiver's name; empty: nobody is told")
    severity: Listed = Field((), description="warning, critical, or both")
    match: Mapping[str, str] = Field({}, description="label = value")
    match_regex: Mapping[str, str] = Field(
        {}, description="label = what its whole value must match"
    )
    continue_: bool = Field(
        False,
        alias="continue",
        description="whether the routes after this one are tried too",
    )
    group_by: Listed = Field(
        EACH_STREAM,
        description="labels whose values the alerts of one post have in common",
    )
    group_wait: float = Field(
        0.0,
        ge=0,
        le=3600,
        description="seconds that the first alert of a group waits for others",
    )
    repeat_interval: float = Field(
        0.0,
        ge=0,
        description="seconds after which an alert that still fires is posted again; 0: never",
    )

    @field_validator("severity")
    @classmethod
    def _known(cls, severities: tuple[str, ...]) -> tuple[str, ...]:
        strange = [s for s in severities if s not in ("warning", "critical")]
        if strange:
            raise ValueError(f"{strange[0]!r} is no severity: warning or critical")
        return severities

    @field_validator("match_regex")
    @classmethod
    def _patterns(cls, patterns: Mapping[str, str]) -> Mapping[str, str]:
        for name, pattern in patterns.items():
            compiled(pattern, f"of {name}")
        return patterns

    def route(self) -> Route:
        exact = {
            name: re.compile(re.escape(value)) for name, value in self.match.items()
        }
        like = {name: re.compile(pattern) for name, pattern in self.match_regex.items()}
        return Route(
            receiver=self.receiver,
            severities=frozenset(self.severity),
            label_patterns=exact | like,
            continues=self.continue_,
            group_by=self.group_by,
            group_wait=self.group_wait,
            repeat_interval=self.repeat_interval,
        )


def compiled(pattern: str, what: str) -> re.Pattern[str]:
    """Raises ValueError."""
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(
            f"the pattern {what} is not a regular expression: {error}"
        ) from None


class AlertingSettings(BaseModel):
    """How many false alarms a stream may raise, how an incident begins and ends, and
    where notifications go.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: SecretStr | None = Field(
        None, description="receiver; none: alerts are logged and counted only"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="key of the HMAC-SHA256 signature"
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
        None, description="certificates to trust, PEM; the system's where it is not set"
    )
    webhook_tls_certificate: Path | None = Field(
        None, description="this daemon's certificate, PEM"
    )
    webhook_tls_key: Path | None = Field(None, description="its private key, PEM")
    webhook_tls_verify: bool = Field(
        True, description="whether the receiver must prove who it is"
    )
    webhook_timeout: float = Field(
        10.0, gt=0, description="seconds to wait for a connection and for an answer"
    )
    receivers: tuple[ReceiverSettings, ...] = Field(
        (),
        description="receivers with a name, in the TOML file: [[alerting.receivers]]",
    )
    routes: tuple[RouteSettings, ...] = Field(
        (), description="who is told of what, in the TOML file: [[alerting.routes]]"
    )
    labels: Mapping[str, str] = Field({}, description="labels that every alert has")
    stream_labels: str = Field(
        "",
        description="regular expression over a stream's whole name; its named groups are labels",
    )
    repeat_interval: float = Field(
        0.0,
        ge=0,
        description="where there are no routes: seconds after which a firing alert is posted again; 0: never",
    )
    queue_in_memory: int = Field(
        10_000,
        ge=100,
        description="notifications that wait in memory for each receiver; more wait in the store",
    )
    retry_first: float = Field(
        0.5, gt=0, description="seconds before the first retry; doubles"
    )
    retry_max: float = Field(
        60.0, gt=0, description="longest pause between retries in seconds"
    )
    false_alarms_per_week: float = Field(
        _DEFAULT.false_alarms_per_week,
        gt=0,
        le=10_000,
        allow_inf_nan=False,
        description="budget for each stream",
    )
    hysteresis: float = Field(
        _DEFAULT.hysteresis,
        ge=0,
        description="how far under the level the score must fall to clear",
    )
    breaching_steps: int = Field(
        _DEFAULT.breach_steps,
        ge=1,
        le=1000,
        description="steps in a row over the level before it fires; a score is smoothed over a few points already",
    )
    clearing_steps: int = Field(
        _DEFAULT.clear_steps,
        ge=1,
        le=1000,
        description="steps in a row under the clearing level before it resolves",
    )
    cooldown_ticks: float = Field(
        _DEFAULT.cooldown_ticks,
        ge=0,
        description="tick intervals after an incident in which no new one begins",
    )
    min_hours_between_incidents: float = Field(
        _DEFAULT.min_gap / HOUR,
        ge=0,
        description="from the end of an incident to its stream's next, 48 to 144 ticks; bursts within a quarter are one",
    )
    max_incident_hours: float = Field(
        _DEFAULT.max_incident / HOUR,
        gt=0,
        description="how long an incident lasts before its state is accepted as the new normal",
    )
    external_url: str = Field(
        "", description="this daemon's address as people reach it, for the payload"
    )

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        return (
            address(value) if value is not None and value.get_secret_value() else None
        )

    @model_validator(mode="after")
    def _usable(self) -> AlertingSettings:
        self._check_receivers()
        self._check_labels()
        self._check_routes()
        return self

    def _check_receivers(self) -> None:
        names = [receiver.name for receiver in self.destinations()]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two receivers are called {twice}")

    def _check_routes(self) -> None:
        if not self.routes:
            return
        names = {receiver.name for receiver in self.destinations()}
        labels = {*OWN_LABELS, *self.labels, *self._stream_groups()}
        for number, route in enumerate(self.routes):
            if route.receiver and route.receiver not in names:
                raise ValueError(
                    f"routes.{number}: no receiver is called {route.receiver}; there are: {', '.join(sorted(names)) or 'none'}"
                )
            both = sorted(route.match.keys() & route.match_regex.keys())
            if both:
                raise ValueError(
                    f"routes.{number}: match and match_regex both name {both[0]}"
                )
            strange = [
                name
                for name in (*route.match, *route.match_regex, *route.group_by)
                if name not in labels
            ]
            if strange:
                raise ValueError(
                    f"routes.{number}: no alert has a label {strange[0]}; there are: {', '.join(sorted(labels))}"
                )
        idle = names - {route.receiver for route in self.routes}
        if idle:
            raise ValueError(
                f"routes: none leads to receiver {', '.join(sorted(idle))}"
            )
        last = self.routes[-1]
        if last.severity or last.match or last.match_regex:
            raise ValueError(
                'routes: the last one has conditions, so alerts may match none: end with one without (receiver = "" tells nobody)'
            )

    def _check_labels(self) -> None:
        for name in (*self.labels, *self._stream_groups()):
            if not _LABEL.fullmatch(name) or name in OWN_LABELS:
                raise ValueError(
                    f"{name!r} can be no label: letters, digits and underscores, and none of {', '.join(OWN_LABELS)}"
                )

    def _stream_groups(self) -> tuple[str, ...]:
        pattern = compiled(self.stream_labels, "of stream_labels")
        if self.stream_labels and not pattern.groupindex:
            raise ValueError(
                "stream_labels: the pattern has no named group, as in (?P<cluster>[^/]+)/.*"
            )
        return tuple(pattern.groupindex)

    def webhook(self) -> ReceiverSettings | None:
        """The receiver that the ``webhook_`` settings describe."""
        if self.webhook_url is None:
            return None
        described = {
            name: getattr(self, f"webhook_{name}")
            for name in ReceiverSettings.model_fields
            if name != "name"
        }
        try:
            return ReceiverSettings(name=RECEIVER, **described)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise ValueError(
                "; ".join(
                    ("webhook_" if e["loc"] else "webhook: ")
                    + faulty(e["loc"], e["msg"])
                    for e in faults
                )
            ) from None

    def destinations(self) -> tuple[ReceiverSettings, ...]:
        """All receivers, the one of the ``webhook_`` settings first."""
        simple = self.webhook()
        return (*((simple,) if simple is not None else ()), *self.receivers)

    def labelling(self) -> Labelling:
        return Labelling(
            dict(self.labels),
            re.compile(self.stream_labels) if self.stream_labels else None,
        )

    def routing(self) -> Routing:
        names = [receiver.name for receiver in self.destinations()]
        routes = [route.route() for route in self.routes]
        to_all = [
            Route(name, continues=True, repeat_interval=self.repeat_interval)
            for name in names
        ]
        return Routing(names, routes or to_all, self.labelling())

    def tuning(self) -> AlertTuning:
        """The numbers that detection depends on."""
        return AlertTuning(
            false_alarms_per_week=self.false_alarms_per_week,
            hysteresis=self.hysteresis,
            breach_steps=self.breaching_steps,
            clear_steps=self.clearing_steps,
            cooldown_ticks=self.cooldown_ticks,
            min_gap=self.min_hours_between_incidents * HOUR,
            max_incident=self.max_incident_hours * HOUR,
        )
