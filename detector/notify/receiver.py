"""receiver."""

from __future__ import annotations

from typing import Protocol

from detector.notify.payload import OutgoingPost


class Receiver(Protocol):
    """Delivers one post, or raises Transient or Permanent."""

    def deliver(self, post: OutgoingPost) -> None: ...
