"""What the room asks of a receiver, and what a receiver may ask of the room."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from detector.clock import Clock, SystemClock
from detector.notify.labels import Labelling
from detector.notify.payload import OutgoingPost


class Receiver(Protocol):
    """Delivers notifications to one system outside."""

    def deliver(self, post: OutgoingPost) -> None:
        """Deliver one post. Raises Transient or Permanent."""
        ...


@dataclass(frozen=True, slots=True)
class ReceiverContext:
    """What receivers of every kind are made with.

    Attributes:
        external_url: this daemon's address as people reach it; may be empty.
    """

    labelling: Labelling = field(default_factory=Labelling)
    external_url: str = ""
    clock: Clock = field(default_factory=SystemClock)
