"""Settings of the Kafka client: ``DETECTOR_KAFKA__…``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)

from detector.kafka.schema_registry_settings import SchemaRegistrySettings
from detector.kafka.topic_settings import TopicSettings, check_topic, tables_apart
from detector.record_clock import FUTURE_SECONDS, LATENESS_SECONDS, ClockBounds
from detector.setting_types import Listed, compiled
from detector.timestamps import PLAUSIBLE

_PASSWORD_MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
# A name or an address, an IPv6 address in brackets, and a port.
_SERVER = re.compile(r"([^\s:/\[\]]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})")
_USUAL_PORT = 9092  # of a broker without TLS
_PASSED_ON = (
    "client_id",
    "security_protocol",
    "ssl_check_hostname",
    "ssl_cafile",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_password",
    "sasl_mechanism",
    "sasl_plain_username",
    "sasl_plain_password",
)


def _first_set(of_topic: float | None, of_all: float) -> float:
    return of_all if of_topic is None else of_topic


class KafkaSettings(BaseModel):
    """Broker, topics and consumer group.

    The TLS and SASL settings are kafka-python's own, passed through.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    bootstrap_servers: Listed = Field(
        ("localhost:9092",), min_length=1, description="host:port, comma-separated"
    )
    topics: Listed = Field((), description="names, comma-separated, or one ^regex")
    topic_settings: tuple[TopicSettings, ...] = Field(
        (),
        title="topics",
        description="how the records of topics are read, in the TOML file:"
        " [[kafka.topics]]",
    )
    group_id: str = Field(
        "streamwarden", min_length=1, description="consumer group; replicas share it"
    )
    group_instance_id: str | None = Field(
        None,
        description="static membership: a restart of this member moves no partition",
    )
    client_id: str = Field(
        "streamwarden", description="the name that the brokers log for this client"
    )
    auto_offset_reset: Literal["earliest", "latest"] = Field(
        "earliest", description="where a partition without an offset starts"
    )
    isolation_level: Literal["read_committed", "read_uncommitted"] = Field(
        "read_committed",
        description="whether records of aborted and open transactions are left out",
    )
    skip_unreadable: bool = Field(
        False,
        description="skip batches that can't be read, as corrupt ones: their records are lost",
    )
    format: str = Field(
        "auto",
        min_length=1,
        description="how records are written: auto recognises each by its content,"
        " or a name from docs/formats.md",
    )
    schema_registry: SchemaRegistrySettings | None = Field(
        None, description="where the schemas of framed records are"
    )
    future_seconds: float = Field(
        FUTURE_SECONDS,
        ge=0,
        description="seconds by which a record may be ahead of the topic's own time;"
        " what is further ahead is rejected",
    )
    lateness_seconds: float = Field(
        LATENESS_SECONDS,
        ge=0,
        description="seconds by which a point may come later than its successor; longer"
        " ticks are not waited for",
    )
    earliest: float = Field(
        PLAUSIBLE,
        ge=0,
        description="epoch seconds before which a timestamp is refused; 2000-01-01",
    )
    max_poll_records: int = Field(
        8192,
        ge=1,
        le=1_000_000,
        description="points scored at once, about: fewer records where each metric is a stream",
    )
    max_record_bytes: int = Field(
        1 << 20, ge=64, description="a longer record is rejected"
    )
    dead_letter_bytes: int = Field(
        64 << 20,
        ge=1 << 16,
        description="size of the dead-letter file before it is rotated once",
    )
    session_timeout_ms: int = Field(
        10_000,
        ge=1000,
        description="milliseconds of silence after which the group drops a member",
    )
    rebalance_timeout_ms: int = Field(
        60_000,
        ge=1000,
        description="milliseconds that the group waits for a member's answer to a"
        " rebalance, and that the loop may take for one turn",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = (
        Field("PLAINTEXT", description="how the brokers are reached")
    )
    ssl_check_hostname: bool = Field(
        True, description="whether a broker's certificate must name its host"
    )
    ssl_cafile: str | None = Field(
        None, description="certificates to trust, PEM; unset: the system's"
    )
    ssl_certfile: str | None = Field(None, description="this daemon's certificate, PEM")
    ssl_keyfile: str | None = Field(
        None, description="the private key of that certificate, PEM"
    )
    ssl_password: SecretStr | None = Field(
        None, description="password of the private key"
    )
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "GSSAPI", "OAUTHBEARER"]
        | None
    ) = Field(None, description="how this daemon proves who it is")
    sasl_plain_username: str | None = Field(
        None, description="user, for PLAIN and SCRAM"
    )
    sasl_plain_password: SecretStr | None = Field(
        None, description="password, for PLAIN and SCRAM"
    )

    @model_validator(mode="before")
    @classmethod
    def _tables_apart(cls, given: object) -> object:
        return tables_apart(given) if isinstance(given, Mapping) else given

    @field_validator("security_protocol", "sasl_mechanism", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("auto_offset_reset", "isolation_level", mode="before")
    @classmethod
    def _lower_case(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator("bootstrap_servers")
    @classmethod
    def _servers(cls, servers: tuple[str, ...]) -> tuple[str, ...]:
        for server in servers:
            if _SERVER.fullmatch(server):
                continue
            host = server.removesuffix(":")
            if _SERVER.fullmatch(f"{host}:{_USUAL_PORT}"):
                raise ValueError(
                    f"the port of {server!r} is missing: write {host}:{_USUAL_PORT}"
                )
            raise ValueError(f"{server!r} is not host:port")
        return servers

    @field_validator("topics")
    @classmethod
    def _pattern(cls, topics: tuple[str, ...]) -> tuple[str, ...]:
        if any(t.startswith("^") for t in topics):
            if len(topics) != 1:
                raise ValueError("name topics, or give one ^regex, not both")
            compiled(topics[0])
            return topics
        for topic in topics:
            check_topic(topic)
        return topics

    @model_validator(mode="after")
    def _timeouts(self) -> KafkaSettings:
        if self.rebalance_timeout_ms < self.session_timeout_ms:
            raise ValueError(
                "rebalance_timeout_ms: it must not be below session_timeout_ms,"
                f" which is {self.session_timeout_ms}"
            )
        return self

    @model_validator(mode="after")
    def _sasl(self) -> KafkaSettings:
        if self.security_protocol.startswith("SASL") and self.sasl_mechanism is None:
            raise ValueError(
                f"security_protocol: {self.security_protocol} needs sasl_mechanism"
            )
        takes_password = self.sasl_mechanism in _PASSWORD_MECHANISMS
        if takes_password and self.sasl_plain_username is None:
            raise ValueError(
                f"sasl_mechanism: {self.sasl_mechanism} needs sasl_plain_username"
                " and sasl_plain_password"
            )
        return self

    def settings_of(self, topic: str) -> TopicSettings:
        """How the records of a topic are read."""
        for settings in self.topic_settings:
            if settings.fits(topic):
                return settings
        return TopicSettings(name=topic)

    def clock_bounds(self, topic: str) -> ClockBounds:
        """What times of a topic's records are believed."""
        how = self.settings_of(topic)
        return ClockBounds(
            future_seconds=_first_set(how.future_seconds, self.future_seconds),
            lateness_seconds=_first_set(how.lateness_seconds, self.lateness_seconds),
            earliest=_first_set(how.earliest, self.earliest),
        )

    def may_skip(self, topic: str) -> bool:
        """Whether unreadable batches of a topic are skipped."""
        of_topic = self.settings_of(topic).skip_unreadable
        return self.skip_unreadable if of_topic is None else of_topic

    def connection(self) -> dict[str, Any]:
        """Keyword arguments that every kafka-python client takes.

        They hold the secrets themselves: do not log them.
        """
        arguments: dict[str, Any] = {"bootstrap_servers": list(self.bootstrap_servers)}
        for name in _PASSED_ON:
            value = getattr(self, name)
            is_secret = isinstance(value, SecretStr)
            arguments[name] = value.get_secret_value() if is_secret else value
        return arguments
