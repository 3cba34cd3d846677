"""A record is one message."""

from __future__ import annotations

from detector.events import RawBatch
from detector.ingest.messages import Messages


class NoFraming:
    """Implements Framing."""

    def messages(self, raw: RawBatch) -> Messages:
        return Messages(raw, raw.values)  # type: ignore[arg-type]  # none is None
