"""Settings of alerting: ``DETECTOR_ALERTING__…``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from detector.alerting.decide import Rules
from detector.alerting.payload import RECEIVER
from detector.alerting.receivers import ReceiverSettings, address, faulty
from detector.model.bundle import TailFit

CRITICAL_SHARE = 0.1  # critical is the level that a tenth of the budget allows


class AlertingSettings(BaseModel):
    """How many false alarms a stream may raise, how an incident begins and ends, and where notifications go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: SecretStr | None = Field(None, description="receiver; none: alerts are logged and counted only")
    webhook_secret: SecretStr | None = Field(None, description="key of the HMAC-SHA256 signature")
    webhook_bearer_token: SecretStr | None = Field(None, description="sent as Authorization: Bearer")
    webhook_user: str | None = Field(None, description="user of basic authorisation")
    webhook_password: SecretStr | None = Field(None, description="password of basic authorisation")
    webhook_headers: Mapping[str, SecretStr] = Field({}, description="further headers of each post; in the environment a JSON object")
    webhook_tls_ca: Path | None = Field(None, description="certificates to trust, PEM; the system's where it is not set")
    webhook_tls_certificate: Path | None = Field(None, description="this daemon's certificate, PEM")
    webhook_tls_key: Path | None = Field(None, description="its private key, PEM")
    webhook_tls_verify: bool = Field(True, description="whether the receiver must prove who it is")
    webhook_timeout: float = Field(10.0, gt=0, description="seconds to wait for a connection and for an answer")
    retry_first: float = Field(0.5, gt=0, description="seconds before the first retry; doubles")
    retry_most: float = Field(60.0, gt=0, description="longest pause between retries in seconds")
    false_alarms_per_week: float = Field(1.0, gt=0, le=10_000, allow_inf_nan=False, description="budget for each stream")
    hysteresis: float = Field(0.3, ge=0, description="how far under the level the score must fall to clear")
    breaching_steps: int = Field(2, ge=1, le=1000, description="steps in a row over the level before it fires")
    clearing_steps: int = Field(5, ge=1, le=1000, description="steps in a row under the clearing level before it resolves")
    cooldown_ticks: float = Field(12.0, ge=0, description="tick intervals after an incident in which no new one begins")
    external_url: str = Field("", description="this daemon's address as people reach it, for the payload")

    @field_validator("webhook_url")
    @classmethod
    def _address(cls, value: SecretStr | None) -> SecretStr | None:
        return address(value) if value is not None and value.get_secret_value() else None

    @model_validator(mode="after")
    def _usable(self) -> AlertingSettings:
        self.webhook()
        return self

    def webhook(self) -> ReceiverSettings | None:
        """The receiver that the ``webhook_`` settings describe."""
        if self.webhook_url is None:
            return None
        described = {name: getattr(self, f"webhook_{name}") for name in ReceiverSettings.model_fields if name != "name"}
        try:
            return ReceiverSettings(name=RECEIVER, **described)
        except ValidationError as error:
            faults = error.errors(include_url=False, include_input=False)
            raise ValueError("; ".join(("webhook_" if e["loc"] else "webhook: ") + faulty(e["loc"], e["msg"]) for e in faults)) from None

    def rules(self, tail: TailFit, tick_interval: float, warm_up: int) -> Rules:
        """The state machine's numbers for a bundle's tail fit."""
        return self.rules_at(
            tail.level(self.false_alarms_per_week),
            tail.level(self.false_alarms_per_week * CRITICAL_SHARE),
            tick_interval,
            warm_up,
        )

    def rules_at(self, warning: float, critical: float, tick_interval: float, warm_up: int) -> Rules:
        return Rules(
            warning=warning,
            critical=critical,
            clear=warning - self.hysteresis,
            breaches=self.breaching_steps,
            calms=self.clearing_steps,
            cooldown=self.cooldown_ticks * tick_interval,
            warm_up=warm_up,
        )
