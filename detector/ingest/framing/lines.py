"""Each line of a record is a message, as ``codec: json_lines`` and its like write them.

Lines end with a line feed, with or without a carriage return. Blank ones are skipped.
"""

from __future__ import annotations

from detector.events import RawBatch
from detector.ingest.messages import Messages, Value


class Lines:
    """Implements Framing."""

    def messages(self, raw: RawBatch) -> Messages:
        values: list[Value] = []
        records: list[int] = []
        blank: list[int] = []
        for i, value in enumerate(raw.values):
            lines = lines_of(value or b"")
            if not lines:
                blank.append(i)
            values.extend(lines)
            records.extend([i] * len(lines))
        return Messages(raw, values, records, without_points=blank)


def lines_of(value: bytes) -> list[bytes]:
    """The lines of a record that are not blank."""
    stripped = (line.strip() for line in value.split(b"\n"))
    return [line for line in stripped if line]
