"""What the payloads of a schema registry have in common."""

from __future__ import annotations

from typing import Protocol

from detector.ingest.messages import Value


class Payload(Protocol):
    """Reads the payloads of one schema."""

    def read(self, payload: bytes, index: bytes | None) -> Value:
        """The message of a payload. Raises BadRecord if it does not fit the schema.

        ``index`` says which message of the schema it is, None if the payload does.
        """
        ...
