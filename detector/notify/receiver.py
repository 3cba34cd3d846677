"""What the room asks of a receiver, and what a receiver may ask of the room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from detector.clock import Clock, SystemClock
from detector.kafka.settings import KafkaSettings
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost


class Receiver(Protocol):
    """Delivers notifications to one system outside."""

    def deliver(self, post: OutgoingPost) -> None:
        """Deliver one post. Raises Transient or Permanent."""
        ...

    def close(self) -> None:
        """Let go of connections: the receiver's thread ends."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What receivers of every kind are made with.

    Attributes:
        external_url: this daemon's address as people reach it; may be empty.
        kafka: the brokers that the daemon reads from; None: there are none.
    """

    labelling: Labelling = field(default_factory=Labelling)
    external_url: str = ""
    clock: Clock = field(default_factory=SystemClock)
    kafka: KafkaSettings | None = None
