"""The ``kafka`` kind: each alert is a record of a topic, for machines that act on it.

A record's key is its stream, so the alerts of a stream stay in order, and a compacted
topic holds the last one of each. Its value is an entry of ``alerts`` of the webhook
format. The header ``idempotency-key`` names the notification: a post that is tried
again may write it twice.

The records are written with ``acks=all`` and an idempotent producer (KIP-98): no
reconnection of the client doubles one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from kafka import KafkaProducer
from kafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
from kafka.producer.future import FutureRecordMetadata
from pydantic import Field

from detector.errors import ConfigError, Permanent, Refused, Transient
from detector.kafka.client import connected
from detector.kafka.settings import KafkaSettings
from detector.notify.backlog_summary import post_body
from detector.notify.payload import OutgoingPost, idempotency_key
from detector.notify.receiver import ReceiverContext
from detector.notify.receivers.connection import ConnectionSettings

_MILLIS = 1000


class KafkaReceiverSettings(ConnectionSettings):
    """A topic on the brokers that the daemon reads from."""

    kind: Literal["kafka"] = Field("kafka", description="the kind of receiver")
    topic: str = Field(
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="the topic of the alerts; it must exist, or be created by the broker",
    )

    @property
    def addresses(self) -> Sequence[str]:
        """None of its own: they are those of ``[kafka]``."""
        return ()

    @property
    def host(self) -> str:
        return f"topic {self.topic}"

    def receiver(self, context: ReceiverContext) -> KafkaTopic:
        """Raises ConfigError if no brokers are set."""
        return KafkaTopic(self, context)


class KafkaTopic:
    """Writes to one topic. Implements Receiver."""

    def __init__(
        self, settings: KafkaReceiverSettings, context: ReceiverContext
    ) -> None:
        if context.kafka is None:
            raise ConfigError(f"receiver {settings.name}: there are no brokers to use")
        self._kafka: KafkaSettings = context.kafka
        self._topic = settings.topic
        self._timeout = settings.timeout
        self._context = context
        self._producer: KafkaProducer | None = None

    def close(self) -> None:
        """Let go of the brokers. A later post connects again."""
        if self._producer is not None:
            self._producer.close(timeout=self._timeout)
            self._producer = None

    def deliver(self, post: OutgoingPost) -> None:
        """Done when the brokers have all its alerts. Raises Transient or Permanent."""
        try:
            producer = self._connected()
            sent = list(self._send(producer, post))
            for future in sent:
                future.get(timeout=self._timeout)
        except MessageSizeTooLargeError:
            raise Permanent(f"{self._topic}: an alert is too large for it") from None
        except TopicAuthorizationFailedError:
            raise Refused(f"{self._topic}: writing is not allowed") from None
        except KafkaError as error:
            raise Transient(f"{self._topic}: {type(error).__name__}") from None

    def _connected(self) -> KafkaProducer:
        """Raises KafkaError if no broker answers."""
        if self._producer is None:
            timeout = int(self._timeout * _MILLIS)
            self._producer = connected(
                KafkaProducer,
                **self._kafka.connection(),
                enable_idempotence=True,
                bootstrap_timeout_ms=timeout,
                request_timeout_ms=timeout,
                delivery_timeout_ms=timeout,
                max_block_ms=timeout,
            )
        return self._producer

    def _send(
        self, producer: KafkaProducer, post: OutgoingPost
    ) -> Iterator[FutureRecordMetadata]:
        """A record for each alert, or one for the summary of a backlog."""
        context = self._context
        entries = post_body(post, context.labelling, context.external_url).alerts
        keys = [idempotency_key(alert) for alert in post.alerts]
        if post.sums_up:
            keys = [post.key]
        for entry, key in zip(entries, keys, strict=True):
            yield producer.send(
                self._topic,
                key=entry.labels["stream"].encode(),
                value=msgspec.json.encode(entry),
                headers=[("idempotency-key", key.encode())],
            )
