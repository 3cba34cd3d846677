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


@dataclass(frozen=True, slots=True)
class ReceiverNeeds:
    """What a receiver needs beyond what the routes say.

    Attributes:
        refresh_interval: seconds after which an incident that still fires is sent
            again; 0: never.
        groups_alerts: whether it groups alerts itself. Then posts ignore ``group_by``.
    """

    refresh_interval: float = 0.0
    groups_alerts: bool = False
