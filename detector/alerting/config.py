"""Settings of alerting: ``DETECTOR_ALERTING__…``."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from detector.alerting.decide import Rules
from detector.model.bundle import TailFit

CRITICAL_SHARE = 0.1  # critical is the level that a tenth of the budget allows


class AlertingSettings(BaseModel):
    """How many false alarms a stream may raise, how an incident begins and ends, and where notifications go."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    webhook_url: SecretStr | None = Field(None, description="receiver; none: alerts are logged and counted only")
    webhook_secret: SecretStr | None = Field(None, description="key of the HMAC-SHA256 signature")
    webhook_timeout: float = Field(10.0, gt=0, description="seconds for one post")
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
    def _http(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value():
            return None
        try:
            url = parse_url(value.get_secret_value())
        except LocationParseError:  # its text holds the address, which may be a secret
            raise ValueError("it is not a http:// or https:// address") from None
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("it is not a http:// or https:// address")
        return value

    @property
    def receiver(self) -> str:
        """The receiver's host, for logs: the rest of the address may be a secret."""
        if self.webhook_url is None:
            return "none"
        url = parse_url(self.webhook_url.get_secret_value())
        return f"{url.host}:{url.port}" if url.port else str(url.host)

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
